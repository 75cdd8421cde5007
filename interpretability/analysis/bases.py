"""Is a layer easier to understand in other directions than in its units? Both in the same layers, under the same tasks.

Two kinds of rows, for two questions. A row of one layer takes its units and its directions for draws from all that could be
read there (Welch's t): what units and directions of a layer have in common cancels in their difference. The row over layers
asks about other layers like these. A norm repeats the layer before it (`networks.clusters`), so each cluster of layers counts
once, with the mean of the differences of its layers, and the interval is Student's over clusters. What both cover is in
benchmarks/results/coverage.csv ("directions, ..."), and what an interval that takes a norm for a layer of its own would.

Over layers only one-sided tasks have an interval and a sign. Where layers pass on most of what they say, that of natural tasks
would be too sure (benchmarks/results/directions.csv: 11 % false signs), and bases are compared in one-sided tasks anyway.

A sign is claimed only where the interval leaves out zero and the p value, adjusted after Holm over the layers of the network
under that similarity and condition, does too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.analysis.cluster_tests import Clusters
from interpretability.schema import ONE_SIDED, POOLED
from interpretability.statistics import FEWEST, FEWEST_SCORES, holm

ABOVE, BELOW = "above", "below"
COLUMNS = [
    *("model", "base", "layer", "layer_index", "depth", "backend", "condition", "kind", "pooling"),
    *("n_directions", "n_units", "mis_directions", "mis_units", "difference", "low", "high"),
    *("p", "p_holm", "sign", "n_clusters"),
]
Kinds = Mapping[str, tuple[str, str]]  # name of a layer of directions -> kind of its directions, how they are pooled
_NONE = float("nan"), float("nan"), float("nan")
_TEXT = ("model", "base", "layer", "backend", "condition", "kind", "pooling", "sign")


def units_layer(layer: str) -> str:
    """The layer whose units a layer of directions stands beside: `layer3@max` is read from `layer3`."""
    return layer.partition(POOLED)[0]


def empty() -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=object if name in _TEXT else np.float64) for name in COLUMNS})


def compare_bases(
    directions: pd.DataFrame,
    units: pd.DataFrame,
    *,
    model: str,
    base: str,
    backend: str,
    kinds: Kinds,
    clusters: Clusters,
    confidence: float,
) -> pd.DataFrame:
    """Directions of a network against its units: COLUMNS, a row a condition and layer, and one over layers (layer '').

    directions, units  layer, layer_index, depth, condition, mis, one row a scored direction of `model`, or unit of `base`
    kinds              kind and pooling by the name of a layer of directions; unknown ones are ''
    clusters           the layer that begins the cluster of a layer of `base`

    difference  mean MIS of directions minus that of units, with low and high. Over layers: the mean over clusters, and so are
                mis_directions and mis_units; n_directions and n_units count all that enter
    low, high   of the row over layers in one-sided tasks alone, see above
    p_holm      over the layers with an interval; the row over layers is one test
    sign        `above` or `below` (directions against units) where it may be claimed, else ''
    n_clusters  1 for a layer; over layers the clusters, and no interval below FEWEST of them

    A layer of directions without scored units of its own has a row with n_units 0 and no difference, and is in no mean over
    layers. No interval with fewer than FEWEST_SCORES scores of either kind, or where all scores of both are alike.
    """
    parts = [empty()]
    for condition, of_condition in directions.groupby("condition", sort=True, observed=True):
        beside = units[units["condition"] == condition]
        layers = _by_layer(of_condition, beside, confidence)
        both = layers[layers["n_units"] > 0]
        ends = (
            [layers] if both.empty else [layers, _over_layers(both, base, clusters, confidence, condition == ONE_SIDED)]
        )
        rows = pd.concat(ends, ignore_index=True)
        known = [_kind_of(layer, both["layer"], kinds) for layer in rows["layer"]]
        facts = {"model": model, "base": base, "backend": backend, "condition": str(condition)}
        parts.append(rows.assign(**facts, kind=[one for one, _ in known], pooling=[one for _, one in known])[COLUMNS])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _kind_of(layer: str, layers: pd.Series, kinds: Kinds) -> tuple[str, str]:
    """Kind and pooling of a layer; of the row over layers all that occur, with spaces between."""
    if layer:
        return kinds.get(layer, ("", ""))
    found = [kinds.get(name, ("", "")) for name in layers]
    kind, pooling = (" ".join(dict.fromkeys(one for one in side if one)) for side in zip(*found, strict=True))
    return kind, pooling


def _by_layer(directions: pd.DataFrame, units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Rows of the layers of directions, in the order of the network."""
    scores = {str(layer): of.to_numpy(np.float64) for layer, of in units.groupby("layer", observed=True)["mis"]}
    rows = []
    by = ["layer_index", "layer", "depth"]  # a depth may be missing
    for (index, layer, depth), of_layer in directions.groupby(by, sort=True, observed=True, dropna=False):
        found = of_layer["mis"].to_numpy(np.float64)
        beside = scores.get(units_layer(str(layer)), np.empty(0))
        low, high, p = welch(found, beside, confidence)
        means = found.mean(), beside.mean() if len(beside) else np.nan
        difference = means[0] - means[1]
        rows.append((str(layer), index, depth, len(found), len(beside), *means, difference, low, high, p, 1))
    columns = ["layer", "layer_index", "depth", "n_directions", "n_units", "mis_directions", "mis_units"]
    table = pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "p", "n_clusters"])
    return _claimed(table, confidence)


