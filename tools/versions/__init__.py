"""Results of several versions of a study, side by side."""
