"""The long side of a picture resized only where a central crop looks.

A picture one pixel high and 60,000 wide becomes one of 256 x 15,360,000 pixels before a crop of 224 x 224 is taken: here no
more than that crop is made. Weights are those of an antialiased resize, in whole numbers of 2**-22 as in Pillow, so that sums
are exact, whatever the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BITS = 22
_RADIUS = {"bicubic": 2.0, "bilinear": 1.0}


@dataclass(frozen=True)
class Part:
    """`n` places of a row of pixels that is resized: which of its pixels each is made of, and with what weights."""

    low: int  # the pixels from here
    high: int  # to here are all that is needed
    columns: NDArray[np.int64]  # (n, pixels a place), counted from `low`
    weights: NDArray[np.int64]  # the same; they sum to 2**22, but for rounding

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Places (height, n, channels) of pixels (height, high - low, channels); memory is that of what comes out, in int64."""
        total = np.full((len(pixels), len(self.columns), pixels.shape[2]), 2 ** (_BITS - 1), dtype=np.int64)
        for column, weight in zip(self.columns.T, self.weights.T, strict=True):
            total += pixels[:, column] * weight[:, None]
        return np.clip(total >> _BITS, 0, 255).astype(np.uint8)


def part_of(width: int, size: int, start: int, n: int, interpolation: str) -> Part:
    """The places `start` to `start + n` of a row of `width` pixels that is resized to `size`."""
    places = np.arange(start, start + n)
    if interpolation == "nearest":
        step = np.float32(width) / np.float32(size)  # rounded as torch rounds
        columns = np.minimum((places.astype(np.float32) * step).astype(np.int64), width - 1)[:, None]
        weights = np.full_like(columns, 2**_BITS)
    else:
        columns, weights = _windows((places + 0.5) * (width / size), width, max(width / size, 1.0), interpolation)
    low, high = int(columns.min()), int(columns.max()) + 1
    return Part(low, high, columns - low, weights)


def _windows(
    centres: NDArray[np.floating], width: int, stretch: float, interpolation: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels around each centre, and their weights by an antialiased resize."""
    reach = _RADIUS[interpolation] * stretch
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), width)
    columns = first[:, None] + np.arange((last - first).max())
    weights = _kernel((columns + 0.5 - centres[:, None]) / stretch, interpolation) * (columns < last[:, None])
    weights = np.rint(weights / weights.sum(axis=1, keepdims=True) * 2**_BITS).astype(np.int64)
    return np.minimum(columns, last[:, None] - 1), weights


def _kernel(x: NDArray[np.floating], interpolation: str) -> NDArray[np.floating]:
    x = np.abs(x)
    if interpolation == "bilinear":
        return np.maximum(1 - x, 0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2  # Catmull-Rom, as torch and Pillow take with antialiasing
    return np.where(x < 1, near, np.where(x < 2, far, 0))
