"""Images made to excite the units of a study, and what they reach."""
