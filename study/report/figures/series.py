"""Pieces that the tables behind figures are made with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from study.report.figures.words import LEVELS

MOST_POINTS = 3000  # a scatter of more is drawn and written as cells with counts
_CELLS = 40


def order_of(names: Iterable[str]) -> dict[str, int]:
    """Place of each name in an order."""
    return {name: position for position, name in enumerate(names)}


def in_order(frame: pd.DataFrame, **keys: Iterable[str] | None) -> pd.DataFrame:
    """Rows sorted by these columns, each by its place in the names given (unknown ones last) or, where None, by its value."""
    ranks = {name: frame[name] if names is None else frame[name].map(order_of(names)) for name, names in keys.items()}
    order = pd.DataFrame(ranks).reset_index(drop=True).sort_values(list(ranks), kind="stable")
    return frame.iloc[order.index.to_numpy()].reset_index(drop=True)


def with_levels(conditions: pd.Series) -> list[str]:
    """Conditions from the easiest to the hardest, those that are no known level at the end."""
    return list(dict.fromkeys([*LEVELS, *sorted(set(conditions))]))


def thinned(frame: pd.DataFrame, by: list[str], x: str, y: str) -> pd.DataFrame:
    """Points (by, x, y) with their number n: single ones, or where there are many, means in cells of a grid."""
    columns = [*by, x, y, "n"]
    if len(frame) <= MOST_POINTS:
        return frame.assign(n=1)[columns]
    cells = {}
    for name in (x, y):
        values = frame[name].to_numpy(float)
        low, high = np.nanmin(values), np.nanmax(values)
        cells[f"{name} cell"] = np.floor((values - low) / ((high - low) or 1.0) * _CELLS * (1 - 1e-9))
    groups = frame.assign(**cells).groupby([*by, *cells], sort=True, observed=True)
    return groups.agg(**{x: (x, "mean"), y: (y, "mean"), "n": (x, "size")}).reset_index()[columns]


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows as named tuples."""
    return iter(frame.itertuples())


def parts_of(frame: pd.DataFrame, by: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Groups of rows by a column of names, in the order in which they first come."""
    return ((str(name), part) for name, part in frame.groupby(by, sort=False))
