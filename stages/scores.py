"""Solve every task with one similarity: margins before calibration.

Reads   data/tasks, data/images, data/models (the encoder's network), weights of similarity packages (MIS_WEIGHTS)
Writes  data/scores/BACKEND.parquet; data/scores/BACKEND.cost.json: forward passes and pairs
Run     dvc repro scores@encoder        Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from study.command import run
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_json, write_json
from study.images.manifest import open_images
from study.log import logger
from study.networks.roster import read_roster
from study.params.whole import load_params
from study.solving import embeddings, opening, pairs
from study.solving.margins import (
    MarginJob,
    compared_networks,
    cost_of,
    solved_blocks,
    units_by_job,
    used_images,
    write_margins,
)

log = logger("scores")


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
    plan = opening.SimilarityPlan.from_params(args.backend, params, args.images, args.models, args.code)
    roster = read_roster(args.models / "roster.csv")["name"]
    similarity, store = opening.similarity_and_images(plan)[0], WorkStore.open()
    if not similarity.embeds and params.scores.feature_models:
        roster = compared_networks(args.models, params.scores.feature_models)
    paths = {name: args.tasks / f"{name}.npy" for name in roster if (args.tasks / f"{name}.npy").is_file()}
    if not paths:
        raise StudyError(
            f"no network has tasks for backend {args.backend}"
            + (": scores.feature_models names only networks that failed" if params.scores.feature_models else "")
        )
    used = used_images(list(paths.values()))
    n_tasks = sum(int(np.prod(np.load(path, mmap_mode="r").shape[:2])) for path in paths.values())
    prepared = (
        embeddings.embedded_images(plan, store, used)
        if similarity.embeds
        else pairs.pair_table(plan, store, used, n_tasks)
    )
    ingredients = (
        embeddings.embedding_ingredients(plan) | plan.aggregation() | (prepared.ingredients if prepared else {})
    )
    common = store, ingredients, summary["n_explanations"], params.scores.near_duplicate, prepared
    jobs = [
        MarginJob(plan, path, units, block, *common)
        for path in paths.values()
        for units, block in units_by_job(np.load(path, mmap_mode="r"), prepared is not None)
    ]
    # comparing rows or looking up pairs is arithmetic of numpy and numba
    results = solved_blocks(args.backend, jobs, probe=prepared is not None, on_cpu=prepared is not None)
    solved = {
        name: [block for job, blocks in zip(jobs, results, strict=True) if job.tasks == path for block in blocks]
        for name, path in paths.items()
    }
    write_margins(args.out, solved, args.tasks)
    cost = cost_of(
        jobs, len(used) if prepared is None or prepared.images is not None else len(open_images(args.images))
    )
    write_json(args.cost, {**cost, "n_forwards": cost["n_forwards"] if similarity.runs_network else 0})
    log.info("%s: %d forward passes in this process", args.backend, similarity.forwards)


if __name__ == "__main__":
    run(main)
