"""Numbers in a smaller type: every cast of what is given, or grows with what is given, asks here whether the numbers fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from interpretability.errors import InputError


def fits(values: NDArray[Any], kind: DTypeLike) -> NDArray[np.bool_]:
    """Which of these real numbers the type `kind` can hold: a mask of their shape.

    Whole types hold whole numbers within their bounds; bool 0 and 1; floating types whatever stays finite, rounded to their
    precision, and NaN and infinite values that are so already.
    """
    target: Any = np.dtype(kind)
    if target.kind == "b":
        return (values == 0) | (values == 1)
    if target.kind == "f":
        return ~(np.abs(values) > np.finfo(target).max) | (np.isinf(values))
    bounds = np.iinfo(target)
    if values.dtype.kind == "f":
        # powers of two, which floating types hold exactly; NaN fails every comparison
        return (
            (values >= float(bounds.min))
            & (values < 2.0 ** (target.itemsize * 8 - (target.kind == "i")))
            & (np.floor(values) == values)
        )
    return (values >= bounds.min) & (values <= bounds.max)


def narrowed(values: NDArray[Any], kind: DTypeLike, argument: str) -> NDArray[Any]:
    """The same numbers as `kind`; not copied where they are of it. Raises InputError naming the first that it cannot hold."""
    target: Any = np.dtype(kind)
    if values.dtype == target or np.can_cast(values.dtype, target, "safe"):
        return values.astype(target, copy=False)
    right = fits(values, target)
    if right.all():
        return values.astype(target)
    place = np.argwhere(~right)[0].tolist() if values.ndim else []
    allowed = (
        "0 and 1"
        if target.kind == "b"
        else f"numbers up to {np.finfo(target).max:.3g}"
        if target.kind == "f"
        else f"whole numbers from {np.iinfo(target).min:,} to {np.iinfo(target).max:,}"
    )
    raise InputError(
        "{" + argument + "} holds {value} at {place}; {kind} takes {allowed}",
        argument,
        value=values[tuple(place)],
        place=place,
        kind=target,
        allowed=allowed,
    )
