"""Extremes of every unit of every network."""
