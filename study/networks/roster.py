"""Rosters: a row a network, every cell checked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

import pandas as pd

from study.errors import StudyError
from study.files.tables import read_csv, rows_shown


class RosterRow(TypedDict):
    """A row of a roster: a network, or a computed control. Numbers that are missing are NaN, or "" in a row being made.

    The last three columns are those that the stage `models` adds.
    """

    name: str
    constructor: str
    kwargs: str
    weights: str
    sha256: str
    preprocessing: str
    role: str
    series: str
    step: float | str
    top1: float | str
    directions: str
    taps: str
    licence: str
    family: str
    last: NotRequired[float]
    n_params: NotRequired[float]
    input_size: NotRequired[float | str]


@dataclass(frozen=True)
class NetworkJob:
    """A job on one row of a roster, called as its network is; `size` is its share of the progress."""

    row: RosterRow
    size: float = field(default=1.0, kw_only=True)

    @property
    def name(self) -> str:
        return self.row["name"]


RESOLVED = list(RosterRow.__annotations__)
COLUMNS = [name for name in RESOLVED if name not in ("last", "n_params", "input_size")]
NUMBERS = ("step", "top1", "last", "n_params", "input_size")
TAPS = ("imi",)  # sets of rules in interpretability/networks/taps.py
ROLES = ("study", "similarity", "control")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def read_roster(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A roster with the columns of COLUMNS; every row checked. Raises StudyError naming file, row and value.

    Missing numbers are NaN, everything else is text, also a network called 50.
    """
    frame = read_csv(path, ["name", "constructor"], text=RESOLVED)
    unknown = [name for name in frame.columns if name not in RESOLVED]
    if unknown:
        raise StudyError(f"{path}: unknown column {', '.join(unknown)}; allowed: {', '.join(COLUMNS)}")
    for name in COLUMNS:
        if name not in frame.columns:
            frame[name] = "study" if name == "role" else "none" if name == "weights" else ""
    if frame.empty:
        raise StudyError(f"{path} has no rows; give at least one network")
    problems = []
    for number, row in zip(rows_shown(frame), frame.to_dict("records"), strict=True):
        where = f"row {number} ({row['name']})"
        if not _NAME.fullmatch(str(row["name"])):
            problems.append(
                f"{where}: name may hold letters, digits and . _ + - only, and starts with a letter or digit"
            )
        if row["role"] not in ROLES:
            problems.append(f"{where}: role is {row['role']!r}, allowed: {', '.join(ROLES)}")
        if row["taps"] and row["taps"] not in TAPS:
            problems.append(f"{where}: taps is {row['taps']!r}, allowed: {', '.join(TAPS)}, or empty")
        try:
            if not isinstance(json.loads(row["kwargs"] or "{}"), dict):
                raise ValueError
        except ValueError:
            problems.append(f'{where}: kwargs {row["kwargs"]!r} is no JSON object such as {{"num_classes": 10}}')
        if row["weights"] not in ("hub", "none", "trained") and not row["sha256"]:
            problems.append(
                f"{where}: weights is {row['weights']!r}, which is read as a file, so sha256 is needed (sha256sum "
                f"{row['weights']}); otherwise allowed: hub, none, trained"
            )
        problems += [
            f"{where}: {number} is {row[number]!r}, it must be a number or empty"
            for number in NUMBERS
            if row.get(number) and not _NUMBER.fullmatch(row[number])
        ]
    for name in sorted(frame["name"][frame["name"].duplicated()].unique()):
        rows = ", ".join(map(str, rows_shown(frame[frame["name"] == name])))
        problems.append(f"name {name!r} stands in rows {rows}; every network needs a name of its own")
    if problems:
        raise StudyError(f"{path}:\n  " + "\n  ".join(problems))
    for name in frame.columns.intersection(list(NUMBERS)):
        frame[name] = pd.to_numeric(frame[name])
    return frame.reset_index(drop=True)


def rows_of(roster: pd.DataFrame) -> list[RosterRow]:
    """The rows of a roster in their order."""
    return cast(list[RosterRow], roster.to_dict("records"))


def is_planted(row: RosterRow) -> bool:
    """Whether a roster row is a computed control rather than a network."""
    return str(row["constructor"]).startswith("control:")


def base_network(row: RosterRow) -> str:
    """Name of the network behind a permuted control; empty for any other."""
    return str(json.loads(row["kwargs"] or "{}").get("of", ""))
