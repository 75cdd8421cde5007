"""Two-alternative tasks of a unit."""
