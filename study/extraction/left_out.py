"""Layers of the wanted types that give no units: their table, and one line of the log for each network that has some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

import pandas as pd

from interpretability.networks.reasons import ASKED

if TYPE_CHECKING:
    from interpretability.networks.layers import LeftOut

COLUMNS = ["model", "layer", "layer_type", "width", "reason"]
FILE = "left_out.csv"
_SHOWN = 3  # names of layers a reason


class LeftOutFacts(TypedDict):
    """A layer that gives no units: its name, type, the channels that it declares (None if it does not), and the reason."""

    layer: str
    layer_type: str
    width: int | None
    reason: str


def facts_of(left_out: Iterable[LeftOut]) -> list[LeftOutFacts]:
    return [
        {"layer": row.name, "layer_type": row.layer_type, "width": row.width, "reason": row.reason} for row in left_out
    ]


def table(rows: Mapping[str, Sequence[LeftOutFacts]], names: Iterable[str]) -> pd.DataFrame:
    """Rows of all networks in the order of `names`, within a network in that of its modules."""
    frame = pd.DataFrame([{"model": name, **row} for name in names for row in rows.get(name, ())], columns=COLUMNS)
    return frame.astype({"width": "Int64"})


def words(rows: Sequence[LeftOutFacts], n_layers: int) -> str:
    """What was found and not asked for, for a network whose layers with units are so many; empty where there is nothing."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"] not in ASKED:
            by_reason.setdefault(row["reason"], []).append(row["layer"])
    if not by_reason:
        return ""
    parts = [f"{reason} ({len(layers)}: {_some(layers)})" for reason, layers in by_reason.items()]
    n = sum(map(len, by_reason.values()))
    return f"{n} of {n_layers + len(rows)} layers of the wanted types are read nowhere: {'; '.join(parts)}"


def _some(layers: Sequence[str]) -> str:
    return ", ".join([*layers[:_SHOWN], *(["..."] if len(layers) > _SHOWN else [])])
