"""Networks of a study."""
