"""Columns of text as numbers, ids and truth: every cell is checked before it becomes something else, and refused by its row."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.tables import rows_shown
from study.log import logger

log = logger("files")

MOST = 2**31 - 1  # units of a layer, tasks of a unit: what is above is no number of either
_MOST_NAMED = 5  # rows that a message names
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
_FLOAT = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d{1,3}", re.ASCII)
_PRINTED = re.compile(r"[+-]?\d(?:\.\d+)?[eE]\+\d{2,3}", re.ASCII)  # as programs print long numbers; 12e5 may be a code
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST = 400  # characters of a number
_LONGEST_PHRASE = 1000  # characters of a text in words
_LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_SHORTENED = r"[0-9](?:\.[0-9]{1,5})?E\+[0-9]{2}"  # as a spreadsheet shows a long number
_BROKEN = frozenset(("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"))  # what it shows for no value
WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}

Path = str | os.PathLike[str]


def refuse(path: Path, cells: pd.Series, wrong: pd.Series | NDArray[np.bool_], name: str, allowed: str) -> None:
    """StudyError that names the rows of the wrong cells, the value of the first, and what is allowed; none if all are right."""
    places = np.flatnonzero(np.asarray(wrong, dtype=bool))
    if not len(places):
        return
    rows = rows_shown(cells)[places]
    named = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
    word = "row" if len(rows) == 1 else f"{len(rows)} rows:"
    value = str(cells.iloc[places[0]])
    shown = value if len(value) <= 80 else f"{value[:80]}..."
    hint = "; a number has a point, no comma" if _COMMA.fullmatch(value) else ""
    raise StudyError(f"{path}: {word} {named}: {name} is {shown!r}, it must be {allowed}{hint}")


def id_of(text: str) -> str:
    """What an id is called, however its cell spells it: 1, 1.0 and 1e+00 are 1, and 01 is another one.

    Programs turn whole numbers into floating ones where a column has gaps, so those are the same; zeros in front are part of
    a name, as in 007.
    """
    text = text.strip()
    if _LEADING_ZERO.match(text) or not (_WHOLE.fullmatch(text) or _PRINTED.fullmatch(text)):
        return text
    number = _whole(text)
    return text if number is None else str(number)


def ids(path: Path, cells: pd.Series, name: str) -> pd.Series:
    """Cells as ids (`id_of`); what a spreadsheet shows in place of a value is refused, and a long number that it shortened,
    such as 1.23457E+11, is warned of."""
    refuse(path, cells, cells.str.strip().isin(_BROKEN), name, "an id")
    short = cells.str.fullmatch(_SHORTENED)
    if short.any():
        log.warning(
            "%s: row %d: %s %s looks like a long number that a spreadsheet shortened; several may have become one",
            *(path, rows_shown(cells[short])[0], name, cells[short].iloc[0]),
        )
    return spelled_alike(cells)


def spelled_alike(cells: pd.Series) -> pd.Series:
    """Cells with every id in its one spelling (`id_of`)."""
    codes, texts = pd.factorize(cells)
    return _taken(cells, codes, [id_of(text) for text in texts], "str")


def phrase_of(text: str) -> str:
    """A text in words in its one spelling: composed letters (NFC), one blank between words, none around them."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_phrase(text: str) -> bool:
    """Whether a text in its one spelling has words, is not too long, and has no sign that no one can see."""
    return bool(text) and len(text) <= _LONGEST_PHRASE and text.isprintable()


def phrases(path: Path, cells: pd.Series, name: str, *, empty: bool = False) -> pd.Series:
    """Cells as texts in words (`phrase_of`); what is no phrase (`is_phrase`) is refused, but for an empty cell with `empty`."""
    codes, texts = pd.factorize(cells)
    found = [phrase_of(text) for text in texts]
    right = [is_phrase(text) or (empty and not text) for text in found]
    filled = "text in words" if empty else "filled"
    refuse(
        path,
        cells,
        ~np.array(right, dtype=bool)[codes],
        name,
        f"{filled}, of at most {_LONGEST_PHRASE:,} visible signs",
    )
    return _taken(cells, codes, found, "str")


def whole(
    path: Path,
    cells: pd.Series,
    name: str,
    *,
    least: int = 0,
    most: int = MOST,
    empty: bool = False,
    words: str = "",
) -> pd.Series:
    """Cells as whole numbers, int64; with `empty` Int64, where an empty cell is missing. `words` say what is allowed."""
    codes, texts = pd.factorize(cells)
    found = [_whole(text.strip()) for text in texts]
    right = [number is not None and least <= number <= most for number in found]
    none = [empty and not text.strip() for text in texts]
    allowed = words or f"a whole number from {least:,} to {most:,}" + (" or empty" if empty else "")
    refuse(path, cells, ~(np.array(right, dtype=bool) | np.array(none, dtype=bool))[codes], name, allowed)
    numbers = np.array([number if fit else 0 for number, fit in zip(found, right, strict=True)], dtype=np.int64)
    column = pd.Series(numbers[codes], index=cells.index)
    return column.astype("Int64").mask(np.array(none, dtype=bool)[codes]) if empty else column


def numbers(path: Path, cells: pd.Series, name: str, *, words: str = "a finite number or empty") -> pd.Series:
    """Cells as finite numbers, float64; an empty cell is NaN. `words` say what is allowed."""
    codes, texts = pd.factorize(cells)
    found = np.array([_number(text.strip()) for text in texts], dtype=np.float64)
    none = np.array([not text.strip() for text in texts], dtype=bool)
    refuse(path, cells, ~(np.isfinite(found) | none)[codes], name, words)
    return pd.Series(found[codes], index=cells.index)


def truth(path: Path, cells: pd.Series, name: str) -> pd.Series:
    """Cells as bool: True, False, 1 or 0, in any case of letters."""
    codes, texts = pd.factorize(cells)
    found = [WORDS.get(text.strip().lower()) for text in texts]
    refuse(path, cells, np.array([word is None for word in found], dtype=bool)[codes], name, "True, False, 1 or 0")
    return _taken(cells, codes, found, bool)


def _taken(cells: pd.Series, codes: NDArray[np.intp], values: list[Any], kind: Any) -> pd.Series:
    return pd.Series(pd.array(values, dtype=kind).take(codes), index=cells.index)


def _whole(text: str) -> int | None:
    """The whole number that a text says, also as 3.0 or 3e0."""
    if len(text) > _LONGEST:
        return None
    if match := _WHOLE.fullmatch(text):
        return int(match[1])
    if not _FLOAT.fullmatch(text):
        return None
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else None


def _number(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else math.nan
