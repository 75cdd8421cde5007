"""Tasks of a study."""
