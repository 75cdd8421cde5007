"""Resolve the roster: construct every network, train those that are to be trained, try them out and digest their weights.

Reads   the roster named by models.roster, weight files, data/images (pictures to train on)
Writes  data/models: roster.csv (one row a network and step), weights/NAME.safetensors (trained), failures.csv
Run     dvc repro models
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study.command import arguments, run
from study.files.tables import fresh_folder, write_csv
from study.log import logger
from study.networks.failures import refuse_failures, write_failures
from study.networks.resolving import refuse_other_encoder, refuse_untrainable, resolve_all
from study.networks.roster import RESOLVED, read_roster, row_numbers, rows_of
from study.networks.settings import NetworkParams
from study.params.reading import load

log = logger("models")


def main(argv: list[str] | None = None) -> None:
    flags = {"roster": {"type": Path, "help": "another roster than models.roster"}}
    args = arguments(__doc__, argv, folders=("code", "images", "out"), defaults={"params": "params.yaml"}, flags=flags)
    params = load(args.params, NetworkParams)
    path = args.roster or Path(params.models.roster)
    roster = read_roster(path)
    refuse_untrainable(rows_of(roster), params, path)
    out = fresh_folder(args.out)
    (out / "weights").mkdir()
    rows, failures = resolve_all(rows_of(roster), params, args.images, args.code, out)
    write_csv(out / "roster.csv", pd.DataFrame(rows, columns=RESOLVED))
    write_failures(out / "failures.csv", failures)
    advice = "Put that right, remove their rows, or raise the limit"
    refuse_failures(
        "models", failures, len(roster), params.models.max_failed, advice, of=str(path), rows=row_numbers(roster)
    )
    refuse_other_encoder(rows_of(roster), failures, params)
    log.info("%d networks and training steps ready, %d failed", len(rows), len(failures))


if __name__ == "__main__":
    run(main)
