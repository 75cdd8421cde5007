"""Bootstrap samples of annotated units."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import UNIT


def resample_units(units: pd.DataFrame, n_resamples: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers (resamples, rows) of bootstrap samples of the units of every network.

    A unit is drawn with all its conditions, and only in place of a unit of the same network with the same
    conditions: networks and conditions are fixed, units are the sample. Position j of every resample
    therefore belongs to the same network and condition as row j.
    """
    rows = units.reset_index(drop=True)
    # the set of a unit's conditions as a number, one bit a condition
    bit = 1 << pd.factorize(rows["condition"], sort=True)[0].astype(np.int64)
    pattern = pd.Series(bit).groupby([rows[name] for name in UNIT], observed=True).transform("sum").to_numpy()
    order = np.lexsort((bit, rows["unit"], rows["layer"], pattern, rows["model"]))
    stratum = rows.assign(pattern=pattern).groupby(["model", "pattern"], observed=True).ngroup().to_numpy()[order]
    drawn = np.empty((n_resamples, len(rows)), dtype=np.int64)
    for code in pd.unique(stratum):
        members = order[stratum == code]
        by_unit = members.reshape(-1, int(pattern[members[0]]).bit_count())
        picks = draw.integers(len(by_unit), size=(n_resamples, len(by_unit)))
        drawn[:, members] = by_unit[picks].reshape(n_resamples, -1)
    return drawn


def widening(units: pd.DataFrame) -> float:
    """What a standard deviation over `resample_units` must be multiplied by to be the standard error.

    Resamples of m units have (m - 1) / m of the variance of new ones; the units of every network are drawn for themselves.
    """
    clusters = units.drop_duplicates(UNIT)
    return float(np.sqrt(len(clusters) / max(len(clusters) - clusters["model"].nunique(), 1)))
