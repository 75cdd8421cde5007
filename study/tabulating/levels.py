"""Levels of MIS at other slopes: what the ranges beside a mean are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from interpretability.analysis import levels
from interpretability.statistics import percentile_interval
from study.files.unit_tables import matrix, near_copies
from study.tabulating.facts import Fit

_BLOCK = 1 << 18  # units whose probabilities are in memory together
Sums = tuple[NDArray[np.float64], int]


def slopes_allowed(fits: Mapping[str, Fit], splits: pd.DataFrame, confidence: float) -> dict[str, tuple[float, ...]]:
    """Slopes of every similarity that has an identified one: fitted, ends of its interval, ends of those of other splits.

    `splits` (backend, slope, ...) as `calibration.split_results` gives them; their ends are those of the central share
    `confidence`, NaN without splits.
    """
    allowed: dict[str, tuple[float, ...]] = {}
    for name, fit in fits.items():
        low, high = fit["low"], fit["high"]
        if fit["identified"] and low is not None and high is not None:
            others = splits.loc[splits["backend"] == name, "slope"].to_numpy(np.float64)
            allowed[name] = (fit["slope"], low, high, *percentile_interval(others, confidence))
    return allowed


def level_sums(units: pa.Table, slopes: Sequence[float], drop_near: bool) -> Sums:
    """`levels.sums_at` of units with the columns margins and near, a block after the other: that bounds the memory."""
    sums, n_units = np.zeros(len(slopes)), 0
    for start in range(0, len(units), _BLOCK):
        block = units.slice(start, _BLOCK)
        margins = matrix(block["margins"])
        used = ~near_copies(block["near"], margins.shape[1]) if drop_near else None
        more, n = levels.sums_at(margins, slopes, used)
        sums, n_units = sums + more, n_units + n
    return sums, n_units


def pooled_ranges(parts: Sequence[Sums]) -> dict[str, float]:
    """Ranges of the mean over the units of several networks."""
    sums = np.zeros(5)
    for part, _ in parts:
        sums = sums + part
    return levels.ranges(sums, sum(n for _, n in parts))
