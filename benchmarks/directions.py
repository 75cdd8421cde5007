"""Are signs of "units or directions?" false where neither is easier? Networks whose units are one rotation among all.

    python -m benchmarks.directions [--studies 300]

`directions.csv`: in every study the layers of a network respond to the embeddings of the same images by weights without any
preferred axes, so units and a rotation of them are equally easy by construction, layer by layer. Scores are those of
`score_units`, on the same images for both bases and all layers; differences, intervals and signs are those of `compare_bases`. A
row a kind of tasks and `passed_on`, the share of the variance of a unit that comes from the same unit of the layer before
(residual sums pass on much, so neighbouring layers might err alike):

layer_coverage   share of intervals of one layer that hold 0
family_wise      share of studies in which any layer has a sign
over_coverage    share of studies whose interval over layers holds 0
over_sign        share of studies in which the row over layers has a sign
lag1             mean correlation of the differences of neighbouring layers

Aim: family_wise and over_sign at .05, up to three standard errors (`se`). Not held by over_sign in natural tasks where .9 is
passed on (.11), for which `compare_bases` gives no interval over layers in natural tasks; here they are read as if it did.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import report
from interpretability import score_units
from interpretability.analysis.bases import compare_bases
from interpretability.analysis.cluster_tests import lag1
from interpretability.directions.built_in import rotation
from interpretability.randomness import generator
from interpretability.schema import NATURAL, ONE_SIDED

N_IMAGES, N_FACTORS, N_LAYERS, WIDTH = 600, 12, 12, 32
N_TASKS, N_EXPLANATIONS, CONFIDENCE = 6, 4, 0.95
NOISE = 4.0  # standard deviation of what a unit responds to beside the embeddings, where each factor adds 1
PASSED_ON = (0.0, 0.9)
FACTS = {"model": "turned", "base": "net", "backend": "drawn", "kinds": {}, "clusters": {}, "confidence": CONFIDENCE}


def layers_of(embeddings: NDArray[np.float64], passed_on: float, draw: np.random.Generator) -> NDArray[np.float64]:
    """Values (layers, images, units) without preferred axes, unit by unit alike in neighbouring layers."""
    found = []
    for _ in range(N_LAYERS):
        new = embeddings @ draw.standard_normal((N_FACTORS, WIDTH))
        new = new + NOISE * draw.standard_normal((N_IMAGES, WIDTH))
        found.append(np.sqrt(passed_on) * found[-1] + np.sqrt(1 - passed_on) * new if found else new)
    return np.array(found)


def compared(seed: int, passed_on: float, condition: str) -> pd.DataFrame:
    """What `compare_bases` says of one network and its rotations."""
    draw = generator(seed, "directions", str(passed_on))
    embeddings = draw.standard_normal((N_IMAGES, N_FACTORS))
    units = layers_of(embeddings, passed_on, draw)
    turned = np.array([each @ rotation(seed, f"layer {layer}", WIDTH) for layer, each in enumerate(units)])
    columns = np.concatenate([*units, *turned], axis=1)
    one_sided, size = condition == ONE_SIDED, (N_TASKS, N_EXPLANATIONS)
    table = score_units(
        columns, embeddings, n_tasks=size[0], n_explanations=size[1], seed=seed, one_sided=one_sided, threads=1
    )
    mis = table["mis"]
    layer = np.repeat(np.arange(N_LAYERS), WIDTH)
    # called one-sided whatever they are, so that there is an interval over layers
    rows = pd.DataFrame({"layer_index": layer, "depth": layer / N_LAYERS, "condition": ONE_SIDED})
    rows = rows.assign(layer=[f"layer {number}" for number in layer])
    half = len(rows)
    both = [rows.assign(mis=part.to_numpy()) for part in (mis[half:], mis[:half])]
    return compare_bases(*both, **FACTS)


def summary(tables: list[pd.DataFrame]) -> dict[str, float]:
    """How often intervals hold 0 and signs are claimed, over studies."""
    single = [table[table["layer"] != ""] for table in tables]
    whole = pd.concat([table[table["layer"] == ""] for table in tables])
    layers = pd.concat(single)
    row = {
        "layer_coverage": ((layers["low"] <= 0) & (layers["high"] >= 0)).mean(),
        "family_wise": np.mean([(part["sign"] != "").any() for part in single]),
        "over_coverage": ((whole["low"] <= 0) & (whole["high"] >= 0)).mean(),
        "over_sign": (whole["sign"] != "").mean(),
        "lag1": np.mean([lag1(part["difference"].to_numpy()) for part in single]),
    }
    row = {name: float(value) for name, value in row.items()}
    return row | {"se": float(np.sqrt(0.05 * 0.95 / len(tables))), "mean_difference": float(whole["difference"].mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    args = parser.parse_args()
    rows = []
    for condition in (ONE_SIDED, NATURAL):
        for passed_on in PASSED_ON:
            tables = [compared(seed, passed_on, condition) for seed in range(args.studies)]
            rows.append({"condition": condition, "passed_on": passed_on, "n": args.studies, **summary(tables)})
    report("directions", f"{args.studies} networks without preferred axes a row, simulated", rows)


if __name__ == "__main__":
    main()
