"""`oracle`: cosine between the factors from which two scenes were drawn. Only for the synthetic study."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.similarity.base import Context, Similarity, factor_table
from interpretability.synthetic import factors

VARIANTS = ("oracle",)


class Oracle(Similarity):
    """Sees every factor, equally weighted, and nothing else."""

    def __init__(self, name: str, context: Context) -> None:
        self.name, self._context = name, context

    def ingredients(self) -> Mapping[str, Any]:
        return {"version": factors.VERSION}

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return factors.factor_vectors(factor_table(self._context, self.name))

    def embed(self, rows: NDArray[np.int32]) -> NDArray[np.floating]:
        return self._vectors[rows]


def create(name: str, context: Context) -> Similarity:
    return Oracle(name, context)
