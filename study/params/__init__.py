"""Parameters, a file a group."""
