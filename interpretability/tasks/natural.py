"""Two-alternative tasks of units, from their most and least exciting images (paper, appendix A.2).

A side's N*K most extreme images explain, the next N are queries. The explanation candidates are cut by rank into K
groups of N; each task takes one image of each group, so all tasks span the same range of activations. Groups and
queries are permuted by keyed draws, each side and group on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.randomness import combine, key64, permutations
from interpretability.schema import SIDES
from interpretability.tasks.rules import needed

if TYPE_CHECKING:
    from interpretability.extremes.selection import Ranked

VERSION = 1


def draws(keys: NDArray[np.uint64], n_tasks: int, n_explanations: int, side: str) -> NDArray[np.int64]:
    """Permutations (units, K + 1, N): entry [u, g, t] is the member of rank group g that task t of unit u takes.

    Groups 0..K-1 hold explanations from the most extreme on, group K the queries.
    """
    groups = np.array([key64("task draw", side, group) for group in range(n_explanations + 1)], dtype=np.uint64)
    return permutations(combine(np.asarray(keys)[:, None], groups), n_tasks)


def assemble(
    top: NDArray[np.int32],
    bottom: NDArray[np.int32],
    draws_positive: NDArray[np.int64],
    draws_negative: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Tasks (units, N, 2(K + 1)) from ranked images (units, >= N(K + 1)), each side from its extreme inwards.

    Order in a task: K explanations of the positive side from the most extreme group on, K of the negative side,
    positive query, negative query. Swapping the arguments of the two sides swaps their roles.
    """
    sides = []
    for ranked, drawn in ((top, draws_positive), (bottom, draws_negative)):
        units, groups, n_tasks = drawn.shape
        candidates = ranked[:, : groups * n_tasks].reshape(units, groups, n_tasks)
        sides.append(np.take_along_axis(candidates, drawn, axis=2).transpose(0, 2, 1))
    positive, negative = sides
    return np.concatenate([positive[..., :-1], negative[..., :-1], positive[..., -1:], negative[..., -1:]], axis=-1)


def build(
    top: NDArray[np.int32],
    bottom: NDArray[np.int32],
    keys: NDArray[np.uint64],
    n_tasks: int,
    n_explanations: int,
) -> NDArray[np.int32]:
    """Tasks of units with the given keys: `assemble` with their keyed draws."""
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
    return assemble(top, bottom, *(draws(keys, n_tasks, n_explanations, side) for side in SIDES))


def build_tasks(
    ranked: Ranked, keys: NDArray[np.uint64], n_tasks: int = 20, n_explanations: int = 9
) -> NDArray[np.int32]:
    """Tasks (U, N, 2(K + 1)) int32 of units from their ranked images (paper, appendix A.2): numbers of images.

    ranked          what `rank_images` gives; at least N(K + 1) images a side
    keys            (U,) of the units, as for `rank_images`; they decide which task gets which image
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


def most_extreme(built: NDArray[np.int32], keys: NDArray[np.uint64], side: str) -> NDArray[np.int32]:
    """The N most extreme images (units, N) of a side, the most extreme first, from tasks that were built with these keys."""
    n_tasks, n_explanations = built.shape[1], built.shape[2] // 2 - 1
    taken = draws(keys, n_tasks, n_explanations, side)[:, 0]
    ranked = np.empty(built.shape[:2], dtype=built.dtype)
    np.put_along_axis(ranked, taken, built[:, :, SIDES.index(side) * n_explanations], axis=1)
    return ranked
