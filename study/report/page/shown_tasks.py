"""Tasks of single units whose images the page shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, MADE
from study.files.tables import read_parquet
from study.report.page.listed_units import Listed
from study.report.page.play import Turn

Ends = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class ShownTasks:
    """Tasks of the units shown with images, by row of the list: (tasks, 2K + 2) rows of the manifest.

    Order in a task: K explanations of the exciting side, the most extreme rank group first, K of the other side, the
    exciting query, the other one. `extremes` are the N most extreme images of the exciting and of the other side, the most
    extreme first but for tasks that people saw (`unranked`), where only those that hold an image are known; where made
    images explain, those of the first task. `full`: the tasks that show their explanations, too, in their order.
    """

    tasks: Mapping[int, NDArray[np.int32]]
    extremes: Mapping[int, Ends]
    unranked: frozenset[int]
    full: Mapping[int, Sequence[int]]

    def images(self, row: int) -> NDArray[np.int32]:
        """Every image that is shown of a unit."""
        tasks = self.tasks[row]
        half = tasks.shape[1] // 2 - 1
        whole = tasks[list(self.full[row])]
        return np.unique(np.concatenate([tasks[:, [0, half, -2, -1]].ravel(), whole.ravel()]))


@dataclass(frozen=True)
class SingleTasks:
    """One task each of units whose images are in the page anyway: rows of the list, tasks, images (units, 2K + 2)."""

    rows: NDArray[np.int64]
    tasks: NDArray[np.int64]
    images: NDArray[np.int32]


def load_tasks(
    listed: Listed,
    chosen: Sequence[int],
    folder: Path,
    ends_of: Callable[[str, str, int, int], Ends],
    n_full: int,
    most: int,
    known: Collection[int] = (),
    played: Iterable[Turn] = (),
) -> ShownTasks:
    """Tasks of the chosen units in turn, as long as all together and the `known` images are at most `most` different ones.

    ends_of: the most extreme images of both sides in their order, from network, layer and number of a unit, and how many.
    The first `n_full` tasks of a unit show their explanations, and those that are `played`.
    """
    units = listed.units.loc[list(chosen), KEY]
    every: dict[int, NDArray[np.int32]] = {}
    extremes: dict[int, Ends] = {}
    unranked: set[int] = set()
    for model, of_model in units.groupby("model", sort=True):
        table = read_parquet(folder / f"{model}.parquet", [*KEY[1:], "tie_share_pos"])
        at = pd.MultiIndex.from_frame(table[KEY[1:]]).get_indexer(pd.MultiIndex.from_frame(of_model[KEY[1:]]))
        tasks = np.load(folder / f"{model}.npy", mmap_mode="r")
        for index, (row, _, layer, unit, condition) in zip(at, of_model[KEY].itertuples(name=None), strict=True):
            every[row] = own = np.array(tasks[index])
            if condition in MADE:  # the study's extremes explain nothing here
                half = own.shape[1] // 2 - 1
                unranked.add(row)
                extremes[row] = own[0, :half], own[0, half:-2]
            elif np.isnan(table["tie_share_pos"].iloc[index]):  # tasks of the record; how they were drawn is not known
                unranked.add(row)
                extremes[row] = own[:, 0], own[:, own.shape[1] // 2 - 1]
            else:
                extremes[row] = ends_of(str(model), layer, unit, len(own))
    whole = ShownTasks(every, extremes, frozenset(unranked), _full(every, n_full, played))
    kept: dict[int, NDArray[np.int32]] = {}
    images: set[int] = set(known)
    for row in chosen:
        more = images | set(whole.images(row).tolist())
        if len(more) <= most:
            images, kept[row] = more, every[row]
    return replace(whole, tasks=kept)


def _full(every: Mapping[int, NDArray[np.int32]], n_full: int, played: Iterable[Turn]) -> dict[int, list[int]]:
    full = {row: set(range(min(n_full, len(tasks)))) for row, tasks in every.items()}
    for row, task in played:
        full[row].add(task)
    return {row: sorted(tasks) for row, tasks in full.items()}


def single_tasks(listed: Listed, shown: Collection[int], images: Collection[int], folder: Path) -> SingleTasks:
    """Of every other listed unit the first task all of whose pictures are among these `images`, if there is one.

    Tasks with a near copy come after all others of their unit.
    """
    found = [_first_known(listed, rows, tasks, images) for rows, tasks in _networks(listed, shown, folder)]
    if not images or not found:
        return SingleTasks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.int32))
    rows, tasks, pictures = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(rows, kind="stable")
    return SingleTasks(rows[order], tasks[order], pictures[order])


def _networks(
    listed: Listed, shown: Collection[int], folder: Path
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Rows of the list without those shown, and their tasks (units, N, 2K + 2), a network at a time."""
    units = listed.units[~listed.units.index.isin(list(shown))]
    for model, own in units.groupby("model", sort=False):
        table = read_parquet(folder / f"{model}.parquet", KEY[1:])
        at = pd.MultiIndex.from_frame(table).get_indexer(pd.MultiIndex.from_frame(own[KEY[1:]]))
        yield own.index.to_numpy(np.int64), np.asarray(np.load(folder / f"{model}.npy", mmap_mode="r")[at])


def _first_known(
    listed: Listed, rows: NDArray[np.int64], tasks: NDArray[np.int32], images: Collection[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    known = np.zeros(max(int(tasks.max(initial=0)), max(images, default=0)) + 1, dtype=bool)
    known[list(images)] = True
    whole = known[tasks].all(axis=2)
    rank = np.where(whole, np.arange(tasks.shape[1]), 2 * tasks.shape[1])
    for place, row in enumerate(rows.tolist()):
        rank[place, [task for task in listed.near.get(row, []) if whole[place, task]]] += tasks.shape[1]
    first = rank.argmin(axis=1)
    kept = np.flatnonzero(whole.any(axis=1))
    return rows[kept], first[kept], tasks[kept, first[kept]]
