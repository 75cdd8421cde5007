"""Cells and tables of the page: numbers as people write them, text as it stands, headings and scopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from study.errors import StudyError
from study.report.figures.base import Study

MOST_ROWS = 100  # a longer table is cut; the file holds the rest


@dataclass(frozen=True)
class Table:
    """An HTML table: text cells, the first column heads its row; `numeric` columns are set to the right."""

    caption: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class TableSpec:
    """A table of the page: the question it belongs to, how it is made, the figure after which it stands, and whether it is
    unfolded from the start. Without `after`, or without that figure, it follows the figures of its question.
    """

    name: str
    section: str
    make: Callable[[Study], Table | None]
    after: str = ""
    open: bool = True


def number(digits: int) -> Callable[[Any], str]:
    """Formatter with this many decimals and a true minus sign; a missing number is a dash."""
    return lambda value: "–" if _missing(value) else f"{value:z.{digits}f}".replace("-", "−")


def count(value: Any) -> str:
    return "–" if _missing(value) else f"{value:,.0f}"


def short(value: Any) -> str:
    return "–" if _missing(value) else f"{value:.3g}".replace("-", "−")


def step(value: Any) -> str:
    """Epochs of training: within the first one a part of it."""
    return short(value) if not _missing(value) and value % 1 else count(value)


def text(value: object) -> str:
    return "–" if _missing(value) or value == "" else str(value)


def p_value(value: Any) -> str:
    if _missing(value):
        return "–"
    return "below 0.0001" if value < 1e-4 else f"{value:.4f}"


def percent(value: Any) -> str:
    """A share as percent with two significant digits."""
    return "–" if _missing(value) else f"{100 * value:.2g} %"


def mark(value: Any) -> str:
    """Outcome of a check in a word, so that colour alone never carries it."""
    if _missing(value):
        return "–"
    return "✓ passed" if value == 1 else "✗ FAILED"


def words(value: object) -> str:
    return text(value).replace("_", " ").replace(":", ": ")


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """`0.512 to 0.534`, or a dash where no interval is defined."""
    if _missing(low) or _missing(high):
        return "–"
    return f"{number(digits)(low)} to {number(digits)(high)}"


def yes(value: object) -> str:
    return "yes" if str(value).lower() in ("1", "1.0", "true") else "no"


def as_is(value: object) -> str:
    """Ready text in a numeric column."""
    return str(value)


def make_table(
    frame: pd.DataFrame, caption: str, columns: Mapping[str, tuple[str, Callable[[Any], str]]], *, file: str
) -> Table | None:
    """Cells of the named columns (heading and how values are written), in this order; None for a table without rows.

    `file`, in results/tables, holds all rows.
    """
    if frame.empty:
        return None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise StudyError(
            f"results/tables/{file}: column {', '.join(missing)} is missing; it has {', '.join(frame.columns)}."
        )
    shown = frame.head(MOST_ROWS)
    cells = [[render(value) for value in shown[name]] for name, (_, render) in columns.items()]
    note = (
        ""
        if len(shown) == len(frame)
        else f"The first {len(shown)} of {len(frame):,} rows; all are in results/tables/{file}."
    )
    return Table(
        caption=caption,
        head=tuple(heading for heading, _ in columns.values()),
        numeric=tuple(render not in (text, words, mark) for _, render in columns.values()),
        rows=tuple(zip(*cells, strict=True)),
        note=note,
    )


def with_interval(frame: pd.DataFrame, stem: str = "", *, digits: int = 3, name: str = "interval") -> pd.DataFrame:
    """The frame with `stem_low` and `stem_high` (without a stem `low` and `high`) joined into one column of text."""
    low, high = (frame[f"{stem}_{end}" if stem else end] for end in ("low", "high"))
    intervals = [interval(*ends, digits) for ends in zip(low, high, strict=True)]
    return frame.assign(**{name: pd.Series(intervals, index=frame.index, dtype=object)})
