"""Opening a similarity of the study, with what is computed once for all networks: embeddings, or all pairs of images."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.decoding import Ahead, decoders
from stages.errors import StudyError
from stages.loading import load_network
from stages.pipeline import networks, weights
from stages.pipeline.log import Progress, logger
from stages.pipeline.params import Params, Scores
from stages.pipeline.pictures import ImageSet, open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.workers import Failure, device, kind_of_workers, run_jobs, when_moved, workers_here

log = logger("embedding")
_EMBED_CHUNK = 500  # images embedded by one job: a kill costs at most these
_CACHE_GB = 4.0  # memory for kept features of all workers together
_CACHE_SHARE = 0.25  # of the memory of a GPU
_LAZY_SHARE = 0.5  # of all images; below it only those that occur in tasks are embedded


@dataclass(frozen=True)
class SimilarityPlan:
    """Everything needed to open a similarity in any process."""

    name: str
    images: Path
    root: str
    models: Path
    code: Path
    seed: int
    scores: Scores

    def open(self, source: Ahead, *, check: bool = True) -> Any:
        """The `Similarity` of these pictures, on the device of this process; `check` compares it with its package."""
        from stages.science import similarity
        from stages.science.similarity.base import Context

        images = source.images

        def network(name: str) -> Any:
            roster = networks.read_roster(self.models / "roster.csv")
            rows = roster[roster["name"] == name].to_dict("records")
            if not rows:
                known = ", ".join(roster["name"][~roster["constructor"].str.startswith("control:")])
                raise StudyError(
                    f"scores.encoder.model is {name!r}, which is not among the networks that could be loaded: {known} "
                    "(see data/models/failures.csv)"
                )
            return load_network(rows[0], self.models, self.code, self.seed)

        context = Context(
            seed=self.seed, pixels=source.pixels, digests=lambda: images.manifest["digest"].tolist(),
            factors=lambda: images.factors, network=network, device=device(),
            encoder_model=self.scores.encoder.model, encoder_layer=self.scores.encoder.layer,
            weights=lambda file: weights.load(file.names, file.url, file.sha256),
            aggregation=self.scores.aggregation, softmax_temperature=self.scores.softmax_temperature,
            feature_size=self.scores.feature_size, dreamsim_view=self.scores.dreamsim.view,
            cache_bytes=cache_bytes(),
        )  # fmt: skip
        return similarity.create(self.name, context, check=check)

    @classmethod
    def from_params(cls, name: str, params: Params, images: Path, models: Path, code: Path) -> SimilarityPlan:
        return cls(name, images, params.images.root, models, code, params.seed, params.scores)

    def aggregation(self) -> dict[str, Any]:
        """What of the aggregation determines margins, for the work store."""
        chosen = {"aggregation": self.scores.aggregation}
        if self.scores.aggregation == "softmax":
            chosen["softmax_temperature"] = self.scores.softmax_temperature
        return chosen


def cache_bytes() -> int:
    """Memory for kept features in each worker process, from MIS_FEATURE_CACHE_GB for all of a machine together; by default
    a share of the worker's GPU, where it has one.
    """
    text = os.environ.get("MIS_FEATURE_CACHE_GB", "")
    if not text and device().startswith("cuda"):
        import torch

        return int(_CACHE_SHARE * torch.cuda.mem_get_info(device())[1])
    text = text or str(_CACHE_GB)
    try:
        total = float(text)
    except ValueError:
        total = -1.0
    if not 0 <= total < float("inf"):
        raise StudyError(f"MIS_FEATURE_CACHE_GB is {text!r}, it must be a number of gigabytes of at least 0")
    return int(total * 2**30 / workers_here())


def opened(plan: SimilarityPlan) -> tuple[Any, ImageSet]:
    """The similarity of a plan and its pictures, once a process and device."""
    return _opened(plan, device()), _source(plan).images


@cache
def _opened(plan: SimilarityPlan, place: str) -> Any:
    return plan.open(_source(plan))


when_moved(_opened.cache_clear)


@cache
def judge(plan: SimilarityPlan) -> Any:
    """The similarity of a plan, to compare rows or look up pairs that are at hand: not tried out, so no network is loaded."""
    return plan.open(_source(plan), check=False)


@cache
def _source(plan: SimilarityPlan) -> Ahead:
    """The pictures of a plan, once a process."""
    return Ahead(open_images(plan.images, plan.root, quick=True), decoders(device()))


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
        from stages.science.scoring import unit_rows

        size = similarity.batch_size
        _source(chunk.plan).announce(chunk.rows)
        parts = [
            unit_rows(similarity.embed(chunk.rows[first : first + size])) for first in range(0, len(chunk.rows), size)
        ]
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts).astype(chunk.plan.scores.precision))

    return chunk.store.fetch("embeddings", {**chunk.ingredients, **_rows_key(chunk.rows)}, ".npy", make)


def _rows_key(rows: NDArray[np.int32]) -> dict[str, Any]:
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
    rows, chosen = _chosen(similarity.runs_network, len(images), used)

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

    path = store.fetch("embeddings", {**ingredients, **_rows_key(rows), "joined": 1}, ".npy", make)
    return Prepared(path, chosen)


def _chosen(
    runs_network: bool, n_images: int, used: NDArray[np.int32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Images to prepare, and the same if they are not all."""
    if used is not None and runs_network and len(used) < _LAZY_SHARE * n_images:
        return used, used
    return np.arange(n_images, dtype=np.int32), None


