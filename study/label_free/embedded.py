"""Embeddings of the images that scores without labels need, under every similarity that embeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.files.store import WorkStore
from study.label_free.parameters import LabelFreeParams
from study.log import logger
from study.solving.embeddings import Prepared, embedded_images, embedded_rows, embedding_ingredients
from study.solving.opening import SimilarityPlan

log = logger("label_free")


@dataclass(frozen=True)
class Embedded:
    """Rows of length 1 of images under one similarity: those that the stage `scores` embedded, and those that it lacks."""

    backend: str
    ingredients: dict[str, Any]
    tables: tuple[Prepared, ...]

    @property
    def width(self) -> int:
        return int(self.tables[0].open().shape[1])

    def rows(self, images: NDArray[np.integer]) -> NDArray[np.float32]:
        """Rows (n, E) of images."""
        found = np.empty((len(images), self.width), dtype=np.float32)
        left = np.ones(len(images), dtype=bool)
        for table in self.tables:
            known = left if table.images is None else left & np.isin(images, table.images)
            found[known] = table.open()[table.with_rows(images[known].astype(np.int32))]
            left &= ~known
        if left.any():
            raise KeyError(f"image {images[left][0]} was not embedded")
        return found


def embedded_images_of(
    params: LabelFreeParams,
    folders: tuple[Path, Path, Path],
    used: NDArray[np.int32],
    wanted: NDArray[np.int32],
    store: WorkStore,
) -> list[Embedded]:
    """Embeddings of the images `wanted` (sorted) under every similarity of scores.backends that embeds; the others are named in
    the log.

    folders   of images, models and code
    used      images that occur in tasks (sorted): asked for as the stage `scores` does, so its files are found in the store. Of
              the others only those that are wanted are embedded
    """
    found = []
    for name in params.scores.backends:
        plan = SimilarityPlan.from_params(name, params, *folders)
        prepared = embedded_images(plan, store, used)
        if prepared is None:
            log.warning("%s compares images without embedding them, so it has no scores without labels", name)
            continue
        tables = [prepared]
        if prepared.images is not None and len(more := np.setdiff1d(wanted, prepared.images).astype(np.int32)):
            tables.append(embedded_rows(plan, store, more))
        found.append(Embedded(name, embedding_ingredients(plan), tuple(tables)))
    return found
