"""Latents of sparse codes that are active on too few images for tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from interpretability.schema import UNIT
from study.files.tables import read_csv
from study.log import logger

log = logger("tasks")

SCORED, TOO_SPARSE, DEAD = "scored", "too_sparse", "dead"
COLUMNS = [*UNIT, "n_active", "share", "status"]
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in UNIT[:2]),
        *((name, pa.int64()) for name in (UNIT[2], "n_active")),
        ("share", pa.float64()),
        ("status", pa.string()),
    ]
)


def sparse_layers(activations: Path) -> dict[str, set[str]]:
    """Layers of each network whose units are latents of a sparse code, by what the stage `activations` says of its directions."""
    table = read_csv(activations / "directions.csv", ["model", "layer", "sparse"], text=["model", "layer"])
    table = table[table["sparse"] == 1]
    return {str(model): set(rows["layer"]) for model, rows in table.groupby("model", sort=True)}


def firing_table(
    units: pd.DataFrame, nonpositive: NDArray[np.floating], sparse: set[str], n_images: int, needed: int
) -> pd.DataFrame:
    """How often each unit of the layers `sparse` is active, and what follows: COLUMNS, with the index of `units`.

    `units`: model, layer, unit; `nonpositive`: the share of images on which each is zero or below.
    n_active  images with a value above zero
    share     of all images
    status    dead: active on none. too_sparse: active on fewer than `needed` = N(K + 1) images, so that silent images would stand
              among those that excite it most. scored: all others
    """
    rows = units[units["layer"].isin(sparse)]
    # a share of n images, so that its product with n is a whole number but for rounding
    active = n_images - np.rint(nonpositive[rows.index].astype(np.float64) * n_images).astype(np.int64)
    status = np.where(active == 0, DEAD, np.where(active < needed, TOO_SPARSE, SCORED))
    return rows[UNIT].assign(n_active=active, share=active / n_images, status=status.astype(object))


def log_firing(model: str, firing: pd.DataFrame, needed: int) -> None:
    """Say how many latents of a network have no tasks."""
    if len(firing):
        counts = firing["status"].value_counts()
        log.info(
            "%s: of %d latents of sparse codes %d are too sparse (active on fewer than %d images), %d dead; they have no tasks",
            *(model, len(firing), counts.get(TOO_SPARSE, 0), needed, counts.get(DEAD, 0)),
        )
