"""Units of one network that are explained by the same pictures: which are the same unit twice, and which lie near each other.

A convolution and the normalisation after it order pictures alike, so most of their units share nearly all explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from interpretability.schema import NATURAL
from study.files.unit_tables import TaskRows
from study.report.page.listed_units import Listed

TWIN = 0.8  # twins share more of their explanations
N_NEAR = 4  # neighbours told of a unit
_LOOKED = 6 * N_NEAR  # units looked at for them, as those with the same pictures count once
ASKED = 2_500  # units of a network that are looked at for the share with a twin
DENSE = 1_500  # columns, twice the pictures, up to which rows are multiplied in full
_BLOCK = 512  # units compared at once: a block holds their shares with all others
_READ = 1 << 14  # units that these are compared with at once
THOUSAND = 1_000


@dataclass(frozen=True)
class Alike:
    """Which listed units share explanations, by row of the list.

    twins: groups of rows of one network any two of which share more than TWIN; near: (rows, N_NEAR) rows that share the most
    and are in no group with it, the nearest first, of each group its nearest alone; shares: the same in whole thousandths, 0
    where there are fewer.
    """

    twins: Sequence[Sequence[int]]
    near: NDArray[np.int64]
    shares: NDArray[np.int64]


def indicators(tasks: NDArray[np.int32], width: int = 0) -> sparse.csr_array:
    """Which pictures explain which unit: 0 and 1, (units, 2 x pictures), the exciting side first; tasks (units, N, 2 K + 2).

    width: number of pictures, at least as many as these tasks show; 0 for as many.
    """
    half = tasks.shape[2] // 2 - 1
    n, width = len(tasks), width or int(tasks.max(initial=-1)) + 1
    sides = [tasks[:, :, :half].reshape(n, -1), tasks[:, :, half:-2].reshape(n, -1) + width]
    columns = np.concatenate(sides, axis=1).astype(np.int64)
    starts = np.arange(n + 1) * columns.shape[1]
    ones = np.ones(columns.size, dtype=np.float32)
    out = sparse.csr_array((ones, columns.ravel(), starts), shape=(n, 2 * width))
    out.sum_duplicates()
    out.data[:] = 1  # a picture that explains two tasks of a unit counts once
    return out


def shared(some: sparse.csr_array, every: sparse.csr_array) -> NDArray[np.float32]:
    """Share of the explanations that two units have in common, of the larger set of the two: (units of `some`, of `every`).

    Both are rows of one matrix of `indicators`.
    """
    # counts are exact either way; few pictures make full rows, which are multiplied faster as such
    dense = some.shape[1] <= DENSE
    common = some.toarray() @ every.toarray().T if dense else (some @ every.T).toarray()
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
        tasks, at = np.load(folder / f"{model}.npy", mmap_mode="r"), TaskRows(folder, str(model)).find(own)[0]
        found = _compared(indicators(np.asarray(tasks[at])))
        groups = grouped([pairs for pairs, _ in found])
        group_of = {place: number for number, group in enumerate(groups) for place in group}
        twins += [[int(rows[place]) for place in group] for group in groups]
        for place, (_, nearest) in enumerate(found):
            kept = _one_of_each(nearest, group_of, place)
            for at, (other, share) in enumerate(kept):
                near[rows[place], at], shares[rows[place], at] = rows[other], round(THOUSAND * share)
    return Alike(twins, np.where(shares > 0, near, 0), shares)


def _one_of_each(
    nearest: Sequence[tuple[int, float]], group_of: Mapping[int, int], place: int
) -> list[tuple[int, float]]:
    """The first N_NEAR of some units, of each group the first alone, and none of the group of the unit at `place`."""
    seen = {group_of.get(place, -1)} - {-1}
    kept: list[tuple[int, float]] = []
    for other, share in nearest:
        group = group_of.get(other, -1 - other)
        if group not in seen and len(kept) < N_NEAR:
            seen.add(group)
            kept.append((other, share))
    return kept


_Found = tuple[NDArray[np.int64], list[tuple[int, float]]]


def _compared(explained: sparse.csr_array) -> list[_Found]:
    """Of each unit the places of all, itself included, that share more than TWIN with it; and with their shares these and the
    _LOOKED next ones, without itself, those that share most first.
    """
    found: list[_Found] = []
    n = explained.shape[0]
    for start, end in pairwise([*range(0, n, _BLOCK), n]):
        for place, of_unit in enumerate(shared(explained[start:end], explained), start):
            pairs = np.flatnonzero(of_unit > TWIN)
            least = min(n, len(pairs) + _LOOKED)
            some = np.flatnonzero(of_unit >= np.partition(of_unit, n - least)[n - least])
            order = some[np.argsort(-of_unit[some], kind="stable")]
            found.append((pairs, [(int(other), float(of_unit[other])) for other in order if other != place]))
    return found


def grouped(pairs: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Groups of two or more any two of which are pairs; `pairs`: of each unit the units it pairs with.

    Each in turn joins the first group whose every member it pairs with.
    """
    groups: list[list[int]] = []
    joined: dict[int, int] = {}
    for place, alike in enumerate(pairs):
        with_it = set(alike.tolist())
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
        rows = TaskRows(folder, model).natural()
        if n := len(rows):
            places = np.unique(np.linspace(0, n - 1, min(n, ASKED)).round().astype(np.int64))
            best = _nearest(np.load(folder / f"{model}.npy", mmap_mode="r"), rows, places)
            asked, twinned = asked + n, twinned + n * int((best > TWIN).sum()) / len(places)
    return twinned / asked if asked else float("nan")


def _nearest(tasks: NDArray[np.int32], rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """The largest share of explanations that the units at some places among `rows` of `tasks` have in common with another one.

    The others are read _READ at a time: a network may have a million.
    """
    width = int(tasks.max(initial=-1)) + 1
    parts = [places[start : start + _BLOCK] for start in range(0, len(places), _BLOCK)]
    own = [indicators(np.asarray(tasks[rows[part]]), width) for part in parts]
    best = [np.zeros(len(part), dtype=np.float32) for part in parts]
    for start in range(0, len(rows), _READ):
        every = indicators(np.asarray(tasks[rows[start : start + _READ]]), width)
        for part, some, most in zip(parts, own, best, strict=True):
            share = shared(some, every)
            here = np.flatnonzero((part >= start) & (part < start + _READ))
            share[here, part[here] - start] = 0
            np.maximum(most, share.max(axis=1), out=most)
    return np.concatenate(best)
