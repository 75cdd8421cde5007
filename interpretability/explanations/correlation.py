"""The score of a text: Pearson correlation of a unit's activations with the presence of the text's concept.

Notation of the paper "Rethinking Crowd-Sourced Evaluation of Neuron Explanations" (the crowd paper below): D, the n images that
are looked at; a, the activations of a unit; c, the presence of a concept, 0 or 1 or a probability. All moments are those of the
population D: sums are divided by n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.statistics import correlation_intervals

# Standard deviation of the activations below which a unit is constant.
CONSTANT = 1e-8
# Standard deviation of a presence below which double precision does not hold its squares, and it counts as everywhere the same.
_VANISHING = 1e-150
# Rows of a product, and images that it adds at a time. Rows are filled up with zeros to a multiple of TILE: the order in which
# BLAS adds the products of a pair, and with it the last bits of a score, then depends on the pair alone (checked with the kernels
# of five kinds of processor; without, it depends on where in the matrix a row stands).
ROWS, IMAGES, TILE = 1024, 2048, 16


def constant(activations: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which units (..., n) -> (...) are constant: their standard deviation is below 1e-8, and no text has a score with them."""
    values = np.asarray(activations, np.float64)
    # the mean of a large number that is everywhere the same may differ from it by rounding
    return (np.std(values, axis=-1) < CONSTANT) | (values.min(axis=-1) == values.max(axis=-1))


def standardised(values: NDArray[np.floating], argument: str = "activations") -> NDArray[np.float64]:
    """Values (..., n) minus their mean, over their standard deviation, both of the population (crowd paper, below Eq. 4).

    argument: what the values are called in errors. Raises InputError for values that are not finite or whose squares
    are not, and where the standard deviation along the last axis is below 1e-8: a constant unit has no correlations.
    """
    numbers = np.asarray(values)
    arguments.array(numbers.reshape(-1, numbers.shape[-1]) if numbers.ndim else numbers, argument, ("rows", "images"))
    numbers = np.ascontiguousarray(numbers, np.float64)  # added along rows, in the order of memory
    arguments.finite(numbers, argument)
    centred = numbers - numbers.mean(axis=-1, keepdims=True)
    centred[numbers.min(axis=-1) == numbers.max(axis=-1)] = 0.0  # not what rounding makes of a large number
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        sd = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True))
    if not np.isfinite(sd).all():
        raise arguments.wrong(argument, "holds values whose squares are beyond double precision")
    if (sd < CONSTANT).any():
        place = np.argwhere(sd[..., 0] < CONSTANT)[0].tolist()
        _refuse_constant(argument, place, float(sd[(*place, 0)]))
    return centred / sd


def _refuse_constant(argument: str, place: list[int], sd: float) -> NoReturn:
    where = f" in row {', '.join(map(str, place))}" if place else ""
    raise arguments.wrong(
        argument,
        "is constant{where}: the standard deviation is {sd:.3g}, below {least:g}, and nothing correlates with it",
        where=where,
        sd=sd,
        least=CONSTANT,
    )


def correlation(activations: NDArray[np.floating], presence: NDArray[np.floating]) -> float:
    """Score of one unit (n,) with one concept (n,): Pearson correlation, in [-1, 1] (crowd paper, Eq. 1).

    NaN where the concept is present alike in all images. Raises InputError for a constant unit.

    >>> import numpy as np
    >>> round(correlation(np.array([0, 1, 2, 3, 4, 8]), np.array([0, 0, 0, 1, 0, 1])), 6)
    0.684653
    """
    first = arguments.array(activations, "activations", ("images",))
    second = arguments.array(presence, "presence", ("images",))
    return float(correlations(first[None], second[None])[0, 0])


