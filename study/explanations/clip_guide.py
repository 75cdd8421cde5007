"""Probabilities of concepts in pictures from the embeddings of open_clip, and what they would cost."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from study.explanations.clip import ClipPlan, HeadJob, ImageJob, SpeedJob, TextJob, plan_of
from study.explanations.guide import UNCALIBRATED, Guided
from study.explanations.images import Probing
from study.files.chunks import join
from study.files.store import WorkStore
from study.images.manifest import ImageSet, open_images
from study.log import clock, in_words, logger
from study.params.explanations import Guide
from study.workers.device import Failure
from study.workers.jobs import ask_worker, devices, run_all_or_stop

log = logger("explanations")

_IMAGE_CHUNK, _TEXT_CHUNK = 500, 1000  # embedded by one job: a kill costs at most these
# Rows of a product, and images that it takes at a time. Both are filled up with zeros, so that the last bits of a cosine depend
# on its picture and text, and not on how many others there are.
_CONCEPTS, _IMAGES = 64, 2048
_PROBE = 32  # images that tell the speed


@dataclass
class _Compared:
    """Cosines of concepts and images, and what a network makes of them.

    images (n, d) and texts (concepts, d): unit rows, memory-mapped
    """

    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    concepts: Sequence[str]
    scale: float
    bias: float
    _row: dict[str, int] = field(init=False)
    _block: int = field(default=-1, init=False)
    _cosines: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)), init=False)

    def __post_init__(self) -> None:
        self._row = {concept: row for row, concept in enumerate(self.concepts)}

    def row(self, concept: str) -> NDArray[np.float32]:
        """Probabilities (n,) of a concept, or cosines where the network has no sigmoid."""
        block, place = divmod(self._row[concept], _CONCEPTS)
        if block != self._block:
            self._cosines = cosines(self.texts[block * _CONCEPTS : (block + 1) * _CONCEPTS], self.images)
            self._block = block
        found = self._cosines[place]
        return (found if np.isnan(self.bias) else expit(self.scale * found + self.bias)).astype(np.float32)


def cosines(texts: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Products (texts, images) of unit rows, at most _CONCEPTS texts."""
    left = np.zeros((_CONCEPTS, texts.shape[1]))
    left[: len(texts)] = texts
    found, right = np.empty((len(texts), len(images))), np.zeros((_IMAGES, texts.shape[1]))
    for start in range(0, len(images), _IMAGES):
        part = images[start : start + _IMAGES]
        right[: len(part)], right[len(part) :] = part, 0.0
        found[:, start : start + len(part)] = (left @ right.T)[: len(texts), : len(part)]
    return found


def guide_of_clip(settings: Guide, images: ImageSet, probing: Probing, concepts: Sequence[str]) -> tuple[Guided, bool]:
    """The guide of a network of open_clip for concepts, and whether its values are cosines and no probabilities yet."""
    plan, store = plan_of(settings, images.folder, images.root), WorkStore.open()
    log.info("guide %s: %s", plan.model, _what_to_do(plan, store, probing.rows, concepts))
    embedded = _table(
        _image_jobs(plan, store, probing.rows), store, f"guide {plan.model}, images embedded", len(probing)
    )
    texts = _table(_text_jobs(plan, store, concepts), store, f"guide {plan.model}, texts embedded", len(concepts))
    (head,) = run_all_or_stop([HeadJob(plan, store, plan.ingredients())], f"guide {plan.model}, head", log)
    scale, bias = np.load(head)
    compared = _Compared(embedded, texts, concepts, float(scale), float(bias))
    return Guided("open_clip", UNCALIBRATED, compared.row), bool(np.isnan(bias))


def _image_jobs(plan: ClipPlan, store: WorkStore, rows: NDArray[np.int32]) -> list[ImageJob]:
    ingredients = {**plan.ingredients(), "images": open_images(plan.images, plan.root).digest}
    return [
        ImageJob(plan, store, ingredients, rows[start : start + _IMAGE_CHUNK])
        for start in range(0, len(rows), _IMAGE_CHUNK)
    ]


def _text_jobs(plan: ClipPlan, store: WorkStore, concepts: Sequence[str]) -> list[TextJob]:
    ingredients = plan.ingredients()
    return [
        TextJob(plan, store, ingredients, tuple(concepts[start : start + _TEXT_CHUNK]))
        for start in range(0, len(concepts), _TEXT_CHUNK)
    ]


def _table(jobs: Sequence[ImageJob] | Sequence[TextJob], store: WorkStore, what: str, n: int) -> NDArray[np.float32]:
    """Embeddings of all jobs, one below the other, memory-mapped. Each is computed once, whatever is interrupted."""
    if not jobs:
        return np.empty((0, 1), dtype=np.float32)

    def make(path: Path) -> None:
        join(run_all_or_stop(list(jobs), what, log, probe=True), path, n)

    keys = hashlib.sha256(repr([sorted(job.key.items()) for job in jobs]).encode()).hexdigest()
    return np.load(store.fetch("embeddings", {"joined": keys}, ".npy", make), mmap_mode="r")


def _left(jobs: Sequence[ImageJob] | Sequence[TextJob], store: WorkStore) -> int:
    """How much of the jobs the store lacks; bytes are not looked at."""
    return sum(int(job.size) for job in jobs if not store.path("embeddings", job.key, ".npy").is_file())


def _what_to_do(plan: ClipPlan, store: WorkStore, rows: NDArray[np.int32], concepts: Sequence[str]) -> str:
    images, texts = _left(_image_jobs(plan, store, rows), store), _left(_text_jobs(plan, store, concepts), store)
    return (
        f"{images:,} of {len(rows):,} images and {texts:,} of {len(concepts):,} texts are to be embedded, the others are in the "
        "store"
    )


def forecast(settings: Guide, images: ImageSet, probing: Probing, concepts: Sequence[str]) -> str:
    """What a guide would compute, how long it takes and how large it gets, in words; only a few pictures are embedded."""
    plan, store = plan_of(settings, images.folder, images.root), WorkStore.open()
    lines = [f"guide {plan.model} ({plan.weights.name}): {_what_to_do(plan, store, probing.rows, concepts)}"]
    rates = ask_worker(SpeedJob(plan, probing.rows[:_PROBE]))
    if isinstance(rates, Failure):
        return "\n".join([*lines, f"its speed could not be measured: {rates.reason}"])
    rate, flops, width = rates
    left, workers = _left(_image_jobs(plan, store, probing.rows), store), devices()
    seconds = left / rate / len(workers)
    return "\n".join(
        [
            *lines,
            f"time: about {clock(seconds)} on {len(workers)} workers ({workers[0]}) at {rate:,.3g} pictures/s each, "
            f"{flops / 1e9:,.3g} GFLOP a picture, as measured just now",
            f"disk: {in_words(8.0 * width * (len(probing) + len(concepts)))} of embeddings in the work store, and "
            f"{in_words(4.0 * len(probing) * len(concepts))} of probabilities, if texts speak of all concepts",
        ]
    )
