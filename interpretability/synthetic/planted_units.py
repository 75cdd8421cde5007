"""Planted units and permuted units, whose interpretability is known before it is measured.

Planted units are columns of activations computed from the factor table of generated images and from keyed hashes:
units of one factor should score high, hashes at chance, mixtures in between in the order of their share of factor.
Permuted units are those of a real network whose activations were dealt out anew to the images: chance again, with
the same values and the same ties.

A planted value depends on (seed, layer, unit, image) and the factors of that image alone, except in rectified
mixtures, whose threshold is a percentile over the images, and in the two layers that deal a mixture's values anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from interpretability.randomness import U64, combine, key64, mix64, permutations, uniforms
from interpretability.synthetic.factors import FACTORS, Factor

# Enough hash units that the spread of their scores, and not only the mean, can be compared with its expectation.
N_HASH = 200
RHOS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Hash draws for every factor unit of a mixture.
N_MIXTURE_DRAWS = 8
# Share of exact zeros in rectified units, as in a very sparse unit after a rectifier.
ZERO_SHARE = 0.95
# The mixture whose values are dealt anew in the middle, or exchanged between ends and middle.
DEALT_RHO = 0.75
MIDDLE_REDEALT, EXTREMES_EXCHANGED = f"middle_redealt_{DEALT_RHO:g}", f"extremes_exchanged_{DEALT_RHO:g}"
# Images at either end: this share, or as many as the tasks of the paper's size take, but no more than a quarter.
END_SHARE, END_IMAGES = 0.05, 200


# Rounds of the keyed bijection; four already make a Feistel network a pseudorandom permutation for wide halves
# (Luby and Rackoff 1988), the rest makes up for halves of a few bits.
_ROUNDS = 8
# Narrower networks reach only some of the permutations of a handful of images.
_MIN_BITS = 8


@dataclass(frozen=True)
class ControlLayer:
    """Planted units: `values` float32 (n_images, units) and one label a unit.

    A label names what the unit is made of: `colour:cos`, `texture:bricks`, `count`; both parts of a polysemantic
    unit as `colour:cos|count`; the source of a duplicate as `mixture_0.5/colour:cos`; empty for a hash.
    `label_factors` reads the names of the factors from it.
    """

    layer: str
    labels: tuple[str, ...]
    values: NDArray[np.float32]


def layer_rho(layer: str) -> float | None:
    """Correlation with the factor that a mixture layer was planted with; None for other layers."""
    kind, _, rho = layer.rpartition("_")
    return float(rho) if kind in ("mixture", "mixture_rectified") else None


def planted(factors: pd.DataFrame, seed: int) -> list[ControlLayer]:
    """All planted layers for the images of a factor table, whose row number is the image id."""
    units = list(_factor_units(factors))
    labels = tuple(unit.label for unit in units)
    factor = ControlLayer("factor", labels, _columns([unit.values for unit in units]))
    mixtures = [_mixture(f"mixture_{rho:g}", units, rho, seed) for rho in RHOS]
    rectified = [_mixture(f"mixture_rectified_{rho:g}", units, rho, seed, _rectified) for rho in RHOS]
    half = mixtures[RHOS.index(0.5)]
    copied = _joined("duplicate", [factor, _head(half, len(units))])
    return [
        factor,
        *chance(len(factors), seed),
        *mixtures,
        *rectified,
        _polysemantic(units, seed),
        copied,
        ControlLayer("negated", copied.labels, -copied.values),
        ControlLayer("constant", ("zero", "one"), _columns([np.full(len(factors), value) for value in (0, 1)])),
        *_dealt(mixtures[RHOS.index(DEALT_RHO)], seed),
    ]


def chance(n_images: int, seed: int) -> list[ControlLayer]:
    """Hash units, plain and rectified, for any images: independent of what they show."""
    images = np.arange(n_images)
    labels = ("",) * N_HASH
    sparse = hash_units(images, seed, N_HASH, layer="hash_rectified")
    sparse[sparse < ndtri(ZERO_SHARE)] = 0.0
    return [
        ControlLayer("hash", labels, hash_units(images, seed, N_HASH)),
        ControlLayer("hash_rectified", labels, sparse),
    ]


def hash_units(images: NDArray[np.integer], seed: int, n_units: int, layer: str = "hash") -> NDArray[np.float32]:
    """Standard normal values (images, n_units), each a hash of (seed, layer, unit, image id)."""
    return _columns([_hash(images, seed, layer, unit) for unit in range(n_units)])


def _hash(images: NDArray[np.integer], seed: int, layer: str, unit: int) -> NDArray[np.float64]:
    draws = uniforms(combine(U64(key64("controls", seed, layer, unit)), np.asarray(images).astype(U64)))
    # the quantile of a draw of exactly 0 would be minus infinity
    return ndtri(np.maximum(draws, 2.0**-54))


@dataclass(frozen=True)
class _FactorUnit:
    """One dimension or level of a factor, with the mean and deviation of its values over all possible images."""

    factor: str
    label: str
    values: NDArray[np.float64]
    mean: float
    deviation: float

    @property
    def standardised(self) -> NDArray[np.float64]:
        return (self.values - self.mean) / self.deviation


def _factor_units(factors: pd.DataFrame) -> Iterator[_FactorUnit]:
    for factor in FACTORS:
        if factor.kind == "categorical":
            codes = factor.codes(factors[factor.columns[0]])
            share = 1.0 / len(factor.levels)
            for code, level in enumerate(factor.levels):
                one_hot = (codes == code).astype(np.float64)
                yield _FactorUnit(factor.name, f"{factor.name}:{level}", one_hot, share, np.sqrt(share * (1.0 - share)))
            continue
        for column in factor.columns:
            positions = factor.scaled(factors[column].to_numpy())
            if factor.kind == "circular":
                angles = 2.0 * np.pi * positions
                for name, values in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
                    yield _FactorUnit(factor.name, f"{factor.name}:{name}", values, 0.0, np.sqrt(0.5))
                continue
            part = f":{column.rpartition('_')[2]}" if len(factor.columns) > 1 else ""
            yield _FactorUnit(factor.name, factor.name + part, positions, 0.5, _even_deviation(factor))


def _even_deviation(factor: Factor) -> float:
    """Standard deviation of positions in [0, 1] that are even over the range, or over the counted levels."""
    if factor.levels:
        return float(np.std(factor.scaled(np.array(factor.levels))))
    return float(np.sqrt(1.0 / 12.0))


def _mixture(
    layer: str,
    units: list[_FactorUnit],
    rho: float,
    seed: int,
    change: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda values: values,
) -> ControlLayer:
    """rho * factor + sqrt(1 - rho^2) * hash for every factor unit, N_MIXTURE_DRAWS times (once without hash)."""
    draws = 1 if rho == 1.0 else N_MIXTURE_DRAWS
    images = np.arange(len(units[0].values))
    columns = []
    for unit in range(draws * len(units)):
        noise = _hash(images, seed, layer, unit) if rho < 1.0 else 0.0
        columns.append(change(rho * units[unit % len(units)].standardised + np.sqrt(1.0 - rho**2) * noise))
    return ControlLayer(layer, tuple(unit.label for unit in units) * draws, _columns(columns))


def _dealt(mixture: ControlLayer, seed: int) -> list[ControlLayer]:
    """A mixture with its ends as they are and the values between them dealt anew, and one with ends and middle exchanged.

    The first has the extremes, and so the MIS, of the mixture, but nothing of it between them: a score of the whole range must
    see that. In the second each image at an end and a random one of the middle exchange their values.
    """
    n, units = mixture.values.shape
    end = min(max(round(END_SHARE * n), END_IMAGES), n // 4)
    redealt, exchanged = mixture.values.copy(), mixture.values.copy()
    order = np.argsort(mixture.values, axis=0, kind="stable")
    for unit in range(units):
        middle, ends = order[end : n - end, unit], np.delete(order[:, unit], slice(end, n - end))
        redealt[middle, unit] = redealt[_shuffled(middle, seed, MIDDLE_REDEALT, unit), unit]
        others = _shuffled(middle, seed, EXTREMES_EXCHANGED, unit)[: len(ends)]
        exchanged[ends, unit], exchanged[others, unit] = mixture.values[others, unit], mixture.values[ends, unit]
    return [
        ControlLayer(MIDDLE_REDEALT, mixture.labels, redealt),
        ControlLayer(EXTREMES_EXCHANGED, mixture.labels, exchanged),
    ]


def _shuffled(images: NDArray[np.integer], seed: int, layer: str, unit: int) -> NDArray[np.integer]:
    return images[permutations(np.array(key64("controls", seed, layer, unit), U64), len(images))]


def _rectified(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values below the 95th percentile set to exactly 0 (fewer where many values equal that percentile)."""
    return np.where(values < np.quantile(values, ZERO_SHARE), 0.0, values)


