"""What the pages for readers promise."""
