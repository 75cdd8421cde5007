"""Find the most and least exciting images of every unit of every network, in one pass over the images.

Reads   data/images, data/models, matrices named in `directions`, data/external/human/units (activations.keep_file)
Writes  data/activations: NAME.safetensors (extremes and statistics of every unit), layers.parquet, control_labels.csv,
        kept/NAME.parquet (whole columns of the units to keep), run.json, failures.csv
        data/notes/activations: copies of the small tables, for stages that need no extremes
Run     dvc repro activations          Resumes from the work store; safe to interrupt.
        python -m stages.activations --plan    what would run, how long it takes and how large it gets; computes nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interpretability.schema import FACTS
from study.command import run
from study.errors import StudyError
from study.extraction import forecast
from study.extraction.extract import extract_all
from study.extraction.job import Extraction, LayerRow
from study.files.tables import copy_notes, fresh_folder, write_csv, write_json, write_parquet
from study.images.manifest import check_unchanged, open_images
from study.log import logger
from study.networks import roster as networks
from study.networks import unit_lists
from study.networks.roster import RosterRow, is_planted, read_roster, rows_of
from study.params.whole import load_params
from study.workers.device import Failure

log = logger("activations")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--models", type=Path, default=Path("data/models"))
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    parser.add_argument("--units", type=Path, default=Path("data/external/human/units"), help="folder of unit lists")
    parser.add_argument("--out", type=Path, default=Path("data/activations"))
    parser.add_argument("--notes", type=Path, help="folder for copies of the small tables")
    parser.add_argument("--plan", action="store_true", help="say what would run, how long and how large, and end")
    args = parser.parse_args(argv)
    params = load_params(args.params)
    roster = read_roster(args.models / "roster.csv")
    roster = roster[roster["role"] != "similarity"]
    names = roster["name"][~roster["constructor"].str.startswith("control:")].tolist()
    unit_lists.check_networks(params.activations.keep, names, args.models / "roster.csv")
    listed = unit_lists.read_list(args.units / params.activations.keep_file) if params.activations.keep_file else []
    if absent := {model for model, *_ in listed} - set(names):
        log.warning("%s lists units of networks that are not studied: %s", params.activations.keep_file, sorted(absent))
    images = open_images(args.images, params.images.root)
    check_unchanged(images)

    def extraction(row: RosterRow, base: Sequence[LayerRow] = ()) -> Extraction:
        own = tuple(unit for unit in listed if unit[0] == row["name"])
        return Extraction(row, params, args.images, args.models, args.code, args.out, tuple(base), own)

    if args.plan:
        print(forecast.forecast([extraction(row) for row in rows_of(roster) if not is_planted(row)], images))
        return
    out = fresh_folder(args.out)
    (out / "kept").mkdir()
    # a permuted control starts from the finished extremes of its network, so it goes second
    permuted = roster["constructor"] == "control:permuted"
    layers, labels, failures, kinds, pieces, timings = [], [], [], set(), {}, {}
    for part in (roster[~permuted], roster[permuted]):
        extractions = [
            extraction(row, [layer for layer in layers if layer["model"] == networks.base_network(row)])
            for row in rows_of(part)
        ]
        for name, result in extract_all(extractions, images):
            if isinstance(result, Failure):
                failures.append({"model": name, "stage": "activations", "reason": result.reason_without(name)})
            else:
                layers += result["layers"]
                labels += result["labels"]
                kinds.add(result["device"])
                timings[name] = result["timing"]
                if result["pieces"] > 1:
                    pieces[name] = result["pieces"]
    log.info("%s", forecast.timing_table(timings, len(images)))
    order = {name: place for place, name in enumerate(roster["name"])}
    table = pd.DataFrame(layers, columns=["model", "layer", *FACTS, "offset"])
    table = table.sort_values(
        ["model", "offset"], key=lambda column: column.map(order) if column.name == "model" else column
    )
    write_parquet(out / "layers.parquet", table)
    label_table = pd.DataFrame(labels, columns=["model", "layer", "unit", "label"])
    write_csv(out / "control_labels.csv", label_table.sort_values(["model", "layer", "unit"]))
    write_csv(
        out / "failures.csv",
        pd.DataFrame(failures, columns=["model", "stage", "reason"]).sort_values("model"),
    )
    # batches that ran in parts for want of memory: their last bits may be others than those of whole batches
    note = {"device_kinds": sorted(kinds), "n_images": len(images), "images": images.digest, "batches_in_parts": pieces}
    write_json(out / "run.json", note)
    copy_notes(out, ["control_labels.csv", "failures.csv", "run.json"], args.notes)
    if len(failures) > params.activations.max_failed * len(roster):
        listed_failures = "".join(f"\n  {row['model']}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {len(roster)} networks failed; activations.max_failed allows a share of "
            f"{params.activations.max_failed:g}:{listed_failures}\nPut that right, remove their rows from the roster, or raise "
            "the limit; the other networks are in the store and not computed again"
        )


if __name__ == "__main__":
    run(main)
