"""Build the two-alternative tasks of every unit from its extremes.

Reads   data/activations, data/models/roster.csv
Writes  data/tasks: NAME.npy (tasks), NAME.parquet (whose they are), constant_units.csv, summary.json
        data/notes/tasks: copies of the two small tables
Run     dvc repro tasks
        python -m stages.tasks --export FILE.parquet --model NAME [--layer L]      one row an image of a task
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.pipeline import networks
from stages.pipeline.log import logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.tables import (
    FACTS,
    KEY,
    atomic_path,
    copy_notes,
    fresh_folder,
    read_json,
    read_parquet,
    write_csv,
    write_json,
    write_parquet,
)
from stages.science import conditions, selection, tasks

log = logger("tasks")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--activations", type=Path, default=Path("data/activations"))
    parser.add_argument("--roster", type=Path, default=Path("data/models/roster.csv"))
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
    warning = tasks.check_images(note["n_images"], params.tasks.n_tasks, params.tasks.n_explanations)
    if warning:
        log.warning("%s", warning)
    layers = read_parquet(args.activations / "layers.parquet")
    out = fresh_folder(args.out)
    models = [name for name in networks.read_roster(args.roster)["name"] if (layers["model"] == name).any()]
    constant = [
        _build(name, layers[layers["model"] == name], args.activations, params, out, note["n_images"])
        for name in models
    ]
    columns = ["model", "layer", "unit", "layer_type", "min", "max", "absolute", "relative"]
    write_csv(
        out / "constant_units.csv",
        pd.concat([pd.DataFrame(columns=columns), *(each for each in constant if len(each))]),
    )
    needed = tasks.needed(params.tasks.n_tasks, params.tasks.n_explanations)
    summary = {
        "n_images": note["n_images"], "n_tasks": params.tasks.n_tasks, "n_explanations": params.tasks.n_explanations,
        "tail_share": needed / note["n_images"], "images": note["images"],
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    copy_notes(out, ["constant_units.csv", "summary.json"], args.notes)


def _build(
    model: str, layers: pd.DataFrame, activations: Path, params: Params, out: Path, n_images: int
) -> pd.DataFrame:
    """Write the tasks of one network; return its constant units, which have none."""
    from safetensors.numpy import load_file

    state = load_file(activations / f"{model}.safetensors")
    units = layers.loc[layers.index.repeat(layers["width"])].reset_index(drop=True)
    units["unit"] = np.concatenate([np.arange(width) for width in layers["width"]])
    keys = np.concatenate(
        [tasks.unit_keys(params.seed, model, row.layer, np.arange(row.width)) for row in layers.itertuples()]
    )
    low, high = state["min"].astype(np.float64), state["max"].astype(np.float64)
    constant, relative = tasks.constant(low, high)
    size = params.tasks.n_tasks, params.tasks.n_explanations
    for side in ("top", "bottom"):
        units[f"tie_share_{'pos' if side == 'top' else 'neg'}"] = selection.tie_share(
            state[f"{side}_values"], state[f"tied_beyond_{side}"], tasks.needed(*size)
        )
    live = ~constant
    built = tasks.build(state["top_images"][live], state["bottom_images"][live], keys[live], *size)
    tables, arrays = [units[live].assign(condition="natural")], [built]
    places, values = _kept(activations, model, units, live)
    for condition in (name for name in params.tasks.conditions if name != "natural"):
        if not len(places):
            continue
        start = tasks.window_start(n_images, condition, *size)
        built, *ties = conditions.hard_tasks(values, keys[places], start, *size)
        tables.append(units.iloc[places].assign(condition=condition, tie_share_pos=ties[0], tie_share_neg=ties[1]))
        arrays.append(built)
    with atomic_path(out / f"{model}.npy") as part, open(part, "wb") as file:
        np.save(file, np.concatenate(arrays))
    table = pd.concat(tables, ignore_index=True)
    write_parquet(out / f"{model}.parquet", table[[*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]])
    marked = constant | relative
    table = units.loc[marked, ["model", "layer", "unit", "layer_type"]]
    return table.assign(
        min=low[marked],
        max=high[marked],
        absolute=constant[marked].astype(int),
        relative=relative[marked].astype(int),
    )


def _kept(activations: Path, model: str, units: pd.DataFrame, live: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `units` that vary and whose columns were kept, ascending, and those columns (units, images)."""
    columns = kept_columns(activations, model)
    owners = zip(units["layer"], units["unit"], strict=True)
    rows = [row for row, owner in enumerate(owners) if owner in columns and live[row]]
    chosen = [columns[units["layer"].iloc[row], units["unit"].iloc[row]] for row in rows]
    return np.array(rows, dtype=np.int64), np.stack(chosen) if rows else np.empty((0, 0), dtype=np.float32)


