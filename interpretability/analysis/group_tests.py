"""Which groups differ? Kruskal-Wallis and Conover's test for independent groups, all pairs, Holm-adjusted.

As in the IMI analysis: the Conover-Iman test of `scikit_posthocs.posthoc_conover`, not its Friedman variant, because the
groups are not complete blocks. It gives p alone, and like scipy's Kruskal-Wallis test it copies all values several times:
statistics, and beyond LIBRARY_MOST values p as well, come from the mean ranks of the groups by the same formulas.

Both tests take values for independent draws. Holm's adjustment then keeps the family-wise error at 4 % (nominal 5 %) in
simulated studies of nine equal networks. It rises to 11 % where units of a network share the people who answered them and
to 16 % where units of a layer correlate at .2 (benchmarks/coverage.py): read small p beside the effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scikit_posthocs
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability.schema import NATURAL

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
NOT_SIGNIFICANT = "NS"
COLUMNS = ["first", "second", "n_first", "n_second", "statistic", "p", "p_holm", "stars", "effect"]
KRUSKAL_COLUMNS = ["n_groups", "n", "statistic", "p", "epsilon_squared"]
LIBRARY_MOST = 1_000_000  # values; their tables take about a gigabyte
# Effects are exact up to this number of distinct values; beyond it neighbours of equal joint rank class count
# as ties, which changes an effect by about one part in this number.
_MAX_CLASSES = 1 << 14


Samples = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class JointRanks:
    """Groups after ranking all their values together (mean ranks for ties), sorted by name.

    size, mean_rank (groups,); variance of all ranks (ddof 1); share (groups, classes): the part of a group in each class
    of neighbouring ranks, ascending.
    """

    names: list[str]
    size: NDArray[np.int64]
    mean_rank: NDArray[np.float64]
    variance: float
    share: NDArray[np.float64]

    @property
    def n(self) -> int:
        return int(self.size.sum())

    @property
    def statistic(self) -> float:
        """H of Kruskal and Wallis, corrected for ties; NaN where all values are equal."""
        between = (self.size * (self.mean_rank - (self.n + 1) / 2) ** 2).sum()
        return float(between / self.variance) if self.variance > 0 else float("nan")


def joint_ranks(samples: Samples) -> JointRanks:
    """Ranks over the groups of at least two values; one copy of the values and one group at a time in memory."""
    kept = {name: np.asarray(samples[name], np.float64) for name in sorted(samples) if len(samples[name]) > 1}
    size = np.array([len(values) for values in kept.values()], dtype=np.int64)
    ordered = np.concatenate([*kept.values(), np.empty(0)])
    if np.isnan(ordered).any():
        raise ValueError(f"{int(np.isnan(ordered).sum())} values are NaN; the test needs a number a row")
    ordered.sort()
    n = len(ordered)
    n_classes = min(int((np.diff(ordered) > 0).sum()) + 1, _MAX_CLASSES)
    distinct = np.unique(ordered) if n_classes < _MAX_CLASSES else None
    mean_rank, share = np.empty(len(kept)), np.empty((len(kept), n_classes))
    square = 0.0
    for index, values in enumerate(kept.values()):
        values = np.sort(values)  # neighbours in a search are neighbours in memory
        below, up_to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
        ranks = (below + up_to + 1) / 2
        mean_rank[index] = ranks.mean()
        square += float(((ranks - (n + 1) / 2) ** 2).sum())
        classes = ((ranks - 1) * _MAX_CLASSES / n).astype(np.int64)
        if distinct is not None:
            classes = np.searchsorted(distinct, values)
        share[index] = np.bincount(classes, minlength=n_classes) / len(values)
    return JointRanks(list(kept), size, mean_rank, square / max(n - 1, 1), share)


def conover(values: NDArray[np.floating], groups: NDArray[np.object_]) -> pd.DataFrame:
    """`conover_of` the groups named beside the values."""
    samples = _samples(values, groups)
    return conover_of(joint_ranks(samples), samples)


def conover_of(ranks: JointRanks, samples: Samples) -> pd.DataFrame:
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
    n, k = ranks.n, len(ranks.names)
    if k < 2:
        return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})
    first, second = np.triu_indices(k, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = max((n - 1 - ranks.statistic) / (n - k), 0.0) if np.isfinite(ranks.statistic) else np.nan
        error = np.sqrt(ranks.variance * spread * (1 / ranks.size[first] + 1 / ranks.size[second]))
        statistic = (ranks.mean_rank[first] - ranks.mean_rank[second]) / error
    p = 2 * stats.t.sf(np.abs(statistic), n - k)
    if n <= LIBRARY_MOST and ranks.variance > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            matrix = scikit_posthocs.posthoc_conover([np.asarray(samples[name]) for name in ranks.names]).to_numpy()
        p = matrix[first, second]
    adjusted = multipletests(p, method="holm")[1] if np.isfinite(p).all() else np.full(len(p), np.nan)
    names = np.asarray(ranks.names, dtype=object)
    return pd.DataFrame(
        {
            "first": names[first],
            "second": names[second],
            "n_first": ranks.size[first],
            "n_second": ranks.size[second],
            "statistic": statistic,
            "p": p,
            "p_holm": adjusted,
            "stars": [stars(value) for value in adjusted],  # pyright: ignore[reportOptionalIterable]
            "effect": cliffs_delta(ranks.share)[first, second],
        }
    )


def kruskal(ranks: JointRanks, samples: Samples) -> dict[str, float]:
    """Kruskal-Wallis test that all groups are alike: KRUSKAL_COLUMNS.

    statistic is H corrected for ties, p of chi-squared with groups - 1 degrees of freedom, epsilon_squared = H / (n - 1)
    the share of the variance of ranks that lies between groups. NaN below two groups and where all values are equal.
    """
    k, statistic = len(ranks.names), ranks.statistic if len(ranks.names) > 1 else float("nan")
    p = float(stats.chi2.sf(statistic, k - 1)) if k > 1 else float("nan")
    if k > 1 and ranks.n <= LIBRARY_MOST and ranks.variance > 0:
        statistic, p = (float(value) for value in stats.kruskal(*(samples[name] for name in ranks.names)))
    effect = statistic / (ranks.n - 1) if ranks.n > 1 else float("nan")
    return {"n_groups": k, "n": ranks.n, "statistic": statistic, "p": p, "epsilon_squared": effect}


def _samples(values: ArrayLike, groups: ArrayLike) -> dict[str, NDArray[np.float64]]:
    frame = pd.DataFrame({"value": np.asarray(values, np.float64), "group": np.asarray(groups, dtype=object)})
    return {str(name): part.to_numpy() for name, part in frame.groupby("group", sort=True)["value"]}


def stars(p: float) -> str:
    """Mark of a p value: *** below .001, ** below .01, * below .05, otherwise (also for NaN) NS."""
    return next((mark for limit, mark in STARS if p < limit), NOT_SIGNIFICANT)


def cliffs_delta(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix (groups, groups) of P(row's value > column's) - P(row's value < column's) of random members.

    `share` (groups, classes) as in `JointRanks`.
    """
    below = share.cumsum(axis=1) - share
    more = np.einsum("ic,jc->ij", share, below)
    return more - more.T


