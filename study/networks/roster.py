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

from interpretability.files import sha256_file
from study.environment import WEIGHTS
from study.errors import StudyError
from study.files.tables import read_csv, rows_shown
from study.networks.direction_cells import taken_apart
from study.networks.places import found


class RosterRow(TypedDict):
    """A row of a roster: a network, or a computed control. Numbers that are missing are NaN, or "" in a row being made.

    The last five columns are those that the stage `models` adds; `code` records the files of a network of someone's own, `of`
    names the row whose network this one reads in other directions or at another size of input.
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
    of: NotRequired[str]


@dataclass(frozen=True)
class NetworkJob:
    """A job on one row of a roster, called as its network is; `size` is its share of the progress."""

    row: RosterRow
    size: float = field(default=1.0, kw_only=True)

    @property
    def name(self) -> str:
        return self.row["name"]


RESOLVED = list(RosterRow.__annotations__)
COLUMNS = [name for name in RESOLVED if name not in ("last", "n_params", "input_size", "code", "of")]
NUMBERS = ("step", "top1", "last", "n_params", "input_size")
TAPS = ("imi",)  # sets of rules in interpretability/networks/taps.py
NO_FILE = ("hub", "none", "trained")  # weights that are no file
DIRECTIONS = "directions"  # role of a network read in other directions than its units: no network of its own
SIMILARITY = "similarity"  # role of a network that only solves tasks
ROLES = ("study", SIMILARITY, "control", DIRECTIONS)
TABLE, _CONTROL = "table:", "control:"  # constructors of rows without a network of their own
_OF = "of:"  # constructor of a row that reads the network of another row
# what such a row has from the other one, so that it leaves these cells empty; of role study it has a size of input of its own
_FROM_BASE = ("kwargs", "sha256", "preprocessing", "top1", "taps", "licence", "family")
_OF_SIZE = ("preprocessing", "top1")
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
    frame.loc[frame["constructor"].str.startswith(_OF) & (frame["weights"] == ""), "weights"] = "none"
    problems, numbers = [], rows_shown(frame).tolist()
    for number, row in zip(numbers, frame.to_dict("records"), strict=True):
        where = f"row {number} ({row['name']})"
        if not _NAME.fullmatch(str(row["name"])):
            problems.append(
                f"{where}: name may hold up to 100 letters, digits and . _ + - only, and starts with a letter or digit"
            )
        if not str(row["constructor"]).strip():
            problems.append(
                f"{where}: constructor is empty; write what builds the network: a name of timm or torchvision, module:function "
                f"of code of your own, {TABLE}FILE for a table of activations, or {_OF}NAME for another row's network"
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
        problems += [
            f"{where}: {problem}"
            for problem in (*_problems_of_table(row), *_problems_of_directions(row), *_problems_of_cell(row))
        ]
        problems += [
            f"{where}: {column} is {row[column]!r}, it must be a number or empty"
            for column in NUMBERS
            if row.get(column) and not (_NUMBER.fullmatch(row[column]) and math.isfinite(float(row[column])))
        ]
    problems += _equal_names(frame["name"].tolist(), numbers)
    problems += _problems_of_bases(frame, numbers)
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
        return [
            f"weights is {weights!r}, which is read as a file, so sha256 is needed; {_digest_of(weights)}; otherwise allowed: "
            f"{', '.join(NO_FILE)}{hint}"
        ]
    if digest and not _DIGEST.fullmatch(digest):
        short = len(digest) < 64 and re.fullmatch("[0-9a-fA-F]+", digest)
        what = (
            f"has {len(digest)} of the 64 signs of a digest"
            if short
            else f"is {digest[:80]!r}, it must be 64 signs 0-9, a-f"
        )
        return [f"sha256 {what}; {_digest_of(weights)}"]
    return []


def _digest_of(weights: str) -> str:
    """The digest of a file of weights, to be written into a roster, and the command that gives it."""
    path = found(weights) or found(weights.split("#")[0])
    if path is None:
        return f"sha256sum {WEIGHTS / weights.split('#')[0]} prints it once the file is there"
    return f"write {sha256_file(path)} (as sha256sum {path} prints)"


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


def _problems_of_cell(row: Mapping[Any, str]) -> list[str]:
    """What is wrong with the form of the column directions; its file is looked at later."""
    try:
        if row["directions"]:
            taken_apart(row["directions"])
    except StudyError as error:
        return [str(error)]
    return []


def _problems_of_directions(row: Mapping[Any, str]) -> list[str]:
    """What is wrong with a row that is another row's network read in other directions or at another size of input, by its role
    or by its constructor.
    """
    base, problems = base_of(row), []
    resized = bool(base) and row["role"] == "study" and not row["directions"]
    if not resized and not row["directions"] and (base or row["role"] == DIRECTIONS):
        what = f"constructor {row['constructor']}" if base else f"role {DIRECTIONS}"
        problems.append(
            f"{what} is for a network that is read in other directions, but the column directions is empty; write LAYER=SOURCE "
            "such as layer3=codes.safetensors or *=rotation:0"
        )
    if row["constructor"] == _OF:
        problems.append(f"constructor is {_OF!r}, it must read {_OF}NAME with the name of another row")
    if not base:
        return problems
    problems += [
        f"{column} is {row[column]!r}, but a row of {row['constructor']} has that of {base}; leave it empty"
        for column in _FROM_BASE
        if row[column] and not (resized and column in _OF_SIZE)
    ]
    problems += [
        f"{column} is {row[column]!r}, but a row of {row['constructor']} reads {base} at its last checkpoint; leave it empty"
        for column in ("series", "step")
        if row[column]
    ]
    if row["weights"] != "none":
        problems.append(
            f"weights is {row['weights']!r}, but a row of {row['constructor']} has those of {base}; leave it empty"
        )
    if resized:
        problems += _problems_of_size(row, base)
    elif row["role"] != DIRECTIONS:
        problems.append(
            f"role is {row['role']!r}, but {row['constructor']} is no network beside {base}; write the role {DIRECTIONS}"
        )
    return problems


def _problems_of_size(row: Mapping[Any, str], base: str) -> list[str]:
    """What is wrong with the preprocessing of a row that reads the network of another row at another size of input."""
    what = f"{row['constructor']} without directions is {base} at another size of input"
    advice = 'write what differs, as {"crop": 96, "resize": 96}'
    if not row["preprocessing"]:
        return [f"{what}, but the column preprocessing is empty; {advice}, or give LAYER=SOURCE in directions"]
    if "crop" not in _fields(row["preprocessing"]):
        return [f"{what}, but preprocessing is {row['preprocessing'][:200]!r}; {advice}"]
    return []


def _problems_of_bases(frame: pd.DataFrame, numbers: Sequence[int]) -> list[str]:
    """Rows of `of:NAME` whose NAME is no network that could be read."""
    constructors, problems = dict(zip(frame["name"], frame["constructor"], strict=True)), []
    for number, row in zip(numbers, frame.to_dict("records"), strict=True):
        base, where = base_of(row), f"row {number} ({row['name']}): constructor is {row['constructor']!r}"
        if not base:
            continue
        found = constructors.get(base)
        if found is None:
            near = difflib.get_close_matches(base, [name for name in constructors if name != row["name"]], 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.append(f"{where}, but no row is called {base!r}{hint}")
        elif base == row["name"]:
            problems.append(f"{where}, which is this row itself; name the row of the network")
        elif found.startswith(_OF):
            problems.append(f"{where}, but {base} is {found} itself; write {found} here, too")
        elif found.startswith((_CONTROL, TABLE)):
            problems.append(
                f"{where}, but {base} is {found} and no network, so it has no layers to read in other directions"
            )
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


def base_of(row: Mapping[Any, Any]) -> str:
    """NAME of a row with the constructor `of:NAME`, which is another row's network read in other directions; else empty."""
    text = str(row["constructor"])
    return text.removeprefix(_OF) if text.startswith(_OF) else ""


