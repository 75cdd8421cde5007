"""The slopes behind scores of tasks with made images: whose answers they were fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interpretability.schema import MADE
from study.files.tables import read_json

COLUMNS = [
    "backend",
    "condition",
    "slope",
    "temperature",
    "low",
    "high",
    "status",
    "n_units",
    "source",
    "answers",
    "reason",
]


def made_slopes_table(calibration: Path, backends: Sequence[str]) -> pd.DataFrame:
    """made_slopes.csv: COLUMNS, a row a similarity and condition; none where the study has no such tasks.

    source   own answers, or natural tasks, whose slope is taken where nobody answered or the answers do not tell a slope
    answers  who answered such tasks; what is simulated through the encoder agrees with the encoder by construction
    n_units  in the fit of the slope; 0 where it was not fitted
    """
    path = calibration / "made.json"
    found = read_json(path) if path.is_file() else {}
    rows = [
        {**found[backend][condition], "backend": backend, "condition": condition}
        for backend in backends
        for condition in MADE
        if condition in found.get(backend, {})
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
