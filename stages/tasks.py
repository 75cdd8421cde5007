"""Build the two-alternative tasks of every unit from its extremes.

Reads   data/activations, data/models/roster.csv; with tasks.source imi also the map of images in
        data/external/human/image_data, data/images/manifest.parquet, data/external/models/imi_names.csv
Writes  data/tasks: NAME.npy (tasks), NAME.parquet (whose they are), constant_units.csv, summary.json, mapped.csv (units of
        the map: used, or why not)
        data/notes/tasks: copies of the small tables
Run     dvc repro tasks
        python -m stages.tasks --export FILE.parquet --model NAME [--layer L]      one row an image of a task
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from interpretability.tasks import rules
from study.command import run
from study.files.tables import copy_notes, fresh_folder, read_json, read_parquet, write_csv, write_json
from study.log import logger
from study.networks import roster
from study.params.whole import load_params
from study.tasks.build import build, mapped_table, read_map
from study.tasks.export import export

log = logger("tasks")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--activations", type=Path, default=Path("data/activations"))
    parser.add_argument("--roster", type=Path, default=Path("data/models/roster.csv"))
    parser.add_argument("--manifest", type=Path, default=Path("data/images/manifest.parquet"))
    parser.add_argument(
        "--image-map", type=Path, default=Path("data/external/human/image_data"), help="folder of the map"
    )
    parser.add_argument("--names", type=Path, default=Path("data/external/models/imi_names.csv"))
    parser.add_argument("--out", type=Path, default=Path("data/tasks"))
    parser.add_argument("--notes", type=Path, help="folder for copies of the small tables")
    parser.add_argument("--export", type=Path, help="write the tasks of one network as a table of images instead")
    parser.add_argument("--model", help="network to export")
    parser.add_argument("--layer", help="layer to export; all if left out")
    args = parser.parse_args(argv)
    if args.export:
        export(args)
        return
    params = load_params(args.params)
    note = read_json(args.activations / "run.json")
    warning = rules.check_images(note["n_images"], params.tasks.n_tasks, params.tasks.n_explanations)
    if warning:
        log.warning("%s", warning)
    layers = read_parquet(args.activations / "layers.parquet")
    out = fresh_folder(args.out)
    models = [name for name in roster.read_roster(args.roster)["name"] if (layers["model"] == name).any()]
    seen = read_map(args, params) if params.tasks.source == "imi" else None
    done = [
        build(name, layers[layers["model"] == name], args.activations, params, out, note["n_images"], seen)
        for name in models
    ]
    constant = [table for table, _ in done]
    write_csv(out / "mapped.csv", mapped_table(seen, [table for _, table in done], models))
    columns = ["model", "layer", "unit", "layer_type", "min", "max", "absolute", "relative"]
    write_csv(
        out / "constant_units.csv",
        pd.concat([pd.DataFrame(columns=columns), *(each for each in constant if len(each))]),
    )
    needed = rules.needed(params.tasks.n_tasks, params.tasks.n_explanations)
    summary = {
        "n_images": note["n_images"], "n_tasks": params.tasks.n_tasks, "n_explanations": params.tasks.n_explanations,
        "tail_share": needed / note["n_images"], "images": note["images"],
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    copy_notes(out, ["constant_units.csv", "summary.json", "mapped.csv"], args.notes)


if __name__ == "__main__":
    run(main)
