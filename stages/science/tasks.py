"""Two-alternative tasks of units, from their most and least exciting images (paper, appendix A.2).

A side's N*K most extreme images explain, the next N are queries. The explanation candidates are cut by rank into K
groups of N; each task takes one image of each group, so all tasks span the same range of activations. Groups and
queries are permuted by keyed draws, each side and group on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.science.randomness import combine, key64, permutations

VERSION = 1
SIDES = ("positive", "negative")
CONSTANT_BELOW = 1e-8  # range of a unit's values under which it has no tasks (paper, section 4 and appendix E)
CONSTANT_RELATIVE = 1e-6  # the same relative to its largest value; reported beside it
# Percent of the images that lie beyond the queries of a harder condition, on either side (IMI, section 4.4).
HARD = {"hard99": 1, "hard95": 5, "hard85": 15}
ROLES = ("explanation_pos", "explanation_neg", "query_pos", "query_neg")


def unit_keys(seed: int, model: str, layer: str, units: NDArray[np.integer]) -> NDArray[np.uint64]:
    """64-bit keys of the units of one layer: they name every draw and every tie-break of a unit."""
    return combine(np.uint64(key64(seed, model, layer)), np.asarray(units).astype(np.uint64))


def needed(n_tasks: int, n_explanations: int) -> int:
    """Images a side: N * (K + 1)."""
    return n_tasks * (n_explanations + 1)


def check_images(n_images: int, n_tasks: int, n_explanations: int, conditions: Sequence[str] = ()) -> str:
    """Refuse a study with too few images for two disjoint sides, or for the windows of its harder `conditions`; a warning
    text (or "") below ten times that, and where a harder condition shares queries with the natural tasks.
    """
    least = 2 * needed(n_tasks, n_explanations)
    if n_images < least:
        raise StudyError(
            f"{n_images} images are too few: tasks.n_tasks = {n_tasks} and tasks.n_explanations = {n_explanations} need at "
            f"least 2 * {n_tasks} * {n_explanations + 1} = {least}. Add images or lower one of the two"
        )
    warnings = []
    if n_images < 10 * least:
        share = needed(n_tasks, n_explanations) / n_images
        warnings.append(
            f"{n_images} images are few: each side of a task set takes {share:.1%} of them, so levels of the score are not "
            "comparable with those of larger image sets"
        )
    starts = {name: window_start(n_images, name, n_tasks, n_explanations) for name in conditions if name in HARD}
    warnings += [
        f"{name} is hardly harder than natural: its queries start at rank {start} of {n_images} images, those of natural "
        f"tasks end before rank {least // 2}"
        for name, start in starts.items()
        if start < least // 2 + n_tasks
    ]
    return "; ".join(warnings)


def window_start(n_images: int, condition: str, n_tasks: int, n_explanations: int) -> int:
    """Zero-based rank of the first query, from either extreme: floor(percent * D / 100).

    Raises StudyError where a query would also be an explanation. Below N(K + 1) some queries are natural ones too.
    """
    start, explained = n_images * HARD[condition] // 100, n_tasks * n_explanations
    if start < explained:
        least = -(-100 * explained // HARD[condition])
        raise StudyError(
            f"tasks.conditions names {condition}, whose queries start at rank {start} of {n_images} images, but the first "
            f"tasks.n_tasks * tasks.n_explanations = {n_tasks} * {n_explanations} = {explained} ranks explain; it needs at "
            f"least {least} images, or fewer tasks or explanations"
        )
    return start


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
        raise ValueError(f"{top.shape[1]} ranked images a side, {count} are needed")
    return assemble(top, bottom, *(draws(keys, n_tasks, n_explanations, side) for side in SIDES))


def most_extreme(built: NDArray[np.int32], keys: NDArray[np.uint64], side: str) -> NDArray[np.int32]:
    """The N most extreme images (units, N) of a side, the most extreme first, from tasks that were built with these keys."""
    n_tasks, n_explanations = built.shape[1], built.shape[2] // 2 - 1
    taken = draws(keys, n_tasks, n_explanations, side)[:, 0]
    ranked = np.empty(built.shape[:2], dtype=built.dtype)
    np.put_along_axis(ranked, taken, built[:, :, SIDES.index(side) * n_explanations], axis=1)
    return ranked


def roles(n_explanations: int) -> tuple[list[str], list[int]]:
    """Role and position of each of the 2(K + 1) images of a task, in task order."""
    names = [ROLES[0]] * n_explanations + [ROLES[1]] * n_explanations + [ROLES[2], ROLES[3]]
    return names, [*range(n_explanations), *range(n_explanations), 0, 0]


def constant(low: NDArray[np.floating], high: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which units count as constant by the absolute rule, and which would by the relative one."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return high - low < CONSTANT_BELOW, high - low < CONSTANT_RELATIVE * np.maximum(np.abs(low), np.abs(high))
