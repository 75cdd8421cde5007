"""Scores of units side by side: which agrees with people, by how much more or less than MIS, and which say the same.

Levels
unit    every unit is a point
layer   differences between layers are taken out: with people by centring on the mean of each layer of a network, between scores
        as the mean over layers of the rank correlation within one
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability import statistics
from interpretability.analysis.cluster_tests import Clusters
from interpretability.analysis.similarities import rank_correlation
from interpretability.people.agreement_differences import difference_interval, joint_correlations
from interpretability.people.resampling import resample_units, widening
from interpretability.randomness import generator
from interpretability.schema import UNIT

POOLED = ("unit", "layer")
COEFFICIENTS = ("pearson", "spearman")
SCORES = [
    *("mis", "mis_one_sided", "accuracy", "rho", "spearman"),
    *("ms", "ms_z", "index", "peak_energy", "participation", "firing"),
]
MEANS = ["rho", "spearman", "ms", "ms_null", "ms_z", "index", "index_null", "firing", "peak_energy", "participation"]
COLUMNS = [
    *("backend", "part", "level", "coefficient", "first", "second", "n", "n_groups"),
    *("value", "low", "high", "difference", "difference_low", "difference_high", "p", "p_holm"),
]
MEAN_COLUMNS = [
    "backend",
    "model",
    "layer",
    "n_units",
    *(f"{name}_{what}" for name in MEANS for what in ("mean", "se")),
]


def with_people(units: pd.DataFrame, backend: str, seed: int, n_bootstrap: int, confidence: float) -> pd.DataFrame:
    """Agreement of every score with people, and its difference to that of MIS: COLUMNS, part `people`.

    `units`: model, layer, unit, his and any of SCORES under one similarity, one row a unit that people answered and on which no
    slope was fitted. A score is compared with MIS over the units that have both.

    value, low, high             correlation with his; the interval is symmetric in Fisher's z, its width the t quantile times
                                 the standard deviation of z over resamples
    difference, its ends and p   value less that of MIS on the same units: t quantile times its standard deviation over the
                                 same resamples, as for `agreement_differences`
    p_holm                       p adjusted over the scores of one level and coefficient (Holm)
    Units are resampled within their network; for the level `layer` within their layer, of layers with two units or more. In
    simulated studies of 60 to 390 units in 20 to 98 layers, 3 to 10 a layer, the intervals of that level hold the truth in 92 to
    99 %, those of differences in 96 to 99 %, at a nominal 95 %.
    """
    rows = []
    for level in POOLED:
        for scores, kept in _alike(units, level):
            rows += _agreement(kept, scores, level, generator(seed, "scores compared", level), n_bootstrap, confidence)
    table = pd.DataFrame(rows, columns=[*COLUMNS[2:-1]]).assign(backend=backend, part="people")
    adjusted = table.groupby(["level", "coefficient"], sort=False)["p"].transform(statistics.holm)
    table = table.assign(p_holm=adjusted.astype(np.float64))
    order = [
        table["level"].map(POOLED.index),
        table["coefficient"].map(COEFFICIENTS.index),
        table["first"].map(SCORES.index),
    ]
    return table.iloc[np.lexsort(order[::-1])].reset_index(drop=True)[COLUMNS]


def _alike(units: pd.DataFrame, level: str) -> list[tuple[list[str], pd.DataFrame]]:
    """Scores by the units that have them and MIS, so that resamples are shared; MIS itself is first of the first."""
    found: dict[bytes, tuple[list[str], pd.DataFrame]] = {}
    for score in (name for name in SCORES if name in units):
        there = units[["mis", score]].notna().all(axis=1).to_numpy()
        if score not in ("mis",) and not there.any():
            continue
        kept = units[there].sort_values(UNIT, kind="stable", ignore_index=True).assign(condition="")
        if level == "layer":
            kept["model"] = kept["model"].astype(str) + "\0" + kept["layer"].astype(str)
            kept = kept[kept.groupby("model")["unit"].transform("size") > 1].reset_index(drop=True)
        found.setdefault(there.tobytes(), ([], kept))[0].append(score)
    return list(found.values())


def _agreement(
    kept: pd.DataFrame, scores: list[str], level: str, draw: np.random.Generator, n_bootstrap: int, confidence: float
) -> list[tuple[object, ...]]:
    """Rows of scores that the same units have."""
    n, n_groups = len(kept), kept["model"].nunique()
    compared = list(dict.fromkeys(["mis", *scores]))
    names = [(level, kind, score, "his", n, n_groups) for score in scores for kind in COEFFICIENTS]
    if n - (n_groups if level == "layer" else 0) < statistics.MIN_POINTS:
        return [(*name, *[np.nan] * 7) for name in names]
    group = kept["model"].factorize()[0] if level == "layer" else None
    values, his = kept[compared].to_numpy(np.float64).T, kept["his"].to_numpy(np.float64)
    points = joint_correlations(values, his, group, np.arange(n)[None])[..., 0]
    draws = joint_correlations(values, his, group, resample_units(kept, n_bootstrap, draw))
    degrees, wider = n - (n_groups if level == "layer" else 1), widening(kept)
    quantile = float(stats.t.ppf((1 + confidence) / 2, degrees))
    rows = []
    for name in names:
        kind, place = COEFFICIENTS.index(name[1]), compared.index(name[2])
        point, of_score = points[kind], draws[kind]
        z = statistics.fisher_z(of_score[place])
        z = z[np.isfinite(z)]
        spread = float(z.std(ddof=1)) * wider if len(z) > 1 else float("nan")
        own = statistics.fisher_interval(float(point[place]), spread, quantile)
        difference = (np.nan,) * 4
        if name[2] != "mis":
            pair = [place, 0]
            difference = difference_interval(point[pair], of_score[pair], degrees, confidence, wider)
        rows.append((*name, float(point[place]), *own, *difference))
    return rows


def with_each_other(units: pd.DataFrame, backend: str, clusters: Clusters, confidence: float) -> pd.DataFrame:
    """Rank correlation of every two scores, over all units that have both and within layers: COLUMNS, part `scores`.

    `units`: model, layer, unit and any of SCORES under one similarity. n_groups counts networks at the level `unit`, and at the
    level `layer` the layers in which three units or more have both scores and neither is constant. `clusters`: the layer that
    begins the cluster of a network's layer (`networks.clusters`).

    low, high   of the mean over layers, for other layers like these: a norm repeats the layer before it, so layers of a cluster
                count together. None over all units: units of a layer are no independent draws of anything that a reader would
                want to know
    """
    scores = [name for name in SCORES if name in units and units[name].notna().any()]
    rows = []
    layers, inside = _within_layers(units, scores)
    cluster = pd.factorize(pd.Series([(model, clusters.get((model, layer), layer)) for model, layer in layers]))[0]
    for first, second in combinations(range(len(scores)), 2):
        pair = [scores[first], scores[second]]
        both = units[units[pair].notna().all(axis=1)]
        value = rank_correlation(*(both[name].to_numpy(np.float64, copy=True) for name in pair))
        rows.append(("unit", *pair, len(both), both["model"].nunique(), value, np.nan, np.nan))
        found, sizes = inside[:, first, second], inside[:, second, first]
        kept = np.isfinite(found)
        ends = _mean_of_layers(found[kept], cluster[kept], confidence)
        rows.append(("layer", *pair, int(sizes[kept].sum()), int(kept.sum()), *ends))
    table = pd.DataFrame(rows, columns=["level", "first", "second", "n", "n_groups", "value", "low", "high"])
    return table.assign(backend=backend, part="scores", coefficient="spearman").reindex(columns=COLUMNS)


def _mean_of_layers(
    values: NDArray[np.float64], cluster: NDArray[np.intp], confidence: float
) -> tuple[float, float, float]:
    """Mean of the correlations of layers, and the ends of its interval: Student's, over the clusters of layers.

    The error is the root of the sum over clusters of the squared sums of their deviations. NaN below FEWEST clusters.
    """
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    mean, n = float(values.mean()), len(np.unique(cluster))
    sums = np.bincount(cluster, values - mean)
    sd = np.sqrt((sums**2).sum() / max(n - 1, 1)) * n / len(values)
    low, high = statistics.mean_interval(mean, sd, n, confidence)
    return mean, float(np.maximum(low, -1.0)), float(np.minimum(high, 1.0))


def _within_layers(units: pd.DataFrame, scores: list[str]) -> tuple[list[tuple[str, str]], NDArray[np.float64]]:
    """Names of layers, and of each (layers, scores, scores): above the diagonal rank correlations, below it units with both."""
    names, found = [], []
    for (model, layer), part in units.groupby(["model", "layer"], sort=False, observed=True):
        names.append((str(model), str(layer)))
        values = part[scores].to_numpy(np.float64)
        there = ~np.isnan(values)
        table = np.full((len(scores), len(scores)), np.nan)
        for first, second in combinations(range(len(scores)), 2):
            both = there[:, first] & there[:, second]
            table[second, first] = both.sum()
            if both.sum() >= statistics.MIN_POINTS:
                table[first, second] = statistics.spearman(values[both, first], values[both, second])
        found.append(table)
    return names, np.array(found).reshape(-1, len(scores), len(scores))


def label_free_means(units: pd.DataFrame) -> pd.DataFrame:
    """Means of scores over the units of networks ('' as layer) and of their layers, with standard errors over units.

    `units`: backend, model, layer and MEANS. Units without a score are left out of its mean; n_units counts all.
    """
    parts = [pd.DataFrame(columns=MEAN_COLUMNS)]
    for by in (["backend", "model"], ["backend", "model", "layer"]):
        grouped = units.groupby(by, sort=False, observed=True)
        means, errors, sizes = grouped[MEANS].mean(), grouped[MEANS].sem(), grouped.size()
        table = means.add_suffix("_mean").join(errors.add_suffix("_se")).assign(n_units=sizes).reset_index()
        parts.append(table.assign(layer=table["layer"] if "layer" in by else "")[MEAN_COLUMNS])
    return pd.concat(parts[1:] if len(units) else parts[:1], ignore_index=True)
