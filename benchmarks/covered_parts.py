"""Intervals that need no whole study: of layers, of families of networks and of planted units, drawn for themselves.

Layers have a depth, a mean score, and the score of their network and type in common; a network has as many of them as its
units are to the four of a layer. Families of networks share a part of what their layer types differ by. Units of a layer
are alike, correlation ALIKE: the last row shows what an interval over units does for other layers, for which it is not meant.
Texts of two methods have scores in the same units, skewed and estimated with an error, as those of an estimator from ratings.
Directions and units of a layer share its level and have skewed scores; each layer has a twin, the norm behind it, of the same
true difference and of nearly the same units. The last row of them takes twins for layers of their own, and is not meant. Two
scores of the units of a layer go together by a correlation that differs between layers, which have twins, too.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.covered import CONFIDENCE, FEW, N_BOOTSTRAP, Found, Interval
from interpretability import statistics
from interpretability.analysis import bases, correlates, families, profiles, scores_compared
from interpretability.design.drawn_studies import Design
from interpretability.explanations import comparing
from interpretability.mis import probabilities
from interpretability.randomness import generator
from interpretability.schema import ONE_SIDED

LARGE_NETWORKS = 4000
BIN_NETWORKS = 36  # with the few of a design a bin of depth has fewer layers than an interval needs
ALIKE = 0.4
TYPES = 5
N_TASKS, SLOPE, CHANCE_SPREAD = 20, 6.25, 0.36  # margins of noise have the spread of the encoder's hash units
# scores of texts: Beta times the highest, the error of an estimate, and the mean of a second method over that of the first
TEXT_SCORES, MOST_SCORE, TEXT_ERROR, SECOND_METHOD = (1.2, 3.0), 0.7, 0.05, 0.5
# directions less units of a layer: mean and SD over clusters of layers; what a twin of a layer shares of the noise of its units
BASES_SHIFT, BASES_SPREAD, TWIN_SHARES = 0.02, 0.02, 0.9
TOGETHER, TOGETHER_SPREAD = (
    -0.4,
    0.15,
)  # Fisher's z of two scores of a layer's units: mean and SD over clusters of layers
_BETWEEN, _STEEP, _TYPED = 0.03, 0.05, 0.02  # SD of networks' means, rise with depth, SD of a type within a network


def intervals(design: Design, seed: int) -> Found:
    """Point, low and high of every quantity in one draw."""
    draw = generator(seed, "parts")
    layers = layers_of(design.n_models, _layers_a_network(design), draw)
    found: Found = {}
    rows = correlates.layer_correlations(layers, "mis_mean", seed, N_BOOTSTRAP, CONFIDENCE)
    found["layers against depth"] = _correlation(rows, "")
    found["layers against depth, one type"] = _correlation(rows, "Conv")
    found["layers in a bin of width"] = _bin(layers, "relative_width")
    found["layers in a bin of depth"] = _bin(layers_of(BIN_NETWORKS, _layers_a_network(design), draw), "depth")
    found["layer types, networks alone"] = _types(design.n_models, 1, seed, draw)
    found["layer types, families"] = _types(max(design.n_models * 2 // 3, families.FEWEST_FAMILIES), 2, seed, draw)
    chance = draw.normal(0, CHANCE_SPREAD, (design.n_units, N_TASKS))
    scores = probabilities(chance, SLOPE).mean(axis=1)
    found["controls at chance"] = _mean(scores)
    found[f"controls at chance, {FEW} units"] = _mean(scores[:FEW])
    of_layer = np.sqrt(ALIKE) * draw.standard_normal((_layers_a_network(design), 1))
    units = of_layer + np.sqrt(1 - ALIKE) * draw.standard_normal((len(of_layer), design.n_units // len(of_layer)))
    found["mean MIS, network, other layers"] = _mean(expit(units.ravel() / 2))
    found |= _bases(design, generator(seed, "parts", "bases"))
    found["rank correlation within layers"] = _within_layers(design, generator(seed, "parts", "within layers"))
    return found | _texts(design.n_units, generator(seed, "parts", "texts"))


def truths(design: Design) -> dict[str, float]:
    """Values of the quantities; those of bins are not among them, they are the means over studies."""
    layers = layers_of(LARGE_NETWORKS, _layers_a_network(design), generator(0, "parts", "large"))
    rows = correlates.layer_correlations(layers, "mis_mean", 0, 2, CONFIDENCE)
    found = {"layers against depth": _correlation(rows, "")[0]}
    found["layers against depth, one type"] = _correlation(rows, "Conv")[0]
    found |= dict.fromkeys(("layer types, networks alone", "layer types, families"), 0.0)
    found |= dict.fromkeys(("controls at chance", f"controls at chance, {FEW} units"), 0.5)
    a, b = TEXT_SCORES
    mean = MOST_SCORE * a / (a + b)
    found |= dict.fromkeys(("directions, over layers", "directions, twins taken for layers"), BASES_SHIFT)
    found |= {"mean score of a method": mean, "difference of methods": mean * (1 - SECOND_METHOD)}
    return found | {"mean MIS, network, other layers": 0.5}


def layers_of(n_networks: int, n_layers: int, draw: np.random.Generator) -> pd.DataFrame:
    """Layers of two types that alternate: the columns that `correlates` and `profiles` take."""
    number = np.arange(n_layers)
    depth = number / max(n_layers - 1, 1)
    kind = number % 2
    rise = _STEEP * (1 + 0.5 * draw.standard_normal((n_networks, 1)))
    score = 0.7 + _BETWEEN * draw.standard_normal((n_networks, 1)) + rise * depth
    score = score + _TYPED * draw.standard_normal((n_networks, 2))[:, kind]
    score = score + 0.03 * draw.standard_normal((n_networks, n_layers))
    n = n_networks * n_layers
    return pd.DataFrame(
        {
            "backend": "drawn",
            "model": np.repeat([f"network-{i:05d}" for i in range(n_networks)], n_layers),
            "layer": np.tile([f"layer-{i:03d}" for i in number], n_networks),
            "layer_type": np.tile(np.array(["Conv", "Linear"])[kind], n_networks),
            "depth": np.tile(depth, n_networks),
            "width": draw.choice([64, 128, 256, 512], size=n),
            "mis_mean": score.ravel(),
        }
    )


def _layers_a_network(design: Design) -> int:
    return design.n_units // 4


def _correlation(rows: list[dict[str, object]], layer_type: str) -> Interval:
    row = next(row for row in rows if row["layer_type"] == layer_type and row["x"] == "depth")
    return tuple(float(str(row[name])) for name in ("pearson", "low", "high"))


def _bin(layers: pd.DataFrame, x: str) -> Interval:
    """The bin in the middle of one type's layers."""
    bins = profiles.layer_bins(layers, CONFIDENCE)
    rows = bins[(bins["x"] == x) & (bins["layer_type"] == "Conv")]
    row = rows.iloc[len(rows) // 2]
    return row["mis_mean"], row["mis_low"], row["mis_high"]


def _types(n_families: int, of_family: int, seed: int, draw: np.random.Generator) -> Interval:
    """Difference of the first two of TYPES equal layer types; families of as many networks share .6 of its variance."""
    n_networks = n_families * of_family
    own = draw.standard_normal((n_networks, TYPES))
    shared = np.repeat(draw.standard_normal((n_families, TYPES)), of_family, axis=0)
    values = np.sqrt(0.6) * shared + np.sqrt(0.4) * own + draw.standard_normal((n_networks, 1))
    names = [f"network-{i:02d}" for i in range(n_networks)]
    types = [f"type-{i}" for i in range(TYPES)]
    means = pd.DataFrame(values[:, :2].ravel(), columns=["mis"]).assign(
        model=np.repeat(names, 2), layer_type=np.tile(types[:2], n_networks), condition="natural"
    )
    of = {name: f"family-{number // of_family}" for number, name in enumerate(names)}
    row = families.family_bootstrap(means, "mis", of, "", "natural", seed, N_BOOTSTRAP, CONFIDENCE).iloc[0]
    return row["difference"], row["low"], row["high"]


def _bases(design: Design, draw: np.random.Generator) -> Found:
    """Directions minus units of one network: the first layer, whose truth is its own, and over layers."""
    n_clusters, n = _layers_a_network(design) // 2, design.n_units // 2
    shift = BASES_SHIFT + BASES_SPREAD * draw.standard_normal((n_clusters, 1, 1))
    level = 0.65 + 0.1 * draw.random((n_clusters, 1, 1))
    sides = {}
    for side, more, spread in (("units", 0.0, 0.12), ("directions", shift, 0.16)):
        shared = draw.standard_normal((n_clusters, 1, n))
        own = draw.standard_normal((n_clusters, 2, n))
        noise = np.sqrt(TWIN_SHARES) * shared + np.sqrt(1 - TWIN_SHARES) * own
        # log-normal of mean 1, turned round: a long tail of hard units
        sides[side] = _scores(level + more + spread * (1 - np.exp(0.5 * noise - 0.125)))
    compare = partial(bases.compare_bases, model="turned", base="net", backend="drawn", kinds={}, confidence=CONFIDENCE)
    twins: dict[tuple[str, str], str] = {("net", f"layer-{2 * c + 1}"): f"layer-{2 * c}" for c in range(n_clusters)}
    found: Found = {}
    for name, clusters in (("directions, over layers", twins), ("directions, twins taken for layers", {})):
        table = compare(sides["directions"], sides["units"], clusters=clusters)
        over, first = table.iloc[-1], table.iloc[0]
        found[name] = over["difference"], over["low"], over["high"]
        found["directions, one layer"] = first["difference"], first["low"], first["high"], float(shift[0, 0, 0])
    return found


def _within_layers(design: Design, draw: np.random.Generator) -> Interval:
    """Mean over layers of the rank correlation of two scores inside one; each layer has a twin with nearly the same units."""
    n_clusters, n = _layers_a_network(design) // 2, design.n_units // 2
    rho = np.tanh(TOGETHER + TOGETHER_SPREAD * draw.standard_normal((n_clusters, 1, 1)))
    shared, own = draw.standard_normal((2, n_clusters, 1, n)), draw.standard_normal((2, n_clusters, 2, n))
    first, second = np.sqrt(TWIN_SHARES) * shared + np.sqrt(1 - TWIN_SHARES) * own
    second = rho * first + np.sqrt(1 - rho**2) * second
    units = _scores(first).rename(columns={"mis": "ms"}).assign(firing=second.ravel(), model="net")
    units["unit"] = np.tile(np.arange(n), 2 * n_clusters)
    twins: dict[tuple[str, str], str] = {("net", f"layer-{2 * c + 1}"): f"layer-{2 * c}" for c in range(n_clusters)}
    table = scores_compared.with_each_other(units, "drawn", twins, CONFIDENCE)
    row = table[table["level"] == "layer"].iloc[0]
    return row["value"], row["low"], row["high"]


def _scores(values: NDArray[np.float64]) -> pd.DataFrame:
    """Scores (clusters, layers of a cluster, units) as rows."""
    n_layers, n = values.shape[0] * values.shape[1], values.shape[2]
    index = np.repeat(np.arange(n_layers), n)
    rows = pd.DataFrame({"layer_index": index, "depth": index / n_layers, "mis": values.ravel()})
    return rows.assign(layer=[f"layer-{i}" for i in index], condition=ONE_SIDED)


def _texts(n_units: int, draw: np.random.Generator) -> Found:
    """Mean score of the first of two methods, and how much it is above the second."""
    true = MOST_SCORE * draw.beta(*TEXT_SCORES, n_units)
    second = true * np.where(draw.random(n_units) < 0.5, 2 * SECOND_METHOD, 0.0)  # half of its texts say something else
    rows = pd.DataFrame({"model": "net", "layer": "layer", "unit": np.arange(n_units)})
    scores = pd.concat(
        [
            rows.assign(method=name, rho=values + TEXT_ERROR * draw.standard_normal(n_units))
            for name, values in (("first", true), ("second", second))
        ]
    )
    mean = comparing.method_table(scores, confidence=CONFIDENCE).iloc[0]
    pair = comparing.paired_tests(scores, confidence=CONFIDENCE).iloc[0]
    sign = 1 if pair["first"] == "first" else -1  # the test names the higher one first
    ends = sorted((sign * pair["low"], sign * pair["high"]))
    return {
        "mean score of a method": (mean["mean"], mean["low"], mean["high"]),
        "difference of methods": (sign * pair["difference"], *ends),
    }


def _mean(scores: NDArray[np.float64]) -> Interval:
    low, high = statistics.share_interval(scores.mean(), scores.std(ddof=1), len(scores), CONFIDENCE)
    return float(scores.mean()), float(low), float(high)
