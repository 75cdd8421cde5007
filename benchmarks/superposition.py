"""Features in superposition over five seeds: what each basis scores, one-sided and as usual, and which latents are too sparse.

    python -m benchmarks.superposition [--seeds 5] [--images 4000] [--study FOLDER]

`superposition.csv`: features, directions, units and the trained code are drawn anew for every seed, on the same generated scenes;
20 tasks of 9 explanations a side, slope 6.25. `similarity` is the oracle, which compares the factors of these scenes; with
--study also the trained encoder of a finished study (its data/images and data/models), whose scenes are then those of both. A row
a similarity and layer: means over seeds of the mean score of its units, one-sided and as usual, their standard deviation over
seeds, the standard error over units inside a seed, the same of latents that are active on 200 images or more (those that have
tasks in a study) and of the others, which are reported apart, how many these are, and how many are dead. One-sided: the negative
side is random images outside the 200 most exciting. The seconds printed are processor time of all layers of a seed, of which
training takes most.

Aim, oracle: mixture .58 and its rotation alike, trained .68, inference .73 as the features, each within .02. Encoder: the same
order, .55, .55, .62 and .65, trained above the mixture by .03 and inference above trained by .01. Training within 10 s.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import report, timed
from interpretability import open_similarity, score_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors
from interpretability.synthetic.superposition import superposed
from study.images.manifest import open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of

N_TASKS, N_EXPLANATIONS = 20, 9
NEEDED = N_TASKS * (N_EXPLANATIONS + 1)
N_CATEGORIES = 24
ENCODER, BATCH = "encoder", 100

Embeddings = Mapping[str, NDArray[np.floating]]  # by similarity


def generated(n_images: int) -> tuple[pd.DataFrame, Embeddings]:
    """Factors of scenes of the library's own drawing, and what the oracle compares."""
    factors = draw_factors(n_images, seed=0, stream="images", n_categories=N_CATEGORIES)
    return factors, {"oracle": factor_vectors(factors)}


def of_study(folder: Path) -> tuple[pd.DataFrame, Embeddings]:
    """Factors of the scenes of a finished study, and what the oracle and its encoder compare."""
    images, models = open_images(folder / "data/images"), folder / "data/models"
    factors = images.factors
    if factors is None:
        raise SystemExit(
            f"--study is {folder}, a study of photographs; features are made of factors of generated scenes"
        )
    roster = read_roster(models / "roster.csv")
    (row,) = rows_of(roster[roster["name"] == ENCODER])
    # the encoder is trained: no seed enters its weights
    encoder = open_similarity(ENCODER, images, network=load_network(row, models, folder, seed=0))
    parts = [encoder.embed(np.arange(len(images))[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return factors, {"oracle": factor_vectors(factors), ENCODER: np.concatenate(parts)}


def of_seed(factors: pd.DataFrame, embeddings: Embeddings, seed: int) -> pd.DataFrame:
    """Every unit of every layer by each similarity: similarity, layer, active (images), one_sided and natural (scores)."""
    layers = superposed(factors, seed)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "similarity": similarity,
                    "layer": layer.layer,
                    "active": (layer.values > 0).sum(axis=0),
                    "one_sided": score(one_sided=True)["mis"],
                    "natural": score(one_sided=False)["mis"],
                }
            )
            for similarity, rows in embeddings.items()
            for layer in layers
            for score in (partial(score_units, layer.values, rows, model="superposed", layer=layer.layer, seed=seed),)
        ],
        ignore_index=True,
    )


def summary(units: pd.DataFrame) -> pd.DataFrame:
    """A row a similarity and layer, from units of several seeds."""
    enough = units["active"] >= NEEDED
    units = units.assign(
        enough=units["one_sided"].where(enough),
        sparse=units["one_sided"].where(~enough),
        n_sparse=~enough,
        n_dead=units["active"] == 0,
    )
    seeds = units.groupby(["similarity", "layer", "seed"], sort=False).agg(
        one_sided=("one_sided", "mean"),
        natural=("natural", "mean"),
        enough=("enough", "mean"),
        sparse=("sparse", "mean"),
        se=("one_sided", "sem"),
        n_sparse=("n_sparse", "sum"),
        n_dead=("n_dead", "sum"),
    )
    groups = seeds.groupby(["similarity", "layer"], sort=False)
    means = groups[["one_sided", "natural", "enough", "sparse", "se", "n_sparse", "n_dead"]].mean()
    means.insert(1, "one_sided_sd", groups["one_sided"].std())
    return means.rename(columns={"enough": "one_sided_enough", "sparse": "one_sided_too_sparse"}).reset_index()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000, help="scenes that are drawn where no study is given")
    parser.add_argument(
        "--study", type=Path, help="folder of a finished study of generated scenes with a network `encoder`"
    )
    args = parser.parse_args(argv)
    factors, embeddings = of_study(args.study) if args.study else generated(args.images)
    units = pd.concat([of_seed(factors, embeddings, seed).assign(seed=seed) for seed in range(args.seeds)])
    rows = summary(units).replace({np.nan: None})
    _, used = timed(partial(superposed, factors, 0))
    title = f"{args.seeds} seeds, {len(factors)} generated scenes, simulated features, {used:.1f} s for the layers of a seed"
    report("superposition", title, rows)


if __name__ == "__main__":
    main()
