"""How far equal values decide which images are the extremes of a unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tie_share(values: NDArray[np.float32], tied_beyond: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    """Share of a side's first `count` images whose value another image of the data set also has.

    values (units, k) from the extreme inwards; `tied_beyond` speaks of the image after the k-th. 1 for a unit whose
    side lies wholly inside its exact zeros: there the order, and so the task, comes from the keyed mix alone.
    """
    inside = values[:, :count]
    same = np.zeros(inside.shape, dtype=bool)
    equal = inside[:, 1:] == inside[:, :-1]
    same[:, 1:] |= equal
    same[:, :-1] |= equal
    beyond = values[:, count] == inside[:, -1] if values.shape[1] > count else tied_beyond
    same[:, -1] |= beyond
    return same.mean(axis=1, dtype=np.float64).astype(np.float32)
