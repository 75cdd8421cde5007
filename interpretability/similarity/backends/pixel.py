"""`pixel`: colour statistics. Two images are alike if they hold the same colours in the same amounts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interpretability.similarity.base import Similarity

VARIANTS = ("pixel",)
BINS = 6  # bins a colour channel: 216 colours tell hues apart and forgive noise


class Pixel(Similarity):
    """Cosine of square-rooted colour histograms: the Bhattacharyya coefficient, in [0, 1]."""

    def ingredients(self) -> Mapping[str, object]:
        return {"version": 1, "levels": BINS}

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        return np.stack([self._histogram(self.images.pixels(int(row))) for row in rows])

    @staticmethod
    def _histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        red, green, blue = (pixels.reshape(-1, 3).astype(np.int64) * BINS // 256).T
        counts = np.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3)
        return np.sqrt(counts / counts.sum())


SIMILARITY = Pixel
