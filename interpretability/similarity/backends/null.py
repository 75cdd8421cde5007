"""`null`: a random vector for each image. Whatever it finds is chance; it controls the whole chain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from interpretability.images import Images
from interpretability.randomness import combine, key64, uniforms
from interpretability.similarity.base import Similarity

VARIANTS = ("null",)
DIMENSIONS = 64


class Null(Similarity):
    """Standard normal vectors keyed by (seed, digest of the image): copies of an image get the same vector.

    digests   of all images, in hexadecimal, by row; those of their pixels if left out
    """

    def __init__(
        self, name: str, images: Images, *, seed: int = 0, digests: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__(name, images, **options)
        self._seed, self._digests = seed, digests

    def ingredients(self) -> Mapping[str, object]:
        return {"version": 1, "seed": self._seed, "dimensions": DIMENSIONS}

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        digests = np.array([int(self._digest(int(row))[:16], 16) for row in rows], dtype=np.uint64)
        keys = combine(digests ^ np.uint64(key64(self._seed, "null similarity")), 0)
        draws = uniforms(combine(keys[:, None], np.arange(DIMENSIONS, dtype=np.uint64)))
        return ndtri(np.clip(draws, 1e-12, 1 - 1e-12))

    def _digest(self, row: int) -> str:
        if self._digests is not None:
            return self._digests[row]
        pixels = np.ascontiguousarray(self.images.pixels(row))
        return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


SIMILARITY = Null
