"""The known factors of generated scenes: their names, values, draws, and distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def label_factors(label: str) -> tuple[str, ...]:
    """Names of the factors that a unit with this label is made of; empty for hashes and constants."""
    names = {factor.name for factor in FACTORS}
    parts = [part.rpartition("/")[2].partition(":")[0] for part in label.split("|")]
    return tuple(part for part in parts if part in names)


VERSION = 1  # raised by hand whenever images or vectors change


Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Factor:
    """One thing that an image shows.

    kind: circular (values repeat after `high`), linear or categorical. `levels` names the values of a
    categorical factor, or the whole numbers of a counted one; `logarithmic` factors are drawn and compared on
    a log scale.
    """

    name: str
    kind: Literal["circular", "linear", "categorical"]
    columns: tuple[str, ...]
    levels: tuple[str, ...] | tuple[int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    logarithmic: bool = False

    def scaled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values of a circular or linear factor as positions in [0, 1] of its range."""
        values = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.logarithmic:
            values, low, high = np.log2(values), np.log2(low), np.log2(high)
        return (values - low) / (high - low)

    def unscaled(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at positions in [0, 1] of the range; the inverse of `scaled`."""
        if self.logarithmic:
            return self.low * (self.high / self.low) ** positions
        return self.low + (self.high - self.low) * positions

    def codes(self, values: pd.Series) -> NDArray[np.int64]:
        """Number of each value among the levels."""
        codes = pd.Index(self.levels).get_indexer(pd.Index(values))
        if (codes < 0).any():
            unknown = values.iloc[int(np.argmax(codes < 0))]
            raise ValueError(f"factor {self.name}: unknown level {unknown!r}; allowed: {list(self.levels)}")
        return codes.astype(np.int64)


TEXTURES = ("stripes", "lines", "checker", "dots", "zigzag", "bricks", "rings", "noise")
SHAPES = ("disc", "square", "triangle", "star", "cross", "ring", "crescent", "heart")
OBJECTS = ("none", "house", "tree", "face", "car", "fish", "flower", "boat")
COUNTS = (1, 2, 3, 4, 5, 6)


FACTORS: tuple[Factor, ...] = (
    Factor("colour", "circular", ("colour",), high=360.0),
    Factor("orientation", "circular", ("orientation",), high=180.0),
    # cycles an image: below 2.5 a period no longer shows, above 9 a cycle has less than seven pixels of 64
    Factor("frequency", "linear", ("frequency",), low=2.5, high=9.0, logarithmic=True),
    Factor("texture", "categorical", ("texture",), TEXTURES),
    Factor("shape", "categorical", ("shape",), SHAPES),
    Factor("object", "categorical", ("object",), OBJECTS),
    Factor("count", "linear", ("count",), COUNTS, low=COUNTS[0], high=COUNTS[-1]),
    # centre of the group of shapes, away from the border
    Factor("position", "linear", ("position_x", "position_y"), low=0.24, high=0.76),
)
FACTOR_NAMES = tuple(factor.name for factor in FACTORS)


def factor_vectors(factors: pd.DataFrame, *, ignore: Sequence[str] = ()) -> Floats:
    """Unit-norm row an image, (n, D); the dot product of two rows is their likeness, 1 = same.

    One block a factor, all blocks of the same length: an angle as its cosine and sine (orientation doubled,
    because it repeats after half a turn), a level as one-hot, a linear value as a point on a half circle, so
    that the two ends of the range are opposite; the two coordinates of a position share its block. Factors
    named in `ignore` are left out.
    """
    unknown = sorted(set(ignore) - set(FACTOR_NAMES))
    if unknown:
        raise ValueError(f"cannot ignore unknown factors {unknown}; allowed: {list(FACTOR_NAMES)}")
    blocks = [factor_block(factors, factor) for factor in FACTORS if factor.name not in ignore]
    if not blocks:
        raise ValueError("ignore leaves no factor to compare")
    return (np.concatenate(blocks, axis=1) / np.sqrt(len(blocks))).astype(np.float32)


def factor_block(factors: pd.DataFrame, factor: Factor) -> NDArray[np.float64]:
    """Unit-norm description of one factor of every image, (n, dimensions)."""
    if factor.kind == "categorical":
        return np.eye(len(factor.levels))[factor.codes(factors[factor.columns[0]])]
    turn = 2.0 * np.pi if factor.kind == "circular" else np.pi
    angles = [turn * factor.scaled(factors[column].to_numpy()) for column in factor.columns]
    parts = [part for angle in angles for part in (np.cos(angle), np.sin(angle))]
    return np.stack(parts, axis=1) / np.sqrt(len(factor.columns))


def factor_dimensions() -> tuple[str, ...]:
    """Name of the factor behind each dimension of `factor_vectors`, where none is ignored."""
    some = pd.DataFrame(
        {column: list(factor.levels[:1]) or [factor.low] for factor in FACTORS for column in factor.columns}
    )
    return tuple(factor.name for factor in FACTORS for _ in range(factor_block(some, factor).shape[1]))
