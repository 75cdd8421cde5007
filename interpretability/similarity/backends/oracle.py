"""`oracle`: cosine between the factors from which two scenes were drawn. Only for the synthetic study."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.images import Images
from interpretability.similarity.base import Similarity
from interpretability.synthetic import factors as factors_module

VARIANTS = ("oracle",)


class Oracle(Similarity):
    """Sees every factor, equally weighted, and nothing else: images without factors cannot be compared.

    factors   of the scenes by row, as `interpretability.synthetic.factors.draw_factors` draws them
    """

    needs_factors = True

    def __init__(self, name: str, images: Images, *, factors: pd.DataFrame | None = None, **options: Any) -> None:
        super().__init__(name, images, **options)
        if factors is None:
            raise arguments.wrong("factors", "is missing: similarity oracle compares the factors of generated scenes")
        self._factors = arguments.table(factors, "factors", ("category",))

    def ingredients(self) -> Mapping[str, object]:
        return {"version": factors_module.VERSION}

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return factors_module.factor_vectors(self._factors)

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        return self._vectors[rows]


SIMILARITY = Oracle
