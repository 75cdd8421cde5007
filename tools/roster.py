"""Check a roster before any download: does every network construct, and how many units has it?

Networks are built without weights on torch's meta device, where tensors have shapes and no content, and traced once: a
second or less each, no memory, no network access. Rules and preprocessing are those of the study.

Run     python -m tools.roster                              the roster and the unit rules of params.yaml
        python -m tools.roster --params studies/imagenet.yaml --out data/external/models/imagenet_units.csv
Writes  one row a network and layer type: model, input_size, n_params, layer_type, n_layers, n_units, reason
        (empty, or why the network cannot be studied)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from study.command import arguments, run
from study.errors import StudyError
from study.extraction import counting
from study.files.tables import write_csv
from study.log import logger
from study.networks.roster import read_roster, row_numbers, rows_of, with_bases, with_network
from study.params.whole import load_params
from study.workers.device import Failure

log = logger("roster")


COLUMNS = ["model", "input_size", "n_params", "layer_type", "n_layers", "n_units", "reason"]


def main(argv: list[str] | None = None) -> None:
    flags = {
        "roster": {"type": Path, "help": "another roster than models.roster"},
        "out": {"type": Path, "help": "write the table of units there"},
    }
    args = arguments(__doc__, argv, defaults={"params": "params.yaml", "code": "data/external/code"}, flags=flags)
    params = load_params(args.params)
    path = args.roster or Path(params.models.roster)
    roster = read_roster(path)
    roster = with_network(roster)
    jobs = [counting.CountJob(row, params.units, args.code) for row in with_bases(rows_of(roster))]
    results = counting.count_networks(jobs)
    rows = [row for job, counted in zip(jobs, results, strict=True) for row in _rows(job, counted)]
    counting.log_left_out(jobs, results)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table.astype(dict.fromkeys(["input_size", "n_params", "n_layers", "n_units"], "Int64"))
    numbers = row_numbers(roster)
    for row in table[table["reason"] != ""].to_dict("records"):
        log.warning("row %d (%s) cannot be studied: %s", numbers[row["model"]], row["model"], row["reason"])
    units = table.groupby("layer_type")["n_units"].sum().sort_values(ascending=False, kind="stable")
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in units.items())
    log.info("%s: %d networks, %s units: %s", path, len(jobs), f"{units.sum():,}", kinds)
    if args.out:
        write_csv(args.out, table)
        log.info("written to %s", args.out)
    if (table["reason"] != "").any():
        raise StudyError(
            f"{(table['reason'] != '').sum()} of {len(jobs)} networks of {path} cannot be studied, see above"
        )


def _rows(job: counting.CountJob, counted: counting.NetworkCount | Failure) -> list[dict[str, Any]]:
    """Rows of one network: one a layer type."""
    name = job.name
    if isinstance(counted, Failure):
        return [{"model": name, "reason": counted.reason_without(name)}]
    facts = {"model": name, "reason": "", **{field: counted[field] for field in ("input_size", "n_params")}}
    return [dict(facts, layer_type=kind, n_layers=layers, n_units=units) for kind, layers, units in counted["layers"]]


if __name__ == "__main__":
    run(main)
