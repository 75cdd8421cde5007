"""Checks of what only a GPU can show, one module a subject."""
