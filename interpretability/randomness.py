"""Every random number of the study, derived from (seed, stable ids).

Two tools: numpy generators for sequential draws, and a counter-based 64-bit mix for draws that must be made for
millions of units at once, in any order and on any worker, with the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed

U64 = np.uint64
GOLDEN = U64(0x9E3779B97F4A7C15)
MULTIPLY_1 = U64(0xBF58476D1CE4E5B9)
MULTIPLY_2 = U64(0x94D049BB133111EB)


def key64(*ids: str | int) -> int:
    """Stable 64-bit key of any ids: equal ids give equal keys on every machine and in every version.

    Strings and integers are kept apart and each part ends in a separator, so ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in ids:
        digest.update(f"{type(part).__name__}:{part}\x00".encode())
    return int.from_bytes(digest.digest(), "little")


def generator(seed: int, *ids: str | int) -> np.random.Generator:
    """Independent numpy generator for the draw named by the ids under this seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, key64(*ids)]))


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 finaliser: a bijection of 64-bit integers whose outputs look independent.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    with np.errstate(over="ignore"):
        z = np.asarray(values, dtype=U64) + GOLDEN
        z = (z ^ (z >> U64(30))) * MULTIPLY_1
        z = (z ^ (z >> U64(27))) * MULTIPLY_2
        return z ^ (z >> U64(31))


def combine(key: NDArray[np.uint64] | np.uint64, other: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """Key of a pair of keys, element by element (broadcasts); the order of the pair matters."""
    return mix64(mix64(np.asarray(key, dtype=U64)) ^ np.asarray(other, dtype=U64))


def uniforms(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each key, from its 53 upper mixed bits."""
    return (mix64(keys) >> U64(11)).astype(np.float64) * 2.0**-53


def permutations(keys: NDArray[np.uint64], n: int) -> NDArray[np.int64]:
    """For each key an independent uniform permutation of range(n); shape keys.shape + (n,).

    Sorts n keyed 64-bit numbers; two equal ones (probability below n^2 / 2^65) fall back to their order.
    """
    counters = np.arange(n, dtype=U64)
    return np.argsort(combine(np.asarray(keys, dtype=U64)[..., None], counters), axis=-1, kind="stable")


def unit_keys(seed: int, model: str, layer: str, units: NDArray[np.integer]) -> NDArray[np.uint64]:
    """64-bit keys of the units of one layer: they name every draw and every tie-break of a unit."""
    return combine(np.uint64(key64(seed, model, layer)), narrowed(np.asarray(units), np.uint64, "units"))


def network_keys(seed: int, model: str, widths: Iterable[tuple[str, int]]) -> NDArray[np.uint64]:
    """`unit_keys` of all units of a network, by its layers and how many units each has."""
    return np.concatenate([unit_keys(seed, model, layer, np.arange(width)) for layer, width in widths])
