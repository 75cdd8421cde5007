"""Build the two-alternative tasks of every unit from its extremes.

Reads   data/activations, data/models/roster.csv; with tasks.source imi also the map of images in
        data/external/human/image_data, data/images/manifest.parquet, data/external/models/imi_names.csv;
        data/visualisations where tasks.conditions names synthetic or mixed
Writes  data/tasks: NAME.npy (tasks), NAME.parquet (whose they are), constant_units.csv, firing.parquet (how often latents of
        sparse codes are active), summary.json, mapped.csv (units of the map: used, or why not), made_units.csv (units with
        made images: used, or why not; where conditions name them)
        data/notes/tasks: copies of the small tables
Run     dvc repro tasks
        python -m stages.tasks --export FILE.parquet --model NAME [--layer L]      one row an image of a task
"""

from __future__ import annotations

from pathlib import Path

from study.command import arguments, run
from study.files.tables import copy_notes, fresh_folder
from study.params.reading import load
from study.tasks.build import TaskParams, build_all
from study.tasks.export import export
from study.tasks.made import TABLE as MADE_UNITS

DEFAULTS = {
    "params": "params.yaml",
    "activations": "data/activations",
    "roster": "data/models/roster.csv",
    "manifest": "data/images/manifest.parquet",
    "image-map": ("data/external/human/image_data", "folder of the map"),
    "names": "data/external/models/imi_names.csv",
    "visualisations": "data/visualisations",
    "out": "data/tasks",
}
NOTES = ("constant_units.csv", "firing.parquet", "summary.json", "mapped.csv")
FLAGS = {
    "notes": {"type": Path, "help": "folder for copies of the small tables"},
    "export": {"type": Path, "help": "write the tasks of one network as a table of images instead"},
    "model": {"help": "network to export"},
    "layer": {"help": "layer to export; all if left out"},
}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    if args.export:
        export(args)
        return
    params = load(args.params, TaskParams)
    out = fresh_folder(args.out)
    build_all(args, params, out)
    copy_notes(out, [*NOTES, *([MADE_UNITS] if (out / MADE_UNITS).is_file() else [])], args.notes)


if __name__ == "__main__":
    run(main)
