"""Tasks of some units rebuilt for other settings, and histograms of kept columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from interpretability.analysis import histograms, other_settings
from interpretability.randomness import generator, network_keys
from interpretability.tasks import rules
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_parquet
from study.log import logger
from study.params.parts import Backends
from study.solving import embeddings, opening
from study.solving.feature_maps import MapParams
from study.solving.opening import Similarities

if TYPE_CHECKING:
    from interpretability.similarity.base import Similarity

log = logger("sensitivity")

COLUMNS = ["model", "backend", "setting", "value", "mis_mean", "mis_se", "spearman", "mean_abs_diff", "n_units"]
N_UNITS = 15  # IMI, figure 16
_HISTOGRAM = ["model", "layer", "unit", *histograms.COLUMNS]
_KINDS = {"model": str, "layer": str, "unit": np.int64, "n_peaks": np.int64}


@dataclass(frozen=True, kw_only=True)
class TaskSize:
    """How many images tasks have, of `tasks`.

    n_tasks         of each unit
    n_explanations  on each side of a task
    """

    n_tasks: int
    n_explanations: int


@dataclass(frozen=True, kw_only=True)
class DefaultSlope:
    """The slope of a score that was not calibrated, of `calibration`."""

    default_slope: float


@dataclass(frozen=True, kw_only=True)
class AllSimilarities(Similarities, Backends):
    """The similarities that rebuilt tasks are solved with, of `scores`."""


@dataclass(frozen=True, kw_only=True)
class SettingParams(MapParams):
    """What scores under other settings, and the facts of feature maps and values, depend on."""

    tasks: TaskSize
    scores: AllSimilarities
    calibration: DefaultSlope


def kept_histograms(activations: Path, params: SettingParams) -> pd.DataFrame:
    """Histograms of N_UNITS random units of the first network in sensitivity.models that has kept columns."""
    kept = [activations / "kept" / f"{name}.parquet" for name in params.sensitivity.models]
    parts = [pd.DataFrame({name: pd.Series(dtype=_KINDS.get(name, np.float64)) for name in _HISTOGRAM})]
    for path in [path for path in kept if path.is_file()][:1]:
        columns = ds.dataset(path)
        owners = columns.to_table(["layer", "unit"]).to_pandas()
        draw = generator(params.seed, "activation histograms", path.stem)
        chosen = np.sort(draw.choice(len(owners), min(N_UNITS, len(owners)), replace=False))
        values = columns.take(chosen, columns=["values"])["values"].to_pylist()
        for row, column in zip(chosen, values, strict=True):
            owner = {"model": path.stem, **owners.iloc[row].to_dict()}
            parts.append(histograms.activation_histogram(np.array(column)).assign(**owner)[_HISTOGRAM])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def settings_table(params: SettingParams, activations: Path, images: Path, models: Path, code: Path) -> pd.DataFrame:
    """Scores of the networks in sensitivity.models under other settings: COLUMNS."""
    layers, wanted = read_parquet(activations / "layers.parquet"), params.sensitivity
    if unknown := [name for name in wanted.models if not (layers["model"] == name).any()]:
        known = ", ".join(dict.fromkeys(layers["model"]))
        raise StudyError(f"sensitivity.models names {unknown[0]!r}, which has no activations; allowed: {known}")
    store, tables = WorkStore.open(), []
    for backend in params.scores.backends if wanted.models else ():
        plan = opening.SimilarityPlan.from_params(backend, params, images, models, code)
        prepared = embeddings.embedded_images(plan, store)
        rows = prepared.open() if prepared else None
        margins = partial(_margins, similarity=opening.similarity_and_images(plan)[0], rows=rows)
        for model in wanted.models:
            top, bottom, keys = drawn_units(model, layers[layers["model"] == model], activations, params)
            table = other_settings.settings(
                top,
                bottom,
                keys,
                margins,
                n_tasks=params.tasks.n_tasks,
                n_explanations=params.tasks.n_explanations,
                other_n_tasks=wanted.n_tasks,
                other_n_explanations=wanted.n_explanations,
                slopes=wanted.slopes,
                slope=params.calibration.default_slope,
            )
            tables.append(table.assign(model=model, backend=backend))
            log.info("%s with %s: %d settings of %d units", model, backend, len(table), len(keys))
    return pd.concat(tables)[COLUMNS] if tables else no_settings()


def _margins(tasks: np.ndarray, n_explanations: int, *, similarity: Similarity, rows: np.ndarray | None) -> np.ndarray:
    return similarity.margins(tasks, n_explanations, rows)


def no_settings() -> pd.DataFrame:
    """A table of COLUMNS without rows."""
    kinds = {"model": str, "backend": str, "setting": str, "n_units": np.int64}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, np.float64)) for name in COLUMNS})


def drawn_units(
    model: str, layers: pd.DataFrame, activations: Path, params: SettingParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranked images of both sides and keys of the drawn units of one network; constant units are left out."""
    from safetensors.numpy import load_file

    state = load_file(activations / f"{model}.safetensors")
    keys = network_keys(params.seed, model, zip(layers["layer"].tolist(), layers["width"].tolist(), strict=True))
    live = np.flatnonzero(~rules.constant(state["min"], state["max"])[0])
    count = min(params.sensitivity.n_units, len(live))
    drawn = np.sort(generator(params.seed, "sensitivity", model).choice(live, count, replace=False))
    return state["top_images"][drawn], state["bottom_images"][drawn], keys[drawn]
