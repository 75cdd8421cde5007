"""`null`: a random vector for each picture. Whatever it finds is chance; it controls the whole chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from interpretability.randomness import combine, key64, uniforms
from interpretability.similarity.base import Context, Similarity

VARIANTS = ("null",)
DIMENSIONS = 64


class Null(Similarity):
    """Standard normal vectors keyed by (seed, digest of the picture): copies of a picture get the same vector."""

    def __init__(self, name: str, context: Context) -> None:
        self.name, self._context = name, context

    def ingredients(self) -> Mapping[str, Any]:
        return {"version": 1, "seed": self._context.seed, "dimensions": DIMENSIONS}

    def embed(self, rows: NDArray[np.int32]) -> NDArray[np.floating]:
        digests = self._context.digests()
        pictures = np.array([int(digests[row][:16], 16) for row in rows], dtype=np.uint64)
        keys = combine(pictures ^ np.uint64(key64(self._context.seed, "null similarity")), 0)
        draws = uniforms(combine(keys[:, None], np.arange(DIMENSIONS, dtype=np.uint64)))
        return ndtri(np.clip(draws, 1e-12, 1 - 1e-12))


def create(name: str, context: Context) -> Similarity:
    return Null(name, context)
