"""Tasks of one side: positive images as in natural tasks, and images drawn at random in place of the least exciting ones.

Units of a rectifier or of a sparse code say nothing by what excites them least: their lowest values are ties at zero, so that
side is a random sample of images. A unit with two signs has another feature there, which helps to tell its two sides apart.
To compare the two kinds, neither may use its lower end: here the negative explanations and queries of all units are images
drawn without replacement from those outside the unit's N(K + 1) most exciting ones. What is left is how well the images that
excite a unit are told from any others.

Departure: the paper has two-sided tasks only (appendix A.2); these are ours.

A unit must be excited by N(K + 1) images at least. With fewer, images of value zero stand among its positive ones; with N K or
fewer all positive queries are such, and it scores at chance however clear its feature is.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.randomness import GOLDEN, combine, key64
from interpretability.tasks.dealing import deal, mix
from interpretability.tasks.rules import needed

_DRAWING = "image of a negative side"  # keeps these numbers apart from all others of a unit


@numba.njit(nogil=True, cache=True)
def _draw(top, keys, n_images, drawn):
    """Fill drawn (units, places) with images of 0 to n_images - 1, none of them twice or in top (units, ranks).

    A place draws images by numbers of its own until one is free (the sequence of SplitMix64, its upper 32 bits a fraction of
    1): where another image is among the top, only places that meet it change.
    """
    taken = np.full(n_images, -1, np.int64)  # the unit that has an image in its top or in a place
    for unit in range(len(top)):
        for image in top[unit]:
            taken[image] = unit
        for place in range(drawn.shape[1]):
            number = mix(keys[unit] ^ np.uint64(place))
            while True:
                number = number + GOLDEN
                image = np.int64(((mix(number) >> np.uint64(32)) * np.uint64(n_images)) >> np.uint64(32))
                if taken[image] != unit:
                    break
            taken[image] = unit
            drawn[unit, place] = image


def draw_outside(top: NDArray[np.int32], keys: NDArray[np.uint64], n_images: int, count: int) -> NDArray[np.int32]:
    """For each unit `count` of the images 0 to n_images - 1, drawn without replacement outside of its row of `top`.

    keys (units,) of the units alone decide, in whatever order or parts they are drawn. Images of `top` (units, ranks) are below
    n_images, and n_images is at least ranks + count. Memory: one number an image.
    """
    top = np.ascontiguousarray(narrowed(np.asarray(top), np.int32, "top"))
    drawn = np.empty((len(top), count), dtype=np.int32)
    _draw(top, combine(np.asarray(keys, dtype=np.uint64), key64(_DRAWING)), n_images, drawn)
    return drawn


def one_sided_tasks(
    top: NDArray[np.int32], keys: NDArray[np.uint64], n_images: int, n_tasks: int, n_explanations: int
) -> NDArray[np.int32]:
    """One-sided tasks (units, N, 2(K + 1)) from ranked images (units, >= N(K + 1)), the most exciting first.

    top             image numbers below n_images, none of them twice in a row
    keys            (units,) of the units, as for natural tasks, whose positive sides are the same
    n_images        images of the study, at least 2 N(K + 1)

    Order in a task: K positive explanations, K negative ones, positive query, negative query, as in natural tasks. Negative
    images are random ones outside the first N(K + 1) of `top`, none of them twice in a unit. Raises InputError for too few
    ranked images, for too few images, and for image numbers that are none.
    """
    count = needed(n_tasks, n_explanations)
    if top.shape[1] < count:
        raise InputError(
            "{top} has {kept} images; {n_tasks} * ({n_explanations} + 1) = {count} are needed",
            "top",
            "n_tasks",
            "n_explanations",
            kept=top.shape[1],
            count=count,
        )
    if n_images < 2 * count:
        raise arguments.wrong("n_images", "is {n}, at least {least} are needed", n=n_images, least=2 * count)
    ranked = top[:, :count]
    if ranked.size and not 0 <= ranked.min() <= ranked.max() < n_images:
        raise arguments.wrong(
            "top",
            "holds the image numbers {low} to {high}; there are {n} images, numbered from 0",
            low=ranked.min(),
            high=ranked.max(),
            n=n_images,
        )
    positive = deal(ranked, keys, n_tasks)
    negative = draw_outside(ranked, keys, n_images, count).reshape(len(ranked), n_tasks, n_explanations + 1)
    return np.concatenate([positive[..., :-1], negative[..., :-1], positive[..., -1:], negative[..., -1:]], axis=-1)
