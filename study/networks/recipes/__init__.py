"""Recipes of training on the images of a study, by their labels."""
