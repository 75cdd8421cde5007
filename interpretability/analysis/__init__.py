"""Summaries, rankings, tests and comparisons of scored units."""