@dataclass(frozen=True)
class _Stripe:
    """Images whose similarities with all later ones are found by one job."""

    plan: SimilarityPlan
    store: WorkStore
    ingredients: dict[str, Any]
    rows: NDArray[np.int32]
    first: int
    last: int


def _compare(stripe: _Stripe) -> Path:
    similarity, _ = opened(stripe.plan)

    def make(path: Path) -> None:
        first, last, n = stripe.first, stripe.last, len(stripe.rows)
        what = f"{stripe.plan.name}: pairs of images {first} to {last - 1}"
        progress = Progress(log, (last - first) * (n - first), what, every=20)
        with open(path, "wb") as file:
            np.save(file, similarity.pair_stripe(stripe.rows, first, last, progress.step))

    key = {**stripe.ingredients, "first": stripe.first, "last": stripe.last}
    return stripe.store.fetch("pairs", key, ".npy", make)


def pair_table(plan: SimilarityPlan, store: WorkStore, used: NDArray[np.int32], n_tasks: int) -> Prepared | None:
    """Similarities of all pairs of images, or of the `used` ones, where the tasks are many for them; None otherwise.

    Work is kept stripe by stripe, as many images as features fit into memory: a kill costs at most one in each worker.
    """
    from stages.science import features

    similarity, images = opened(plan)
    rows, chosen = _chosen(similarity.runs_network, len(images), used)
    if not (similarity.pairs and features.pairs_pay(len(rows), n_tasks)):
        return None
    added = {"pairs": features.PAIR_VERSION, **_rows_key(rows)}
    ingredients = embedding_ingredients(plan) | added

    def make(path: Path) -> None:
        step, n = similarity.stripe, len(rows)
        jobs = [_Stripe(plan, store, ingredients, rows, first, min(first + step, n)) for first in range(0, n, step)]
        names = [f"images {job.first} to {job.last - 1} with those after them" for job in jobs]
        progress = Progress(log, sum((job.last - job.first) * (n - job.first) for job in jobs), f"{plan.name}: pairs")
        table = np.zeros((n, n), dtype=np.float32)
        for place, result in run_jobs(_compare, jobs, names):
            if isinstance(result, Failure):
                raise StudyError(f"backend {plan.name}: {result.reason}")
            first, last = jobs[place].first, jobs[place].last
            table[first:last, first:] = np.load(result)
            progress.step((last - first) * (n - first))
        with open(path, "wb") as file:
            np.save(file, features.mirrored(table))

    return Prepared(store.fetch("pairs", {**ingredients, "joined": 1}, ".npy", make), chosen, added)


def _join(chunks: list[Path], path: Path, n: int) -> None:
    """Write chunk files one after the other into one table, never holding more than one."""
    first = np.load(chunks[0], mmap_mode="r")
    header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (n, first.shape[1])}
    # plain writes: a full disk kills a process that writes through a memory map
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(np.load(chunk)).data)


@cache
def duplicates(plan: SimilarityPlan) -> NDArray[np.int64]:
    """For each picture a number that exact copies share."""
    return pd.factorize(opened(plan)[1].manifest["digest"])[0]
