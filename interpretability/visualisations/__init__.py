"""Pictures made to excite a unit, or to keep it quiet, by gradients through its network."""
