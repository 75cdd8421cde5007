"""Pieces of the sentences that captions begin with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from study.report.figures.base import Study
from study.report.figures.words import clean, signed

Finding = Callable[[pd.DataFrame, Study], str]


def row_with(frame: pd.DataFrame, column: str, *, highest: bool) -> pd.Series:
    """The first row with the highest or the lowest value of a column."""
    values = frame[column].to_numpy(dtype=float)
    return frame.iloc[int(np.nanargmax(values) if highest else np.nanargmin(values))]


def highest_lowest(frame: pd.DataFrame, column: str, by: str, digits: int = 3, *, what: str = "") -> str:
    """The highest and the lowest value of a column with the names of their rows; '' for one row."""
    frame = frame[frame[column].notna()]
    if len(frame) < 2:
        return ""
    ends = (row_with(frame, column, highest=each) for each in (True, False))
    high, low = (f"{clean(row[by])} {signed(row[column], digits)}" for row in ends)
    return f"Highest{what}: {high}; lowest: {low}"


def run_of(frame: pd.DataFrame, by: str, column: str, what: str) -> str:
    """From the lowest to the highest correlation of groups; one alone by itself."""
    rows = frame[frame[column].notna()].drop_duplicates(by)
    if rows.empty:
        return ""
    low, high = (row_with(rows, column, highest=each) for each in (False, True))
    if len(rows) == 1:
        return f"{what} {signed(low[column])} ({clean(low[by])})"
    return f"{what} runs from {signed(low[column])} ({clean(low[by])}) to {signed(high[column])} ({clean(high[by])})"
