"""Layers and units of a network, and what they say of an image."""
