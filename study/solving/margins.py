"""Margins of all tasks of a study under one similarity, block by block in the work store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.files import atomic_path
from interpretability.schema import FACTS, KEY
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet
from study.images.manifest import open_images
from study.log import logger
from study.networks.roster import base_network, is_control, read_roster, rows_of
from study.params.parts import SeedAndImages
from study.solving import embeddings, pairs
from study.solving.embeddings import Prepared, SimilarityJob
from study.solving.opening import (
    Similarities,
    SimilarityPlan,
    copy_numbers,
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


@dataclass(frozen=True, kw_only=True)
class SolvingSimilarities(Similarities):
    """What margins of tasks depend on, of `scores`."""

    near_duplicate: float
    feature_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MarginParams(SeedAndImages):
    """What the margins of a similarity depend on."""

    scores: SolvingSimilarities


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
    prepared: Prepared | None

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
        table = self.prepared.open() if self.prepared else None
        rows = self.prepared.with_rows(tasks) if self.prepared else tasks
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


def compared_networks(models: Path, wanted: Sequence[str]) -> list[str]:
    """Networks whose units a similarity of pairs compares: those that scores.feature_models names, their permuted controls,
    and planted units.
    """
    roster = read_roster(models / "roster.csv")
    known = [*roster["name"], *read_csv(models / "failures.csv", text=["model"])["model"]]
    if unknown := [name for name in wanted if not any(fnmatchcase(network, name) for network in known)]:
        raise StudyError(
            f"scores.feature_models names {unknown[0]!r}, which is no network of the roster; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    rows = rows_of(roster)
    named = {row["name"] for row in rows if any(fnmatchcase(row["name"], name) for name in wanted)}
    chosen = [
        row["name"] for row in rows if row["name"] in named or (is_control(row) and base_network(row) in named | {""})
    ]
    log.info("scores.feature_models: %d of %d networks are compared", len(chosen), len(rows))
    return chosen


def used_images(paths: Sequence[Path]) -> NDArray[np.int32]:
    """Images that occur in any task, sorted."""
    used = np.empty(0, dtype=np.int32)
    for path in paths:
        used = np.union1d(used, np.load(path, mmap_mode="r"))
    return used.astype(np.int32)


def units_by_job(tasks: NDArray[np.int32], prepared: bool) -> list[tuple[NDArray[np.int64], int]]:
    """Units of each job of one network, and how many of them are solved at a time."""
    if prepared or not len(tasks):
        return [(np.arange(len(tasks)), max(1, len(tasks)))]
    from interpretability.similarity.features import sharing_order

    order, size = sharing_order(tasks), _BLOCK_UNITS * _JOB_BLOCKS
    return [(order[start : start + size], _BLOCK_UNITS) for start in range(0, len(order), size)]


def solved_blocks(backend: str, jobs: Sequence[MarginJob], *, probe: bool, on_cpu: bool) -> list[list[Block]]:
    """The blocks of every job, solved now as far as the store lacks them."""
    return run_all_or_stop(jobs, f"backend {backend}, units", log, probe=probe, on_cpu=on_cpu)


class Cost(TypedDict):
    """Forward passes, and similarities between two images."""

    n_forwards: int
    n_pairs: int


def solve_study(
    backend: str, params: MarginParams, tasks: Path, images: Path, models: Path, code: Path
) -> tuple[dict[str, list[Block]], Cost]:
    """Blocks of margins of every network that has tasks, in the order of the roster, and what they cost: see `cost_of`."""
    summary = read_json(tasks / "summary.json")
    if summary["images"] != open_images(images).digest:
        raise StudyError(f"{tasks} was built from other pictures than {images} holds; run `dvc repro`")
    plan = SimilarityPlan.from_params(backend, params, images, models, code)
    similarity, store = similarity_and_images(plan)[0], WorkStore.open()
    names, chosen = list(read_roster(models / "roster.csv")["name"]), params.scores.feature_models
    if not similarity.embeds and chosen:
        names = compared_networks(models, chosen)
    paths = {name: tasks / f"{name}.npy" for name in names if (tasks / f"{name}.npy").is_file()}
    if not paths:
        reason = ": scores.feature_models names only networks that failed" if chosen else ""
        raise StudyError(f"no network has tasks for backend {backend}{reason}")
    used = used_images(list(paths.values()))
    n_tasks = sum(int(np.prod(np.load(path, mmap_mode="r").shape[:2])) for path in paths.values())
    prepared = (
        embeddings.embedded_images(plan, store, used)
        if similarity.embeds
        else pairs.pair_table(plan, store, used, n_tasks)
    )
    ingredients = embeddings.embedding_ingredients(plan) | plan.aggregation()
    ingredients |= prepared.ingredients if prepared else {}
    size, near = summary["n_explanations"], params.scores.near_duplicate
    jobs = [
        MarginJob(plan, store, ingredients, path, units, block, size, near, prepared)
        for path in paths.values()
        for units, block in units_by_job(np.load(path, mmap_mode="r"), prepared is not None)
    ]
    # comparing rows or looking up pairs is arithmetic of numpy and numba
    solved = solved_blocks(backend, jobs, probe=prepared is not None, on_cpu=prepared is not None)
    blocks: dict[str, list[Block]] = {name: [] for name in paths}
    for job, of_job in zip(jobs, solved, strict=True):
        blocks[job.tasks.stem] += of_job
    n_prepared = len(used) if prepared is None or prepared.images is not None else len(open_images(images))
    cost = cost_of(jobs, n_prepared)
    log.info("%s: %d forward passes in this process", backend, similarity.forwards)
    return blocks, cost if similarity.runs_network else {**cost, "n_forwards": 0}


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


def _joined(blocks: Sequence[Block]) -> dict[str, np.ndarray]:
    """Margins and flags of a network in the order of its units."""
    from safetensors.numpy import load_file

    order = np.argsort(np.concatenate([block.units for block in blocks]), kind="stable")
    parts = [load_file(block.path) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts])[order] for name in ("margins", "near")}


def write_margins(out: Path, solved: Mapping[str, Sequence[Block]], tasks: Path) -> None:
    """Write one table of all networks in roster order, network by network."""
    writer = None
    with atomic_path(out) as part:
        for name, blocks in solved.items():
            joined, units = _joined(blocks), read_parquet(tasks / f"{name}.parquet")
            margins, near = joined["margins"], joined["near"]
            table = pa.Table.from_pandas(units[[*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]], preserve_index=False)
            lengths = np.full(len(units), margins.shape[1])
            table = table.append_column("margins", _lists(margins.reshape(-1), lengths))
            table = table.append_column(
                "near", _lists(narrowed(np.nonzero(near)[1], np.int16, "n_tasks"), near.sum(axis=1))
            )
            table = table.replace_schema_metadata(None)
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is None:
            raise StudyError(f"{tasks} holds no tasks of any network of the roster")
        writer.close()


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Lists of the given lengths, cut from one array."""
    offsets = narrowed(np.concatenate([[0], np.cumsum(lengths)]), np.int32, "the tasks of a network")
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
