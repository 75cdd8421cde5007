"""Ratings of people: what they add up to, and simulations of it."""
