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
import pyarrow.dataset as ds

from stages import embedding, maps
from stages.errors import StudyError
from stages.pipeline.log import logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import fresh_folder, read_parquet, write_parquet
from stages.science import histograms, sensitivity, tasks
from stages.science.randomness import generator

log = logger("sensitivity")
COLUMNS = [
    "model",
    "backend",
    "setting",
    "value",
    "mis_mean",
    "mis_se",
    "spearman",
    "mean_abs_diff",
    "n_units",
]


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
        plan = embedding.SimilarityPlan.from_params(backend, params, args.images, args.models, args.code)
        found = embedding.embeddings(plan, store)
        embeddings = found.open() if found else None
        similarity, _ = embedding.opened(plan)

        def margins(built: np.ndarray, k: int, similarity=similarity, embeddings=embeddings) -> np.ndarray:  # noqa: ANN001
            return similarity.margins(built, k, embeddings)

        for model in params.sensitivity.models:
            top, bottom, keys = _units(model, layers[layers["model"] == model], args.activations, params)
            table = sensitivity.settings(
                top, bottom, keys, margins, n_tasks=params.tasks.n_tasks, n_explanations=params.tasks.n_explanations,
                other_n_tasks=params.sensitivity.n_tasks, other_n_explanations=params.sensitivity.n_explanations,
                slopes=params.sensitivity.slopes, slope=params.calibration.default_slope,
            )  # fmt: skip
            rows.append(table.assign(model=model, backend=backend))
            log.info("%s with %s: %d settings of %d units", model, backend, len(table), len(keys))
    write_parquet(out / "settings.parquet", pd.concat(rows)[COLUMNS] if rows else _empty())
    write_parquet(out / "maps.parquet", maps.map_table(params, args.images, args.models, args.code))
    write_parquet(out / "histograms.parquet", _histograms(args.activations, params))


def _histograms(activations: Path, params: Params) -> pd.DataFrame:
    """Histograms of N_UNITS random units of the first network in sensitivity.models that has kept columns."""
    kept = [activations / "kept" / f"{name}.parquet" for name in params.sensitivity.models]
    parts = [pd.DataFrame({name: pd.Series(dtype=_KINDS.get(name, np.float64)) for name in _HISTOGRAM})]
    for path in [path for path in kept if path.is_file()][:1]:
        columns = ds.dataset(path)
        owners = columns.to_table(["layer", "unit"]).to_pandas()
        draw = generator(params.seed, "activation histograms", path.stem)
        chosen = np.sort(draw.choice(len(owners), min(N_UNITS, len(owners)), replace=False))
        values = columns.take(chosen, columns=["values"])["values"].to_pylist()
        for place, column in zip(chosen, values, strict=True):
            owner = {"model": path.stem, **owners.iloc[place].to_dict()}
            parts.append(histograms.activation_histogram(np.array(column)).assign(**owner)[_HISTOGRAM])
    return pd.concat(parts[1:] or parts, ignore_index=True)


N_UNITS = 15  # IMI, figure 16
_HISTOGRAM = ["model", "layer", "unit", *histograms.COLUMNS]
_KINDS = {"model": str, "layer": str, "unit": np.int64, "n_peaks": np.int64}


def _empty() -> pd.DataFrame:
    kinds = {"model": str, "backend": str, "setting": str, "n_units": np.int64}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, np.float64)) for name in COLUMNS})


def _units(
    model: str, layers: pd.DataFrame, activations: Path, params: Params
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranked images of both sides and keys of the drawn units of one network; constant units are left out."""
    from safetensors.numpy import load_file

    state = load_file(activations / f"{model}.safetensors")
    keys = np.concatenate(
        [tasks.unit_keys(params.seed, model, row.layer, np.arange(row.width)) for row in layers.itertuples()]
    )
    live = np.flatnonzero(~tasks.constant(state["min"], state["max"])[0])
    count = min(params.sensitivity.n_units, len(live))
    drawn = np.sort(generator(params.seed, "sensitivity", model).choice(live, count, replace=False))
    return state["top_images"][drawn], state["bottom_images"][drawn], keys[drawn]


if __name__ == "__main__":
    run(main)
