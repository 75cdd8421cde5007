"""Margins of all tasks of a study under one similarity, block by block in the work store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interpretability.files import atomic_path
from interpretability.schema import FACTS, KEY
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet
from study.images.manifest import open_images
from study.log import Progress, logger
from study.networks.roster import base, is_planted, read_roster
from study.params.parts import ImageRoot
from study.solving import embeddings, opening, pairs
from study.workers.device import Failure
from study.workers.jobs import run_jobs

log = logger("scores")

Blocks = list[tuple[np.ndarray, Path]]  # rows of units, and the file of their margins


# Units whose tasks are solved and stored together, where every picture costs a forward pass: a kill costs at most these
# in each worker. One job takes several blocks, so that neighbours find features that they share in memory.
_BLOCK_UNITS, _JOB_BLOCKS = 8, 8


@dataclass(frozen=True, kw_only=True)
class SolvingSimilarities(opening.Similarities):
    """What margins of tasks depend on, of `scores`."""

    near_duplicate: float
    feature_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MarginParams:
    """What the margins of a similarity depend on."""

    seed: int
    images: ImageRoot
    scores: SolvingSimilarities


@dataclass(frozen=True)
class Job:
    """Tasks of units (rows of one network's table) in the order in which they are solved, `block` of them at a time."""

    plan: opening.SimilarityPlan
    tasks: Path
    units: np.ndarray
    block: int
    store: WorkStore
    ingredients: dict[str, Any]
    n_explanations: int
    near: float
    prepared: embeddings.Prepared | None


def compared(models: Path, wanted: Sequence[str]) -> list[str]:
    """Networks whose units a similarity of pairs compares: those that scores.feature_models names, their permuted controls,
    and planted units.
    """
    roster = read_roster(models / "roster.csv")
    known = [*roster["name"], *read_csv(models / "failures.csv", text=["model"])["model"]]
    if unknown := [name for name in wanted if not any(fnmatchcase(each, name) for each in known)]:
        raise StudyError(
            f"scores.feature_models names {unknown[0]!r}, which is no network of the roster; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    rows = roster.to_dict("records")
    named = {row["name"] for row in rows if any(fnmatchcase(row["name"], name) for name in wanted)}
    chosen = [row["name"] for row in rows
              if row["name"] in named or (is_planted(row) and base(row) in named | {""})]  # fmt: skip
    log.info("scores.feature_models: %d of %d networks are compared", len(chosen), len(rows))
    return chosen


def used_images(paths: list[Path]) -> np.ndarray:
    """Images that occur in any task, sorted."""
    found = np.empty(0, dtype=np.int32)
    for path in paths:
        found = np.union1d(found, np.load(path, mmap_mode="r"))
    return found.astype(np.int32)


def shares(tasks: np.ndarray, prepared: bool) -> list[tuple[np.ndarray, int]]:
    """Units of each job of one network, and how many of them are solved at a time."""
    if prepared or not len(tasks):
        return [(np.arange(len(tasks)), max(1, len(tasks)))]
    from interpretability.similarity.features import sharing_order

    order, size = sharing_order(tasks), _BLOCK_UNITS * _JOB_BLOCKS
    return [(order[start : start + size], _BLOCK_UNITS) for start in range(0, len(order), size)]


def solve_study(
    backend: str, params: MarginParams, tasks: Path, images: Path, models: Path, code: Path
) -> tuple[dict[str, Blocks], dict[str, int]]:
    """Blocks of margins of every network that has tasks, in the order of the roster, and what they cost: see `work_of`."""
    summary = read_json(tasks / "summary.json")
    if summary["images"] != open_images(images).digest:
        raise StudyError(f"{tasks} was built from other pictures than {images} holds; run `dvc repro`")
    plan = opening.SimilarityPlan.from_params(backend, params, images, models, code)
    similarity, store = opening.opened(plan)[0], WorkStore.open()
    names, chosen = list(read_roster(models / "roster.csv")["name"]), params.scores.feature_models
    if not similarity.embeds and chosen:
        names = compared(models, chosen)
    paths = {name: tasks / f"{name}.npy" for name in names if (tasks / f"{name}.npy").is_file()}
    if not paths:
        reason = ": scores.feature_models names only networks that failed" if chosen else ""
        raise StudyError(f"no network has tasks for backend {backend}{reason}")
    used = used_images(list(paths.values()))
    n_tasks = sum(int(np.prod(np.load(path, mmap_mode="r").shape[:2])) for path in paths.values())
    prepared = (
        embeddings.embeddings(plan, store, used) if similarity.embeds else pairs.pair_table(plan, store, used, n_tasks)
    )
    ingredients = embeddings.embedding_ingredients(plan) | plan.aggregation()
    ingredients |= prepared.ingredients if prepared else {}
    common = store, ingredients, summary["n_explanations"], params.scores.near_duplicate, prepared
    jobs = [
        Job(plan, path, units, block, *common)
        for path in paths.values()
        for units, block in shares(np.load(path, mmap_mode="r"), prepared is not None)
    ]
    # comparing rows or looking up pairs is arithmetic of numpy and numba
    solved = solve_all(backend, jobs, probe=prepared is not None, on_cpu=prepared is not None)
    blocks: dict[str, Blocks] = {name: [] for name in paths}
    for job, of_job in zip(jobs, solved, strict=True):
        blocks[job.tasks.stem] += of_job
    n_prepared = len(used) if prepared is None or prepared.images is not None else len(open_images(images))
    cost = work_of(jobs, n_prepared)
    log.info("%s: %d forward passes in this process", backend, similarity.forwards)
    return blocks, {**cost, "n_forwards": cost["n_forwards"] if similarity.runs_network else 0}


def solve_all(backend: str, jobs: list[Job], *, probe: bool, on_cpu: bool) -> list[Blocks]:
    """For every job its blocks: rows of units, and the file of their margins."""
    progress = Progress(log, sum(len(job.units) for job in jobs), f"{backend}: units")
    found: dict[int, Blocks] = {}
    names = [f"tasks of {job.tasks.stem}" for job in jobs]
    for place, result in run_jobs(_score, jobs, names, probe=probe, on_cpu=on_cpu):
        name = jobs[place].tasks.stem
        if isinstance(result, Failure):
            raise StudyError(f"backend {backend}, tasks of {name}: {result.reason}")
        blocks, forwards = result
        found[place] = blocks
        progress.step(len(jobs[place].units), note=f"{name}, {forwards} forward passes" if forwards else name)
    return [found[place] for place in range(len(jobs))]


def _score(job: Job) -> tuple[Blocks, int]:
    """Margins of the tasks of a job, block by block, and the forward passes that they took in this process."""
    similarity = _similarity(job)
    before = similarity.forwards
    starts = range(0, len(job.units), job.block)
    blocks = [(job.units[start : start + job.block]) for start in starts] or [job.units]
    return [(units, _solve(job, units)) for units in blocks], similarity.forwards - before


def _similarity(job: Job) -> Any:
    return opening.judge(job.plan) if job.prepared else opening.opened(job.plan)[0]


def _solve(job: Job, units: np.ndarray) -> Path:
    """Margins of the tasks of a block, and which of its tasks hold a copy of their own answer."""
    from safetensors.numpy import save_file

    from interpretability.margins import VERSION

    tasks = np.load(job.tasks, mmap_mode="r")[units]

    def make(path: Path) -> None:
        similarity = _similarity(job)
        rows = job.prepared.open() if job.prepared else None
        places = job.prepared.places(tasks) if job.prepared else tasks
        margins = similarity.margins(places, job.n_explanations, rows)
        if not np.isfinite(margins).all():
            unit, task = np.argwhere(~np.isfinite(margins))[0]
            raise StudyError(f"margin of task {task} of unit row {units[unit]} is {margins[unit, task]}")
        copies = opening.duplicates(job.plan)[tasks]
        near = (copies[..., :-2, None] == copies[..., None, -2:]).any(axis=(-1, -2))
        nearest = similarity.nearest(places, job.n_explanations, rows)
        if nearest is not None:
            near |= nearest > job.near
        save_file({"margins": margins, "near": near}, path)

    digest = hashlib.sha256(np.ascontiguousarray(tasks, dtype="<i4").tobytes()).hexdigest()
    key = {**job.ingredients, "tasks": digest, "n_explanations": job.n_explanations, "near": job.near}
    return job.store.fetch("margins", {**key, "scoring": VERSION}, ".safetensors", make)


def work_of(jobs: list[Job], n_embedded: int) -> dict[str, int]:
    """What the margins cost: forward passes, if every picture passes once a block (once a study if it is embedded or all
    pairs are compared and memory holds all features), and the similarities between two pictures that straightforward
    scoring would ask for.
    """
    forwards, pairs = 0, 0
    for job in jobs:
        tasks = np.load(job.tasks, mmap_mode="r")
        pairs += len(job.units) * tasks.shape[1] * 4 * job.n_explanations
        starts = range(0, len(job.units), job.block)
        forwards += sum(len(np.unique(tasks[job.units[start : start + job.block]])) for start in starts)
    return {"n_forwards": n_embedded if jobs and jobs[0].prepared else forwards, "n_pairs": pairs}


def _gather(blocks: Blocks) -> dict[str, np.ndarray]:
    """Margins and flags of a network in the order of its units."""
    from safetensors.numpy import load_file

    order = np.argsort(np.concatenate([units for units, _ in blocks]))
    parts = [load_file(path) for _, path in blocks]
    return {name: np.concatenate([part[name] for part in parts])[order] for name in ("margins", "near")}


def write(out: Path, solved: dict[str, Blocks], tasks: Path) -> None:
    """One table of all networks in roster order, written network by network."""
    writer = None
    with atomic_path(out) as part:
        for name, blocks in solved.items():
            found, units = _gather(blocks), read_parquet(tasks / f"{name}.parquet")
            table = pa.Table.from_pandas(units[[*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]], preserve_index=False)
            table = table.append_column(
                "margins",
                _lists(found["margins"].reshape(-1), np.full(len(units), found["margins"].shape[1])),
            )
            table = table.append_column(
                "near", _lists(np.nonzero(found["near"])[1].astype(np.int16), found["near"].sum(axis=1))
            )
            table = table.replace_schema_metadata(None)
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is None:
            raise StudyError(f"{tasks} holds no tasks of any network of the roster")
        writer.close()


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Lists of the given lengths, cut from one array."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
