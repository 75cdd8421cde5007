"""Human answers: scores, calibration, agreement and the ceiling that noise sets."""
