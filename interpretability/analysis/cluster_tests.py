"""Which networks differ in their scores? Conover's test on one mean a cluster of layers.

Units of a layer resemble each other, and a norm repeats the layer before it (`networks.clusters`). So the members of a
network are its clusters: the test is the papers', on a dozen or two means a network in place of thousands of units. What
it says holds for other layers like these, not for another training of the networks. Means of neighbouring clusters should
not go together; how far they do stands beside the marks as `lag1`. With 18 clusters a network and a correlation of .2, .4
and .6 false alarms rise to .13, .30 and .55 of simulated studies (benchmarks/results/family_wise_error.csv).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import statistics
from interpretability.analysis import group_tests, pairs

TEST = "Conover of cluster means"
MEAN_COLUMNS = ["model", "condition", "cluster", "position", "n_layers", "n_units", "mean"]
LEVEL_COLUMNS = ["model", "n_units", "n_layers", "n_clusters", "unit_mean", "cluster_mean", "lag1"]
LAGS = ["lag1_first", "lag1_second"]
COLUMNS = [
    *("first", "second", "test", "n_first", "n_second", "people_first", "people_second"),
    *("mean_first", "mean_second", "difference", *pairs.MARKS),
]

Clusters = Mapping[tuple[str, str], str]  # network and layer -> the layer that begins its cluster; absent: itself


def cluster_of(layers: pd.DataFrame, clusters: Clusters) -> list[str]:
    """The cluster of each row (model, layer)."""
    return [
        clusters.get((str(model), str(layer)), str(layer)) for model, layer in layers[["model", "layer"]].to_numpy()
    ]


def cluster_means(units: pd.DataFrame, value: str, clusters: Clusters) -> pd.DataFrame:
    """Mean of `value` over the units of each cluster: MEAN_COLUMNS, clusters of a network in the order of their first layer.

    `units`: model, condition, layer, layer_index and `value`, one row a unit and condition.
    position  layer_index of the first layer of the cluster that has units here
    """
    layers = units[["model", "layer", "layer_index"]].drop_duplicates(ignore_index=True)
    layers["cluster"] = cluster_of(layers, clusters)
    layers["position"] = layers.groupby(["model", "cluster"], observed=True)["layer_index"].transform("min")
    rows = units[["model", "layer", "condition", value]].merge(
        layers[["model", "layer", "cluster", "position"]], on=["model", "layer"]
    )
    by = ["model", "condition", "position", "cluster"]
    grouped = rows.astype(dict.fromkeys(("model", "condition", "layer"), object)).groupby(by, sort=True)
    table = grouped.agg(n_layers=("layer", "nunique"), n_units=(value, "size"), mean=(value, "mean")).reset_index()
    return table[MEAN_COLUMNS]


def lag1(values: NDArray[np.floating]) -> float:
    """Correlation of each value with the next, values in the order of layers; NaN below four."""
    return float(statistics.pearson(values[:-1], values[1:])) if len(values) > statistics.MIN_POINTS else float("nan")


def levels(means: pd.DataFrame) -> pd.DataFrame:
    """Networks by their clusters, `means` (`cluster_means`) of one condition: LEVEL_COLUMNS, sorted by network.

    unit_mean     mean over units, the level that is reported everywhere else
    cluster_mean  mean over clusters, which the test compares: another quantity where clusters differ in size
    lag1          correlation of neighbouring clusters' means
    """
    rows = []
    for model, own in means.groupby("model", sort=True):
        value, size = own["mean"].to_numpy(np.float64), own["n_units"].to_numpy(np.float64)
        counts = (int(size.sum()), int(own["n_layers"].sum()), len(own))
        rows.append((model, *counts, float((value * size).sum() / size.sum()), float(value.mean()), lag1(value)))
    return pd.DataFrame(rows, columns=LEVEL_COLUMNS)


def network_tests(means: pd.DataFrame) -> pd.DataFrame:
    """All pairs of networks, sorted by name, on `means` (`cluster_means`) of one condition: COLUMNS.

    n_first, n_second  clusters
    mean_first, ...    means over clusters; difference: first minus second
    statistic, df, p   Conover's t on the joint ranks of the cluster means, see `group_tests.conover_of`
    p_holm, stars      adjusted over the pairs that are tested
    reason             why a pair is not: a network has fewer than four clusters, and then takes no part in the ranks
    """
    samples = {str(model): own.to_numpy(np.float64) for model, own in means.groupby("model", sort=True)["mean"]}
    tested = {model: values for model, values in samples.items() if len(values) >= pairs.FEWEST_MEMBERS}
    ranks = group_tests.joint_ranks(tested)
    table = group_tests.conover_of(ranks, tested)
    found = {
        (str(first), str(second)): each
        for first, second, *each in table[["first", "second", "statistic", "p"]].to_numpy()
    }
    names, rows = list(samples), []
    for i, j in pairs.all_pairs(names):
        first, second = samples[names[i]], samples[names[j]]
        statistic = p = df = float("nan")
        reason = pairs.TOO_FEW.format(what="clusters")
        if min(len(first), len(second)) >= pairs.FEWEST_MEMBERS:
            statistic, p = found[names[i], names[j]]
            df, reason = (ranks.n - len(ranks.names), "") if p == p else (df, pairs.ALIKE)  # not NaN
        ends = (float(first.mean()), float(second.mean()))
        none = (float("nan"),) * 2
        rows.append(
            (
                names[i],
                names[j],
                TEST,
                len(first),
                len(second),
                *none,
                *ends,
                ends[0] - ends[1],
                statistic,
                df,
                p,
                reason,
            )
        )
    unmarked = [name for name in COLUMNS if name not in ("p_holm", "stars")]
    return pairs.marked(pd.DataFrame(rows, columns=unmarked), COLUMNS) if rows else pairs.empty(COLUMNS)


def with_lags(tests: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """A table of pairs of networks with the lag1 of both, from `levels` of the same condition."""
    lag = table.set_index("model")["lag1"]
    return tests.assign(lag1_first=tests["first"].map(lag), lag1_second=tests["second"].map(lag))
