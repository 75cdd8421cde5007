"""Solve every task with one similarity: margins before calibration.

Reads   data/tasks, data/images, data/models (the encoder's network), weights of similarity packages (MIS_WEIGHTS)
Writes  data/scores/BACKEND.parquet; data/scores/BACKEND.cost.json: forward passes and pairs
Run     dvc repro scores@encoder        Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages import embedding
from stages.errors import StudyError
from stages.pipeline import networks
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import load_params
from stages.pipeline.pictures import open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import FACTS, KEY, atomic_path, read_csv, read_json, read_parquet, write_json
from stages.pipeline.workers import Failure, run_jobs

log = logger("scores")


# Units whose tasks are solved and stored together, where every picture costs a forward pass: a kill costs at most these
# in each worker. One job takes several blocks, so that neighbours find features that they share in memory.
_BLOCK_UNITS, _JOB_BLOCKS = 8, 8


@dataclass(frozen=True)
class Job:
    """Tasks of units (rows of one network's table) in the order in which they are solved, `block` of them at a time."""

    plan: embedding.SimilarityPlan
    tasks: Path
    units: np.ndarray
    block: int
    store: WorkStore
    ingredients: dict[str, Any]
    n_explanations: int
    near: float
    prepared: embedding.Prepared | None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--backend", required=True)
    for name in ("tasks", "images", "models", "code", "out", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    summary = read_json(args.tasks / "summary.json")
    if summary["images"] != open_images(args.images).digest:
        raise StudyError(f"{args.tasks} was built from other pictures than {args.images} holds; run `dvc repro`")
    plan = embedding.SimilarityPlan.from_params(args.backend, params, args.images, args.models, args.code)
    roster = networks.read_roster(args.models / "roster.csv")["name"]
    similarity, store = embedding.opened(plan)[0], WorkStore.open()
    if not similarity.embeds and params.scores.feature_models:
        roster = _compared(args.models, params.scores.feature_models)
    paths = {name: args.tasks / f"{name}.npy" for name in roster if (args.tasks / f"{name}.npy").is_file()}
    if not paths:
        raise StudyError(
            f"no network has tasks for backend {args.backend}"
            + (": scores.feature_models names only networks that failed" if params.scores.feature_models else "")
        )
    used = _used_images(list(paths.values()))
    n_tasks = sum(int(np.prod(np.load(path, mmap_mode="r").shape[:2])) for path in paths.values())
    prepared = (
        embedding.embeddings(plan, store, used)
        if similarity.embeds
        else embedding.pair_table(plan, store, used, n_tasks)
    )
    ingredients = (
        embedding.embedding_ingredients(plan) | plan.aggregation() | (prepared.ingredients if prepared else {})
    )
    common = store, ingredients, summary["n_explanations"], params.scores.near_duplicate, prepared
    jobs = [
        Job(plan, path, units, block, *common)
        for path in paths.values()
        for units, block in _shares(np.load(path, mmap_mode="r"), prepared is not None)
    ]
    # comparing rows or looking up pairs is arithmetic of numpy and numba
    found = _solve_all(args.backend, jobs, probe=prepared is not None, on_cpu=prepared is not None)
    solved = {name: [block for job, blocks in zip(jobs, found, strict=True) if job.tasks == path for block in blocks]
              for name, path in paths.items()}  # fmt: skip
    _write(args.out, solved, args.tasks)
    cost = _cost(jobs, len(used) if prepared is None or prepared.images is not None else len(open_images(args.images)))
    write_json(args.cost, {**cost, "n_forwards": cost["n_forwards"] if similarity.runs_network else 0})
    log.info("%s: %d forward passes in this process", args.backend, similarity.forwards)


def _compared(models: Path, wanted: Sequence[str]) -> list[str]:
    """Networks whose units a similarity of pairs compares: those that scores.feature_models names, their permuted controls,
    and planted units.
    """
    roster = networks.read_roster(models / "roster.csv")
    known = [*roster["name"], *read_csv(models / "failures.csv", text=["model"])["model"]]
    if unknown := [name for name in wanted if not any(fnmatchcase(each, name) for each in known)]:
        raise StudyError(
            f"scores.feature_models names {unknown[0]!r}, which is no network of the roster; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    rows = roster.to_dict("records")
    named = {row["name"] for row in rows if any(fnmatchcase(row["name"], name) for name in wanted)}
    chosen = [row["name"] for row in rows
              if row["name"] in named or (networks.is_planted(row) and networks.base(row) in named | {""})]  # fmt: skip
    log.info("scores.feature_models: %d of %d networks are compared", len(chosen), len(rows))
    return chosen


def _used_images(paths: list[Path]) -> np.ndarray:
    """Images that occur in any task, sorted."""
    found = np.empty(0, dtype=np.int32)
    for path in paths:
        found = np.union1d(found, np.load(path, mmap_mode="r"))
    return found.astype(np.int32)


def _shares(tasks: np.ndarray, prepared: bool) -> list[tuple[np.ndarray, int]]:
    """Units of each job of one network, and how many of them are solved at a time."""
    if prepared or not len(tasks):
        return [(np.arange(len(tasks)), max(1, len(tasks)))]
    from stages.science.features import sharing_order

    order, size = sharing_order(tasks), _BLOCK_UNITS * _JOB_BLOCKS
    return [(order[start : start + size], _BLOCK_UNITS) for start in range(0, len(order), size)]


def _solve_all(backend: str, jobs: list[Job], *, probe: bool, on_cpu: bool) -> list[list[tuple[np.ndarray, Path]]]:
    """For every job its blocks: rows of units, and the file of their margins."""
    progress = Progress(log, sum(len(job.units) for job in jobs), f"{backend}: units")
    found: dict[int, list[tuple[np.ndarray, Path]]] = {}
    names = [f"tasks of {job.tasks.stem}" for job in jobs]
    for place, result in run_jobs(_score, jobs, names, probe=probe, on_cpu=on_cpu):
        name = jobs[place].tasks.stem
        if isinstance(result, Failure):
            raise StudyError(f"backend {backend}, tasks of {name}: {result.reason}")
        blocks, forwards = result
        found[place] = blocks
        progress.step(len(jobs[place].units), note=f"{name}, {forwards} forward passes" if forwards else name)
    return [found[place] for place in range(len(jobs))]


def _score(job: Job) -> tuple[list[tuple[np.ndarray, Path]], int]:
    """Margins of the tasks of a job, block by block, and the forward passes that they took in this process."""
    similarity = _similarity(job)
    before = similarity.forwards
    starts = range(0, len(job.units), job.block)
    blocks = [(job.units[start : start + job.block]) for start in starts] or [job.units]
    return [(units, _solve(job, units)) for units in blocks], similarity.forwards - before


def _similarity(job: Job) -> Any:
    return embedding.judge(job.plan) if job.prepared else embedding.opened(job.plan)[0]


def _solve(job: Job, units: np.ndarray) -> Path:
    """Margins of the tasks of a block, and which of its tasks hold a copy of their own answer."""
    from safetensors.numpy import save_file

    from stages.science.scoring import VERSION

    tasks = np.load(job.tasks, mmap_mode="r")[units]

    def make(path: Path) -> None:
        similarity = _similarity(job)
        rows = job.prepared.open() if job.prepared else None
        places = job.prepared.places(tasks) if job.prepared else tasks
        margins = similarity.margins(places, job.n_explanations, rows)
        if not np.isfinite(margins).all():
            unit, task = np.argwhere(~np.isfinite(margins))[0]
            raise StudyError(f"margin of task {task} of unit row {units[unit]} is {margins[unit, task]}")
        copies = embedding.duplicates(job.plan)[tasks]
        near = (copies[..., :-2, None] == copies[..., None, -2:]).any(axis=(-1, -2))
        nearest = similarity.nearest(places, job.n_explanations, rows)
        if nearest is not None:
            near |= nearest > job.near
        save_file({"margins": margins, "near": near}, path)

    digest = hashlib.sha256(np.ascontiguousarray(tasks, dtype="<i4").tobytes()).hexdigest()
    key = {**job.ingredients, "tasks": digest, "n_explanations": job.n_explanations, "near": job.near}
    return job.store.fetch("margins", {**key, "scoring": VERSION}, ".safetensors", make)


def _cost(jobs: list[Job], n_embedded: int) -> dict[str, int]:
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


def _gather(blocks: list[tuple[np.ndarray, Path]]) -> dict[str, np.ndarray]:
    """Margins and flags of a network in the order of its units."""
    from safetensors.numpy import load_file

    order = np.argsort(np.concatenate([units for units, _ in blocks]))
    parts = [load_file(path) for _, path in blocks]
    return {name: np.concatenate([part[name] for part in parts])[order] for name in ("margins", "near")}


def _write(out: Path, solved: dict[str, list[tuple[np.ndarray, Path]]], tasks: Path) -> None:
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


if __name__ == "__main__":
    run(main)
