"""Answers of people in a study."""