def correlations(activations: NDArray[np.floating], presence: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores (U, C) of all pairs of units (U, n) and concepts (C, n): Pearson correlations, in [-1, 1] (crowd paper, Eq. 1).

    One matrix product in double precision, a block at a time; neither input is copied as a whole. The score of a pair depends
    on its two rows alone, to the last bit: not on the other rows or their order. NaN for concepts that are present alike in all
    images. Raises InputError for constant units, values that are not finite and other shapes.
    """
    units = arguments.array(activations, "activations", ("units", "images"))
    concepts = arguments.array(presence, "presence", ("concepts", "images"))
    same_images(units, concepts)
    found = np.empty((len(units), len(concepts)))
    for row in range(0, len(units), ROWS):
        for column in range(0, len(concepts), ROWS):
            block = _block(units[row : row + ROWS], concepts[column : column + ROWS], row, column)
            found[row : row + ROWS, column : column + ROWS] = block
    return found


def same_images(activations: NDArray[np.floating], presence: NDArray[np.floating]) -> None:
    """Refuse activations (..., n) and presence (..., n) of different numbers of images."""
    arguments.same_images(activations.shape[-1], presence.shape[-1], ("activations", "presence"))


class _Shifted:
    """Rows minus a number near their mean, a block of images at a time, and the moments of what was read so far."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        self.values, rows = values, len(values)
        # rows one after the other in memory, whatever lies so in the input: numpy's order of adding follows the memory
        self.shift = np.ascontiguousarray(values[:, :IMAGES], np.float64).mean(axis=1)
        self.total, self.squares = np.zeros(rows), np.zeros(rows)
        self._scratch = np.zeros((-(-rows // TILE) * TILE, min(IMAGES, values.shape[1])))

    def read(self, start: int) -> NDArray[np.float64]:
        """Images from `start`, as rows filled up with zeros; overwritten by the next call."""
        part = self.values[:, start : start + IMAGES]
        block = self._scratch[:, : part.shape[1]]
        own = block[: len(part)]
        np.subtract(part, self.shift[:, None], out=own)
        self.total += own.sum(axis=1)
        self.squares += np.einsum("ij,ij->i", own, own)
        return block

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means of the rows minus their shift, and standard deviations."""
        n = self.values.shape[1]
        mean = self.total / n
        return mean, np.sqrt(np.maximum(self.squares / n - mean**2, 0.0))


def _block(
    units: NDArray[np.floating], concepts: NDArray[np.floating], first_unit: int, first_concept: int
) -> NDArray[np.float64]:
    left, right, n = _Shifted(units), _Shifted(concepts), units.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found in the moments, and told
        product = left.read(0) @ right.read(0).T
        for start in range(IMAGES, n, IMAGES):
            product += left.read(start) @ right.read(start).T
        (mean_a, sd_a), (mean_c, sd_c) = left.moments(), right.moments()
    for sd, values, argument, first in (
        (sd_a, units, "activations", first_unit),
        (sd_c, concepts, "presence", first_concept),
    ):
        if not np.isfinite(sd).all():
            arguments.finite(values, argument, first=first)
            raise arguments.wrong(argument, "holds values whose squares are beyond double precision")
    if (sd_a < CONSTANT).any():
        _refuse_constant("activations", [first_unit + int(np.argmax(sd_a < CONSTANT))], float(sd_a[sd_a < CONSTANT][0]))
    sd_c[_alike(concepts, right.shift, sd_c) | (sd_c < _VANISHING)] = np.nan
    covariance = product[: len(units), : len(concepts)] / n - mean_a[:, None] * mean_c
    return np.clip(covariance / sd_a[:, None] / sd_c, -1.0, 1.0)


def _alike(values: NDArray[np.floating], shift: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows hold one number alone. Only where the spread is that of rounding need one look."""
    alike = np.zeros(len(values), dtype=bool)
    for row in np.flatnonzero(sd <= 1e-7 * np.abs(shift)):
        alike[row] = values[row].min() == values[row].max()
    return alike


def best_concepts(
    activations: NDArray[np.floating], presence: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each unit (U, n) the concept of presence (C, n) with the highest score, and that score (crowd paper, Eq. 10).

    Of equal scores the first concept wins. Raises InputError as `correlations` does, and where no concept is absent from some
    images and present in others.
    """
    return best_of(correlations(activations, presence))


def best_of(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The column of the highest score in each row of scores (U, C), NaN left out, and that score; the first of equal ones."""
    if np.isnan(scores).all(axis=1).any():
        raise arguments.wrong("presence", "holds no concept that some images show and others do not")
    best = np.nanargmax(scores, axis=1)
    return best, scores[np.arange(len(scores)), best]


def correlation_se(activations: NDArray[np.floating], presence: NDArray[np.floating]) -> float:
    """Standard error of the score of a unit (n,) and a concept (n,): that of `paired_scores`. NaN where the score is."""
    first = arguments.array(activations, "activations", ("images",))
    return float(paired_scores(first[None], arguments.array(presence, "presence", ("images",))[None]).se[0])


@dataclass(frozen=True)
class Scores:
    """Scores of pairs with standard errors and the ends of an interval; all NaN where a concept is present alike everywhere.

    effective   images that carry the standard error: (sum d^2)^2 / sum d^4 of their influences d
    """

    rho: NDArray[np.float64]
    se: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    effective: NDArray[np.float64]


def paired_scores(
    activations: NDArray[np.floating], presence: NDArray[np.floating], confidence: float = 0.95
) -> Scores:
    """Scores of rows of activations (pairs, n), each with its own row of presence (pairs, n), and how far they may be off.

    The interval is for the images as a sample of a population; over D itself a score is exact. The influence of an image on rho
    is d = a c - rho (a^2 + c^2) / 2, a and c standardised; the standard error is the root of the mean of d^2 over n (delta
    method, whatever the distributions). Where a concept is rare, a few images carry all of it, and the standard error is itself
    uncertain: the interval, symmetric in Fisher's z, takes the quantile of t with (sum d^2)^2 / sum d^4 - 1 degrees of freedom,
    a choice of ours. It covers 93 to 97 % of the truths in simulations with 5 to 2,000 positive images and heavy tails, where
    1.96 standard errors cover down to 85 % (`benchmarks/text_scores.py`). Raises InputError as `correlations` does.
    """
    units = arguments.array(activations, "activations", ("pairs", "images"))
    concepts = arguments.array(presence, "presence", ("pairs", "images"))
    same_images(units, concepts)
    if len(units) != len(concepts):
        raise arguments.wrong(
            "presence",
            "has {rows} rows and activations {others}; each pair needs one of both",
            rows=len(concepts),
            others=len(units),
        )
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    arguments.finite(concepts, "presence")
    found = np.array([_scored(a, c) for a, c in zip(units, concepts, strict=True)])
    rho, se, effective = found.T
    return Scores(rho, se, *correlation_intervals(rho, se, np.maximum(effective - 1, 1), confidence), effective)


def _scored(activations: NDArray[np.floating], presence: NDArray[np.floating]) -> tuple[float, float, float]:
    """Score, standard error and effective images of one pair."""
    rho = correlation(activations, presence)
    if np.isnan(rho):
        return rho, np.nan, np.nan
    a = standardised(activations)
    c = presence - np.mean(
        presence, dtype=np.float64
    )  # a guide that is nearly constant has a score, so no bound for its sd
    c = c / np.sqrt(np.mean(c**2))
    squares = (a * c - rho / 2 * (a**2 + c**2)) ** 2
    total = squares.sum()
    return rho, float(np.sqrt(total) / len(a)), float(total**2 / (squares**2).sum()) if total > 0 else float(len(a))


def top_recall(activations: NDArray[np.floating], presence: NDArray[np.floating], k: int) -> float:
    """Share of the k images of highest activation that show the concept, in [0, 1]: what studies of top images measure.

    It sees whether the text fits the top images, not what it fits besides, so it prefers broad texts (crowd paper, section 1).
    Of images whose activations tie at the edge of the top k each counts with the same share. `presence` (n,) may hold
    probabilities; then this is the expected share.
    """
    first = arguments.array(activations, "activations", ("images",))
    second = arguments.array(presence, "presence", ("images",))
    same_images(first, second)
    arguments.finite(second, "presence")
    return float(top_weights(first[None], k)[0] @ second.astype(np.float64))


def top_weights(activations: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Weights (U, n) of the images among the k of highest activation of each unit (U, n): a row adds up to 1.

    1/k each, less where activations tie at the edge of the top k. `top_weights(a, k) @ presence.T` is the recall of all pairs.
    """
    values = arguments.array(activations, "activations", ("units", "images"))
    arguments.finite(values, "activations")
    k = arguments.count(k, "k", 1, values.shape[1])
    edge = np.partition(values, -k, axis=1)[:, [-k]]
    above, at = values > edge, values == edge
    left = k - above.sum(axis=1, keepdims=True)
    return (above + at * (left / at.sum(axis=1, keepdims=True))) / k
