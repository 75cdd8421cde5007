"""Tasks of some units rebuilt for other settings, and histograms of kept columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from interpretability import randomness
from interpretability.analysis import histograms
from interpretability.randomness import generator
from interpretability.tasks import rules
from study.params.whole import Params

COLUMNS = ["model", "backend", "setting", "value", "mis_mean", "mis_se", "spearman", "mean_abs_diff", "n_units"]
N_UNITS = 15  # IMI, figure 16
_HISTOGRAM = ["model", "layer", "unit", *histograms.COLUMNS]
_KINDS = {"model": str, "layer": str, "unit": np.int64, "n_peaks": np.int64}


def kept_histograms(activations: Path, params: Params) -> pd.DataFrame:
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


def no_settings() -> pd.DataFrame:
    """A table of COLUMNS without rows."""
    kinds = {"model": str, "backend": str, "setting": str, "n_units": np.int64}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, np.float64)) for name in COLUMNS})


def drawn_units(
    model: str, layers: pd.DataFrame, activations: Path, params: Params
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranked images of both sides and keys of the drawn units of one network; constant units are left out."""
    from safetensors.numpy import load_file

    state = load_file(activations / f"{model}.safetensors")
    keys = np.concatenate(
        [
            randomness.unit_keys(params.seed, model, layer, np.arange(width))
            for layer, width in zip(layers["layer"].tolist(), layers["width"].tolist(), strict=True)
        ]
    )
    live = np.flatnonzero(~rules.constant(state["min"], state["max"])[0])
    count = min(params.sensitivity.n_units, len(live))
    drawn = np.sort(generator(params.seed, "sensitivity", model).choice(live, count, replace=False))
    return state["top_images"][drawn], state["bottom_images"][drawn], keys[drawn]
