"""Tasks with made images: the queries of a unit's natural tasks, explained by images made to excite it, or not to (IMI, 3.2).

In `synthetic` tasks all explanations are made; all tasks of a unit show the same ones, as in IMI, so that they differ in their
queries alone: what is peculiar to the made images is common to all of them, and does not average out over tasks.
In `mixed` tasks half of a natural task's explanations, every other one by rank, are replaced by made images.

Departure: IMI has no mixed tasks; these are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError


def shown_images(made: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    """The `count` images that tasks show of those made for a side, along the last axis, of which there are at least so many.

    They are the first ones and the last: adaptive diversity puts the strongest image without diversity last, and it explains
    in every task (IMI, appendix A.4).
    """
    return np.concatenate([made[..., : count - 1], made[..., -1:]], axis=-1)


def synthetic_tasks(
    tasks: NDArray[np.integer], positive: NDArray[np.integer], negative: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Tasks (units, N, 2(K + 1)) of these natural ones with made images in place of all explanations.

    tasks               (units, N, 2(K + 1)), in the order of `build_tasks`; their queries stay
    positive, negative  (units, at least K) numbers of the images made for each side; K are shown, the first K - 1
                        and the last, in this order

    The numbers of made images must not be among those of natural ones. Raises InputError for other shapes, for fewer than K made
    images a side, and where a made image has the number of a natural one.
    """
    shown, sides = _checked(tasks, positive, negative)
    count = sides[0].shape[1]
    for side, made in enumerate(sides):
        shown[..., side * count : (side + 1) * count] = made[:, None]
    return shown


def mixed_tasks(
    tasks: NDArray[np.integer], positive: NDArray[np.integer], negative: NDArray[np.integer]
) -> NDArray[np.int32]:
    """As `synthetic_tasks`, but natural explanations stay at the even places of a side, counted from 0 for the most exciting.

    The made image at an odd place p is the p-th of its side: floor(K / 2) of K are made, and natural ones of all ranks remain.
    """
    shown, sides = _checked(tasks, positive, negative)
    count = sides[0].shape[1]
    for side, made in enumerate(sides):
        shown[..., side * count + 1 : (side + 1) * count : 2] = made[:, None, 1::2]
    return shown


def _checked(
    tasks: NDArray[np.integer], *sides: NDArray[np.integer]
) -> tuple[NDArray[np.int32], list[NDArray[np.int32]]]:
    """A copy of the natural tasks, and the K made images of each side that are shown."""
    given = arguments.array(tasks, "tasks", ("units", "tasks", "2 (n_explanations + 1)"), empty=True)
    width = given.shape[2]
    if width < 4 or width % 2:
        raise arguments.wrong(
            "tasks", "holds tasks of {width} images; they must have 2 (K + 1), an even number from 4 on", width=width
        )
    count = width // 2 - 1
    last = int(given.max()) if given.size else -1
    chosen = []
    for side, name in zip(sides, ("positive", "negative"), strict=True):
        made = arguments.array(side, name, ("units", "images"), empty=True)
        if len(made) != len(given) or made.shape[1] < count:
            raise InputError(
                "{"
                + name
                + "} has the shape {shape}; it must hold at least {count} images of each of the {units} units "
                "of {tasks}",
                name,
                "tasks",
                shape=made.shape,
                count=count,
                units=len(given),
            )
        shown = shown_images(made, count)
        if shown.size and int(shown.min()) <= last:
            raise arguments.wrong(
                name,
                "names image {low}, but natural tasks go up to image {last}; made images have numbers of their own behind those",
                low=int(shown.min()),
                last=last,
            )
        chosen.append(narrowed(shown, np.int32, name))
    return narrowed(given, np.int32, "tasks").copy(), chosen
