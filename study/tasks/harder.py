"""Harder tasks of a network: from the ranks that the extraction found for all its units, or from the columns that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.schema import HARD
from interpretability.tasks import hard, rules
from study.files.tables import read_parquet
from study.params.tasks import Tasks

_SIDES = ("top", "bottom")


@dataclass(frozen=True)
class Found:
    """What the extraction found of a network: its units, which of them have tasks, their keys, and the tensors of its file."""

    model: str
    units: pd.DataFrame
    live: np.ndarray
    keys: np.ndarray
    state: Mapping[str, np.ndarray]


def harder_tasks(kept: Path, found: Found, n_images: int, settings: Tasks) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Units and tasks of each harder condition: of all units that vary where `activations.windows` named the network and the
    condition; else of those whose columns lie in the folder `kept`. Where both are known, both give the same tasks.
    """
    size = settings.n_tasks, settings.n_explanations
    for condition in (name for name in settings.conditions if name in HARD):
        if has_windows(found.state, condition):
            rules.window_start(n_images, condition, *size)
            rows = np.flatnonzero(found.live)
            sides = [[_side(found.state, f"{name}{side}", rows) for side in _SIDES] for name in ("", f"{condition}_")]
            extremes, windows = ((each[0], each[1]) for each in sides)
            built, *ties = hard.tasks_from_windows(extremes, windows, found.keys[rows], *size)
        else:
            rows, values = _kept(kept, found)
            if not len(rows):
                continue
            start = rules.window_start(n_images, condition, *size)
            built, *ties = hard.tasks_from_rank(values, found.keys[rows], start, *size)
        table = found.units.iloc[rows].assign(condition=condition, tie_share_pos=ties[0], tie_share_neg=ties[1])
        yield table, built


def has_windows(state: Mapping[str, np.ndarray], condition: str) -> bool:
    """Whether the file of a network holds the images of a condition for all units."""
    return f"{condition}_top_images" in state


def _side(state: Mapping[str, np.ndarray], name: str, rows: np.ndarray) -> hard.Side:
    return state[f"{name}_images"][rows], state[f"{name}_values"][rows]


def _kept(kept: Path, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """Rows of units that vary and whose columns were kept, ascending, and those columns (units, images)."""
    columns, units = kept_columns(kept, found.model), found.units
    owners = zip(units["layer"], units["unit"], strict=True)
    rows = [row for row, owner in enumerate(owners) if owner in columns and found.live[row]]
    chosen = [columns[units["layer"].iloc[row], units["unit"].iloc[row]] for row in rows]
    return np.array(rows, dtype=np.int64), np.stack(chosen) if rows else np.empty((0, 0), dtype=np.float32)


def kept_columns(kept: Path, model: str) -> dict[tuple[str, int], np.ndarray]:
    """Whole columns of values (images,) float32 of a network by layer and unit; empty where none was kept."""
    path = kept / f"{model}.parquet"
    if not path.is_file():
        return {}
    table = read_parquet(path)
    return dict(zip(zip(table["layer"], table["unit"], strict=True), table["values"], strict=True))
