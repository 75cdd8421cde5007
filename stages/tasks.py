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

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.pipeline import imi, mapped, networks
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
from stages.science import hard, selection, tasks

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
    warning = tasks.check_images(note["n_images"], params.tasks.n_tasks, params.tasks.n_explanations)
    if warning:
        log.warning("%s", warning)
    layers = read_parquet(args.activations / "layers.parquet")
    out = fresh_folder(args.out)
    models = [name for name in networks.read_roster(args.roster)["name"] if (layers["model"] == name).any()]
    seen = _read_map(args, params) if params.tasks.source == "imi" else None
    done = [
        _build(name, layers[layers["model"] == name], args.activations, params, out, note["n_images"], seen)
        for name in models
    ]
    constant = [table for table, _ in done]
    write_csv(out / "mapped.csv", _mapped_table(seen, [table for _, table in done], models))
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
    copy_notes(out, ["constant_units.csv", "summary.json", "mapped.csv"], args.notes)


def _read_map(args: argparse.Namespace, params: Params) -> mapped.Mapped:
    """Tasks that people saw. The folder of the map stands for the first part of human.imi.image_map."""
    path = args.image_map / Path(params.human.imi.image_map).relative_to("image_data")
    pictures = read_parquet(args.manifest, ["path"])["path"]
    return mapped.read_tasks(path, imi.read_names(args.names), pictures, params.tasks.n_tasks)


def _mapped_table(seen: mapped.Mapped | None, found: list[pd.DataFrame], models: list[str]) -> pd.DataFrame:
    """What became of every unit of the map; logged. Raises StudyError if nothing of it could be used."""
    if seen is None:
        return pd.DataFrame(columns=mapped.STATUS_COLUMNS)
    rest = seen.table[~seen.table["model"].isin(models)]
    table = pd.concat([*found, rest.assign(status=mapped.NO_NETWORK)], ignore_index=True)
    counts = table["status"].value_counts()
    for status, count in counts.items():
        log.log(20 if status == mapped.USED else 30, "map of images: %d of %d units: %s", count, len(table), status)
    if mapped.USED not in counts:
        raise StudyError(
            f"tasks.source is imi, but none of the {len(table)} units of the map can be used, most because: "
            f"{counts.index[0]}. tasks.n_tasks must not exceed the tasks that the map has of a unit (11 or 20), and the "
            "pictures must be ImageNet's training set"
        )
    return table[mapped.STATUS_COLUMNS].sort_values(mapped.STATUS_COLUMNS[:4], ignore_index=True)


def _build(
    model: str,
    layers: pd.DataFrame,
    activations: Path,
    params: Params,
    out: Path,
    n_images: int,
    seen: mapped.Mapped | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the tasks of one network; return its constant units, which have none, and its units of the map."""
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
    for condition in (name for name in params.tasks.conditions if name != "natural" and len(places)):
        start = tasks.window_start(n_images, condition, *size)
        built, *ties = hard.hard_tasks(values, keys[places], start, *size)
        tables.append(units.iloc[places].assign(condition=condition, tie_share_pos=ties[0], tie_share_neg=ties[1]))
        arrays.append(built)
    table, built = pd.concat(tables, ignore_index=True), np.concatenate(arrays)
    status = pd.DataFrame(columns=mapped.STATUS_COLUMNS)
    if seen is not None:
        found = mapped.resolve(seen.of(model), units[live], params.tasks.conditions)
        status = found.table
        table, built = _with_mapped(table, built, found, units[live])
    with atomic_path(out / f"{model}.npy") as part, open(part, "wb") as file:
        np.save(file, built)
    write_parquet(out / f"{model}.parquet", table[[*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]])
    marked = constant | relative
    table = units.loc[marked, ["model", "layer", "unit", "layer_type"]]
    table = table.assign(
        min=low[marked],
        max=high[marked],
        absolute=constant[marked].astype(int),
        relative=relative[marked].astype(int),
    )
    return table, status


def _with_mapped(
    table: pd.DataFrame, built: np.ndarray, seen: mapped.Mapped, units: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and tasks with those of the map in place of the rebuilt ones, or behind them where there are none.

    How many images of such tasks are tied is not known: their tie shares are missing.
    """
    used = (seen.table["status"] == mapped.USED).to_numpy()
    given = seen.table.loc[used, ["layer", "unit", "condition"]]
    rows = given.merge(units.drop(columns="condition", errors="ignore"), on=["layer", "unit"], how="left")
    rows = rows.assign(tie_share_pos=np.float32(np.nan), tie_share_neg=np.float32(np.nan))
    own = ["layer", "unit", "condition"]
    stays = ~pd.MultiIndex.from_frame(table[own]).isin(pd.MultiIndex.from_frame(rows[own]))
    table = pd.concat([table[stays], rows[table.columns]], ignore_index=True)
    built = np.concatenate([built[stays], seen.tasks[used]])
    # natural tasks first, each condition in the order of its units
    place = {owner: place for place, owner in enumerate(zip(units["layer"], units["unit"], strict=True))}
    order = [place[owner] for owner in zip(table["layer"], table["unit"], strict=True)]
    order = np.lexsort((order, table["condition"].map(["natural", *tasks.HARD].index)))
    return table.iloc[order].reset_index(drop=True), built[order]


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
