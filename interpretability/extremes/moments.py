"""Exact sums of values and squares: the same for any order of images, any batches and any interruption."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

BIN_BITS, N_BINS, LOWEST = (
    32,
    22,
    -352,
)  # bins of 32 bits from 2^-352 hold every sum of squares of float32 values


class Moments:
    """Mean, variance and share of non-positive values of each unit, exact under any grouping of whole batches.

    A batch is summed in float64 in image order; these batch sums are added without rounding, as integers in bins of
    32 bits. So batches may be counted in any order, on any worker and in any shard with the same result.
    """

    def __init__(self, n_units: int) -> None:
        self.bins = np.zeros((2, N_BINS, n_units), dtype=np.int64)
        self.nonpositive = np.zeros(n_units, dtype=np.int64)
        self.n_images = 0

    def update(self, values: NDArray[np.float32]) -> None:
        """Count a batch of values (images, units)."""
        sums = np.zeros((2, values.shape[1]))
        _batch_sums(values, sums, self.nonpositive)
        for bins, batch in zip(self.bins, sums, strict=True):
            _add_exactly(bins, batch)
        self.n_images += len(values)

    def add(self, bins: NDArray[np.int64], nonpositive: NDArray[np.int64], n_images: int) -> None:
        """Count another part of the images, from its `bins`, `nonpositive` and `n_images`."""
        self.bins += bins
        self.nonpositive += nonpositive
        self.n_images += n_images

    def mean_variance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and population variance of each unit."""
        total, squares = (_round_bins(bins) for bins in self.bins)
        mean = total / self.n_images
        return mean, np.maximum(squares / self.n_images - mean**2, 0.0)


@numba.njit(nogil=True, cache=True)
def _batch_sums(values, sums, nonpositive):
    for start in range(0, values.shape[1], 512):
        total, squares = sums[0, start : start + 512], sums[1, start : start + 512]
        count = nonpositive[start : start + 512]
        for b in range(values.shape[0]):
            row = values[b, start : start + 512]
            for j in range(len(row)):
                v = np.float64(row[j])
                total[j] += v
                squares[j] += v * v
                count[j] += np.int64(row[j] <= 0)


def _add_exactly(bins: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """bins += values without rounding: each float64 is cut into pieces of 32 bits at fixed places."""
    columns = np.arange(len(values))
    rest = values.copy()
    for _ in range(3):  # 53 bits touch at most three bins
        _, exponent = np.frexp(rest)
        index = np.clip((exponent - 1 - LOWEST) // BIN_BITS, 0, N_BINS - 1)
        scale = np.ldexp(1.0, LOWEST + index * BIN_BITS)
        piece = np.trunc(rest / scale)
        bins[index, columns] += piece.astype(np.int64)
        rest -= piece * scale


def _round_bins(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nearest float64 of the exact sum: carries are moved up first, so equal sums give equal bits."""
    carried = bins.copy()
    for index in range(N_BINS - 1):
        carry = carried[index] >> BIN_BITS
        carried[index] -= carry << BIN_BITS
        carried[index + 1] += carry
    total = np.zeros(bins.shape[1])
    for index in reversed(range(N_BINS)):
        total += np.ldexp(carried[index].astype(np.float64), LOWEST + index * BIN_BITS)
    return total
