"""Tasks of one network as a table with a row an image."""

from __future__ import annotations

import argparse

import numpy as np

from interpretability.casts import narrowed
from interpretability.schema import HARD
from interpretability.tasks import rules
from study.errors import StudyError
from study.files.tables import read_json, read_parquet, write_parquet
from study.images.made import MadeImages
from study.log import logger
from study.tasks.harder import has_windows, kept_columns

log = logger("tasks")

_WHAT = ("images", "values")


def export(args: argparse.Namespace) -> None:
    """Long form of the tasks of one network: a row for each image of each task, with its activation.

    The activation of an image that was made for the unit is that of its stored pixels. It is missing where an image is no
    extreme of a unit whose column was not kept, nor at the ranks that the extraction found.
    """
    from safetensors.numpy import load_file

    if not args.model:
        raise StudyError("--export needs --model NAME")
    path = args.out / f"{args.model}.npy"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in args.out.glob("*.npy")))
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
    names, positions = rules.roles((width - 2) // 2)
    columns = (offsets.loc[units["layer"]].to_numpy() + units["unit"].to_numpy()).astype(np.int64)
    values = np.empty(built.shape, dtype=np.float32)
    kept = kept_columns(args.activations / "kept", args.model)
    sides = [
        f"{name}{side}"
        for name in ("", *(f"{name}_" for name in HARD if has_windows(state, name)))
        for side in ("top", "bottom")
    ]
    n_images = read_json(args.activations / "run.json")["n_images"]
    of_made = MadeImages(args.visualisations).table["value"].to_numpy() if (built >= n_images).any() else None
    for row, (column, layer, unit) in enumerate(zip(columns, units["layer"], units["unit"], strict=True)):
        made = built[row] >= n_images
        if of_made is not None:
            values[row][made] = of_made[built[row][made] - n_images]
        if (layer, unit) in kept:
            values[row][~made] = kept[layer, unit][built[row][~made]]
            continue
        images, extremes = (np.concatenate([state[f"{side}_{what}"][column] for side in sides]) for what in _WHAT)
        order = np.argsort(images, kind="stable")
        ranks = order[np.searchsorted(images, built[row], sorter=order).clip(max=len(images) - 1)]
        found = np.where(images[ranks] == built[row], extremes[ranks], np.float32(np.nan))
        values[row][~made] = found[~made]
    table = units[["layer", "unit", "condition"]].loc[units.index.repeat(n_tasks * width)].reset_index(drop=True)
    table["task"] = np.tile(np.repeat(narrowed(np.arange(n_tasks), np.int16, "n_tasks"), width), n_units)
    table["role"] = np.tile(names, n_units * n_tasks)
    table["position"] = np.tile(narrowed(np.array(positions), np.int16, "n_explanations"), n_units * n_tasks)
    table["image"], table["activation"] = built.reshape(-1), values.reshape(-1)
    write_parquet(args.export, table)
    log.info("%d rows written to %s", len(table), args.export)
