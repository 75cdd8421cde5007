"""Columns of tables that callers give, each checked before it is used: refused by its row, with the value and what is allowed."""

from __future__ import annotations

import numbers
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.arguments import wrong
from interpretability.casts import fits
from interpretability.errors import InputError


def names(table: pd.DataFrame, argument: str, columns: Collection[str]) -> None:
    """Refuse columns of names that hold anything but text: read as a number, layer 0.10 becomes layer 0.1."""
    for name in columns:
        column = table[name]
        lost = column.isna().to_numpy()
        if lost.any():
            raise _refused(table, argument, name, lost, "text")
        if not all(isinstance(value, str) for value in column.unique()):
            other = np.array([not isinstance(value, str) for value in column])
            raise _refused(table, argument, name, other, "text (read such columns with dtype=str)")


def whole_numbers(table: pd.DataFrame, argument: str, name: str, *, least: int = 0) -> pd.Series:
    """A column of whole numbers as int64; 3.0 is one, text and truth are none."""
    allowed = f"a whole number of at least {least}"
    values = _real(table, argument, name, allowed)
    right = fits(values, np.int64) & (values >= least)
    if not right.all():
        raise _refused(table, argument, name, ~right, allowed)
    return pd.Series(values.astype(np.int64), index=table.index)


def truth(table: pd.DataFrame, argument: str, name: str) -> pd.Series:
    """A column of True and False, or of 1 and 0, as bool."""
    if table[name].dtype == np.bool_:
        return table[name]
    values = _real(table, argument, name, "1 (True) or 0 (False)", truth=True)
    right = fits(values, np.bool_)
    if not right.all():
        raise _refused(table, argument, name, ~right, "1 (True) or 0 (False)")
    return pd.Series(values.astype(np.bool_), index=table.index)


def scores(table: pd.DataFrame, argument: str, name: str) -> pd.Series:
    """A column of finite numbers as float64, NaN where there is none."""
    values = _real(table, argument, name, "a finite number, or NaN", missing=True).astype(np.float64)
    if np.isinf(values).any():
        raise _refused(table, argument, name, np.isinf(values), "a finite number, or NaN")
    return pd.Series(values, index=table.index)


def _real(
    table: pd.DataFrame, argument: str, name: str, allowed: str, *, truth: bool = False, missing: bool = False
) -> NDArray[Any]:
    """Values of a column of real numbers, whatever type of pandas holds them; with `missing` NaN for those it lacks."""
    column = table[name]
    lost = column.isna().to_numpy()
    if lost.any() and not missing:
        raise _refused(table, argument, name, lost, allowed)
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return values
    real = [truth if isinstance(value, bool | np.bool_) else isinstance(value, numbers.Real) for value in values]
    other = ~(np.array(real, dtype=bool) | lost)
    if other.any():
        raise _refused(table, argument, name, other, allowed)
    listed = [np.nan if gone else value for value, gone in zip(values.tolist(), lost, strict=True)]
    found = np.array(listed) if listed else np.empty(0)
    return found.astype(np.float64) if found.dtype.kind == "O" else found


def _refused(table: pd.DataFrame, argument: str, name: str, which: NDArray[np.bool_], allowed: str) -> InputError:
    place = int(np.flatnonzero(which)[0])
    more = f", and so in {int(which.sum()) - 1} more rows" if which.sum() > 1 else ""
    return wrong(
        argument,
        "holds {value!r} in the column {name}, row {row}; it must be {allowed}{more}",
        value=_plain(table[name].iloc[place]),
        name=name,
        row=table.index[place],
        allowed=allowed,
        more=more,
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
