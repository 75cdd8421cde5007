"""Similarities side by side: levels, agreement with each other and with people, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY
from interpretability.statistics import mean_interval

_BLOCK = 1 << 20  # values ranked at a time
BACKEND_COLUMNS = [
    "backend",
    "slope",
    "slope_low",
    "slope_high",
    "status",
    "n_units",
    "mis_mean",
    "accuracy_mean",
    "margin_mean",
    "margin_sd",
    "spearman_lead",
    "mean_diff_lead",
    "mean_abs_diff_lead",
    "n_annotated",
    "pearson_his",
    "spearman_his",
    "pearson_his_minus_lead",
    "pearson_his_minus_lead_low",
    "pearson_his_minus_lead_high",
    "n_forwards",
    "n_pairs",
]
AGREEMENT_COLUMNS = [
    *("first", "second", "n_units", "spearman", "mean_diff", "mean_diff_low", "mean_diff_high", "mean_abs_diff"),
]
LEVEL_DIFFERENCES = AGREEMENT_COLUMNS[4:]  # those that compare levels of MIS
TOTAL_COLUMNS = ["n_units", "mis_mean", "accuracy_mean", "margin_mean", "n_tasks", "task_margin", "task_squares"]


def backend_totals(units: pd.DataFrame) -> dict[str, float]:
    """What `backend_summary` needs of one network: TOTAL_COLUMNS.

    `units`: mis, accuracy, margin_mean, margin_sd, n_tasks. n_tasks counts all tasks; task_margin is the mean margin over
    them and task_squares the sum of squared deviations from it.
    """
    margins, tasks = units["margin_mean"].to_numpy(np.float64), units["n_tasks"].to_numpy(np.float64)
    spread = units["margin_sd"].to_numpy(np.float64)
    row = {"n_units": len(units), "n_tasks": tasks.sum()}
    row |= {name: units[name.removesuffix("_mean")].mean() for name in ("mis_mean", "accuracy_mean")}
    mean = np.average(margins, weights=tasks) if len(units) else np.nan
    squares = ((tasks - 1) * spread**2)[tasks > 1].sum() + (tasks * (margins - mean) ** 2).sum()
    return {
        **row,
        "margin_mean": margins.mean() if len(units) else np.nan,
        "task_margin": mean,
        "task_squares": squares,
    }


def backend_summary(
    backend: str, totals: pd.DataFrame, lead: pd.Series | None, slope: dict[str, object], cost: dict[str, int]
) -> pd.DataFrame:
    """One backend's scores and their agreement with the leading backend: one row of BACKEND_COLUMNS.

    `totals`: TOTAL_COLUMNS of every ranked network; `lead`: the row of `backend_agreement` with the leading backend as
    first, None for that one itself; `slope`: slope, low, high, status. margin_sd of the row is over all tasks of all
    units. `cost` is of the whole study: n_forwards, passes of images through the network of the similarity if every
    image passes once a block of units (once at all if it is embedded), and n_pairs, the pairs of images that tasks
    ask about; each would cost two passes in a call of its own. The columns on HIS are left to `with_people`.
    """
    row: dict[str, object] = {f"slope_{end}": slope[end] for end in ("low", "high")}
    row |= {"slope": slope["slope"], "status": slope["status"], "n_units": int(totals["n_units"].sum()), **cost}
    row |= {"backend": backend, "margin_sd": np.nan, "spearman_lead": np.nan}
    if row["n_units"]:
        weighted = {name: np.average(totals[name], weights=totals["n_units"]) for name in _MEANS}
        row |= weighted | {"spearman_lead": 1.0, "mean_diff_lead": 0.0, "mean_abs_diff_lead": 0.0}
    if lead is not None:
        row |= {f"{name}_lead": lead[name] for name in ("spearman", "mean_diff", "mean_abs_diff")}
    n_tasks = totals["n_tasks"].sum()
    if n_tasks > 1:
        mean = np.average(totals["task_margin"], weights=totals["n_tasks"])
        between = (totals["n_tasks"] * (totals["task_margin"] - mean) ** 2).sum()
        row["margin_sd"] = np.sqrt((totals["task_squares"].sum() + between) / (n_tasks - 1))
    return pd.DataFrame([row], columns=BACKEND_COLUMNS)


_MEANS = ("mis_mean", "accuracy_mean", "margin_mean")


def with_people(backends: pd.DataFrame, agreed: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """The table of backends with their agreement with people over units outside the calibration split.

    `agreed` is the table of agreement, `differences` that of its differences: pearson_his_minus_lead is the correlation
    less that of the leading backend, the first row.
    """
    kept = agreed[(agreed["level"] == "unit") & (agreed["units"] == "outside_split")].set_index("backend")
    table = backends.copy()
    for column, name in (("n_annotated", "n"), ("pearson_his", "pearson"), ("spearman_his", "spearman")):
        table[column] = table["backend"].map(kept[name])
    pairs = differences.query("level == 'unit' and units == 'outside_split' and coefficient == 'pearson'")
    pairs = pairs[pairs["first"] == table["backend"].iloc[0]].set_index("second")
    # the lead is first in a pair, so signs and ends turn
    for column, name in (("", "difference"), ("_low", "high"), ("_high", "low")):
        table[f"pearson_his_minus_lead{column}"] = -table["backend"].map(pairs[name]).astype(np.float64)
    return table.astype({"n_annotated": "Int64"})


def with_second_mark(calibration: pd.DataFrame, agreed: pd.DataFrame) -> pd.DataFrame:
    """The table of slopes with the correlation of MIS and HIS beside them: pearson, its interval, and agrees.

    A slope may be identified where MIS tells no unit from another, so this is a mark of its own. The correlation is that of
    the headline, over units outside the calibration split (`agreed` is the table of agreement). agrees: 1 where its
    interval lies above 0, 0 where it does not, missing without an interval.
    """
    kept = agreed[(agreed["level"] == "unit") & (agreed["units"] == "outside_split")].set_index("backend")
    table = calibration.copy()
    for column in ("pearson", "pearson_low", "pearson_high"):
        table[column] = table["backend"].map(kept[column]).astype(np.float64)
    agrees = (table["pearson_low"] > 0).astype("Int64")
    return table.assign(agrees=agrees.mask(table["pearson_low"].isna()))


def backend_agreement(
    first: str, second: str, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]], confidence: float
) -> pd.DataFrame:
    """Agreement of two backends on the same units: one row of AGREEMENT_COLUMNS.

    `pairs` gives the units of one network after the other under either backend: key and mis. spearman is the rank
    correlation of mis over all units that both have, NaN below three or if one is constant; mean_diff (with the interval
    of a mean over units) and mean_abs_diff are of mis, second minus first.
    """
    sides: tuple[list[NDArray[np.float64]], ...] = ([], [])
    for pair in pairs:
        for side, values in zip(sides, _paired(*pair), strict=True):
            side.append(values.copy())
    one = np.concatenate([*sides[0], np.empty(0)])
    sides[0].clear()  # half of the memory that the next step needs
    other = np.concatenate([*sides[1], np.empty(0)])
    sides[1].clear()
    n = len(one)
    difference = other - one
    mean, sd = (difference.mean(), difference.std(ddof=1)) if n > 1 else (np.nan, np.nan)
    low, high = mean_interval(np.array([mean]), np.array([sd]), np.array([n]), confidence)
    far = np.abs(difference, out=difference).mean() if n else np.nan
    del difference
    row = (first, second, n, rank_correlation(one, other), mean, low[0], high[0], far)
    return pd.DataFrame([row], columns=AGREEMENT_COLUMNS)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman correlation (mean ranks for ties) of two long vectors; NaN below three values or if one is constant.

    Both vectors are overwritten: beside them there is room for one copy only where there are 70 million pairs.
    """
    n = len(first)
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    for values in (first, second):
        _rank_in_place(values)
    product, one, other = (np.einsum("i,i->", *pair) for pair in ((first, second), (first, first), (second, second)))
    return float(product / np.sqrt(one * other))


def _rank_in_place(values: NDArray[np.float64]) -> None:
    """Replace values by their ranks minus the mean rank."""
    ordered = np.sort(values)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        order = np.argsort(block)  # neighbours in a search are neighbours in memory; ties get one rank in any order
        below = np.searchsorted(ordered, block[order], "left")
        up_to = np.searchsorted(ordered, block[order], "right")
        block[order] = (below + up_to - len(values)) / 2


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the units that both tables have."""
    same_rows = len(first) == len(second) and all(
        np.array_equal(first[name].to_numpy(), second[name].to_numpy()) for name in KEY
    )
    if not same_rows:
        pair = first[[*KEY, "mis"]].merge(second[[*KEY, "mis"]], on=KEY)
        return pair["mis_x"].to_numpy(np.float64), pair["mis_y"].to_numpy(np.float64)
    return first["mis"].to_numpy(np.float64), second["mis"].to_numpy(np.float64)
