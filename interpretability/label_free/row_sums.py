"""Sums of rows of embeddings, and what follows from them: similarities to many images at the price of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from interpretability.label_free.kernels import add_rows

_TOGETHER = 64  # units summed by one call of a thread


def row_sums(rows: NDArray[np.float32], images: NDArray[np.integer], threads: int = 1) -> NDArray[np.float64]:
    """Sums (U, E) in double precision of the rows (M, E) that each unit names in images (U, m), added in their order."""
    sums = np.empty((len(images), rows.shape[1]))

    def add(start: int) -> None:
        add_rows(rows, images[start : start + _TOGETHER], sums[start : start + _TOGETHER])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(0, len(images), _TOGETHER)))
    return sums


def squared_lengths(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Squared lengths (M,) of rows (M, E), in double precision."""
    return np.array([np.dot(row, row) for row in np.asarray(rows, np.float64)])