def _dtype(column: str) -> str:
    return {"first": "object", "second": "object", "stars": "object"}.get(column, "float64")


def type_means(units: pd.DataFrame, value: str) -> pd.DataFrame:
    """One mean a network, condition and layer type: model, condition, layer_type, and `value`."""
    means = units.groupby(["model", "condition", "layer_type"], sort=True, observed=True)[value].mean().reset_index()
    return means.astype(dict.fromkeys(("model", "condition", "layer_type"), object))


def compare(samples: Samples, means: pd.DataFrame, value: str, name: str, condition: str) -> dict[str, pd.DataFrame]:
    """All tests between groups of one condition: conditions are never mixed in a test.

    `samples` are the units' scores of every network, `means` those of `type_means`; `name` fills the column backend.
    conover_layer_types  between layer types, on one mean a network and layer type (MIS paper, Fig. 16)
    conover_models       between networks, on their units (IMI, Fig. 3 and 11)
    kruskal              the same two comparisons as a whole; none where there are fewer than two groups
    """
    kept = means[means["condition"] == condition]
    tables, rows = {}, []
    for over, groups in (("layer_types", _samples(kept[value], kept["layer_type"])), ("models", samples)):
        ranks = joint_ranks(groups)
        tables[f"conover_{over}"] = conover_of(ranks, groups).assign(backend=name)[["backend", *COLUMNS]]
        if len(ranks.names) > 1:
            rows.append({"backend": name, "condition": condition, "groups": over, **kruskal(ranks, groups)})
    tables["kruskal"] = pd.DataFrame(rows, columns=["backend", "condition", "groups", *KRUSKAL_COLUMNS])
    return tables


def compare_units(units: pd.DataFrame, value: str, name: str, condition: str = NATURAL) -> dict[str, pd.DataFrame]:
    """`compare` for a table of units: model, layer_type, condition and `value`."""
    kept = units[units["condition"] == condition]
    return compare(_samples(kept[value], kept["model"]), type_means(kept, value), value, name, condition)
