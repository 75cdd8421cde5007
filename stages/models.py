"""Resolve the roster: construct every network, train those that are to be trained, check and digest their weights.

Reads   the roster named by models.roster, weight files, data/images (pictures to train on)
Writes  data/models: roster.csv (one row a network and step), weights/NAME.safetensors (trained), failures.csv
Run     dvc repro models
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pandas as pd

from study.command import run
from study.errors import StudyError
from study.files.tables import fresh_folder, write_csv
from study.log import logger
from study.networks.resolving import ResolveJob
from study.networks.roster import RESOLVED, read_roster, rows_of
from study.params.whole import load_params
from study.workers.device import Failure
from study.workers.jobs import log_failure, run_all

log = logger("models")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--roster", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    roster = read_roster(args.roster)
    if (roster["weights"] == "trained").any() and params.images.source != "generated":
        raise StudyError(f"{args.roster}: weights `trained` needs images.source generated; name a file, hub or none")
    out = fresh_folder(args.out)
    (out / "weights").mkdir()
    jobs = [ResolveJob(row, params, args.images, args.code, out) for row in rows_of(roster)]
    results = run_all(jobs, "networks", log, each=partial(log_failure, log))
    rows = [row for result in results if not isinstance(result, Failure) for row in result]
    failures = [
        {"model": job.name, "stage": "models", "reason": result.reason_without(job.name)}
        for job, result in zip(jobs, results, strict=True)
        if isinstance(result, Failure)
    ]
    write_csv(out / "roster.csv", pd.DataFrame(rows, columns=RESOLVED))
    write_csv(
        out / "failures.csv",
        pd.DataFrame(failures, columns=["model", "stage", "reason"]).sort_values("model"),
    )
    if len(failures) > params.models.max_failed * len(roster):
        listed = "".join(f"\n  {row['model']}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {len(roster)} networks of {args.roster} failed; models.max_failed allows a share of "
            f"{params.models.max_failed:g}:{listed}\nPut that right, remove their rows, or raise the limit"
        )
    log.info("%d networks and training steps ready, %d failed", len(rows), len(failures))


if __name__ == "__main__":
    run(main)
