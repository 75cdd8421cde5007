"""Embeddings of the images of a study, each computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed
from study.errors import StudyError
from study.files.chunks import join, rows_key
from study.files.store import WorkStore
from study.log import logger
from study.solving.opening import SimilarityPlan, images_ahead, similarity_and_images
from study.workers.device import Failure
from study.workers.jobs import ask_worker, kind_of_workers, run_all_or_stop

log = logger("embedding")

_EMBED_CHUNK, _EMBED_CHUNK_ON_GPU = 500, 5120  # images embedded by one job, seconds of work: a kill costs at most these
_LAZY_SHARE = 0.5  # of all images; below it only those that occur in tasks are embedded


def embedding_ingredients(plan: SimilarityPlan) -> dict[str, Any]:
    """What determines the embeddings of all images, or the features of one."""
    similarity, images = similarity_and_images(plan)
    ingredients = {"backend": plan.name, "images": images.digest, **similarity.ingredients()}
    if "device" in ingredients:  # workers may have a GPU where this process uses none
        kind = kind_of_workers()
        if similarity.embeds:
            ingredients["batch_size"] = similarity.batch_on(kind)
        elif kind != "cpu":  # what features are made with there, such as kernels, only a worker can tell
            ingredients |= _told_by_worker(plan)
        ingredients["device"] = kind
    return ingredients | {"precision": plan.scores.precision} if similarity.embeds else ingredients


@cache
def _told_by_worker(plan: SimilarityPlan) -> Mapping[str, Any]:
    told = ask_worker(IngredientsJob(plan))
    if isinstance(told, Failure):
        raise StudyError(f"backend {plan.name}: a worker cannot tell what its features are made with ({told.reason})")
    return told


@dataclass(frozen=True)
class IngredientsJob:
    """What determines a similarity where a worker opens it."""

    plan: SimilarityPlan
    name: str = "ingredients"
    size: float = 1.0

    def run(self) -> dict[str, Any]:
        return dict(similarity_and_images(self.plan)[0].ingredients())


@dataclass(frozen=True)
class SimilarityJob:
    """A job of one similarity: how a worker opens it, and the store and ingredients of what it computes."""

    plan: SimilarityPlan
    store: WorkStore
    ingredients: dict[str, Any]


@dataclass(frozen=True)
class EmbeddingJob(SimilarityJob):
    """File of the embeddings of some images: `rows` of the manifest."""

    rows: NDArray[np.int32]

    @property
    def name(self) -> str:
        return f"images {self.rows[0]} to {self.rows[-1]}"

    @property
    def size(self) -> float:
        return len(self.rows)

    def run(self) -> Path:
        return self.store.fetch("embeddings", {**self.ingredients, **rows_key(self.rows)}, ".npy", self._write)

    def _write(self, path: Path) -> None:
        from interpretability.margins import unit_rows

        similarity, _ = similarity_and_images(self.plan)
        ahead = images_ahead(self.plan)
        if similarity.prepares:
            ahead.announce(self.rows, similarity.prepare, 2 * similarity.batch_size)
            found = similarity.embed_parts(self.rows, ahead.prepared)
        else:
            ahead.announce(self.rows)
            found = similarity.embed_parts(self.rows)
        parts = [unit_rows(part) for part in found]
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts).astype(self.plan.scores.precision))


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

    def with_rows(self, tasks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Tasks that name rows of the table instead of images."""
        return tasks if self.images is None else np.searchsorted(self.images, tasks).astype(np.int32)

    def shown_in(self, tasks: NDArray[np.int32]) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """The table, and these tasks in its rows."""
        return self.open(), self.with_rows(tasks)


@dataclass(frozen=True)
class PreparedBoth:
    """Unit rows of natural images and of made ones, whose numbers are `n_natural` and above."""

    natural: Prepared
    made: Prepared
    n_natural: int

    @property
    def ingredients(self) -> dict[str, Any]:
        """What they add to the ingredients of margins."""
        return self.made.ingredients

    def shown_in(self, tasks: NDArray[np.int32]) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """Rows of the images of these tasks alone, and the tasks in numbers of these rows: no large table is copied."""
        shown, rows = np.unique(tasks, return_inverse=True)
        first = int(np.searchsorted(shown, self.n_natural))
        parts = [
            prepared.open()[prepared.with_rows(images)]
            for prepared, images in ((self.natural, shown[:first]), (self.made, shown[first:]))
            if len(images)
        ]
        return np.concatenate(parts), narrowed(rows.reshape(tasks.shape), np.int32, "tasks")


def embedded_images(plan: SimilarityPlan, store: WorkStore, used: NDArray[np.int32] | None = None) -> Prepared | None:
    """Unit rows of all images, or of the `used` ones (sorted) where these are much fewer and each costs a forward pass.

    Each image is embedded once; chunks found in the store are not computed again. None for a similarity that does
    not embed.
    """
    similarity, images = similarity_and_images(plan)
    if not similarity.embeds:
        return None
    rows, chosen = images_to_prepare(similarity.runs_network, len(images), used)
    return Prepared(embedded_rows(plan, store, rows).path, chosen)


def embedded_made(plan: SimilarityPlan, store: WorkStore) -> Prepared | None:
    """Unit rows of all made images of a plan that has some. None for a similarity that does not embed, or needs factors.

    They are kept apart from those of the study's images, which stay what they are when other images are made.
    """
    similarity, pictures = similarity_and_images(plan)[0], images_ahead(plan).images
    if not similarity.embeds or similarity.needs_factors or pictures.made is None or not len(pictures.made):
        return None
    added = {"made": pictures.made.digest}
    rows = np.arange(pictures.n_natural, len(pictures), dtype=np.int32)
    prepared = embedded_rows(plan, store, rows, added)
    return Prepared(prepared.path, prepared.images, added)


def embedded_rows(
    plan: SimilarityPlan, store: WorkStore, rows: NDArray[np.int32], added: Mapping[str, Any] = MappingProxyType({})
) -> Prepared:
    """Unit rows of these images (sorted) under a similarity that embeds; chunks found in the store are not computed again.

    added: further ingredients of them
    """
    ingredients = {**embedding_ingredients(plan), **added}

    def make(path: Path) -> None:
        chunk = _EMBED_CHUNK if kind_of_workers() == "cpu" else _EMBED_CHUNK_ON_GPU
        parts = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
        jobs = [EmbeddingJob(plan, store, ingredients, part) for part in parts]
        join(run_all_or_stop(jobs, f"backend {plan.name}, images embedded", log, probe=True), path, len(rows))

    path = store.fetch("embeddings", {**ingredients, **rows_key(rows), "joined": 1}, ".npy", make)
    return Prepared(path, rows)


def images_to_prepare(
    runs_network: bool, n_images: int, used: NDArray[np.int32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Images to prepare, and the same if they are not all."""
    if used is not None and runs_network and len(used) < _LAZY_SHARE * n_images:
        return used, used
    return np.arange(n_images, dtype=np.int32), None
