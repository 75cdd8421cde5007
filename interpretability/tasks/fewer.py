"""The same tasks with fewer explanations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments


def fewer_explanations(tasks: NDArray[np.int32], n_kept: int) -> NDArray[np.int32]:
    """Tasks (units, N, 2(k + 1)) that show k of the K explanations of either side of tasks (units, N, 2(K + 1)).

    Those kept are spread evenly over the rank groups, one from the middle of each k-th part of them: a single one is the middle
    one, so that a side's images do not become more extreme as they become fewer. Queries stay. Raises InputError for k above K.
    """
    size = (tasks.shape[-1] - 2) // 2
    arguments.count(n_kept, "n_kept", most=size)
    kept = (2 * np.arange(n_kept) + 1) * size // (2 * n_kept)
    return tasks[..., np.concatenate([kept, size + kept, [2 * size, 2 * size + 1]])]
