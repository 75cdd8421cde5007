"""Similarities, one file a family; a new one is a file here."""