def _over_layers(
    layers: pd.DataFrame, base: str, clusters: Clusters, confidence: float, one_sided: bool
) -> pd.DataFrame:
    """The row over layers."""
    names = [units_layer(layer) for layer in layers["layer"]]
    cluster = [clusters.get((base, name), name) for name in names]
    values = ["mis_directions", "mis_units", "difference"]
    means = layers.groupby(cluster, sort=False)[values].mean()
    low, high, p = student(means["difference"].to_numpy(np.float64), confidence) if one_sided else _NONE
    row = means.mean().to_dict() | {"low": low, "high": high, "p": p, "n_clusters": len(means)}
    row |= {"n_directions": layers["n_directions"].sum(), "n_units": _units_once(layers, names)}
    return _claimed(pd.DataFrame([row | {"layer": "", "layer_index": np.nan, "depth": np.nan}]), confidence)


def _units_once(layers: pd.DataFrame, names: list[str]) -> int:
    """Units of the layers; those of a layer that is read twice, pooled in two ways, once."""
    return int(layers.groupby(names)["n_units"].first().sum())


def _claimed(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """With p_holm and sign."""
    adjusted = holm(table["p"])
    sure = (adjusted < 1 - confidence) & ((table["low"] > 0) | (table["high"] < 0))
    sign = np.where(table["difference"] > 0, ABOVE, BELOW)
    return table.assign(p_holm=adjusted, sign=np.where(sure, sign, ""))


def welch(first: NDArray[np.float64], second: NDArray[np.float64], confidence: float) -> tuple[float, float, float]:
    """Ends of the interval of mean(first) - mean(second) of independent scores with spreads of their own, and p of no difference.

    Degrees of freedom after Welch (1947) and Satterthwaite. NaN below FEWEST_SCORES scores of either, or without any spread.
    """
    counts = np.array([len(first), len(second)])
    if counts.min() < FEWEST_SCORES:
        return _NONE
    shares = np.array([first.var(ddof=1), second.var(ddof=1)]) / counts
    if shares.sum() == 0:
        return _NONE
    df = shares.sum() ** 2 / (shares**2 / (counts - 1)).sum()
    return _ends(float(first.mean() - second.mean()), float(np.sqrt(shares.sum())), float(df), confidence)


def student(differences: NDArray[np.float64], confidence: float) -> tuple[float, float, float]:
    """Ends of the t interval of a mean, and p of a mean of zero; NaN below FEWEST values or where all are alike."""
    n = len(differences)
    if n < FEWEST or np.ptp(differences) == 0:
        return _NONE
    return _ends(float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n)), n - 1, confidence)


def _ends(middle: float, se: float, df: float, confidence: float) -> tuple[float, float, float]:
    reach = float(stats.t.ppf((1 + confidence) / 2, df)) * se
    return middle - reach, middle + reach, 2 * float(stats.t.sf(abs(middle) / se, df))