def _polysemantic(units: list[_FactorUnit], seed: int) -> ControlLayer:
    """For every two factors the larger of one standardised unit of each: either of them excites it."""
    labels, columns = [], []
    for first, second in combinations([factor.name for factor in FACTORS], 2):
        pair = []
        for name in (first, second):
            choices = [unit for unit in units if unit.factor == name]
            pair.append(choices[key64("polysemantic", seed, first, second, name) % len(choices)])
        labels.append("|".join(unit.label for unit in pair))
        columns.append(np.maximum(pair[0].standardised, pair[1].standardised))
    return ControlLayer("polysemantic", tuple(labels), _columns(columns))


def _head(layer: ControlLayer, n_units: int) -> ControlLayer:
    return ControlLayer(layer.layer, layer.labels[:n_units], layer.values[:, :n_units])


def _joined(name: str, layers: list[ControlLayer]) -> ControlLayer:
    labels = tuple(f"{layer.layer}/{label}" for layer in layers for label in layer.labels)
    return ControlLayer(name, labels, np.concatenate([layer.values for layer in layers], axis=1))


def _columns(columns: list[NDArray[Any]]) -> NDArray[np.float32]:
    """Columns side by side as float32 (rows, columns), converted one by one to spare memory."""
    values = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    for number, column in enumerate(columns):
        values[:, number] = column
    return values


