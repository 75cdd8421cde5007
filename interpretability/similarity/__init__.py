"""How alike two images are."""
