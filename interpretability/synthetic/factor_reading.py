"""Factors of pictures that have none: read from the embedding of an encoder, as fitted on scenes whose factors are known.

An image made to excite a unit shows no scene, so nobody knows its factors. What a simulated observer sees in it has to come
from something that looks at it, here an encoder; such an observer agrees with the encoder by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.randomness import generator

FEWEST_IMAGES = 10
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # in units of the mean sum of squares of a centred dimension
_HELD_OUT, _CHOOSING = 5, 5  # one image in five is held out; of the others, one in five chooses the penalty


@dataclass(frozen=True)
class FactorReading:
    """A ridge regression from embeddings to factor vectors.

    weights   (E, D), and constant (D,): of all images
    penalty   one of PENALTIES
    held_out  mean cosine of read and true factor vectors of the images held out, -1 to 1
    alone     the same of one vector for all images, the mean: what a reading that looks at nothing reaches
    n_images, n_held_out   images it was fitted on, and those of them that first judged it
    """

    weights: NDArray[np.float64]
    constant: NDArray[np.float64]
    penalty: float
    held_out: float
    alone: float
    n_images: int
    n_held_out: int

    def read(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """Factor vectors (n, D) of length 1 of images with these embeddings (n, E)."""
        rows = _sized(embeddings, self.weights.shape[0]) @ self.weights + self.constant
        return _of_length_one(rows).astype(np.float32)

    def lengths(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Lengths (n,) of the vectors before they are scaled to 1: near 1 where the reading is sure, 0 where it knows nothing."""
        rows = _sized(embeddings, self.weights.shape[0]) @ self.weights + self.constant
        return np.sqrt((rows * rows).sum(axis=1))


def fit_reading(embeddings: NDArray[np.floating], vectors: NDArray[np.floating], seed: int) -> FactorReading:
    """Fit a reading of factors to images that have them.

    embeddings  (n, E) of at least FEWEST_IMAGES images, finite: rows of length 1, as similarities compare them
    vectors     (n, D) of the same images, as `factors.factor_vectors` gives them
    seed        of the draw of the images that choose the penalty, and of those that judge it

    The penalty is the one with the highest mean cosine on images that it was not fitted on; `held_out` is of yet others. The
    weights are those of all images. Raises InputError for other shapes and for values that are not finite.
    """
    rows = arguments.array(embeddings, "embeddings", ("images", "numbers")).astype(np.float64)
    known = arguments.array(vectors, "vectors", ("images", "numbers")).astype(np.float64)
    arguments.finite(rows, "embeddings")
    arguments.finite(known, "vectors")
    if len(rows) != len(known):
        raise InputError(
            "{embeddings} has {given} images and {vectors} has {other}; they must be the same images",
            "embeddings",
            "vectors",
            given=len(rows),
            other=len(known),
        )
    if len(rows) < FEWEST_IMAGES:
        raise InputError(
            "{embeddings} has {given} images; at least {least} are needed",
            "embeddings",
            given=len(rows),
            least=FEWEST_IMAGES,
        )
    order = generator(seed, "factor reading").permutation(len(rows))
    n_held_out = len(rows) // _HELD_OUT
    held, rest = np.sort(order[:n_held_out]), order[n_held_out:]
    choosing, fitting = np.sort(rest[: len(rest) // _CHOOSING]), np.sort(rest[len(rest) // _CHOOSING :])
    fits = _ridges(rows[fitting], known[fitting], PENALTIES)
    found = [_agreement(rows[choosing] @ weights + constant, known[choosing]) for weights, constant in fits]
    penalty = PENALTIES[int(np.argmax(found))]
    kept = np.sort(rest)
    ((weights, constant),) = _ridges(rows[kept], known[kept], (penalty,))
    held_out = _agreement(rows[held] @ weights + constant, known[held])
    alone = _agreement(np.broadcast_to(known[kept].mean(axis=0), known[held].shape), known[held])
    ((weights, constant),) = _ridges(rows, known, (penalty,))
    return FactorReading(weights, constant, penalty, held_out, alone, len(rows), n_held_out)


def _ridges(
    rows: NDArray[np.float64], known: NDArray[np.float64], penalties: tuple[float, ...]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Weights and constant at each penalty; the constant is free of it."""
    mean, level = rows.mean(axis=0), known.mean(axis=0)
    centred = rows - mean
    products = centred.T @ centred
    target = centred.T @ (known - level)
    scale = float(np.trace(products)) / len(products)
    fits = []
    for penalty in penalties:
        # without any variance all weights are 0, whatever the penalty
        weights = np.linalg.solve(products + (penalty * scale or 1.0) * np.eye(len(products)), target)
        fits.append((weights, level - mean @ weights))
    return fits


def _agreement(read: NDArray[np.float64], known: NDArray[np.float64]) -> float:
    """Mean cosine of two sets of vectors, row by row."""
    return float((_of_length_one(read) * _of_length_one(known)).sum(axis=1).mean())


def _of_length_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; a row of zeros stays zero, equally unlike everything."""
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.where(lengths > 0, lengths, 1.0)


def _sized(embeddings: NDArray[np.floating], n: int) -> NDArray[np.float64]:
    rows = arguments.array(embeddings, "embeddings", ("images", "numbers"), empty=True).astype(np.float64)
    if rows.shape[1] != n:
        raise InputError(
            "{embeddings} has {given} numbers an image; this reading was fitted to {wanted}",
            "embeddings",
            given=rows.shape[1],
            wanted=n,
        )
    return rows
