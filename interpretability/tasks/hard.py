"""Harder tasks: the same explanations, and queries from inner percentiles of a unit's values (IMI, section 4.4).

With D images, a condition that starts at the share q takes as negative queries those at positions floor(q D) to
floor(q D) + N - 1 of the unit's total order, counted from the least exciting image, and as positive queries those at the
same positions from the other end. IMI writes the latter as the N positions before ceil((1 - q) D), which are the same.
Departure: IMI sorts by value alone and unstably; here equal values have the order of `selection`. It draws the pairing of
queries anew for every condition; here an image goes to its task as in `dealing`, under every condition by the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.extremes import selection
from interpretability.tasks import natural, rules


def hard_tasks(
    activations: NDArray[np.floating],
    keys: NDArray[np.uint64],
    condition: str,
    n_tasks: int = 20,
    n_explanations: int = 9,
) -> NDArray[np.int32]:
    """Tasks (U, N, 2(K + 1)) int32 with queries from inner percentiles of the units' values (IMI, section 4.4).

    activations     (D, U), finite; keys: (U,) of the units, as for `rank_images`
    condition       hard99, hard95 or hard85: the queries begin 1, 5 or 15 percent of the images from either end
    n_tasks         N, tasks a unit; n_explanations: K, explanations a side of a task: those of `build_tasks`

    Raises InputError where a query would be an explanation, too: the images are too few for the condition.
    Departure: IMI sorts by value alone; here images of equal value have one keyed order.

    >>> import numpy as np
    >>> from interpretability import hard_tasks
    >>> activations = np.arange(200, dtype=np.float32)[:, None]
    >>> tasks = hard_tasks(activations, np.array([7], dtype=np.uint64), "hard85", n_tasks=2, n_explanations=3)
    >>> sorted(tasks[0, :, -2].tolist())  # 30 of 200 images are more exciting than the positive queries
    [168, 169]
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    arguments.finite(values, "activations")
    arguments.count(n_tasks, "n_tasks")
    arguments.count(n_explanations, "n_explanations")
    rules.check_images(len(values), n_tasks, n_explanations)
    start = rules.window_start(len(values), condition, n_tasks, n_explanations)
    columns = np.ascontiguousarray(narrowed(values, np.float32, "activations").T)
    return tasks_from_rank(columns, arguments.unit_keys(keys, len(columns)), start, n_tasks, n_explanations)[0]


def tasks_from_rank(
    values: NDArray[np.float32], keys: NDArray[np.uint64], start: int, n_tasks: int, n_explanations: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Tasks of units from their whole columns, with queries from rank `start` on, and their tie shares.

    values (units, images) float32 in image order, keys (units,). Returns tasks (units, N, 2(K + 1)) in the order of
    `natural.assemble`, and for the positive and the negative side (units,) the share of a side's images whose value another
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
        for side, positions in enumerate((n - 1 - ranks, ranks)):
            sides[side, unit] = ranked[positions]
            ties[side, unit] = same[positions].mean()
    return natural.build(sides[0], sides[1], keys, n_tasks, n_explanations), ties[0], ties[1]


Side = tuple[NDArray[np.int32], NDArray[np.float32]]  # images and values (units, ranks), from the extreme inwards


def tasks_from_windows(
    extremes: tuple[Side, Side],
    windows: tuple[Side, Side],
    keys: NDArray[np.uint64],
    n_tasks: int,
    n_explanations: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """What `tasks_from_rank` returns, without whole columns, for the positive and the negative side.

    extremes        more than N * K ranks of a side; these explain
    windows         the ranks of the queries of a side, and one more on either end: N + 2
    """
    explained = n_tasks * n_explanations
    sides, ties = [], []
    for (images, values), (queries, beside) in zip(extremes, windows, strict=True):
        if queries.shape[1] != n_tasks + 2 or images.shape[1] <= explained:
            raise InputError(
                "{windows} hold {given} ranks and {extremes} {kept}; {n_tasks} = {tasks} tasks need {expected} and more than "
                "{explained}",
                "windows",
                "extremes",
                "n_tasks",
                given=queries.shape[1],
                kept=images.shape[1],
                tasks=n_tasks,
                expected=n_tasks + 2,
                explained=explained,
            )
        sides.append(np.concatenate([images[:, :explained], queries[:, 1:-1]], axis=1))
        same = np.concatenate([_tied(values[:, : explained + 1])[:, :-1], _tied(beside)[:, 1:-1]], axis=1)
        ties.append(narrowed(same.mean(axis=1, dtype=np.float64), np.float32, "ties"))
    return natural.build(sides[0], sides[1], keys, n_tasks, n_explanations), ties[0], ties[1]


def _tied(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which values of neighbouring ranks (units, ranks) their neighbours also have."""
    same = np.zeros(values.shape, dtype=bool)
    equal = values[:, 1:] == values[:, :-1]
    same[:, 1:] |= equal
    same[:, :-1] |= equal
    return same
