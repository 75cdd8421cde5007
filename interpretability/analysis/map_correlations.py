"""Do simple facts of a unit's feature maps go along with its scores? (IMI, figures 17 to 19; measured in `maps`)"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from interpretability import statistics
from interpretability.schema import MAP_STATISTICS, NATURAL, UNIT

CORRELATION_COLUMNS = ["statistic", "model", "backend", "n_units", "spearman", "p"]


def map_units(maps: pd.DataFrame, annotated: pd.DataFrame) -> pd.DataFrame:
    """Annotated natural units of one backend beside the statistics of their maps: UNIT, STATISTICS, mis, his, sorted."""
    natural = annotated[annotated["condition"] == NATURAL]
    joined = natural[[*UNIT, "mis", "his"]].merge(maps[[*UNIT, *MAP_STATISTICS]], on=UNIT)
    return joined.sort_values(UNIT, kind="stable", ignore_index=True)[[*UNIT, *MAP_STATISTICS, "mis", "his"]]


def map_correlations(units: pd.DataFrame, backend: str) -> pd.DataFrame:
    """Rank correlation of each statistic with HIS and MIS by network, from `map_units`: CORRELATION_COLUMNS.

    backend is human for HIS; a unit enters once, however many conditions it was asked about (the notebook of IMI counts
    units of two networks three times). p is two-sided, not adjusted for the number of networks, as in IMI. Fewer than
    FEWEST_CORRELATED units have their number alone.
    """
    rows = []
    for statistic in MAP_STATISTICS:
        for model, own in units.groupby("model", sort=True, observed=True):
            known = own[own[statistic].notna()]
            for name, score in (("human", "his"), (backend, "mis")):
                x, y = (known[column].to_numpy(np.float64) for column in (statistic, score))
                rho = float(statistics.spearman(x, y)) if len(x) >= statistics.FEWEST_CORRELATED else float("nan")
                p = float(stats.spearmanr(x, y).pvalue) if np.isfinite(rho) else float("nan")
                rows.append((statistic, model, name, len(known), rho, p))
    return pd.DataFrame(rows, columns=CORRELATION_COLUMNS)
