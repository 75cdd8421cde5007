"""Images of a study."""
