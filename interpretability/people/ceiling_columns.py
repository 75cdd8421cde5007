"""What tables of noise ceilings hold: their columns, sets of units, and the variant that leads."""

from __future__ import annotations

from interpretability.schema import NATURAL, SYNTHETIC

LEADING = "V4"
SUBSETS = ("easy", "all")
EASY_CONDITIONS = (NATURAL, SYNTHETIC)
COLUMNS = [
    "subset",
    "backend",
    "variant",
    "is_ceiling",
    "mean",
    "sd",
    "low",
    "high",
    "n_units",
    "n_simulations",
]
