"""Figures of the report, a file a subject."""
