"""Tasks solved by similarities."""
