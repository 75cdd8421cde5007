"""The cells of a CSV as text, whichever program wrote it, with the rows that a spreadsheet shows."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files.texts import SAVE, say, utf8

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_OTHERS = re.compile(rb"[;\t|]")
_FIRST_LINE = re.compile(rb"\s*([^\r\n]*)")
_NAMED = re.compile(rb"\"?sep=(.)\"?(\r\n|\n|\r)", re.IGNORECASE)  # the line that Excel writes and reads before a table
_LONGEST = 1 << 24  # characters of a cell; traces of a mouse exceed the 131,072 of the csv module
csv.field_size_limit(_LONGEST)


def read_cells(path: str | os.PathLike[str], known: Collection[str] = ()) -> tuple[pd.DataFrame, str]:
    """All cells of a CSV as text, and its separator. `known` are the columns that the caller may read.

    Rows without any filled cell are skipped. The index is the number of a row as a spreadsheet shows it, less 2: 0, 1, ...
    below a header in the first row. Names of columns lose the blanks around them; columns without a name, and those that
    stand twice and are not known, are left out. Raises StudyError, naming the row, for whatever makes a cell uncertain.
    """
    data = utf8(path, "CSV")
    named = _NAMED.match(data)
    if named:
        data = data[named.end() :]
    separator = named[1].decode("latin-1") if named else _separator(data, frozenset(known))
    if separator not in SEPARATORS:
        raise StudyError(
            f"{path} says sep={separator}, a separator that is not read; use one of {', '.join(SEPARATORS.values())}"
        )
    if separator != ",":
        say(f"{path}: cells are separated by {SEPARATORS[separator]}")
    rows = _rows(path, data, separator)
    blank = [place for place, row in enumerate(rows) if _is_blank(row)]
    places = np.delete(np.arange(len(rows)), blank)
    if blank:
        rows = [rows[place] for place in places]
    if not rows:
        raise StudyError(f"{path} is empty; it needs at least a header.")
    header = [name.strip() for name in rows[0]]
    del rows[0]
    if set(map(len, rows)) - {len(header)}:
        raise _ragged(path, rows, header, places[1:], separator)
    index = pd.RangeIndex(places[0], places[0] + len(rows)) if not blank else pd.Index(places[1:] - 1)
    frame = pd.DataFrame(rows, columns=header, index=index, dtype="str")
    return _once(path, frame, known), separator


def check_columns(path: str | os.PathLike[str], columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table that lacks one of the wanted columns, with the name that may be meant."""
    missing = [name for name in wanted if name not in columns]
    if not missing:
        return
    simple = {_simple(name): name for name in columns if name not in wanted}
    meant = {name: difflib.get_close_matches(_simple(name), simple, n=1, cutoff=0.8) for name in missing}
    hints = [f"rename {simple[close[0]]!r} to {name}" for name, close in meant.items() if close]
    raise StudyError(
        f"{path}: column {', '.join(missing)} is missing; it has {', '.join(columns)}."
        + (f" Did you mean: {', '.join(hints)}?" if hints else "")
    )


def _simple(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _separator(data: bytes, known: frozenset[str]) -> str:
    """What separates the cells: a comma, or the only sign that cuts the header into more of the known columns."""
    first = _FIRST_LINE.match(data)
    line = first[1] if first else b""
    if b"," in line and not _OTHERS.search(line):
        return ","
    headers = {sign: _header(data, sign) for sign in SEPARATORS}
    several = [sign for sign, header in headers.items() if len(header) > 1]
    if len(several) <= 1:
        return several[0] if several else ","
    found = {sign: len(known & {name.strip() for name in headers[sign]}) for sign in several}
    best = [sign for sign in several if found[sign] == max(found.values())]
    return best[0] if len(best) == 1 else ","


def _header(data: bytes, separator: str) -> list[str]:
    try:
        return next((row for row in _reader(data, separator, strict=False) if not _is_blank(row)), [])
    except csv.Error:
        return []


def _reader(data: bytes, separator: str, *, strict: bool) -> Iterator[list[str]]:
    first = _FIRST_LINE.match(data)
    # some programs write a blank behind each separator; a quote behind it opens a cell all the same
    padded = first is not None and f'{separator} "'.encode() in first[1]
    file = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
    return csv.reader(file, delimiter=separator, strict=strict, skipinitialspace=padded)


def _is_blank(row: Sequence[str]) -> bool:
    """Whether a spreadsheet shows nothing in this row; of a single column an empty cell is one, where it is written."""
    return not row or (len(row) > 1 and (not row[0] or row[0].isspace()) and not "".join(row).strip())


def _rows(path: str | os.PathLike[str], data: bytes, separator: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(_reader(data, separator, strict=True))
    except csv.Error as error:
        row = 1 + sum(1 for _ in _before_error(data, separator))
        told = str(error)
        if "field larger" in told:
            problem = f"has a cell of more than {_LONGEST:,} characters. Is a quote opened there that is never closed?"
        elif "unexpected end" in told:
            problem = "opens a quote that is never closed. Is the file cut off, or is a quote missing?"
        else:
            problem = (
                f"has a cell in quotes that goes on behind the closing one ({told}). Quotes inside a cell are doubled: "
                '"a ""b"" c"'
            )
        raise StudyError(f"{path}: row {row} {problem}") from None
    return rows


def _before_error(data: bytes, separator: str) -> Iterator[list[str]]:
    """The rows before the one that cannot be read."""
    reader = _reader(data, separator, strict=True)
    while True:
        try:
            yield next(reader)
        except (csv.Error, StopIteration):
            return


def _ragged(
    path: str | os.PathLike[str], rows: Sequence[list[str]], header: Sequence[str], places: np.ndarray, separator: str
) -> StudyError:
    """The first row of another length than the header's."""
    place, row = next((place, row) for place, row in enumerate(rows) if len(row) != len(header))
    sign = SEPARATORS[separator].removesuffix("s")
    advice = (
        f"A cell with a {sign} or quote in it is written in quotes, and quotes inside are doubled: "
        '"{""num_classes"": 10}"'
    )
    if place == len(rows) - 1 and len(row) < len(header):
        advice = f"It is the last one: is the file cut off? {advice}"
    if len(header) == 1 and separator == ",":
        advice = f"Only {', '.join(SEPARATORS.values())} separate cells: {SAVE['CSV']}. {advice}"
    return StudyError(
        f"{path}: row {places[place] + 1} ({separator.join(row)[:80]}) has {len(row)} cells, the header has {len(header)}. "
        f"{advice}"
    )


def _once(path: str | os.PathLike[str], frame: pd.DataFrame, known: Collection[str]) -> pd.DataFrame:
    """The columns that have a name of their own; those that stand twice are an error if they are `known`, or none is."""
    counts = Counter(frame.columns)
    doubled = sorted(name for name, times in counts.items() if times > 1 and name)
    read = [name for name in doubled if name in known or not known]
    if read:
        raise StudyError(f"{path}: the header names column {', '.join(read)} twice; remove or rename one of them")
    if doubled:
        say(f"{path}: column {', '.join(doubled)} stands there twice and is not read")
    if not doubled and "" not in counts:
        return frame
    nameless = frame.loc[:, frame.columns == ""]
    filled = int((nameless != "").any().sum())
    if filled:
        say(f"{path}: {filled} columns without a name are not read")
    return frame.loc[:, [bool(name) and name not in doubled for name in frame.columns]]
