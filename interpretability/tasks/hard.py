"""Harder tasks: the same explanations, and queries from inner percentiles of a unit's values (IMI, section 4.4).

With D images, a condition that starts at the share q takes as negative queries those at positions floor(q D) to
floor(q D) + N - 1 of the unit's total order, counted from the least exciting image, and as positive queries those at the
same positions from the other end. IMI writes the latter as the N positions before ceil((1 - q) D), which are the same.
Departure: IMI sorts by value alone and unstably; here equal values have the order of `selection`. It draws the pairing of
queries anew for every condition; here task i takes the query at the same place of the window in each of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability.extremes import selection
from interpretability.tasks import natural


def hard_tasks(
    values: NDArray[np.float32], keys: NDArray[np.uint64], start: int, n_tasks: int, n_explanations: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Tasks of units from their whole columns, with queries from rank `start` on, and their tie shares.

    values (units, images) float32 in image order, keys (units,). Returns tasks (units, N, 2(K + 1)) in the order of
    `tasks.assemble`, and for the positive and the negative side (units,) the share of a side's images whose value another
    image also has. With start = N * K these are the natural tasks.
    """
    n = values.shape[1]
    explained = n_tasks * n_explanations
    ranks = np.concatenate([np.arange(explained), np.arange(start, start + n_tasks)])
    images = np.arange(n, dtype=np.int32)
    sides = np.empty((2, len(values), len(ranks)), dtype=np.int32)
    ties = np.empty((2, len(values)), dtype=np.float32)
    for unit, key in enumerate(keys):
        order = np.sort(selection.pack(values[unit], images, key))
        ordered, ranked = selection.unpack(order, np.broadcast_to(key, n))
        same = np.zeros(n, dtype=bool)
        equal = ordered[1:] == ordered[:-1]
        same[1:] |= equal
        same[:-1] |= equal
        for side, places in enumerate((n - 1 - ranks, ranks)):
            sides[side, unit] = ranked[places]
            ties[side, unit] = same[places].mean()
    return natural.build(*sides, keys, n_tasks, n_explanations), ties[0], ties[1]
