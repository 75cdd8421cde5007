"""Rebuild the tasks of chosen networks with other N and K, read their margins with other slopes, and look at values.

Reads   data/activations, data/images, data/models
Writes  data/sensitivity: settings.parquet, one row a network, backend and setting; maps.parquet, contrast and sparseness of
        the feature maps of sensitivity.map_models; histograms.parquet, values of some units whose whole column was kept
Run     dvc repro sensitivity
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.analysis import other_settings
from study.command import run
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import fresh_folder, read_parquet, write_parquet
from study.log import logger
from study.params.whole import load_params
from study.solving import embeddings as embedding
from study.solving import feature_maps, opening
from study.solving.other_settings import COLUMNS, drawn_units, kept_histograms, no_settings

log = logger("sensitivity")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--activations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    layers = read_parquet(args.activations / "layers.parquet")
    unknown = [name for name in params.sensitivity.models if not (layers["model"] == name).any()]
    if unknown:
        known = ", ".join(dict.fromkeys(layers["model"]))
        raise StudyError(f"sensitivity.models names {unknown[0]!r}, which has no activations; allowed: {known}")
    out = fresh_folder(args.out)
    store, rows = WorkStore.open(), []
    for backend in params.scores.backends if params.sensitivity.models else ():
        plan = opening.SimilarityPlan.from_params(backend, params, args.images, args.models, args.code)
        prepared = embedding.embedded_images(plan, store)
        embeddings = prepared.open() if prepared else None
        similarity, _ = opening.similarity_and_images(plan)

        def margins(built: np.ndarray, k: int, similarity=similarity, embeddings=embeddings) -> np.ndarray:  # noqa: ANN001
            return similarity.margins(built, k, embeddings)

        for model in params.sensitivity.models:
            top, bottom, keys = drawn_units(model, layers[layers["model"] == model], args.activations, params)
            table = other_settings.settings(
                top, bottom, keys, margins, n_tasks=params.tasks.n_tasks, n_explanations=params.tasks.n_explanations,
                other_n_tasks=params.sensitivity.n_tasks, other_n_explanations=params.sensitivity.n_explanations,
                slopes=params.sensitivity.slopes, slope=params.calibration.default_slope,
            )  # fmt: skip
            rows.append(table.assign(model=model, backend=backend))
            log.info("%s with %s: %d settings of %d units", model, backend, len(table), len(keys))
    write_parquet(out / "settings.parquet", pd.concat(rows)[COLUMNS] if rows else no_settings())
    write_parquet(out / "maps.parquet", feature_maps.feature_map_table(params, args.images, args.models, args.code))
    write_parquet(out / "histograms.parquet", kept_histograms(args.activations, params))


if __name__ == "__main__":
    run(main)
