"""Scores of units from their values over random images, beside those from tasks."""
