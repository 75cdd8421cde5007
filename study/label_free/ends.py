"""The images at either end of a network's units, as the stage `activations` found them, and which units have tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.files.tables import read_parquet


@dataclass(frozen=True)
class Ends:
    """Of each unit of a network, in its order.

    top, bottom   (units, N K) images that explain it
    best          (units, n_top) images of the interpretability index
    least         (units,) the least value over all images
    scored        (units,) whether it has natural tasks: it varies, and is active often enough
    told          (units,) whether all its best images are above its least value: else ties decide which they are
    """

    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    best: NDArray[np.int32]
    least: NDArray[np.float32]
    scored: NDArray[np.bool_]
    told: NDArray[np.bool_]

    def of(self, units: slice) -> Ends:
        """The same of some of the units."""
        return Ends(**{name: value[units] for name, value in vars(self).items()})

    @property
    def images(self) -> NDArray[np.int32]:
        """All images that are named, sorted."""
        return np.unique(np.concatenate([side.ravel() for side in (self.top, self.bottom, self.best)]))


def read_ends(activations: Path, tasks: Path, name: str, layers: pd.DataFrame, n_explaining: int, n_top: int) -> Ends:
    """Ends of the units of a network; `layers`: its rows of the table of layers, `n_explaining` images a side explain."""
    from safetensors.numpy import load_file

    state = load_file(activations / f"{name}.safetensors")
    owners = pd.DataFrame({"layer": layers["layer"].repeat(layers["width"].tolist())})
    owners["unit"] = np.concatenate([np.arange(width) for width in layers["width"]])
    solved = read_parquet(tasks / f"{name}.parquet", ["layer", "unit", "condition"])
    solved = pd.MultiIndex.from_frame(solved.loc[solved["condition"] == "natural", ["layer", "unit"]])
    return Ends(
        state["top_images"][:, :n_explaining],
        state["bottom_images"][:, :n_explaining],
        state["top_images"][:, :n_top],
        state["min"],
        pd.MultiIndex.from_frame(owners).isin(solved),
        state["top_values"][:, n_top - 1] > state["min"],
    )
