"""Sizes and windows of tasks, and which units are constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.schema import HARD, NATURAL, ROLES

CONSTANT_BELOW = 1e-8  # range of a unit's values under which it has no tasks (paper, section 4 and appendix E)
CONSTANT_RELATIVE = 1e-6  # the same relative to its largest value; reported beside it
LEAST_TASKS = 2  # fewer give no standard error


def needed(n_tasks: int, n_explanations: int) -> int:
    """Images a side: N * (K + 1).

    >>> needed(20, 9)
    200
    """
    return n_tasks * (n_explanations + 1)


def check_images(n_images: int, n_tasks: int, n_explanations: int, conditions: Sequence[str] = ()) -> str:
    """Refuse a study with too few images for two disjoint sides, or for the windows of its harder `conditions`; a warning
    text (or "") below ten times that, and where a harder condition shares queries with the natural tasks.
    """
    least = 2 * needed(n_tasks, n_explanations)
    if n_images < least:
        raise InputError(
            "{images} images are too few: {n_tasks} = {tasks} and {n_explanations} = {explanations} need at least "
            f"2 * {{tasks}} * {{of_a_side}} = {{least}}. {_what_to_do(n_images, n_tasks, n_explanations)}",
            "n_tasks",
            "n_explanations",
            images=n_images,
            tasks=n_tasks,
            explanations=n_explanations,
            of_a_side=n_explanations + 1,
            least=least,
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
        f"{name} is hardly harder than {NATURAL}: its queries start at rank {start} of {n_images} images, those of {NATURAL} "
        f"tasks end before rank {least // 2}"
        for name, start in starts.items()
        if start < least // 2 + n_tasks
    ]
    return "; ".join(warnings)


def _what_to_do(n_images: int, n_tasks: int, n_explanations: int) -> str:
    """What is to be added or lowered, and to what, where images are too few; names of the arguments in braces."""
    side = n_images // 2
    fewer, shorter = side // (n_explanations + 1), side // n_tasks - 1
    ways = [f"Add at least {2 * needed(n_tasks, n_explanations) - n_images}"]
    if fewer >= LEAST_TASKS:
        ways.append(f"lower {{n_tasks}} to {fewer}")
    if shorter >= 1:
        ways.append(f"lower {{n_explanations}} to {shorter}")
    if len(ways) == 1 and (both := side // LEAST_TASKS - 1) >= 1:
        ways.append(f"lower {{n_tasks}} to {LEAST_TASKS} and {{n_explanations}} to {both}")
    return ", or ".join(ways)


def window_start(n_images: int, condition: str, n_tasks: int, n_explanations: int) -> int:
    """Zero-based rank of the first query, from either extreme: floor(percent * D / 100).

    Raises InputError where a query would also be an explanation. Below N(K + 1) some queries are natural ones too.
    """
    arguments.choice(condition, "condition", HARD)
    start, explained = n_images * HARD[condition] // 100, n_tasks * n_explanations
    if start < explained:
        least = -(-100 * explained // HARD[condition])
        raise InputError(
            "{condition} names {wanted}, whose queries start at rank {start} of {images} images, but the first "
            "{n_tasks} * {n_explanations} = {tasks} * {explanations} = {explained} ranks explain; it needs at "
            "least {least} images, or fewer tasks or explanations",
            "condition",
            "n_tasks",
            "n_explanations",
            wanted=condition,
            start=start,
            images=n_images,
            tasks=n_tasks,
            explanations=n_explanations,
            explained=explained,
            least=least,
        )
    return start


def roles(n_explanations: int) -> tuple[list[str], list[int]]:
    """Role and position of each of the 2(K + 1) images of a task, in task order."""
    names = [ROLES[0]] * n_explanations + [ROLES[1]] * n_explanations + [ROLES[2], ROLES[3]]
    return names, [*range(n_explanations), *range(n_explanations), 0, 0]


def constant(low: NDArray[np.floating], high: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which units count as constant by the absolute rule, and which would by the relative one."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return high - low < CONSTANT_BELOW, high - low < CONSTANT_RELATIVE * np.maximum(np.abs(low), np.abs(high))
