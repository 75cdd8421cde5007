"""Checks of arguments that many calls share: each raises an InputError that names the argument, its value and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def wrong(argument: str, problem: str, **values: object) -> InputError:
    """The error that `problem` describes, a template that goes on after the name of the argument."""
    return InputError("{" + argument + "} " + problem, argument, **values)


def array(values: object, argument: str, axes: tuple[str, ...], *, empty: bool = False) -> NDArray[Any]:
    """An array of real numbers with these axes, none of them of length 0 unless `empty`; not copied."""
    wanted = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
    if isinstance(values, str | bytes) or values is None:
        raise wrong(
            argument, "is of type {kind}; it must be an array {wanted}", kind=type(values).__name__, wanted=wanted
        )
    try:
        numbers = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise wrong(
            argument, "is no array ({error}); it must be an array {wanted}", error=error, wanted=wanted
        ) from None
    if numbers.dtype.kind not in "fiub":
        raise wrong(argument, "holds values of type {kind}; it must hold real numbers", kind=numbers.dtype)
    if numbers.ndim != len(axes):
        raise wrong(argument, "has shape {shape}; it must be {wanted}", shape=numbers.shape, wanted=wanted)
    if not (numbers.size or empty):
        raise wrong(argument, "has shape {shape}; none of {wanted} may be empty", shape=numbers.shape, wanted=wanted)
    return numbers


def same_images(first: int, second: int, arguments: tuple[str, str]) -> None:
    """Refuse two arguments of that many images each, if these are not the same."""
    if first != second:
        raise InputError(
            "{"
            + arguments[0]
            + "} has {images} images and {"
            + arguments[1]
            + "} has {others}; they must be of the same images",
            *arguments,
            images=first,
            others=second,
        )


def finite(values: NDArray[Any], argument: str, *, rows: int = 4096, first: int = 0) -> None:
    """Refuse NaN and infinite values, looking at a few rows at a time; `first` is the number of the first row."""
    for start in range(0, len(values), rows):
        part = values[start : start + rows]
        right = np.isfinite(part)
        if not right.all():
            position = np.argwhere(~right)[0]
            value = part[tuple(position)]
            position[0] += start + first
            raise wrong(
                argument, "holds {value} at {place}; all values must be finite", value=value, place=position.tolist()
            )


def count(value: object, argument: str, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least `least`, and at most `most` where that is given."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        raise wrong(argument, "is {value!r}; it must be a whole number of at least {least}", value=value, least=least)
    if most is not None and value > most:
        raise wrong(argument, "is {value!r}; it must be at most {most:,}", value=value, most=most)
    return int(value)


def number(
    value: object, argument: str, *, above: float | None = None, below: float | None = None, least: float | None = None
) -> float:
    """A finite number above `above`, at least `least` and below `below`, where they are given."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("above", above), ("of at least", least), ("below", below))
        if bound is not None
    ]
    allowed = " ".join(["a finite number", " and ".join(bounds)]).strip()
    fits = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if fits:
        real = float(value)  # pyright: ignore[reportArgumentType]
        fits = np.isfinite(real) and (above is None or real > above) and (below is None or real < below)
        if fits and (least is None or real >= least):
            return real
    raise wrong(argument, "is {value!r}; it must be {allowed}", value=value, allowed=allowed)


def choice(value: object, argument: str, allowed: Iterable[str]) -> str:
    """One of the allowed words."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise wrong(argument, "is {value!r}, allowed: {words}", value=value, words=", ".join(words))
    return value


def text(value: object, argument: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise wrong(argument, "is {value!r} of type {kind}; it must be text", value=value, kind=type(value).__name__)
    return value


def unit_keys(keys: object, units: int) -> NDArray[np.uint64]:
    """The keys of as many units."""
    checked = np.asarray(keys)
    if checked.dtype.kind not in "ui" or checked.shape != (units,):
        raise wrong(
            "keys",
            "has shape {shape} and values of type {kind}; it must be ({units},) uint64, a key a unit",
            shape=checked.shape,
            kind=checked.dtype,
            units=units,
        )
    return narrowed(checked, np.uint64, "keys")


def table(value: object, argument: str, columns: Collection[str], *, empty: bool = False) -> pd.DataFrame:
    """A table with these columns, and with rows unless `empty`."""
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        raise wrong(
            argument,
            "is of type {kind}; it must be a pandas DataFrame with the columns {columns}",
            kind=type(value).__name__,
            columns=", ".join(columns),
        )
    if missing := [name for name in columns if name not in value.columns]:
        raise wrong(
            argument, "lacks the column {missing}; it needs {columns}", missing=missing[0], columns=", ".join(columns)
        )
    if not (len(value) or empty):
        raise wrong(argument, "has no rows")
    return value


def threads(value: int | None, argument: str = "threads") -> int:
    """Threads to work with: as many as this process has cores, where nothing else is asked for."""
    if value is not None:
        return count(value, argument)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
