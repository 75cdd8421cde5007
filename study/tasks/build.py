"""Tasks of every unit of one network from its extremes, its kept columns and the map of images.

Units have no tasks where they are constant, or latents of a sparse code that are active on too few images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.extremes.ties import tie_share
from interpretability.files import atomic_path
from interpretability.randomness import network_keys
from interpretability.schema import FACTS, HARD, KEY, NATURAL, ONE_SIDED
from interpretability.tasks import natural, one_sided, rules
from study.errors import StudyError
from study.files.tables import read_json, read_parquet, write_csv, write_json, write_parquet
from study.log import logger
from study.networks import imi_naming
from study.networks.roster import base_network, is_control, read_roster, rows_of
from study.params.tasks import Tasks
from study.people import imi_tasks
from study.tasks import made
from study.tasks.firing import COLUMNS, SCHEMA, SCORED, firing_table, log_firing, sparse_layers
from study.tasks.harder import Found, harder_tasks

log = logger("tasks")

CONSTANT_COLUMNS = ["model", "layer", "unit", "layer_type", "min", "max", "absolute", "relative"]


@dataclass(frozen=True, kw_only=True)
class MapOfImages:
    """Which images people saw, of `human.imi`."""

    image_map: str


@dataclass(frozen=True, kw_only=True)
class AnsweredTasks:
    """The tasks that people answered, of `human`."""

    imi: MapOfImages


@dataclass(frozen=True, kw_only=True)
class TaskParams:
    """What the tasks depend on."""

    seed: int
    processor: str
    tasks: Tasks
    human: AnsweredTasks


def read_map(args: argparse.Namespace, params: TaskParams) -> imi_tasks.MappedUnits:
    """Tasks that people saw. The folder of the map stands for the first part of human.imi.image_map."""
    path = args.image_map / Path(params.human.imi.image_map).relative_to("image_data")
    paths = read_parquet(args.manifest, ["path"])["path"]
    return imi_tasks.read_imi_tasks(path, imi_naming.read_names(args.names), paths, params.tasks.n_tasks)


def build_all(args: argparse.Namespace, params: TaskParams, out: Path) -> None:
    """The tasks of all networks, in the order of the roster, and the tables beside them."""
    note = read_json(args.activations / "run.json")
    size = params.tasks.n_tasks, params.tasks.n_explanations
    if warning := rules.check_images(note["n_images"], *size):
        log.warning("%s", warning)
    layers, rows = read_parquet(args.activations / "layers.parquet"), rows_of(read_roster(args.roster))
    sparse, models = (
        sparse_layers(args.activations),
        [row["name"] for row in rows if (layers["model"] == row["name"]).any()],
    )
    # a permuted control has the values of its network, and so its latents
    sparse |= {row["name"]: sparse[base] for row in rows if is_control(row) and (base := base_network(row)) in sparse}
    one_sided_of = one_sided_networks(args.roster, params.tasks.one_sided)
    seen = read_map(args, params) if params.tasks.source == "imi" else None
    pictures = made.read(args.visualisations, note, params.tasks.conditions)
    constant, mapped, firing = [pd.DataFrame(columns=CONSTANT_COLUMNS)], [], [pd.DataFrame(columns=COLUMNS)]
    shown = [pd.DataFrame(columns=made.COLUMNS)]
    for name in models:
        of_network = layers[layers["model"] == name]
        network = Network(name, of_network, sparse.get(name, set()), name in one_sided_of)
        built = build(network, args.activations, params, out, note["n_images"], seen, pictures)
        constant += [built.constant] if len(built.constant) else []
        firing += [built.firing] if len(built.firing) else []
        mapped.append(built.mapped)
        shown.append(built.made)
    write_csv(out / "mapped.csv", mapped_table(seen, mapped, models))
    write_csv(out / "constant_units.csv", pd.concat(constant))
    write_parquet(out / "firing.parquet", pd.concat(firing, ignore_index=True), schema=SCHEMA)
    if pictures is not None:
        write_csv(out / made.TABLE, made.logged(pd.concat(shown, ignore_index=True)))
    summary = {
        "n_images": note["n_images"],
        "n_tasks": params.tasks.n_tasks,
        "n_explanations": params.tasks.n_explanations,
        "tail_share": rules.needed(*size) / note["n_images"],
        "images": note["images"],
    }
    write_json(out / "summary.json", summary)


def mapped_table(seen: imi_tasks.MappedUnits | None, mapped: list[pd.DataFrame], models: list[str]) -> pd.DataFrame:
    """What became of every unit of the map; logged. Raises StudyError if nothing of it could be used."""
    if seen is None:
        return pd.DataFrame(columns=imi_tasks.STATUS_COLUMNS)
    rest = seen.table[~seen.table["model"].isin(models)]
    table = pd.concat([*mapped, rest.assign(status=imi_tasks.NO_NETWORK)], ignore_index=True)
    counts = table["status"].value_counts()
    for status, count in counts.items():
        log.log(20 if status == imi_tasks.USED else 30, "map of images: %d of %d units: %s", count, len(table), status)
    if imi_tasks.USED not in counts:
        raise StudyError(
            f"tasks.source is imi, but none of the {len(table)} units of the map can be used, most because: "
            f"{counts.index[0]}. tasks.n_tasks must not exceed the tasks that the map has of a unit (11 or 20), and the "
            "pictures must be ImageNet's training set"
        )
    return table[imi_tasks.STATUS_COLUMNS].sort_values(imi_tasks.STATUS_COLUMNS[:4], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Network:
    """A network whose tasks are built: its layers, those that are sparse codes, and whether it gets one-sided tasks, too."""

    name: str
    layers: pd.DataFrame
    sparse: set[str]
    one_sided: bool


@dataclass(frozen=True)
class Built:
    """What tables say of a network: constant units, units of the map, how often latents of sparse codes are active, and units
    that images were made for."""

    constant: pd.DataFrame
    mapped: pd.DataFrame
    firing: pd.DataFrame
    made: pd.DataFrame


def one_sided_networks(roster: Path, wanted: Sequence[str]) -> set[str]:
    """Networks and controls of a resolved roster that tasks.one_sided names."""
    names = read_roster(roster)["name"].tolist()
    if unknown := [text for text in wanted if not any(fnmatchcase(name, text) for name in names)]:
        raise StudyError(
            f"tasks.one_sided names {unknown[0]!r}, which is no network of {roster}; * stands for any text. Allowed: "
            f"{', '.join(names)}"
        )
    return {name for name in names if any(fnmatchcase(name, text) for text in wanted)}


def build(
    network: Network,
    activations: Path,
    params: TaskParams,
    out: Path,
    n_images: int,
    seen: imi_tasks.MappedUnits | None,
    pictures: made.MadeUnits | None,
) -> Built:
    """Write the tasks of one network. Constant units have none, nor have latents active on fewer than N(K + 1) images."""
    from safetensors.numpy import load_file

    model, layers = network.name, network.layers
    state = load_file(activations / f"{model}.safetensors")
    units = layers.loc[layers.index.repeat(layers["width"])].reset_index(drop=True)
    units["unit"] = np.concatenate([np.arange(width) for width in layers["width"]])
    keys = network_keys(params.seed, model, zip(layers["layer"], layers["width"], strict=True))
    low, high = state["min"].astype(np.float64), state["max"].astype(np.float64)
    constant, relative = rules.constant(low, high)
    size = params.tasks.n_tasks, params.tasks.n_explanations
    for side in ("top", "bottom"):
        units[f"tie_share_{'pos' if side == 'top' else 'neg'}"] = tie_share(
            state[f"{side}_values"], state[f"tied_beyond_{side}"], rules.needed(*size)
        )
    firing = firing_table(units, state["nonpositive"], network.sparse, n_images, rules.needed(*size))
    log_firing(model, firing, rules.needed(*size))
    live = ~constant
    live[firing.index[firing["status"] != SCORED]] = False
    built = natural.build(state["top_images"][live], state["bottom_images"][live], keys[live], *size)
    tables, arrays = [units[live].assign(condition=NATURAL)], [built]
    for table, harder in harder_tasks(
        activations / "kept", Found(model, units, live, keys, state), n_images, params.tasks
    ):
        tables.append(table)
        arrays.append(harder)
    if network.one_sided:
        # its negative images are drawn, whatever their values, so that none of them ties with an image left out
        tables.append(units[live].assign(condition=ONE_SIDED, tie_share_neg=np.float32(np.nan)))
        arrays.append(one_sided.one_sided_tasks(state["top_images"][live], keys[live], n_images, *size))
    table, built = pd.concat(tables, ignore_index=True), np.concatenate(arrays)
    status = pd.DataFrame(columns=imi_tasks.STATUS_COLUMNS)
    if seen is not None:
        answered = imi_tasks.in_study(seen.of(model), units[live], params.tasks.conditions)
        status = answered.table
        table, built = _with_mapped(table, built, answered, units[live])
    shown = pd.DataFrame(columns=made.COLUMNS)
    if pictures is not None:
        table, built, shown = made.with_made(table, built, pictures.of(model))
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
    return Built(table, status, firing, shown)


def _with_mapped(
    table: pd.DataFrame, built: np.ndarray, seen: imi_tasks.MappedUnits, units: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and tasks with those of the map in place of the rebuilt ones, or behind them where there are none.

    How many images of such tasks are tied is not known: their tie shares are missing.
    """
    used = (seen.table["status"] == imi_tasks.USED).to_numpy()
    owners = seen.table.loc[used, ["layer", "unit", "condition"]]
    rows = owners.merge(units.drop(columns="condition", errors="ignore"), on=["layer", "unit"], how="left")
    rows = rows.assign(tie_share_pos=np.float32(np.nan), tie_share_neg=np.float32(np.nan))
    own = ["layer", "unit", "condition"]
    stays = ~pd.MultiIndex.from_frame(table[own]).isin(pd.MultiIndex.from_frame(rows[own]))
    table = pd.concat([table[stays], rows[table.columns]], ignore_index=True)
    built = np.concatenate([built[stays], seen.tasks[used]])
    # natural tasks first, each condition in the order of its units
    rank = {owner: number for number, owner in enumerate(zip(units["layer"], units["unit"], strict=True))}
    order = [rank[owner] for owner in zip(table["layer"], table["unit"], strict=True)]
    order = np.lexsort((order, table["condition"].map([NATURAL, *HARD, ONE_SIDED].index).to_numpy()))
    return table.iloc[order].reset_index(drop=True), built[order]
