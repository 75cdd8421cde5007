"""Embeddings of the images of a study, each computed once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.store import WorkStore
from study.log import Progress, logger
from study.solving.opening import SimilarityPlan, images_of, opened
from study.workers.device import Failure
from study.workers.jobs import kind_of_workers, run_jobs

log = logger("embedding")


_EMBED_CHUNK = 500  # images embedded by one job: a kill costs at most these
_LAZY_SHARE = 0.5  # of all images; below it only those that occur in tasks are embedded


def embedding_ingredients(plan: SimilarityPlan) -> dict[str, Any]:
    """What determines the embeddings of all images, or the features of one."""
    similarity, images = opened(plan)
    found = {"backend": plan.name, "images": images.digest, **similarity.ingredients()}
    if "device" in found:
        found["device"] = kind_of_workers()  # workers may have a GPU where this process uses none
    return found | {"precision": plan.scores.precision} if similarity.embeds else found


@dataclass(frozen=True)
class _Chunk:
    """Images embedded by one job, and where the result is kept."""

    plan: SimilarityPlan
    store: WorkStore
    ingredients: dict[str, Any]
    rows: NDArray[np.int32]


def _embed(chunk: _Chunk) -> Path:
    similarity, _ = opened(chunk.plan)

    def make(path: Path) -> None:
        from interpretability.margins import unit_rows

        size = similarity.batch_size
        images_of(chunk.plan).announce(chunk.rows)
        parts = [
            unit_rows(similarity.embed(chunk.rows[first : first + size])) for first in range(0, len(chunk.rows), size)
        ]
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts).astype(chunk.plan.scores.precision))

    return chunk.store.fetch("embeddings", {**chunk.ingredients, **rows_key(chunk.rows)}, ".npy", make)


def rows_key(rows: NDArray[np.int32]) -> dict[str, Any]:
    """Ingredients that say which images; a run of neighbours by its ends."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    if stop - start == len(rows):
        return {"start": start, "stop": stop}
    return {"rows": hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()}


@dataclass(frozen=True)
class Prepared:
    """Unit rows of images, or similarities of all pairs, memory-mapped; `images` are the manifest rows behind them, None
    for all in order. `ingredients` is what it adds to those of the margins.
    """

    path: Path
    images: NDArray[np.int32] | None
    ingredients: dict[str, Any] = field(default_factory=dict)

    def open(self) -> NDArray[np.floating]:
        return np.load(self.path, mmap_mode="r")

    def places(self, tasks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Tasks that name rows of the table instead of images."""
        return tasks if self.images is None else np.searchsorted(self.images, tasks).astype(np.int32)


def embeddings(plan: SimilarityPlan, store: WorkStore, used: NDArray[np.int32] | None = None) -> Prepared | None:
    """Unit rows of all images, or of the `used` ones (sorted) where these are much fewer and each costs a forward pass.

    Each image is embedded once; chunks found in the store are not computed again. None for a similarity that does
    not embed.
    """
    similarity, images = opened(plan)
    if not similarity.embeds:
        return None
    ingredients = embedding_ingredients(plan)
    rows, chosen = images_to_prepare(similarity.runs_network, len(images), used)

    def make(path: Path) -> None:
        parts = [rows[start : start + _EMBED_CHUNK] for start in range(0, len(rows), _EMBED_CHUNK)]
        jobs = [_Chunk(plan, store, ingredients, part) for part in parts]
        progress = Progress(log, len(rows), f"{plan.name}: images embedded")
        chunks: dict[int, Path] = {}
        names = [f"images {part[0]} to {part[-1]}" for part in parts]
        for place, result in run_jobs(_embed, jobs, names, probe=True):
            if isinstance(result, Failure):
                raise StudyError(f"backend {plan.name}: {result.reason}")
            chunks[place] = result
            progress.step(len(jobs[place].rows))
        _join([chunks[place] for place in range(len(jobs))], path, len(rows))

    path = store.fetch("embeddings", {**ingredients, **rows_key(rows), "joined": 1}, ".npy", make)
    return Prepared(path, chosen)


def images_to_prepare(
    runs_network: bool, n_images: int, used: NDArray[np.int32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Images to prepare, and the same if they are not all."""
    if used is not None and runs_network and len(used) < _LAZY_SHARE * n_images:
        return used, used
    return np.arange(n_images, dtype=np.int32), None


def _join(chunks: list[Path], path: Path, n: int) -> None:
    """Write chunk files one after the other into one table, never holding more than one."""
    first = np.load(chunks[0], mmap_mode="r")
    header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (n, first.shape[1])}
    # plain writes: a full disk kills a process that writes through a memory map
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(np.load(chunk)).data)
