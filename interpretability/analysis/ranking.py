"""Easiest and hardest units of a network, knowing that every score is an estimate.

Units at the top are there partly by luck of their tasks, so their naive mean is too high, and that of the bottom too
low. Two remedies stand beside it: scores shrunken towards the network's mean, and groups chosen on one half of the tasks
and scored on the other. Figure 2C of the MIS paper has people answer new tasks of such groups.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.mis import unit_scores
from interpretability.randomness import generator
from interpretability.schema import GROUPS, KEY

COLUMNS = [
    *(
        "backend",
        "model",
        "group",
        "k",
        "n_units",
        "naive",
        "shrunken",
        "cross_fitted",
        "cross_fitted_se",
        "chosen_again",
    ),
]
EXTREME_COLUMNS = ["backend", *KEY, "end", "rank", "mis", "mis_se", "shrunken", "shrunken_sd", "p_among"]
# Simulated rankings: as many as keep the work of a network near this many values, within these bounds.
_VALUES, _FEWEST_DRAWS, _MOST_DRAWS = 20_000_000, 200, 1000
_BLOCK_VALUES = 1 << 21
_FILTER, _WORTH = (
    3,
    100,
)  # in the first ranking, so many times k values lie beyond the bound; from so many times k units on


Vector = NDArray[np.float64]


def half_scores(
    margins: NDArray[np.floating], slope: float, near: NDArray[np.bool_] | None = None, drop: bool = False
) -> pd.DataFrame:
    """Scores from all tasks and from either half of them: mis, mis_se, even, even_se, odd, odd_se, one row a unit.

    `margins` (units, tasks), `near` and `drop` as for `score.unit_scores`. Halves are the tasks 0, 2, ... and 1, 3, ...:
    queries and explanations of a unit are dealt to its tasks at random, so they are alike.
    """
    columns = {}
    for name, part in (("mis", slice(None)), ("even", slice(0, None, 2)), ("odd", slice(1, None, 2))):
        scores = unit_scores(margins[:, part], slope, None if near is None else near[:, part], drop)
        columns |= {name: scores["mis"], f"{name}_se": scores["mis_se"]}
    return pd.DataFrame(columns)


def shrink(mis: Vector, error: Vector) -> tuple[Vector, Vector]:
    """Posterior means and standard deviations of true scores (empirical Bayes, normal).

    The prior has the mean of the scores and their variance less the mean square of their standard errors; that mean
    square is the error of every unit. A unit's own standard error comes from the same few tasks and is small where luck
    made its score extreme: with it, the easiest of simulated units stayed .02 to .03 too high, with the mean square
    within .005 (naive: .03 to .09). Where scores differ no more than their errors let them, all posteriors are equal.
    """
    square = float((np.nan_to_num(np.asarray(error, np.float64)) ** 2).mean())
    variance = max(float(mis.var(ddof=1)) - square, 0.0) if len(mis) > 1 else 0.0
    weight = variance / (variance + square) if variance > 0 else 0.0
    return mis.mean() + weight * (mis - mis.mean()), np.full(len(mis), np.sqrt(weight * square))


def p_among(mean: Vector, sd: Vector, k: int, draw: np.random.Generator) -> tuple[Vector, Vector]:
    """Probability of each unit to be among the k easiest and among the k hardest of its network.

    Share of simulated rankings of normal true scores; with R rankings its standard error is at most 1 / (2 sqrt R), R is
    1000 up to 20,000 units and 200 from 100,000 on. Cautious near 1: of simulated units said to be there with .59, .79
    were, because easy units have smaller errors than the mean of their network.
    """
    n = len(mean)
    n_draws = int(np.clip(_VALUES // n, _FEWEST_DRAWS, _MOST_DRAWS))
    counts = np.zeros((2, n), dtype=np.int64)
    size = max(1, _BLOCK_VALUES // n)
    bounds: list[float] = []
    for start in range(0, n_draws, size):
        rows = min(size, n_draws - start)
        values = draw.standard_normal((rows, n), dtype=np.float32) * sd.astype(np.float32) + mean.astype(np.float32)
        bounds = bounds or [_bound(values[0], k), _bound(-values[0], k)]
        counts[0] += _times_among(values, k, bounds[0])
        counts[1] += _times_among(-values, k, bounds[1])
    return counts[0] / n_draws, counts[1] / n_draws


def _bound(values: NDArray[np.float32], k: int) -> float:
    """A value that about _FILTER k values of a ranking exceed; -inf where units are too few for it to save time."""
    n, wanted = len(values), _FILTER * k
    return float(np.partition(values, n - wanted)[n - wanted]) if n >= _WORTH * k else -np.inf


def _times_among(values: NDArray[np.float32], k: int, bound: float) -> NDArray[np.int64]:
    """How often each column is among the k largest of a row of `values` (rows, n); of equal values the first ones count.

    Rows in which at least k values exceed `bound` are ranked by these alone, which are few.
    """
    n = values.shape[1]
    beyond = values > np.float32(bound)
    whole = beyond.sum(axis=1) < k if np.isfinite(bound) else np.ones(len(values), dtype=bool)
    counts = np.zeros(n, dtype=np.int64)
    if whole.any():
        few = values[whole]
        counts += _among(few, np.partition(few, n - k, axis=1)[:, n - k, None], k).sum(axis=0)
        beyond[whole] = False
    row, column = np.divmod(np.flatnonzero(beyond), n)
    order = np.lexsort((column, -values[row, column], row))
    place = np.arange(len(row)) - np.searchsorted(row, row)  # within its row; rows are in order before and after
    return counts + np.bincount(column[order[place < k]], minlength=n)


def _among(values: NDArray[np.float32], edge: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
    """Whether each of the values (rows, n) is among the k largest of its row, the smallest of which is `edge` (rows, 1).

    Of values that equal it the first ones count.
    """
    above, tied = values > edge, values == edge
    return above | (tied & (tied.cumsum(axis=1) <= k - above.sum(axis=1, keepdims=True)))


def rank_network(units: pd.DataFrame, backend: str, k: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Groups of k units of one network (COLUMNS) and the units of the two outer groups (EXTREME_COLUMNS).

    `units`: key and the columns of `half_scores`. No rows for fewer than 2k units. Equal scores are ordered by key.

    naive         mean MIS of the group chosen by that MIS;  shrunken: mean of its posterior means
    cross_fitted  mean over the two halves of tasks of: chosen on one, scored on the other. Unbiased for groups chosen on
                  half of the tasks; those chosen on all are a little better. cross_fitted_se: from the standard
                  errors of the units' scores, so for these units and other tasks
    chosen_again  share of a group chosen on one half that the other half chooses too
    p_among       probability that the unit is among the k of its end (`p_among`)
    """
    n = len(units)
    if k < 1 or n < 2 * k:
        return pd.DataFrame(columns=COLUMNS), pd.DataFrame(columns=EXTREME_COLUMNS)
    units = units.sort_values(KEY, kind="stable", ignore_index=True)
    model = str(units["model"].iloc[0])
    shrunken, sd = shrink(units["mis"].to_numpy(np.float64), units["mis_se"].to_numpy(np.float64))
    chance = generator(seed, "random units", model).permutation(n)[:k]

    def chosen(column: str) -> dict[str, NDArray[np.int64]]:
        order = np.argsort(-units[column].to_numpy(np.float64), kind="stable")
        return {"easiest": order[:k], "random": chance, "hardest": order[::-1][:k]}

    whole, even, odd = (chosen(name) for name in ("mis", "even", "odd"))
    rows = []
    for group in GROUPS:
        halves = [(even[group], "odd"), (odd[group], "even")]
        means = [units[name].to_numpy()[members].mean() for members, name in halves]
        errors = [np.sqrt((units[f"{name}_se"].to_numpy()[members] ** 2).sum()) / k for members, name in halves]
        again = len(np.intersect1d(even[group], odd[group])) / k
        naive = units["mis"].to_numpy()[whole[group]].mean(), shrunken[whole[group]].mean()
        rows.append((backend, model, group, k, n, *naive, np.mean(means), np.hypot(*errors) / 2, again))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.loc[table["group"] == "random", "chosen_again"] = np.nan  # it is one draw, whatever the half
    chances = p_among(shrunken, sd, k, generator(seed, "rankings", model))
    parts = [
        units.iloc[whole[end]].assign(
            end=end,
            rank=np.arange(1, k + 1),
            shrunken=shrunken[whole[end]],
            shrunken_sd=sd[whole[end]],
            p_among=p[whole[end]],
            backend=backend,
        )
        for end, p in zip(("easiest", "hardest"), chances, strict=True)
    ]
    return table, pd.concat(parts, ignore_index=True)[EXTREME_COLUMNS]
