"""Directions of a layer: matrices, rotations and sparse codes, applied where a network computes, before anything is pooled."""
