"""Factors of generated scenes drawn: kinds of scenes, each with values of the factors that it prefers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import U64, combine, generator, key64, uniforms
from interpretability.synthetic.factors import FACTORS, Factor

# Shares of images of a category that take its preferred value of a factor. Below 1, so that no factor alone
# tells the categories apart and a network has to learn several of them.
ADHERENCE = 0.65
# Spread of a continuous factor around the preferred value, as a share of its range.
PREFERENCE_SPREAD = 0.04


def draw_factors(n: int, *, seed: int, stream: str, n_categories: int) -> pd.DataFrame:
    """Factor table of n images: the columns of `FACTORS`, `category` (int) and `nuisance` (uint64 key).

    Categories are kinds of scenes: each has a preferred value of every factor (`preferences`), which an
    image of it takes with probability ADHERENCE, factor by factor, and otherwise a uniformly random value.
    """
    if n < 1 or n_categories < 1:
        raise ValueError(f"n ({n}) and n_categories ({n_categories}) must be at least 1")
    keys = combine(U64(key64("scenes", seed, stream)), np.arange(n, dtype=U64))

    def draw(*purpose: str) -> NDArray[np.float64]:
        return uniforms(combine(keys, key64(*purpose)))

    category = (draw("category") * n_categories).astype(np.int64)
    preferred = preferences(seed, n_categories)
    columns: dict[str, NDArray[Any]] = {}
    for factor in FACTORS:
        # one decision a factor, so that both columns of a position are kept or replaced together
        keeps = draw("keeps", factor.name) < ADHERENCE
        for column in factor.columns:
            wanted = preferred[column].to_numpy()[category]
            if not factor.levels:
                wanted = wanted + PREFERENCE_SPREAD * (2.0 * draw("spread", column) - 1.0)
                wanted = wanted % 1.0 if factor.kind == "circular" else np.clip(wanted, 0.0, 1.0)
            columns[column] = _values(factor, np.where(keeps, wanted, draw("value", column)))
    columns["category"] = category
    columns["nuisance"] = combine(keys, key64("nuisance"))
    return pd.DataFrame(columns)


def preferences(seed: int, n_categories: int) -> pd.DataFrame:
    """Preferred value of every factor column (one row a category) as positions in [0, 1).

    Each column is a shuffled even grid, so the categories share out the values of a factor evenly.
    """
    grid = (np.arange(n_categories) + 0.5) / n_categories
    return pd.DataFrame(
        {
            column: generator(seed, "scenes", "category", column).permutation(grid)
            for factor in FACTORS
            for column in factor.columns
        }
    )


def _values(factor: Factor, positions: NDArray[np.float64]) -> NDArray[Any]:
    if factor.levels:
        numbers = (positions * len(factor.levels)).astype(np.int64)
        return np.asarray(factor.levels)[numbers]
    return factor.unscaled(positions)
