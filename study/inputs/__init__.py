"""Inputs that DVC does not see: images outside the repository, files that a roster names, weights of similarities."""
