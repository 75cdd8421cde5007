"""Units for which images are made: those that visualisations.units names, and why some of them get none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from interpretability.tasks.rules import constant
from study.errors import StudyError
from study.files.tables import read_csv, read_parquet
from study.networks.roster import RosterRow, is_control, is_table, read_roster, rows_of
from study.networks.unit_lists import check_networks, is_wild
from study.visualisations.parameters import Folders

KEY = "visualisations.units"
CONSTANT = "its values over the natural images are constant"
CONTROL = "a unit of a control, behind which there is no network"
TABLE = "its values come from a table, and no network is there to compute them"
FAILED = "its network failed: "
_LISTED = 20  # layers in a message

LeftOut = dict[str, object]  # model, layer, unit, reason


@dataclass(frozen=True)
class Unit:
    """A unit, facts of its layer, and its lowest and highest value over all natural images."""

    layer: str
    unit: int
    layer_type: str
    layer_index: int
    depth: float
    low: float
    high: float


@dataclass(frozen=True)
class Chosen:
    """A network, and the units of it for which images are made, in their order."""

    row: RosterRow
    units: tuple[Unit, ...]


def chosen_units(entries: Sequence[str], folders: Folders) -> tuple[list[Chosen], list[LeftOut]]:
    """Units by network in the order of the roster, and those that are named but get no images.

    Raises StudyError for an entry whose network is none of the roster, or which names no unit of its network.
    """
    path = folders.models / "roster.csv"
    roster, failed = read_roster(path), _failures(folders)
    check_networks(entries, [*roster["name"], *failed], path, KEY)
    layers = read_parquet(folders.activations / "layers.parquet")
    of_layers = {str(name): part for name, part in layers.groupby("model", sort=False)}
    chosen: list[Chosen] = []
    left_out: list[LeftOut] = []
    for row in rows_of(roster):
        name = row["name"]
        mine = [entry for entry in entries if fnmatchcase(name, entry.split("/")[0])]
        if not mine or name in failed:
            continue
        units = _named(name, mine, of_layers.get(name), folders.activations)
        reason = TABLE if is_table(row) else CONTROL if is_control(row) else ""
        live = []
        for unit in units:
            if why := reason or (CONSTANT if _is_constant(unit) else ""):
                left_out.append({"model": name, "layer": unit.layer, "unit": unit.unit, "reason": why})
            else:
                live.append(unit)
        if live:
            chosen.append(Chosen(row, tuple(live)))
    for name, why in failed.items():
        for entry in entries:
            model, layer, unit = entry.split("/")
            if fnmatchcase(name, model):
                left_out.append({"model": name, "layer": layer, "unit": unit, "reason": FAILED + why})
    return chosen, left_out


def _failures(folders: Folders) -> dict[str, str]:
    """Networks that failed in an earlier stage, with the reason."""
    tables = [
        read_csv(folder / "failures.csv", ["model", "reason"], text=["model", "stage", "reason"])
        for folder in (folders.models, folders.activations)
    ]
    return {model: reason for table in tables for model, reason in zip(table["model"], table["reason"], strict=True)}


def _named(name: str, entries: Sequence[str], layers: pd.DataFrame | None, activations: Path) -> list[Unit]:
    """Units of a network that entries name, by layer and number."""
    facts = (
        [] if layers is None else [{str(key): value for key, value in row.items()} for row in layers.to_dict("records")]
    )
    found: dict[int, Unit] = {}
    low, high = _ranges(activations, name) if facts else ([], [])
    for entry in entries:
        network, layer, unit = entry.split("/")
        hits = [
            (row, number)
            for row in facts
            if fnmatchcase(row["layer"], layer)
            for number in range(row["width"])
            if fnmatchcase(str(number), unit)
        ]
        if not hits and not is_wild(network):
            raise _no_unit(entry, name, facts)
        for row, number in hits:
            place = row["offset"] + number
            found[place] = Unit(
                row["layer"],
                number,
                row["layer_type"],
                row["layer_index"],
                row["depth"],
                float(low[place]),
                float(high[place]),
            )
    return [found[place] for place in sorted(found)]


def _ranges(activations: Path, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Lowest and highest value of every unit of a network over all images."""
    from safetensors import safe_open

    with safe_open(activations / f"{name}.safetensors", "numpy") as file:
        return file.get_tensor("min"), file.get_tensor("max")


def _is_constant(unit: Unit) -> bool:
    import numpy as np

    return bool(constant(np.array([unit.low]), np.array([unit.high]))[0][0])


def _no_unit(entry: str, name: str, facts: Sequence[Mapping[str, object]]) -> StudyError:
    known = [f"{row['layer']} ({row['width']})" for row in facts]
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    has = f"it has, with their units, {', '.join(known[:_LISTED])}{more}" if known else "it has no units"
    return StudyError(f"{KEY} names {entry}, which is no unit of {name} (written model/layer/unit); {has}")
