"""Check a roster before any download: does every network construct, and how many units has it?

Networks are built without weights on torch's meta device, where tensors have shapes and no content, and traced once: a
second or less each, no memory, no network access. Rules and preprocessing are those of the study.

Run     python -m stages.roster                              the roster and the unit rules of params.yaml
        python -m stages.roster --params studies/imagenet.yaml --out data/external/models/imagenet_units.csv
Writes  one row a network and layer type: model, input_size, n_params, layer_type, n_layers, n_units, reason
        (empty, or why the network does not construct)
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.errors import StudyError
from stages.pipeline import networks
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import Units, load_params
from stages.pipeline.tables import write_csv
from stages.pipeline.workers import Failure, run_jobs

log = logger("roster")
COLUMNS = ["model", "input_size", "n_params", "layer_type", "n_layers", "n_units", "reason"]


@dataclass(frozen=True)
class Job:
    row: dict[str, Any]
    rules: Units
    code: Path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--roster", type=Path, help="another roster than models.roster")
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    parser.add_argument("--out", type=Path, help="write the table of units there")
    args = parser.parse_args(argv)
    params = load_params(args.params)
    path = args.roster or Path(params.models.roster)
    roster = networks.read_roster(path)
    roster = roster[~roster["constructor"].str.startswith("control:")]
    jobs = [Job(row, params.units, args.code) for row in roster.to_dict("records")]
    progress, found = Progress(log, len(jobs), "networks"), dict[int, list[dict[str, Any]]]()
    for place, result in run_jobs(_count, jobs, list(roster["name"])):
        name = jobs[place].row["name"]
        failed = isinstance(result, Failure)
        found[place] = [{"model": name, "reason": result.reason.removeprefix(f"{name}: ")}] if failed else result
        progress.step(note=name)
    rows = [{"reason": "", **row} for place in sorted(found) for row in found[place]]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table.astype(dict.fromkeys(["input_size", "n_params", "n_layers", "n_units"], "Int64"))
    for row in table[table["reason"] != ""].to_dict("records"):
        log.warning("%(model)s does not construct: %(reason)s", row)
    units = table.groupby("layer_type")["n_units"].sum().sort_values(ascending=False)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in units.items())
    log.info("%s: %d networks, %s units: %s", path, len(jobs), f"{units.sum():,}", kinds)
    if args.out:
        write_csv(args.out, table)
        log.info("written to %s", args.out)
    if (table["reason"] != "").any():
        raise StudyError(
            f"{(table['reason'] != '').sum()} of {len(jobs)} networks of {path} do not construct, see above"
        )


def _count(job: Job) -> list[dict[str, Any]]:
    """Rows of one network."""
    import torch

    from stages.science.preprocessing import Preprocessing
    from stages.science.taps import find_taps
    from stages.science.units import find_layers

    kwargs = json.loads(job.row["kwargs"] or "{}")
    with torch.device("meta"):
        model = networks.constructor(job.row, job.code)(**kwargs).eval()
        resolved = job.row["preprocessing"] or networks.resolve_preprocessing(job.row, model)
        size = Preprocessing.parse(resolved, str(job.row["name"])).crop
        layers = find_layers(
            model, torch.empty((3, 3, size, size)), layer_types=job.rules.layer_types,
            drop_first_last=job.rules.drop_first_last, norm_act=job.rules.norm_act,
            taps=find_taps([path for path, _ in model.named_modules()], job.row["taps"]),
        )  # fmt: skip
    facts = {"model": job.row["name"], "input_size": size, "n_params": sum(p.numel() for p in model.parameters())}
    table = pd.DataFrame([(layer.layer_type, layer.width) for layer in layers], columns=["layer_type", "width"])
    counted = table.groupby("layer_type")["width"].agg(n_layers="size", n_units="sum").reset_index()
    return [{**facts, **row} for row in counted.to_dict("records")]


if __name__ == "__main__":
    run(main)
