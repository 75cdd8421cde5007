"""Where in a network and when in its training scores change, and how soon they settle (MIS paper, figures 6, 7, 13, 18).

Layers are the points: a bin of layers has the mean of their mean scores, whatever their numbers of units.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.statistics import FEWEST, FEWEST_CORRELATED

N_DEPTH_BINS = 30  # MIS paper, figure 6A
N_WIDTH_BINS = 5  # figure 6B
BIN_COLUMNS = [
    *("backend", "x", "layer_type", "bin", "n_layers", "n_networks", "type_networks", "x_from", "x_to", "x_mean"),
    *("mis_mean", "mis_low", "mis_high"),
]
CHANGE_COLUMNS = [
    *("backend", "series", "period", "from_step", "to_step", "layer", "layer_type", "layer_index", "depth", "n_units"),
    *("change", "change_se"),
]
CONVERGENCE_COLUMNS = ["backend", "model", "n_tasks", "mean_abs_diff", "n_units"]


def layer_bins(layers: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Layers of all networks in bins of equal count by relative depth and by relative width: BIN_COLUMNS.

    `layers`: backend, model, layer, layer_type, depth, width, mis_mean, the layers of ranked networks. Bins are made
    within each layer type: N_DEPTH_BINS by depth, N_WIDTH_BINS by width over the largest width of the type in its
    network; fewer where a type has fewer layers. Equal places are ordered by network and layer. The interval of a bin
    is for other networks: layers of one network are alike, so they are its clusters (t, see `_over_networks`). A layer
    type of fewer than FEWEST_CORRELATED networks (type_networks) has none: its bins are points of these networks, not a
    course that others share.
    """
    widest = layers.groupby(["backend", "model", "layer_type"], observed=True)["width"].transform("max")
    table = layers.assign(relative_width=layers["width"] / widest)
    rows = []
    for x, n_bins in (("depth", N_DEPTH_BINS), ("relative_width", N_WIDTH_BINS)):
        for (backend, kind), part in table.groupby(["backend", "layer_type"], sort=False, observed=True):
            type_networks = part["model"].nunique()
            few = type_networks < FEWEST_CORRELATED
            ordered = part.sort_values([x, "model", "layer"], ignore_index=True)
            for number, index in enumerate(np.array_split(np.arange(len(ordered)), min(n_bins, len(ordered)))):
                own = ordered.iloc[index]
                scores, where = own["mis_mean"].to_numpy(np.float64), own[x].to_numpy(np.float64)
                low, high = (
                    (np.nan, np.nan) if few else _over_networks(scores, pd.factorize(own["model"])[0], confidence)
                )
                names = (backend, x, kind, number + 1, len(own), own["model"].nunique(), type_networks)
                ends = (where.min(), where.max(), where.mean())
                rows.append((*names, *ends, scores.mean(), low, high))
    return pd.DataFrame(rows, columns=BIN_COLUMNS)


def _over_networks(scores: NDArray[np.float64], network: NDArray[np.integer], confidence: float) -> tuple[float, float]:
    """Interval of the mean of layers, clustered by network (codes); NaN below FEWEST networks.

    With one layer a network it is the t interval of a mean.
    """
    deviations = np.bincount(network, weights=scores - scores.mean())
    n_networks = len(deviations)
    if n_networks < FEWEST:
        return float("nan"), float("nan")
    error = np.sqrt((deviations**2).sum() * n_networks / (n_networks - 1)) / len(scores)
    reach = float(stats.t.ppf((1 + confidence) / 2, n_networks - 1) * error)
    return float(scores.mean()) - reach, float(scores.mean()) + reach


def layer_change(layers: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Change of every layer's mean score in the first epoch, from then on, and over the whole training: CHANGE_COLUMNS.

    `layers`: backend, model, layer, layer_type, layer_index, depth, n_units, mis_mean, mis_se; `models`: model, backend,
    role, series, step. period is first (step 0 to 1, or where that is missing to the next one), later (from there to the last)
    or full. Layers without units at either end are left out. change_se adds the standard errors of both ends, units of which
    are taken for independent: an upper bound, since units keep part of their score.
    """
    steps = models[(models["role"] == "study") & (models["series"].astype(str) != "") & models["step"].notna()]
    in_series = layers.merge(steps[["model", "backend", "series", "step"]], on=["model", "backend"])
    parts = [pd.DataFrame(columns=CHANGE_COLUMNS)]
    for (backend, series), own in in_series.groupby(["backend", "series"], sort=False, observed=True):
        order = sorted(own["step"].unique())
        if len(order) < 2 or order[0] != 0:
            continue
        # steps within the first epoch are fractions of it
        first = 1 if 1 in order else order[1]
        ends = {"first": (order[0], first), "later": (first, order[-1]), "full": (order[0], order[-1])}
        for period, (start, stop) in ends.items():
            if start == stop:
                continue
            after = own.loc[own["step"] == stop, _OF_LAYER]
            before = own.loc[own["step"] == start, ["layer", "n_units", "mis_mean", "mis_se"]]
            pair = after.merge(before, on="layer", suffixes=("", "_before"))
            parts.append(
                pair.assign(
                    backend=backend,  # pyright: ignore[reportArgumentType]
                    series=series,  # pyright: ignore[reportArgumentType]
                    period=period,
                    from_step=_number(start),
                    to_step=_number(stop),
                    n_units=pair[["n_units", "n_units_before"]].min(axis=1),
                    change=pair["mis_mean"] - pair["mis_mean_before"],
                    change_se=np.hypot(pair["mis_se"].astype(float), pair["mis_se_before"].astype(float)),
                ).sort_values("layer_index", kind="stable")[CHANGE_COLUMNS]
            )
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _number(step: float) -> float:
    """A step as it is written: whole, but within an epoch."""
    return int(step) if float(step).is_integer() else float(step)


_OF_LAYER = ["layer", "layer_type", "layer_index", "depth", "n_units", "mis_mean", "mis_se"]


def convergence(probabilities: NDArray[np.floating], used: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Mean absolute difference between the score of the first i tasks and that of all N, i = 1 ... N - 1 (figure 13a).

    `probabilities` (units, tasks) of a right answer in task order; `used` marks the tasks that count, None for all: the
    first i tasks of a unit are then the first i of these, and units with no more than i are left out. Columns n_tasks,
    mean_abs_diff, n_units.
    """
    n = probabilities.shape[1]
    distances: list[tuple[int, float, int]] = []
    if used is None:
        final = probabilities.mean(axis=1, dtype=np.float64)
        total = np.zeros(len(final))
        for i in range(1, n):  # a task after the other: three passes over the units each, no table of all sums
            total += probabilities[:, i - 1]
            distances.append((i, float(np.abs(total / i - final).mean()) if len(final) else 0.0, len(final)))
    else:
        running = np.cumsum(np.where(used, probabilities, 0), axis=1, dtype=np.float64)
        count = np.cumsum(used, axis=1)
        for i in range(1, n):
            kept = np.flatnonzero(count[:, -1] > i)
            task = (count[kept] < i).sum(axis=1)  # where a unit has had i tasks that count
            final = running[kept, -1] / count[kept, -1]
            distance = np.abs(running[kept, task] / i - final)
            distances.append((i, float(distance.mean()) if len(distance) else 0.0, len(distance)))
    rows = [row for row in distances if row[2]]
    return pd.DataFrame(rows, columns=CONVERGENCE_COLUMNS[2:])
