"""Agreement of the Machine with the Human Interpretability Score: over units, within networks, over networks.

Levels
unit         every annotated unit is a point
unit_within  the same after subtracting the mean of the unit's network and condition, so that differences
             between networks cannot carry the correlation
model        every network and condition is a point: unweighted means of its units' scores (IMI)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.people.resampling import resample_units, widening
from interpretability.randomness import generator
from interpretability.schema import KEY, LEVELS, UNIT, UNIT_SETS
from interpretability.statistics import (
    BLOCK_VALUES,
    FEWEST_CORRELATED,
    MIN_POINTS,
    fisher_interval,
    fisher_z,
    group_means,
    in_blocks,
    pearson,
    percentile_interval,
    spearman,
)

# The rank correlation of five takes so few values that its interval would cover 98 to 99 % of the truths at a nominal 95 %.
MIN_RANKED = 6
CORRELATIONS = ["pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high"]
COLUMNS = ["backend", "level", "units", "n", "n_networks", *CORRELATIONS, "nested_low", "nested_high"]


def centre(values: NDArray[np.floating], group: NDArray[np.integer]) -> NDArray[np.float64]:
    """Values (..., points) minus the mean of their group, on a grid of 2^-40 of the largest value (a power of two above it).

    What is only rounding becomes exactly zero, and values that are equal on paper are ties.
    """
    centred = values - group_means(values, group)[..., group]
    _, power = np.frexp(np.abs(values).max(initial=0.0))
    return np.ldexp(np.rint(np.ldexp(centred, 40 - power)), power - 40)


def unit_agreement(
    units: pd.DataFrame, within: bool, n_bootstrap: int, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """Correlations of mis and his over units and their intervals.

    The interval is symmetric in Fisher's z, its width the t quantile times the standard error of z from bootstrap samples
    of units (see `resample_units`, `widening`): unlike percentiles it keeps its coverage with a few
    dozen units.
    """
    mis, his = units["mis"].to_numpy(np.float64), units["his"].to_numpy(np.float64)
    group = _condition_codes(units)

    def both(mis: NDArray[np.float64], his: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if within:
            mis, his = centre(mis, group), centre(his, group)
        return pearson(mis, his), spearman(mis, his)

    n_networks = units["model"].nunique()
    if len(units) < MIN_POINTS:
        return _row(len(units), n_networks)
    point = both(mis, his)
    drawn = resample_units(units, n_bootstrap, draw)
    size = max(1, BLOCK_VALUES // len(units))
    blocks = [both(mis[block], his[block]) for block in in_blocks(drawn, size)]
    n_clusters = len(units.drop_duplicates(UNIT))
    quantile = stats.t.ppf((1 + confidence) / 2, max(n_clusters - 1, 1))
    row = _row(len(units), n_networks, *map(float, point))
    for index, name in enumerate(("pearson", "spearman")):
        z = fisher_z(np.concatenate([block[index] for block in blocks]))
        z = z[np.isfinite(z)]
        spread = z.std(ddof=1) * widening(units) if len(z) > 1 else np.nan
        row[f"{name}_low"], row[f"{name}_high"] = fisher_interval(float(point[index]), spread, quantile)
    return row


def model_agreement(
    units: pd.DataFrame, n_bootstrap: int, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """Correlations over networks and conditions. Two intervals that answer different questions:

    low, high                other networks like these, with as many units and answers each: Fisher z with n networks,
                             whose conditions are no independent points (for Spearman with the standard error
                             sqrt((1 + r^2 / 2) / (n - 3)) of Bonett and Wright 2000;
                             the coefficient enters half a step of ranks inside +-1, for few networks often reach it)
    nested_low, nested_high  these networks, other units and other answers (Pearson): percentiles of a
                             bootstrap of units, then of the answers of each drawn unit (binomially). It is meant
                             for the typical correlation of such studies of these networks, not for that of the
                             networks' true means, which is higher and which it misses often: it covers the
                             former in 94 % and the latter in 60 % of simulated studies of nine networks of 84 units
    Below FEWEST_CORRELATED networks all are NaN, the correlations too: a few points lie on a line by chance. Below MIN_RANKED
    the interval of Spearman is.
    """
    n_networks = units["model"].nunique()
    if not len(units):
        return _row(0, 0)
    group = _condition_codes(units)
    mis, his = units["mis"].to_numpy(np.float64), units["his"].to_numpy(np.float64)
    points = group_means(mis, group), group_means(his, group)
    row = _row(len(points[0]), n_networks) | network_correlations(*points, n_networks, confidence)
    if n_networks < FEWEST_CORRELATED:
        return row
    answers = units["n_responses"].to_numpy(np.int64)
    drawn = resample_units(units, n_bootstrap, draw)
    values = []
    for block in in_blocks(drawn, max(1, BLOCK_VALUES // len(units))):
        answered = draw.binomial(answers[block], his[block]) / answers[block]
        values.append(pearson(group_means(mis[block], group), group_means(answered, group)))
    row["nested_low"], row["nested_high"] = percentile_interval(np.concatenate(values), confidence)
    return row


def network_correlations(
    first: NDArray[np.float64], second: NDArray[np.float64], n_networks: int, confidence: float
) -> dict[str, float]:
    """Pearson and Spearman of two values of networks with intervals for other networks like these, as columns of COLUMNS.

    first, second   (points,), a network's conditions may be points of their own; n_networks alone counts in the intervals
    All NaN below FEWEST_CORRELATED networks; below MIN_RANKED the interval of Spearman is. See `model_agreement`.
    """
    row = dict.fromkeys(CORRELATIONS, float("nan"))
    if n_networks < FEWEST_CORRELATED:
        return row
    row["pearson"], row["spearman"] = float(pearson(first, second)), float(spearman(first, second))
    n, quantile, free = len(first), stats.norm.ppf((1 + confidence) / 2), n_networks - 3
    row["pearson_low"], row["pearson_high"] = fisher_interval(row["pearson"], free**-0.5, quantile)
    # ranks that all agree would have an interval of no width; the next coefficient below 1 is 1 - 12 / (n^3 - n)
    inside = np.clip(row["spearman"], -1 + 6 / (n**3 - n), 1 - 6 / (n**3 - n))
    if n_networks >= MIN_RANKED:
        low, high = fisher_interval(inside, np.sqrt((1 + inside**2 / 2) / free), quantile)
        row["spearman_low"], row["spearman_high"] = min(low, row["spearman"]), max(high, row["spearman"])
    return row


def agreement_table(units: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float) -> pd.DataFrame:
    """Agreement of every backend at every level, over all annotated units and outside the split.

    `units`: model, layer, unit, condition, backend, mis, in_split, his, n_responses, one row a unit,
    condition and backend. Rows of the result keep the order of first appearance of the backends. All backends
    share their resamples.
    """
    rows = []
    for backend in pd.unique(units["backend"]):
        of_backend = units[units["backend"] == backend]
        for level in LEVELS:
            for unit_set in UNIT_SETS:
                kept = of_backend if unit_set == "all" else of_backend[~of_backend["in_split"].astype(bool)]
                kept = kept.sort_values(KEY, kind="stable")
                draw = generator(seed, "agreement", level, unit_set)
                if level == "model":
                    row = model_agreement(kept, n_bootstrap, confidence, draw)
                else:
                    row = unit_agreement(kept, level == "unit_within", n_bootstrap, confidence, draw)
                rows.append({"backend": backend, "level": level, "units": unit_set, **row})
    return pd.DataFrame(rows, columns=COLUMNS)


def _condition_codes(units: pd.DataFrame) -> NDArray[np.integer]:
    return units.groupby(["model", "condition"], sort=True, observed=True).ngroup().to_numpy()


def _row(
    n: int, n_networks: int, pearson_value: float = float("nan"), spearman_value: float = float("nan")
) -> dict[str, float]:
    row = dict.fromkeys(COLUMNS[5:], float("nan"))
    return {"n": n, "n_networks": n_networks, **row, "pearson": pearson_value, "spearman": spearman_value}
