"""Scores of units without labels, beside MIS: over the whole range of values, of one meaning, of place, of sparseness."""
