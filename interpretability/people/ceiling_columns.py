"""What tables of noise ceilings hold: their columns, sets of units, and the variant that leads."""

from __future__ import annotations

import pandas as pd

from interpretability.schema import NATURAL, SYNTHETIC

SUBSETS = ("easy", "all")
EASY_CONDITIONS = (NATURAL, SYNTHETIC)
COLUMNS = [
    "subset",
    "backend",
    "variant",
    "is_ceiling",
    "leads",
    "mean",
    "sd",
    "low",
    "high",
    "calibrated",
    "n_units",
    "n_simulations",
]


def leading_variant(units: pd.DataFrame) -> str:
    """The variant that leads in every row of a study's tables: V4w or V4.

    V4w, which takes the noise from answers to one task, leads where all answers counted carry their task: where every one of
    `units` has a noise_within (see `noise.noise_within_tasks`, also missing where no task of a unit was answered twice).
    Elsewhere V4 leads. It takes all answers to a unit for alike, errs low where tasks differ, and is a lower bound.
    """
    known = "noise_within" in units.columns and len(units) > 0 and bool(units["noise_within"].notna().all())
    return "V4w" if known else "V4"
