"""Directions that need no file: rotations, random directions, principal components. Columns of matrices (width, n)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.randomness import generator

VERSION = 1  # of the draws
_LEAST_VARIANCE = 1e-10  # of the largest: below it, values of float32 are rounding
Matrix = NDArray[np.float64]


def rotation(seed: int, layer: str, width: int) -> Matrix:
    """An orthogonal matrix (width, width), drawn evenly from all of them (Haar), keyed by seed and layer.

    The Q of a QR decomposition of normal numbers, its columns with the signs of R's diagonal: without those signs it would not
    be even (Mezzadri, "How to generate random matrices from the classical compact groups", 2007).
    """
    normals = generator(_seed(seed), "rotation", layer).standard_normal((_width(width), width))
    q, r = np.linalg.qr(normals)
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def random_directions(seed: int, layer: str, width: int, n: int | None = None) -> Matrix:
    """Unit directions (width, n), each drawn evenly and on its own, keyed by seed and layer; as many as the layer is wide where
    n is not given. Direction i is the same whatever n.
    """
    n = _width(width) if n is None else arguments.count(n, "n")
    normals = generator(_seed(seed), "random directions", layer).standard_normal((n, width)).T
    return normals / np.linalg.norm(normals, axis=0)


def principal(values: NDArray[np.floating]) -> Matrix:
    """Principal components (width, n) of values (images, width), by decreasing variance.

    The entry of largest magnitude in a component is positive, the first of equals. Components without variance, as where there
    are fewer images than channels or where channels are constant, are none: n is the number of others. Raises InputError for
    fewer than two images and where nothing varies.
    """
    values = arguments.array(values, "values", ("images", "width"))
    arguments.finite(values, "values")
    if len(values) < 2:
        raise arguments.wrong("values", "holds {n} image; components need two or more", n=len(values))
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    variance, components = np.linalg.eigh(centred.T @ centred / (len(values) - 1))
    variance, components = variance[::-1], components[:, ::-1]
    if variance[0] <= 0:
        raise arguments.wrong("values", "are the same for every image, so they have no principal component")
    components = components[:, (variance > _LEAST_VARIANCE * variance[0])][:, : len(values) - 1]
    largest = np.abs(components).argmax(axis=0)
    return components * np.where(components[largest, np.arange(components.shape[1])] < 0, -1.0, 1.0)


def _seed(seed: int) -> int:
    return arguments.count(seed, "seed", 0)


def _width(width: int) -> int:
    return arguments.count(width, "width")
