"""Readers tried on inputs that no one wrote by hand."""
