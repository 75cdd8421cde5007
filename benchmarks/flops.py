"""Operations of one forward pass of every network of the paper: what the projection of the full study needs to know.

    python -m benchmarks.flops [--roster data/external/models/imagenet.csv]      # some ten minutes, one worker a core

Networks are built without weights on torch's meta device and run on one picture of the size that their preprocessing
makes, under torch's flop counter: two operations a multiply-add of every convolution and matrix product, attention
included. Norms, activations and pooling are not counted; they cost time by memory traffic, not by arithmetic, and the
rates that the projection divides by were measured with them. The table depends on the roster alone, so it is made once.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.harness import report
from stages.errors import StudyError
from stages.pipeline import networks
from stages.pipeline.log import Progress, logger
from stages.pipeline.workers import Failure, run_jobs

log = logger("flops")
NAME = "forward_flops"
COLUMNS = ["model", "input_size", "n_params", "gflop", "reason"]


@dataclass(frozen=True)
class Job:
    row: dict[str, Any]
    code: Path


def operations(model: Any, shape: tuple[int, int, int]) -> int:
    """Operations of a forward pass of one picture (C, H, W) on the device on which the model lies.

    Its parameters need no gradients afterwards: the counter follows those of modules that do, even where none are kept.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty((1, *shape), device=device))
    return int(counter.get_total_flops())


def count(job: Job) -> dict[str, Any]:
    """Row of one network."""
    import torch

    from stages.science.preprocessing import Preprocessing

    with torch.device("meta"):
        model = networks.constructor(job.row, job.code)(**json.loads(job.row["kwargs"] or "{}")).eval()
        resolved = job.row["preprocessing"] or networks.resolve_preprocessing(job.row, model)
    size = Preprocessing.parse(resolved, str(job.row["name"])).crop
    n_params = sum(parameter.numel() for parameter in model.parameters())
    gflop = operations(model, (3, size, size)) / 1e9
    return {"model": job.row["name"], "input_size": size, "n_params": n_params, "gflop": gflop}


def table(roster: Path, code: Path) -> pd.DataFrame:
    """One row a network of the roster, controls left out; `reason` is empty, or why its operations cannot be counted."""
    rows = networks.read_roster(roster)
    rows = rows[~rows["constructor"].str.startswith("control:")]
    jobs = [Job(row, code) for row in rows.to_dict("records")]
    progress, found = Progress(log, len(jobs), "networks"), dict[int, dict[str, Any]]()
    for place, result in run_jobs(count, jobs, list(rows["name"])):
        name = jobs[place].row["name"]
        found[place] = {"model": name, "reason": result.reason} if isinstance(result, Failure) else result
        progress.step(note=name)
    return pd.DataFrame([{"reason": "", **found[place]} for place in sorted(found)])[COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roster", type=Path, default=Path("data/external/models/imagenet.csv"))
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    args = parser.parse_args()
    counted = table(args.roster, args.code)
    report(NAME, "Operations of a forward pass of one picture, in 1e9", counted.to_dict("records"))
    if (failed := counted.loc[counted["reason"] != "", "model"]).any():
        raise StudyError(f"operations of {len(failed)} of {len(counted)} networks cannot be counted: {', '.join(failed)}")


if __name__ == "__main__":
    main()
