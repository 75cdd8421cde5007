"""Margins of tasks under one similarity, block by block in the work store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.store import WorkStore
from study.log import logger
from study.solving import embeddings, pairs
from study.solving.embeddings import Prepared, PreparedBoth, SimilarityJob
from study.solving.opening import (
    SimilarityPlan,
    copy_numbers,
    images_ahead,
    similarity_and_images,
    unchecked_similarity,
)
from study.workers.jobs import run_all_or_stop

if TYPE_CHECKING:
    from interpretability.similarity.base import Similarity

log = logger("scores")

# Units whose tasks are solved and stored together, where every image costs a forward pass: a kill costs at most these
# in each worker. One job takes several blocks, so that neighbours find features that they share in memory.
_BLOCK_UNITS, _JOB_BLOCKS = 8, 8


@dataclass(frozen=True)
class Block:
    """Margins of some units of a network: rows of its table, and the file of what was found."""

    units: NDArray[np.int64]
    path: Path


@dataclass(frozen=True)
class MarginJob(SimilarityJob):
    """Margins of units (rows of one network's table) in the order in which they are solved, `block` of them at a time."""

    tasks: Path
    units: NDArray[np.int64]
    block: int
    n_explanations: int
    near: float
    prepared: Prepared | PreparedBoth | None

    @property
    def name(self) -> str:
        return f"tasks of {self.tasks.stem}"

    @property
    def blocks(self) -> list[NDArray[np.int64]]:
        return [self.units[start : start + self.block] for start in range(0, len(self.units), self.block)]

    @property
    def size(self) -> float:
        return len(self.units)

    def run(self) -> list[Block]:
        return [Block(units, self._solve(units)) for units in self.blocks or [self.units]]

    def _similarity(self) -> Similarity:
        return unchecked_similarity(self.plan) if self.prepared else similarity_and_images(self.plan)[0]

    def _solve(self, units: NDArray[np.int64]) -> Path:
        """File of the margins of the tasks of a block, and of which of its tasks hold a copy of their own answer."""
        from interpretability.margins import VERSION

        tasks = np.load(self.tasks, mmap_mode="r")[units]
        digest = hashlib.sha256(np.ascontiguousarray(tasks, dtype="<i4").tobytes()).hexdigest()
        key = {**self.ingredients, "tasks": digest, "n_explanations": self.n_explanations, "near": self.near}
        write = partial(self._write, units, tasks)
        return self.store.fetch("margins", {**key, "scoring": VERSION}, ".safetensors", write)

    def _write(self, units: NDArray[np.int64], tasks: NDArray[np.int32], path: Path) -> None:
        from safetensors.numpy import save_file

        similarity = self._similarity()
        table, rows = self.prepared.shown_in(tasks) if self.prepared else (None, tasks)
        margins = similarity.margins(rows, self.n_explanations, table)
        if not np.isfinite(margins).all():
            unit, task = np.argwhere(~np.isfinite(margins))[0]
            raise StudyError(f"margin of task {task} of unit row {units[unit]} is {margins[unit, task]}")
        copies = copy_numbers(self.plan)[tasks]
        near = (copies[..., :-2, None] == copies[..., None, -2:]).any(axis=(-1, -2))
        nearest = similarity.nearest(rows, self.n_explanations, table)
        if nearest is not None:
            near |= nearest > self.near
        save_file({"margins": margins, "near": near}, path)


def units_by_job(
    tasks: NDArray[np.int32], rows: NDArray[np.int64], prepared: bool
) -> list[tuple[NDArray[np.int64], int]]:
    """Units of each job of one network, as places in these `rows` of its tasks, and how many of them are solved at a time."""
    if prepared or not len(rows):
        return [(np.arange(len(rows)), max(1, len(rows)))]
    from interpretability.similarity.features import sharing_order

    order, size = sharing_order(tasks[rows]), _BLOCK_UNITS * _JOB_BLOCKS
    return [(order[start : start + size], _BLOCK_UNITS) for start in range(0, len(order), size)]


def solved_blocks(backend: str, jobs: Sequence[MarginJob], *, probe: bool, on_cpu: bool) -> list[list[Block]]:
    """The blocks of every job, solved now as far as the store lacks them."""
    return run_all_or_stop(jobs, f"backend {backend}, units", log, probe=probe, on_cpu=on_cpu)


class Cost(TypedDict):
    """Forward passes, and similarities between two images."""

    n_forwards: int
    n_pairs: int


@dataclass(frozen=True)
class Asked:
    """Tasks to be solved under one similarity.

    paths           file of tasks by network
    n_explanations  a side of each
    near            cosine above which a query counts as a copy of an explanation
    used            images of the study to embed, where they are much fewer than all (sorted): those in its tasks
    """

    paths: Mapping[str, Path]
    n_explanations: int
    near: float
    used: NDArray[np.int32]


def solve_tasks(plan: SimilarityPlan, store: WorkStore, asked: Asked) -> tuple[dict[str, list[Block]], Cost]:
    """Blocks of margins of the tasks asked for, network by network, and what they cost: see `cost_of`.

    Tasks that show made images are solved apart from all others, which stay what they are, in the store too, when other images
    are made. A similarity that needs factors has nothing to say of made images: such tasks are in none of its blocks.
    """
    similarity, images = similarity_and_images(plan)
    rows = {name: _rows(path, plan, len(images)) for name, path in asked.paths.items()}
    n_tasks = sum(len(rows[name].natural) * np.load(path, mmap_mode="r").shape[1] for name, path in asked.paths.items())
    prepared = (
        embeddings.embedded_images(plan, store, asked.used)
        if similarity.embeds
        else pairs.pair_table(plan, store, asked.used, n_tasks)
    )
    ingredients = embeddings.embedding_ingredients(plan) | plan.aggregation()
    added = prepared.ingredients if prepared else {}
    jobs = _jobs(plan, store, ingredients | added, asked, {name: each.natural for name, each in rows.items()}, prepared)
    n_prepared = len(asked.used) if prepared is None or prepared.images is not None else len(images)
    cost = cost_of(jobs, n_prepared)
    shown = {name: each.made for name, each in rows.items() if len(each.made)}
    if shown and similarity.needs_factors:
        log.warning(
            "%s: made images have no factors, so %d units have no scores under the conditions that show some",
            *(plan.name, sum(map(len, shown.values()))),
        )
    elif shown:
        made = embeddings.embedded_made(plan, store)
        both = PreparedBoth(prepared, made, len(images)) if isinstance(prepared, Prepared) and made else None
        pictures = images_ahead(plan).images.made
        assert pictures is not None  # only tasks of a plan with made images are among the shown
        more = _jobs(plan, store, ingredients | {"made": pictures.digest}, asked, shown, both)
        cost = _added(cost, cost_of(more, len(pictures)))
        jobs += more
    # comparing rows or looking up pairs is arithmetic of numpy and numba
    simple = all(job.prepared is not None for job in jobs)
    solved = solved_blocks(plan.name, jobs, probe=simple, on_cpu=simple)
    blocks: dict[str, list[Block]] = {name: [] for name in asked.paths}
    for job, of_job in zip(jobs, solved, strict=True):
        blocks[job.tasks.stem] += of_job
    return blocks, cost if similarity.runs_network else {**cost, "n_forwards": 0}


@dataclass(frozen=True)
class _Rows:
    """Rows of a table of tasks that show the study's images alone, and those that show made ones."""

    natural: NDArray[np.int64]
    made: NDArray[np.int64]


def _rows(path: Path, plan: SimilarityPlan, n_images: int) -> _Rows:
    tasks = np.load(path, mmap_mode="r")
    if plan.made is None:
        return _Rows(np.arange(len(tasks)), np.empty(0, dtype=np.int64))
    made = np.array([bool((unit >= n_images).any()) for unit in tasks], dtype=bool)
    return _Rows(np.flatnonzero(~made), np.flatnonzero(made))


def _jobs(
    plan: SimilarityPlan,
    store: WorkStore,
    ingredients: dict[str, Any],
    asked: Asked,
    rows: Mapping[str, NDArray[np.int64]],
    prepared: Prepared | PreparedBoth | None,
) -> list[MarginJob]:
    """Jobs of these rows of the tables of tasks."""
    return [
        MarginJob(
            plan,
            store,
            ingredients,
            asked.paths[name],
            rows[name][units],
            block,
            asked.n_explanations,
            asked.near,
            prepared,
        )
        for name in rows
        for units, block in units_by_job(np.load(asked.paths[name], mmap_mode="r"), rows[name], prepared is not None)
    ]


def _added(first: Cost, second: Cost) -> Cost:
    return {"n_forwards": first["n_forwards"] + second["n_forwards"], "n_pairs": first["n_pairs"] + second["n_pairs"]}


def cost_of(jobs: Sequence[MarginJob], n_embedded: int) -> Cost:
    """What the margins cost: forward passes, if every image passes once a block (once a study if it is embedded or all
    pairs are compared and memory holds all features), and the similarities between two images that straightforward
    scoring would ask for.
    """
    forwards, pairs = 0, 0
    for job in jobs:
        tasks = np.load(job.tasks, mmap_mode="r")
        pairs += len(job.units) * tasks.shape[1] * 4 * job.n_explanations
        forwards += sum(len(np.unique(tasks[units])) for units in job.blocks)
    return {"n_forwards": n_embedded if jobs and jobs[0].prepared else forwards, "n_pairs": pairs}


def joined(blocks: Sequence[Block]) -> dict[str, np.ndarray]:
    """Margins and flags of a network in the order of its units, and `rows`: which of its table these are."""
    from safetensors.numpy import load_file

    rows = np.concatenate([block.units for block in blocks])
    order = np.argsort(rows, kind="stable")
    parts = [load_file(block.path) for block in blocks]
    found = {name: np.concatenate([part[name] for part in parts])[order] for name in ("margins", "near")}
    return found | {"rows": rows[order]}
