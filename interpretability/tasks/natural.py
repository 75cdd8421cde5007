"""Two-alternative tasks of units, from their most and least exciting images (paper, appendix A.2).

A side's N*K most extreme images explain, the next N are queries. The explanation candidates are cut by rank into K
groups of N; each task takes one image of each group, so all tasks span the same range of activations. Which task takes
which image of a group: `dealing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.tasks.dealing import deal
from interpretability.tasks.rules import needed

if TYPE_CHECKING:
    from interpretability.extremes.selection import Ranked


def build(
    top: NDArray[np.int32],
    bottom: NDArray[np.int32],
    keys: NDArray[np.uint64],
    n_tasks: int,
    n_explanations: int,
    *,
    threads: int = 1,
) -> NDArray[np.int32]:
    """Tasks (units, N, 2(K + 1)) from ranked images (units, >= N(K + 1)), each side from its extreme inwards.

    Order in a task: K explanations of the positive side from the most extreme group on, K of the negative side,
    positive query, negative query. Swapping the two sides swaps their roles and changes no task.
    """
    count = needed(n_tasks, n_explanations)
    if top.shape[1] < count:
        raise InputError(
            "{ranked} has {kept} images a side; {n_tasks} * ({n_explanations} + 1) = {count} are needed",
            "ranked",
            "n_tasks",
            "n_explanations",
            kept=top.shape[1],
            count=count,
        )
    positive, negative = (deal(side[:, :count], keys, n_tasks, threads=threads) for side in (top, bottom))
    return np.concatenate([positive[..., :-1], negative[..., :-1], positive[..., -1:], negative[..., -1:]], axis=-1)


def build_tasks(
    ranked: Ranked, keys: NDArray[np.uint64], n_tasks: int = 20, n_explanations: int = 9
) -> NDArray[np.int32]:
    """Tasks (U, N, 2(K + 1)) int32 of units from their ranked images (paper, appendix A.2): numbers of images.

    ranked          what `rank_images` gives; at least N(K + 1) images a side
    keys            (U,) of the units, as for `rank_images`; with the images' numbers they decide which task takes which image
    n_tasks         N, tasks a unit; n_explanations: K, explanations a side of a task

    Order in a task: K explanations of the positive side, the most exciting first, K of the negative side, positive query,
    negative query. Raises InputError for too few ranked images.

    >>> import numpy as np
    >>> from interpretability import build_tasks, rank_images
    >>> activations = np.arange(24, dtype=np.float32).reshape(12, 2)
    >>> keys = np.array([1, 2], dtype=np.uint64)
    >>> tasks = build_tasks(rank_images(activations, 6, keys), keys, n_tasks=2, n_explanations=2)
    >>> tasks.shape
    (2, 2, 6)
    >>> sorted(tasks[0, :, -2].tolist())  # the positive queries follow the 4 most exciting images
    [6, 7]
    """
    arguments.count(n_tasks, "n_tasks")
    arguments.count(n_explanations, "n_explanations")
    if not hasattr(ranked, "top_images"):
        raise arguments.wrong(
            "ranked", "is of type {kind}; it must be what rank_images gives", kind=type(ranked).__name__
        )
    return build(
        ranked.top_images,
        ranked.bottom_images,
        arguments.unit_keys(keys, len(ranked.top_images)),
        n_tasks,
        n_explanations,
    )
