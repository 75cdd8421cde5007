"""Which units a direction lies nearest to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed

N_NEAREST = 5
_ROWS = 1024  # in one go


def nearest_units(axes: NDArray[np.floating], n: int = N_NEAREST) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Units whose axes are nearest to each direction, and the cosines between them: two arrays (directions, n).

    axes     (directions, units): a direction among the units, such as a row of a decoder; finite
    n        units of each; where the layer has fewer, the rest are -1 and NaN, and so are all of a direction of zeros

    Nearest is the largest magnitude of the cosine, whose sign says on which side; of equals the lower unit comes first.
    """
    axes = arguments.array(axes, "axes", ("directions", "units"))
    arguments.finite(axes, "axes")
    some = min(arguments.count(n, "n"), axes.shape[1])
    units = np.full((len(axes), n), -1, dtype=np.int32)
    cosines = np.full((len(axes), n), np.nan, dtype=np.float32)
    for start in range(0, len(axes), _ROWS):
        rows = axes[start : start + _ROWS].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        order = np.argsort(-np.abs(rows), axis=1, kind="stable")[:, :some]
        known = norms[:, 0] > 0
        part = slice(start, start + len(rows))
        units[part, :some][known] = narrowed(order[known], np.int32, "units")
        of_rows = np.take_along_axis(rows, order, axis=1)[known] / norms[known]
        cosines[part, :some][known] = narrowed(of_rows, np.float32, "axes")
    return units, cosines
