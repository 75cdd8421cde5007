"""Solve every task with one similarity: margins before calibration.

Reads   data/tasks, data/images, data/models (the encoder's network)
Writes  data/scores/BACKEND.parquet
Run     dvc repro scores@encoder        Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
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
from stages.pipeline.tables import FACTS, KEY, atomic_path, read_json, read_parquet, sha256_file
from stages.pipeline.workers import Failure, run_jobs

log = logger("scores")


@dataclass(frozen=True)
class Job:
    """Tasks of one network."""

    plan: embedding.SimilarityPlan
    tasks: Path
    store: WorkStore
    ingredients: dict[str, Any]
    n_explanations: int
    near: float
    embeddings: Path | None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    summary = read_json(args.tasks / "summary.json")
    if summary["images"] != open_images(args.images).digest:
        raise StudyError(f"{args.tasks} was built from other pictures than {args.images} holds; run `dvc repro`")
    plan = embedding.SimilarityPlan.from_params(args.backend, params, args.images, args.models, args.code)
    store = WorkStore.open()
    rows, ingredients = embedding.embeddings(plan, store)
    place = Path(rows.filename) if isinstance(rows, np.memmap) and rows.filename else None
    names = [
        name
        for name in networks.read_roster(args.models / "roster.csv")["name"]
        if (args.tasks / f"{name}.npy").is_file()
    ]
    jobs = [
        Job(
            plan,
            args.tasks / f"{name}.npy",
            store,
            ingredients,
            summary["n_explanations"],
            params.scores.near_duplicate,
            place,
        )
        for name in names
    ]
    progress = Progress(log, len(jobs), f"{args.backend}: networks")
    found: dict[str, Path] = {}
    for index, result in run_jobs(_score, jobs, names, probe=True):
        if isinstance(result, Failure):
            raise StudyError(f"backend {args.backend}, tasks of {names[index]}: {result.reason}")
        found[names[index]] = result
        progress.step(note=names[index])
    _write(args.out, {name: found[name] for name in names}, args.tasks)


def _score(job: Job) -> Path:
    """Margins of one network's tasks, and which of its tasks hold a copy of their own answer."""
    from safetensors.numpy import save_file

    from stages.science.scoring import VERSION

    digest = sha256_file(job.tasks)

    def make(path: Path) -> None:
        tasks = np.load(job.tasks, mmap_mode="r")
        similarity, images = embedding.opened(job.plan)
        rows = None if job.embeddings is None else np.load(job.embeddings, mmap_mode="r")
        margins = similarity.margins(tasks, job.n_explanations, rows)
        if not np.isfinite(margins).all():
            unit, task = np.argwhere(~np.isfinite(margins))[0]
            raise StudyError(f"margin of task {task} of unit row {unit} is {margins[unit, task]}")
        copies = embedding.group_duplicates(images.manifest["digest"].tolist())[tasks]
        near = (copies[..., :-2, None] == copies[..., None, -2:]).any(axis=(-1, -2))
        nearest = similarity.nearest(tasks, job.n_explanations, rows)
        if nearest is not None:
            near |= nearest > job.near
        save_file({"margins": margins, "near": near}, path)

    return job.store.fetch(
        "margins",
        {**job.ingredients, "tasks": digest, "near": job.near, "scoring": VERSION},
        ".safetensors",
        make,
    )


def _write(out: Path, margins: dict[str, Path], tasks: Path) -> None:
    """One table of all networks in roster order, written network by network."""
    from safetensors.numpy import load_file

    writer = None
    with atomic_path(out) as part:
        for name, path in margins.items():
            found, units = load_file(path), read_parquet(tasks / f"{name}.parquet")
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