def permuted_extremes(
    images_top: NDArray[np.int32],
    images_bottom: NDArray[np.int32],
    n_images: int,
    seed: int,
    keys: NDArray[np.uint64],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Most and least exciting images (units, k) after each unit's activations are permuted over all images.

    Moving the activation of image i to image pi(i) renames the images of every rank by pi, a permutation of
    range(n_images) keyed by (seed, key of the unit); so an image on both sides gets the same name on both.
    """
    for side, images in (("top", images_top), ("bottom", images_bottom)):
        if images.size and not 0 <= images.min() <= images.max() < n_images:
            raise ValueError(
                f"images on the {side} side reach from {images.min()} to {images.max()}; "
                f"there are {n_images} images, numbered from 0"
            )
    width = images_top.shape[1]
    both = keyed_bijection(
        np.concatenate([images_top, images_bottom], axis=1), combine(keys, key64("permuted", seed)), n_images
    )
    return both[:, :width].astype(np.int32), both[:, width:].astype(np.int32)


def keyed_bijection(numbers: NDArray[np.integer], keys: NDArray[np.uint64], n: int) -> NDArray[np.int64]:
    """Images of `numbers` (rows, k) in range(n) under one pseudorandom permutation of range(n) a row.

    A Feistel network permutes a power of two above n; a result of n or more is permuted again until it falls
    below n, which leaves a permutation of range(n) (cycle walking, Black and Rogaway 2002). Nothing of size n is
    stored, so n may be large.
    """
    bits = max(_MIN_BITS, int(n - 1).bit_length())
    round_keys = combine(np.asarray(keys, dtype=U64)[:, None], np.arange(_ROUNDS, dtype=U64))
    result = _feistel(numbers.astype(U64), round_keys[:, None, :], bits)
    row, column = np.nonzero(result >= n)
    while len(row):
        walked = _feistel(result[row, column], round_keys[row], bits)
        result[row, column] = walked
        outside = walked >= n
        row, column = row[outside], column[outside]
    return result.astype(np.int64)


def _feistel(values: NDArray[np.uint64], round_keys: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Keyed permutation of range(2^bits); round_keys (..., rounds) broadcast against values."""
    low_bits = U64(bits // 2)
    low_mask, high_mask = (U64(1) << low_bits) - U64(1), (U64(1) << (U64(bits) - low_bits)) - U64(1)
    low, high = values & low_mask, values >> low_bits
    for number in range(round_keys.shape[-1]):
        key = round_keys[..., number]
        if number % 2:
            low = low ^ (mix64(key ^ high) & low_mask)
        else:
            high = high ^ (mix64(key ^ low) & high_mask)
    return (high << low_bits) | low
