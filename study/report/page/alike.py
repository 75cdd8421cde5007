"""Units of one network that are explained by the same pictures: which are the same unit twice, and which lie near each other.

A convolution and the normalisation after it order pictures alike, so most of their units share nearly all explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from interpretability.schema import KEY, NATURAL
from study.files.tables import read_parquet
from study.report.page.listed_units import Listed

TWIN = 0.8  # twins share more of their explanations
N_NEAR = 4  # neighbours told of a unit
ASKED = 2_500  # units of a network that are looked at for the share with a twin
_BLOCK = 512  # units compared at once: a block holds their shares with all others
THOUSAND = 1_000


@dataclass(frozen=True)
class Alike:
    """Which listed units share explanations, by row of the list.

    twins: groups of rows of one network any two of which share more than TWIN; near: (rows, N_NEAR) rows that share the most
    and are in no group with it, the nearest first; shares: the same in whole thousandths, 0 where there are fewer.
    """

    twins: Sequence[Sequence[int]]
    near: NDArray[np.int64]
    shares: NDArray[np.int64]


class _Tasks:
    """Natural tasks of one network in the order of their file: keys (layer, unit) and explanations."""

    def __init__(self, folder: Path, model: str) -> None:
        keys = read_parquet(folder / f"{model}.parquet", KEY[1:])
        self._natural = np.flatnonzero((keys["condition"].astype(str) == NATURAL).to_numpy(bool))
        self._keys = pd.MultiIndex.from_frame(keys[["layer", "unit"]].iloc[self._natural].astype({"layer": str}))
        self._tasks = np.load(folder / f"{model}.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._natural)

    def places(self, units: pd.DataFrame) -> NDArray[np.int64]:
        """Places of units (layer, unit) among these."""
        return self._keys.get_indexer(pd.MultiIndex.from_frame(units[["layer", "unit"]]))

    def explained(self, places: NDArray[np.int64]) -> sparse.csr_array:
        return indicators(np.asarray(self._tasks[self._natural[places]]))


def indicators(tasks: NDArray[np.int32]) -> sparse.csr_array:
    """Which pictures explain which unit: (units, 2 x pictures) of 0 and 1, the exciting side first. `tasks`: (units, N, 2 K + 2)."""
    half = tasks.shape[2] // 2 - 1
    n, width = len(tasks), int(tasks.max(initial=-1)) + 1
    sides = [tasks[:, :, :half].reshape(n, -1), tasks[:, :, half:-2].reshape(n, -1) + width]
    columns = np.concatenate(sides, axis=1).astype(np.int64)
    rows = np.repeat(np.arange(n), columns.shape[1])
    ones = np.ones(columns.size, dtype=np.float32)
    out = sparse.csr_array((ones, (rows, columns.ravel())), shape=(n, 2 * width))
    out.sum_duplicates()
    out.data[:] = 1  # a picture that explains two tasks of a unit counts once
    return out


def shared(some: sparse.csr_array, every: sparse.csr_array) -> NDArray[np.float32]:
    """Share of the explanations that two units have in common, of the larger set of the two: (units of `some`, of `every`).

    Both are rows of one matrix of `indicators`.
    """
    common = (some @ every.T).toarray()
    sizes = np.maximum(some.sum(axis=1)[:, None], every.sum(axis=1)[None, :])
    return (common / np.maximum(sizes, 1)).astype(np.float32)


def find_alike(listed: Listed, folder: Path) -> Alike:
    """Twins and neighbours among the listed units; `folder` is data/tasks."""
    units = listed.units
    near = np.zeros((len(units), N_NEAR), dtype=np.int64)
    shares = np.zeros((len(units), N_NEAR), dtype=np.int64)
    twins: list[list[int]] = []
    for model, own in units[units["condition"] == NATURAL].groupby("model", sort=False):
        rows = own.index.to_numpy(np.int64)
        tasks = _Tasks(folder, str(model))
        explained = tasks.explained(tasks.places(own))
        pairs = _pairs(explained)
        groups = grouped(pairs, len(rows))
        group_of = {place: number for number, group in enumerate(groups) for place in group}
        twins += [[int(rows[place]) for place in group] for group in groups]
        for start, block in _blocks(explained):
            for place, of_unit in enumerate(block, start):
                kept = of_unit.copy()
                kept[groups[group_of[place]] if place in group_of else [place]] = 0
                order = np.argsort(-kept, kind="stable")[:N_NEAR]
                near[rows[place], : len(order)] = rows[order]
                shares[rows[place], : len(order)] = np.rint(THOUSAND * kept[order]).astype(np.int64)
    return Alike(twins, np.where(shares > 0, near, 0), shares)


def _blocks(explained: sparse.csr_array) -> list[tuple[int, NDArray[np.float32]]]:
    n = explained.shape[0]
    edges = [*range(0, n, _BLOCK), n]
    return [(start, shared(explained[start:end], explained)) for start, end in pairwise(edges)]


def _pairs(explained: sparse.csr_array) -> Mapping[int, NDArray[np.int64]]:
    """By place of a unit the places of all, itself included, that share more than TWIN with it."""
    return {
        start + place: np.flatnonzero(of_unit > TWIN)
        for start, block in _blocks(explained)
        for place, of_unit in enumerate(block)
    }


def grouped(pairs: Mapping[int, NDArray[np.int64]], n: int) -> list[list[int]]:
    """Groups of two or more any two of which are pairs: each unit in turn joins the first group whose every member it pairs with."""
    groups: list[list[int]] = []
    joined: dict[int, int] = {}
    for place in range(n):
        with_it = set(pairs[place].tolist())
        tried = sorted({joined[other] for other in with_it if other < place})
        number = next((number for number in tried if with_it.issuperset(groups[number])), len(groups))
        if number == len(groups):
            groups.append([])
        groups[number].append(place)
        joined[place] = number
    return [group for group in groups if len(group) > 1]


def twin_share(models: Sequence[str], folder: Path) -> float:
    """Share of the units of some networks that have a twin there, NaN without units.

    Of a network with more than ASKED units so many, evenly spaced in the order of the file, are asked for a twin among all.
    """
    asked = twinned = 0.0
    for model in models:
        tasks = _Tasks(folder, model)
        n = len(tasks)
        if n:
            every = tasks.explained(np.arange(n))
            places = np.unique(np.linspace(0, n - 1, min(n, ASKED)).round().astype(np.int64))
            with_twin = 0
            for start in range(0, len(places), _BLOCK):
                own = places[start : start + _BLOCK]
                share = shared(every[own], every)
                share[np.arange(len(own)), own] = 0
                with_twin += int((share.max(axis=1) > TWIN).sum())
            asked, twinned = asked + n, twinned + n * with_twin / len(places)
    return twinned / asked if asked else float("nan")