def owner(row: RosterRow) -> str:
    """Whose file of weights and initial weights a resolved row has: its own, or those of the network that it reads."""
    return str(row.get("of") or row["name"])


def _fields(text: str) -> dict[str, Any]:
    """What a cell of preprocessing says; nothing where it is no JSON object, which the row of that network is refused for."""
    try:
        fields = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def is_resized(row: Mapping[Any, Any]) -> bool:
    """Whether a row reads the network of another one at another size of input; it is resolved or not."""
    return bool(base_of(row) or row.get("of")) and not row["directions"]


def reading(row: RosterRow, base: RosterRow) -> RosterRow:
    """A row of `of:NAME` with all that its network is from the row NAME; its name, role and directions stay, and of a row at
    another size of input what its preprocessing says, and its accuracy.
    """
    taken = {name: base[name] for name in (*_FROM_BASE, "constructor", "weights")}
    if is_resized(row):
        fields = {**_fields(base["preprocessing"]), **_fields(row["preprocessing"])}
        taken |= {"preprocessing": json.dumps(fields), "top1": row["top1"]}
    known = {name: value for name, value in base.items() if name in ("n_params", "input_size", "code")}
    return cast(RosterRow, {**row, **taken, **known, "last": 1, "of": base["name"]})


def with_bases(rows: Sequence[RosterRow]) -> list[RosterRow]:
    """Rows of a roster that is not resolved, those of `of:NAME` with the constructor and the rest of NAME."""
    known = {row["name"]: row for row in rows}
    return [reading(row, known[base_of(row)]) if base_of(row) else row for row in rows]
