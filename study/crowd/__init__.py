"""Ratings of people: read or simulated, checked, added up to labels, and made into scores of texts."""
