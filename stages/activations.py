"""Find the most and least exciting images of every unit of every network, in one pass over the images.

Reads   data/images, data/models, files named in `directions`, data/external/human/units (activations.keep_file),
        data/inputs/explained_units.csv (units with texts)
Writes  data/activations: NAME.safetensors (extremes and statistics of every unit), layers.parquet, clusters.csv (layers that
        repeat others), directions.csv and nearest.parquet (what is read in place of units), left_out.csv, control_labels.csv,
        kept/NAME.parquet (whole columns), explained/NAME.parquet (those of units with texts), run.json, failures.csv
        data/notes/activations: copies of the small tables, for stages that need no extremes
Run     dvc repro activations          Resumes from the work store; safe to interrupt.
        python -m stages.activations --plan    what would run, how long it takes and how large it gets; computes nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.command import arguments, run
from study.extraction import forecast, results, windows
from study.extraction.job import Extraction, ExtractionParams, LayerRow
from study.files.tables import copy_notes, fresh_folder
from study.images.manifest import check_unchanged, open_images
from study.networks.failures import refuse_failures
from study.networks.roster import RosterRow, is_computed, read_roster, rows_of
from study.networks.unit_lists import NONE
from study.params.reading import load

DEFAULTS = {
    "params": "params.yaml",
    "images": "data/images",
    "models": "data/models",
    "code": "data/external/code",
    "units": ("data/external/human/units", "folder of unit lists"),
    "explained": ("data/inputs/explained_units.csv", "units with texts"),
    "out": "data/activations",
}
FLAGS = {
    "notes": {"type": Path, "help": "folder for copies of the small tables"},
    "plan": {"action": "store_true", "help": "say what would run, how long and how large, and end"},
}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    params = load(args.params, ExtractionParams)
    roster = read_roster(args.models / "roster.csv")
    roster = roster[roster["role"] != "similarity"]
    listed = results.listed_units(params.activations, roster, args.models / "roster.csv", args.units)
    explained = results.explained_units(params.explanations.units, args.explained, roster, args.models / "roster.csv")
    images = open_images(args.images, params.images.root)
    check_unchanged(images)
    windows.check(params.activations.windows, roster, args.models / "roster.csv", images, *params.tasks.sizes)

    def job_of(row: RosterRow, base: Sequence[LayerRow] = ()) -> Extraction:
        own = tuple(unit for unit in listed if unit[0] == row["name"])
        folders = args.images, args.models, args.code, args.out
        named = explained.get(row["name"], NONE)
        return Extraction(row, params, *folders, tuple(base), own, explained=named)

    if args.plan:
        print(forecast.forecast([job_of(row) for row in rows_of(roster) if not is_computed(row)], images))
        return
    out = fresh_folder(args.out)
    for folder in ("kept", "explained"):
        (out / folder).mkdir()
    extracted = results.extract_network_tables(roster, job_of, images)
    extracted.write(out, list(roster["name"]), images)
    copy_notes(out, results.NOTES, args.notes)
    refuse_failures(
        "activations",
        extracted.failures,
        len(roster),
        params.activations.max_failed,
        "Put that right, remove their rows from the roster, or raise the limit; the other networks are in the store and not "
        "computed again",
    )


if __name__ == "__main__":
    run(main)
