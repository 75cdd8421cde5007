"""The most and least exciting images of every unit, exactly, in one pass."""
