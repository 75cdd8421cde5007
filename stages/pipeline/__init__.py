"""Plumbing of the study: files, parameters, the work store, figures and pages. No science."""