def kept_columns(activations: Path, model: str) -> dict[tuple[str, int], np.ndarray]:
    """Whole columns of values (images,) float32 of a network by layer and unit; empty where none was kept."""
    path = activations / "kept" / f"{model}.parquet"
    if not path.is_file():
        return {}
    kept = read_parquet(path)
    return dict(zip(zip(kept["layer"], kept["unit"], strict=True), kept["values"], strict=True))


def export(args: argparse.Namespace) -> None:
    """Long form of the tasks of one network: a row for each image of each task, with its activation.

    The activation is missing where an image is no extreme of a unit whose column was not kept.
    """
    from safetensors.numpy import load_file

    if not args.model:
        raise StudyError("--export needs --model NAME")
    path = args.out / f"{args.model}.npy"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in args.out.glob("*.npy")))
        raise StudyError(f"there are no tasks of a network {args.model!r}; there are some of: {known}")
    units, built = read_parquet(args.out / f"{args.model}.parquet"), np.load(path)
    state = load_file(args.activations / f"{args.model}.safetensors")
    layers = read_parquet(args.activations / "layers.parquet")
    offsets = layers[layers["model"] == args.model].set_index("layer")["offset"]
    if args.layer:
        if args.layer not in offsets.index:
            raise StudyError(f"{args.model} has no layer {args.layer!r}; it has {', '.join(offsets.index)}")
        chosen = (units["layer"] == args.layer).to_numpy()
        units, built = units[chosen].reset_index(drop=True), built[chosen]
    n_units, n_tasks, width = built.shape
    names, positions = tasks.roles((width - 2) // 2)
    columns = (offsets.loc[units["layer"]].to_numpy() + units["unit"].to_numpy()).astype(np.int64)
    values = np.empty(built.shape, dtype=np.float32)
    kept = kept_columns(args.activations, args.model)
    for place, (column, layer, unit) in enumerate(zip(columns, units["layer"], units["unit"], strict=True)):
        if (layer, unit) in kept:
            values[place] = kept[layer, unit][built[place]]
            continue
        images = np.concatenate([state["top_images"][column], state["bottom_images"][column]])
        order = np.argsort(images, kind="stable")
        found = order[np.searchsorted(images, built[place], sorter=order).clip(max=len(images) - 1)]
        extremes = np.concatenate([state["top_values"][column], state["bottom_values"][column]])
        values[place] = np.where(images[found] == built[place], extremes[found], np.float32(np.nan))
    table = units[["layer", "unit", "condition"]].loc[units.index.repeat(n_tasks * width)].reset_index(drop=True)
    table["task"] = np.tile(np.repeat(np.arange(n_tasks, dtype=np.int16), width), n_units)
    table["role"] = np.tile(names, n_units * n_tasks)
    table["position"] = np.tile(np.array(positions, dtype=np.int16), n_units * n_tasks)
    table["image"], table["activation"] = built.reshape(-1), values.reshape(-1)
    write_parquet(args.export, table)
    log.info("%d rows written to %s", len(table), args.export)


if __name__ == "__main__":
    run(main)
