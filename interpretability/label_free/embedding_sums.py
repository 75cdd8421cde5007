"""Sums over the embeddings of a stream of images: the mean cosine of all pairs, and how cosines spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.label_free.row_sums import squared_lengths

# How far squared lengths may be from 1: that of rows kept as float16.
_ROUNDED = 1e-2


class EmbeddingSums:
    """Sums over rows e (n, E) of length 1, in double precision: 8 E^2 bytes and a product of E^2 numbers an image.

    total     (E,): of e
    squares   of |e|^2
    """

    def __init__(self) -> None:
        self.n_images = 0
        self.total, self.squares = np.zeros(0), 0.0
        self._lengths, self._fourth = np.zeros(0), 0.0  # sums of |e|^2 e and of |e|^4
        self._products = np.zeros((0, 0))  # sum of e e'

    def update(self, embeddings: NDArray[np.floating]) -> None:
        """Add rows (B, E). Raises InputError where they are not of length 1, but for rounding and for rows of zeros."""
        squares = check_rows(embeddings, len(self.total))
        if not len(squares):
            return
        rows = np.asarray(embeddings, np.float64)
        if not self.n_images:
            width = rows.shape[1]
            self.total, self._lengths, self._products = np.zeros(width), np.zeros(width), np.zeros((width, width))
        self.n_images += len(rows)
        self.total += rows.sum(axis=0)
        self.squares += float(squares.sum())
        self._lengths += squares @ rows
        self._fourth += float((squares**2).sum())
        self._products += rows.T @ rows

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of all pairs of different images; NaN below two."""
        n = self.n_images
        return float(self.total @ self.total - self.squares) / (n * (n - 1)) if n > 1 else float("nan")

    def pair_moments(self) -> tuple[float, float]:
        """Over the cosines c_ij of different images less their mean: the sum of c_ij^2, and that of (sum_j c_ij)^2 over i."""
        n, mean = self.n_images, self.mean_cosine
        cosines = float(self.total @ self.total - self.squares)
        second = float((self._products**2).sum()) - self._fourth - 2 * mean * cosines + n * (n - 1) * mean**2
        ends = float(self.total @ self._products @ self.total) - 2 * float(self.total @ self._lengths) + self._fourth
        return second, ends - 2 * mean * (n - 1) * cosines + n * (n - 1) ** 2 * mean**2


def check_rows(embeddings: NDArray[np.floating], width: int = 0) -> NDArray[np.float64]:
    """Squared lengths of rows, which must be 1 but for rounding, or 0; rows of `width` numbers, if that is not 0."""
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"), empty=True)
    if width and rows.shape[1] != width:
        raise arguments.wrong(
            "embeddings", "has rows of {width} numbers, after rows of {before}", width=rows.shape[1], before=width
        )
    squares = squared_lengths(rows)
    wrong = ~((np.abs(squares - 1) <= _ROUNDED) | (squares == 0))
    if wrong.any():
        raise arguments.wrong(
            "embeddings",
            "has a row {row} of squared length {square:.3g}; rows must be of length 1, or zeros",
            row=int(np.argmax(wrong)),
            square=float(squares[wrong][0]),
        )
    return squares
