"""Rosters: a row a network, every cell checked."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, cast

import pandas as pd

from study.errors import StudyError
from study.files.tables import read_csv, rows_shown


class RosterRow(TypedDict):
    """A row of a roster: a network, or a computed control. Numbers that are missing are NaN, or "" in a row being made.

    The last four columns are those that the stage `models` adds; `code` records the files of a network of someone's own.
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
    code: NotRequired[str]


@dataclass(frozen=True)
class NetworkJob:
    """A job on one row of a roster, called as its network is; `size` is its share of the progress."""

    row: RosterRow
    size: float = field(default=1.0, kw_only=True)

    @property
    def name(self) -> str:
        return self.row["name"]


RESOLVED = list(RosterRow.__annotations__)
COLUMNS = [name for name in RESOLVED if name not in ("last", "n_params", "input_size", "code")]
NUMBERS = ("step", "top1", "last", "n_params", "input_size")
TAPS = ("imi",)  # sets of rules in interpretability/networks/taps.py
NO_FILE = ("hub", "none", "trained")  # weights that are no file
ROLES = ("study", "similarity", "control")
TABLE, _CONTROL = "table:", "control:"  # constructors of rows without a network of their own
# what columns of a roster are called elsewhere
_MEANT = {
    "arch": "constructor",
    "architecture": "constructor",
    "arguments": "kwargs",
    "args": "kwargs",
    "checkpoint": "weights",
    "digest": "sha256",
    "hash": "sha256",
    "license": "licence",
    "model": "name",
    "modelname": "name",
    "network": "name",
    "transform": "preprocessing",
    "transforms": "preprocessing",
}
_ROWS = "rows"  # attribute of a roster: the row of each network in its file
_DIGEST = re.compile("[0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")  # files are called so
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def read_roster(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A roster with the columns of COLUMNS; every row checked. Raises StudyError naming file, row and value.

    Missing numbers are NaN, everything else is text, also a network called 50.
    """
    frame = read_csv(path, [], text=RESOLVED)
    _refuse_columns(path, list(frame.columns))
    for name in COLUMNS:
        if name not in frame.columns:
            frame[name] = "study" if name == "role" else "none" if name == "weights" else ""
    if frame.empty:
        raise StudyError(f"{path} has no rows; give at least one network")
    problems, numbers = [], rows_shown(frame).tolist()
    for number, row in zip(numbers, frame.to_dict("records"), strict=True):
        where = f"row {number} ({row['name']})"
        if not _NAME.fullmatch(str(row["name"])):
            problems.append(
                f"{where}: name may hold up to 100 letters, digits and . _ + - only, and starts with a letter or digit"
            )
        if row["role"] not in ROLES:
            problems.append(f"{where}: role is {row['role']!r}, allowed: {', '.join(ROLES)}")
        if row["taps"] and row["taps"] not in TAPS:
            problems.append(f"{where}: taps is {row['taps']!r}, allowed: {', '.join(TAPS)}, or empty")
        try:
            if not isinstance(json.loads(row["kwargs"] or "{}"), dict):
                raise ValueError
        except (ValueError, RecursionError):
            problems.append(f'{where}: kwargs {row["kwargs"][:200]!r} is no JSON object such as {{"num_classes": 10}}')
        problems += [f"{where}: {problem}" for problem in _problems_of_weights(row)]
        problems += [f"{where}: {problem}" for problem in _problems_of_table(row)]
        problems += [
            f"{where}: {column} is {row[column]!r}, it must be a number or empty"
            for column in NUMBERS
            if row.get(column) and not (_NUMBER.fullmatch(row[column]) and math.isfinite(float(row[column])))
        ]
    problems += _equal_names(frame["name"].tolist(), numbers)
    if problems:
        raise StudyError(f"{path}:\n  " + "\n  ".join(problems))
    for name in frame.columns.intersection(list(NUMBERS)):
        frame[name] = pd.to_numeric(frame[name])
    frame = frame.reset_index(drop=True)
    frame.attrs[_ROWS] = dict(zip(frame["name"], numbers, strict=True))
    return frame.reset_index(drop=True)


def _refuse_columns(path: str | os.PathLike[str], columns: list[str]) -> None:
    """Refuse columns that a roster has not, and a roster without those that it must have."""
    unknown = [name for name in columns if name not in RESOLVED]
    missing = [name for name in ("name", "constructor") if name not in columns]
    # a column is only taken for another that the roster lacks
    free = {_simple(name): name for name in COLUMNS if name not in columns}
    meant = {
        name: near
        for name in unknown
        if (
            near := _MEANT.get(_simple(name)) or next(iter(difflib.get_close_matches(_simple(name), free, 1, 0.75)), "")
        )
        in free
    }
    hints = "".join(f"; did you mean {free[near]} by {name}?" for name, near in meant.items())
    if missing:
        raise StudyError(f"{path}: column {', '.join(missing)} is missing; it has {', '.join(columns)}{hints or '.'}")
    if unknown:
        raise StudyError(f"{path}: unknown column {', '.join(unknown)}; allowed: {', '.join(COLUMNS)}{hints}")


def _simple(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _problems_of_weights(row: Mapping[Any, str]) -> list[str]:
    weights, digest = row["weights"], row["sha256"]
    if weights not in NO_FILE and not digest:
        meant = weights.strip().casefold()
        hint = f"; did you mean {meant}?" if meant in NO_FILE else ""
        file = weights.split("#")[0]
        return [
            f"weights is {weights!r}, which is read as a file, so sha256 is needed (sha256sum {file}); otherwise allowed: "
            f"{', '.join(NO_FILE)}{hint}"
        ]
    if digest and not _DIGEST.fullmatch(digest):
        short = len(digest) < 64 and re.fullmatch("[0-9a-fA-F]+", digest)
        what = (
            f"has {len(digest)} of the 64 signs of a digest"
            if short
            else f"is {digest[:80]!r}, it must be 64 signs 0-9, a-f"
        )
        return [f"sha256 {what}; sha256sum {weights.split('#')[0]} prints it whole"]
    return []


def _problems_of_table(row: Mapping[Any, str]) -> list[str]:
    """What a row of a table of activations says that only a network can have."""
    if not is_table(row):
        return []
    problems = [
        f"{column} is {row[column]!r}, but {row['constructor']} is a table of activations and no network; leave it empty"
        for column in ("preprocessing", "series", "directions", "taps")
        if row[column]
    ]
    if row["weights"] != "none":
        problems.append(
            f"weights is {row['weights']!r}, but {row['constructor']} is a table of activations; write none"
        )
    if row["role"] != "study":
        problems.append(f"role is {row['role']!r}, but the units of {row['constructor']} can only have role study")
    return problems


def _equal_names(names: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Names that are one, or that would be one file where capitals do not count."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.casefold(), []).append(place)
    problems = []
    for same in places.values():
        if len(same) == 1:
            continue
        called, rows = sorted({names[place] for place in same}), ", ".join(str(numbers[place]) for place in same)
        if len(called) == 1:
            problems.append(f"name {called[0]!r} stands in rows {rows}; every network needs a name of its own")
        else:
            problems.append(
                f"names {', '.join(map(repr, called))} of rows {rows} differ by capitals alone, and many disks take their files "
                "for one; write another name"
            )
    return problems


def row_numbers(roster: pd.DataFrame) -> dict[str, int]:
    """The row of each network in the file that `read_roster` read, as a spreadsheet shows it."""
    return dict(roster.attrs[_ROWS])


def rows_of(roster: pd.DataFrame) -> list[RosterRow]:
    """The rows of a roster in their order."""
    return cast(list[RosterRow], roster.to_dict("records"))


def is_control(row: Mapping[str, Any]) -> bool:
    """Whether a roster row is a control: planted, superposed or chance units, or a permuted network."""
    return str(row["constructor"]).startswith(_CONTROL)


def is_table(row: Mapping[str, Any]) -> bool:
    """Whether the units of a roster row have their values in a table (`activation_tables`)."""
    return str(row["constructor"]).startswith(TABLE)


def is_computed(row: Mapping[str, Any]) -> bool:
    """Whether no network stands behind a roster row, so that nothing can be run, mapped or kept: a control or a table."""
    return is_control(row) or is_table(row)


def with_network(roster: pd.DataFrame) -> pd.DataFrame:
    """The rows of a roster that are networks, not controls or tables of values."""
    return roster[~roster["constructor"].astype(str).str.startswith((_CONTROL, TABLE))]


def base_network(row: RosterRow) -> str:
    """Name of the network behind a permuted control; empty for any other."""
    return str(json.loads(row["kwargs"] or "{}").get("of", ""))
