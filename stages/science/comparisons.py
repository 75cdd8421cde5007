"""Which groups differ? Conover's test after Kruskal-Wallis for independent groups, all pairs, Holm-adjusted.

As in the IMI analysis: the Conover-Iman test of `scikit_posthocs.posthoc_conover`, not its Friedman variant,
because the groups are not complete blocks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scikit_posthocs
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
NOT_SIGNIFICANT = "NS"
COLUMNS = ["first", "second", "n_first", "n_second", "statistic", "p", "p_holm", "stars", "effect"]
# Effects are exact up to this number of distinct values; beyond it neighbours of equal joint rank class count
# as ties, which changes an effect by about one part in this number.
_MAX_CLASSES = 1 << 14


def conover(values: NDArray[np.floating], groups: NDArray[np.object_]) -> pd.DataFrame:
    """All pairs of groups, sorted by name: COLUMNS. Groups of fewer than two values are left out.

    statistic  Conover's t, positive where the first group has the higher ranks:
               (Ri - Rj) / sqrt(S2 (n - 1 - H) / (n - k) (1/ni + 1/nj)), Ri mean joint rank, S2 variance of
               the ranks, H the Kruskal-Wallis statistic corrected for ties, n values in k groups
    p          two-sided, t distribution with n - k degrees of freedom;  p_holm: adjusted over all pairs
    stars      of p_holm: * below .05, ** below .01, *** below .001, otherwise NS
    effect     Cliff's delta, P(first > second) - P(first < second), in [-1, 1]

    Fewer than two groups give an empty table. Where all values are equal nothing can be tested: statistic and
    p are NaN.
    """
    frame = pd.DataFrame({"value": np.asarray(values, np.float64), "group": np.asarray(groups, dtype=object)})
    if frame["value"].isna().any():
        raise ValueError(f"{int(frame['value'].isna().sum())} values are NaN; the test needs a number a row")
    frame = frame[frame.groupby("group")["value"].transform("size") >= 2]
    codes, names = pd.factorize(frame["group"], sort=True)
    if len(names) < 2:
        return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})
    first, second = np.triu_indices(len(names), 1)
    size = np.bincount(codes)
    value = frame["value"].to_numpy()
    statistic, p = _statistics(value, codes, first, second), _p_values(value, codes, first, second)
    adjusted = multipletests(p, method="holm")[1] if np.isfinite(p).all() else np.full(len(p), np.nan)
    return pd.DataFrame(
        {
            "first": np.asarray(names, dtype=object)[first],
            "second": np.asarray(names, dtype=object)[second],
            "n_first": size[first],
            "n_second": size[second],
            "statistic": statistic,
            "p": p,
            "p_holm": adjusted,
            "stars": [stars(value) for value in adjusted],
            "effect": cliffs_delta(value, codes)[first, second],
        }
    )


def stars(p: float) -> str:
    """Mark of a p value: *** below .001, ** below .01, * below .05, otherwise (also for NaN) NS."""
    return next((mark for limit, mark in STARS if p < limit), NOT_SIGNIFICANT)


def cliffs_delta(values: NDArray[np.float64], codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Matrix (groups, groups) of P(row's value > column's) - P(row's value < column's) of random members."""
    classes = stats.rankdata(values, method="dense").astype(np.int64) - 1
    if classes.max() >= _MAX_CLASSES:
        ranks = stats.rankdata(values, method="average") - 1
        classes = (ranks * _MAX_CLASSES / len(values)).astype(np.int64)
    share = np.zeros((int(codes.max()) + 1, int(classes.max()) + 1))
    np.add.at(share, (codes, classes), 1.0)
    share /= share.sum(axis=1, keepdims=True)
    below = share.cumsum(axis=1) - share
    more = share @ below.T
    return more - more.T


def _p_values(
    values: NDArray[np.float64],
    codes: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
) -> NDArray[np.float64]:
    if np.ptp(values) == 0:
        return np.full(len(first), np.nan)
    frame = pd.DataFrame({"value": values, "group": codes})
    with np.errstate(divide="ignore", invalid="ignore"):
        matrix = scikit_posthocs.posthoc_conover(frame, val_col="value", group_col="group").sort_index()
    return matrix.sort_index(axis=1).to_numpy()[first, second]


def _statistics(
    values: NDArray[np.float64],
    codes: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Conover's t of every pair: the library returns p only, from which a large t could not be recovered."""
    ranks = stats.rankdata(values)
    n, size = len(values), np.bincount(codes)
    mean_rank = np.bincount(codes, weights=ranks) / size
    variance = ranks.var(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kruskal = (size * (mean_rank - ranks.mean()) ** 2).sum() / variance
        spread = max((n - 1 - kruskal) / (n - len(size)), 0.0) if np.isfinite(kruskal) else np.nan
        return (mean_rank[first] - mean_rank[second]) / np.sqrt(
            variance * spread * (1 / size[first] + 1 / size[second])
        )


def _dtype(column: str) -> str:
    return {"first": "object", "second": "object", "stars": "object"}.get(column, "float64")


def compare_units(units: pd.DataFrame, value: str, name: str, condition: str = "natural") -> dict[str, pd.DataFrame]:
    """Both comparisons of the study for the scores in column `value`; `name` fills the column backend.

    conover_layer_types  between layer types, on one mean a network and layer type (MIS paper, Fig. 16)
    conover_models       between networks, on their units (IMI, Fig. 3 and 11)
    Units of one condition alone: conditions are never mixed in a test.
    """
    kept = units[units["condition"] == condition]
    means = kept.groupby(["model", "layer_type"], sort=True, observed=True)[value].mean().reset_index()
    tables = {
        "conover_layer_types": conover(means[value], means["layer_type"]),
        "conover_models": conover(kept[value], kept["model"]),
    }
    return {key: table.assign(backend=name)[["backend", *COLUMNS]] for key, table in tables.items()}
