"""Scores of many texts at once, each with the unit that it explains: row by row, not all units with all texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import CONSTANT, same_images


@dataclass(frozen=True)
class Paired:
    """Scores (rows,) and their standard errors over the draw of images; NaN where either side is the same in all images."""

    rho: NDArray[np.float64]
    se: NDArray[np.float64]


def paired_scores(activations: NDArray[np.floating], predicted: NDArray[np.floating]) -> Paired:
    """Pearson correlation of each row of activations (rows, n) with the same row of predicted activations, in [-1, 1].

    The scores of `correlation.correlation` and standard errors of `correlation.correlation_se` (crowd paper, Eq. 1), for rows
    at once: a row depends on nothing but itself, to the last bit. A row is alike in all images where its standard deviation is
    below 1e-8 of its largest value, or of 1; then its score is NaN. Raises InputError for values that are not finite.
    """
    left = arguments.array(activations, "activations", ("rows", "images"))
    right = arguments.array(predicted, "predicted", ("rows", "images"))
    same_images(left, right)
    arguments.finite(left, "activations")
    arguments.finite(right, "predicted")
    a, c = _standardised(left, CONSTANT), _standardised(right, 0.0)  # a guide may be sure of absence, to many digits
    product = a * c
    rho = np.clip(np.mean(product, axis=1), -1.0, 1.0)
    # the influence of an image, ac - rho (a^2 + c^2) / 2, in place: rows of many images are more than caches hold
    np.square(a, out=a)
    np.square(c, out=c)
    a += c
    a *= rho[:, None] / 2
    product -= a
    np.square(product, out=product)
    return Paired(rho, np.sqrt(np.mean(product, axis=1) / a.shape[1]))


def _standardised(values: NDArray[np.floating], least: float) -> NDArray[np.float64]:
    """Rows with mean 0 and standard deviation 1; NaN where all values are one, or their standard deviation is below `least`."""
    rows = np.array(values, dtype=np.float64, order="C")
    mean = rows.mean(axis=1, keepdims=True)
    rows -= mean
    sd = np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    alike = sd < least
    for row in np.flatnonzero(sd <= 1e-7 * np.abs(mean)):  # such a spread may be that of rounding
        alike[row] |= np.ptp(values[row]) == 0
    rows /= np.where(alike, np.nan, sd)
    return rows


def dealt(groups: NDArray[np.integer], same: NDArray[np.integer], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each text the place of another one of its group (rows,), in keyed order; -1 where its group has no other.

    groups  texts among which is dealt, such as those of one method in one layer
    same    texts that say the same have the same number: no text is dealt in the place of one that says the same
    keys    one a text; they name the order, so that it does not depend on that of the rows
    Each text takes the next one in the circle of its group that says something else. A control: the score of a text that was
    written for another unit is 0 but for what all units of the group share.
    """
    found = np.full(len(groups), -1, dtype=np.int64)
    order = np.lexsort((keys, groups))
    ends = np.flatnonzero(np.diff(groups[order], append=groups[order[-1]] + 1)) + 1 if len(order) else []
    start = 0
    for end in ends:
        members = order[start:end]
        start = end
        said, n = same[members], len(members)
        for place, row in enumerate(members):
            step = next((step for step in range(1, n) if said[(place + step) % n] != said[place]), 0)
            found[row] = members[(place + step) % n] if step else -1
    return found
