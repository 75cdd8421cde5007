"""Tests of interpretability."""
