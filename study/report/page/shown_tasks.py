"""Tasks of single units whose images the page shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, MADE, NATURAL
from study.files.unit_tables import TaskRows
from study.report.page.listed_units import Listed
from study.report.page.play import Turn

Ends = tuple[NDArray[np.int32], NDArray[np.int32]]
# network, layer and number of each unit, how many -> images of both sides (units, how many), the most extreme first
EveryEnds = Callable[[str, Sequence[str], NDArray[np.int64], int], Ends]


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
    """Tasks of units whose images are in the page anyway: rows of the list, tasks, images (tasks, 2K + 2)."""

    rows: NDArray[np.int64]
    tasks: NDArray[np.int64]
    images: NDArray[np.int32]


@dataclass(frozen=True)
class SingleEnds:
    """The N most extreme images of units whose images are in the page anyway: rows of the list, images (units, 2N), those of the
    exciting side first, either side from its most extreme image on.
    """

    rows: NDArray[np.int64]
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
        at, found = TaskRows(folder, str(model)).find(of_model, ["tie_share_pos"])
        tasks, keys = np.load(folder / f"{model}.npy", mmap_mode="r"), of_model[KEY].itertuples(name=None)
        for index, rebuilt, (row, _, layer, unit, condition) in zip(
            at, found["tie_share_pos"].notna(), keys, strict=True
        ):
            every[row] = own = np.array(tasks[index])
            if condition in MADE:  # the study's extremes explain nothing here
                half = own.shape[1] // 2 - 1
                unranked.add(row)
                extremes[row] = own[0, :half], own[0, half:-2]
            elif not rebuilt:  # tasks of the record; how they were drawn is not known
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
    return _gathered(
        _first_known(listed, rows, tasks, _known(tasks, images)) for rows, tasks in _networks(listed, shown, folder)
    )


def further_tasks(
    listed: Listed, wanted: Collection[int], single: SingleTasks, images: Collection[int], folder: Path
) -> SingleTasks:
    """Of the `wanted` rows among those of `single` all further tasks whose pictures are among these `images`."""
    rest = set(listed.units.index) - (set(single.rows.tolist()) & set(wanted))
    first = dict(zip(single.rows.tolist(), single.tasks.tolist(), strict=True))

    def known(rows: NDArray[np.int64], tasks: NDArray[np.int32]) -> _Part:
        whole = np.all(_known(tasks, images)[tasks], axis=2)
        whole[np.arange(len(rows)), [first[row] for row in rows.tolist()]] = False
        unit, task = np.nonzero(whole)
        return rows[unit], task, tasks[unit, task]

    return _gathered(known(rows, tasks) for rows, tasks in _networks(listed, rest, folder))


def single_ends(
    listed: Listed, single: SingleTasks, images: Collection[int], folder: Path, ends_of: EveryEnds
) -> SingleEnds:
    """Of the units of `single` with natural tasks the extremes, where all of them are among these `images`.

    Units whose tasks come from a record are left out: how their images were drawn is not known.
    """
    rest = set(listed.units.index[listed.units["condition"] != NATURAL]) | (
        set(listed.units.index) - set(single.rows.tolist())
    )
    found: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
    for model, own in _listed(listed, rest):
        n_tasks = np.load(folder / f"{model}.npy", mmap_mode="r").shape[1]
        found_at = TaskRows(folder, model).find(own, ["tie_share_pos"])[1]
        rebuilt = own[found_at["tie_share_pos"].notna().to_numpy()]
        ends = np.concatenate(ends_of(model, rebuilt["layer"].tolist(), rebuilt["unit"].to_numpy(np.int64), n_tasks), 1)
        whole = np.all(_known(ends, images)[ends], axis=1)
        found.append((rebuilt.index.to_numpy(np.int64)[whole], ends[whole]))
    if not found:
        return SingleEnds(np.empty(0, np.int64), np.empty((0, 0), np.int32))
    rows, ends = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(rows, kind="stable")
    return SingleEnds(rows[order], ends[order])


_Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]  # rows, tasks, images


def _gathered(parts: Iterable[_Part]) -> SingleTasks:
    found = list(parts)
    if not found:
        return SingleTasks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.int32))
    rows, tasks, pictures = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(rows, kind="stable")
    return SingleTasks(rows[order], tasks[order], pictures[order])


def _listed(listed: Listed, left_out: Collection[int]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Units of the list without those left out, a network at a time."""
    units = listed.units[~listed.units.index.isin(list(left_out))]
    for model, own in units.groupby("model", sort=False):
        yield str(model), own


def _networks(
    listed: Listed, left_out: Collection[int], folder: Path
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Rows of the list without those left out, and their tasks (units, N, 2K + 2), a network at a time."""
    for model, own in _listed(listed, left_out):
        at = TaskRows(folder, model).find(own)[0]
        yield own.index.to_numpy(np.int64), np.asarray(np.load(folder / f"{model}.npy", mmap_mode="r")[at])


def _known(wanted: NDArray[np.int32], images: Collection[int]) -> NDArray[np.bool_]:
    """By number of an image, whether it is in the page; long enough for all that are wanted."""
    known = np.zeros(max(int(wanted.max(initial=0)), max(images, default=0)) + 1, dtype=bool)
    known[list(images)] = True
    return known


def _first_known(listed: Listed, rows: NDArray[np.int64], tasks: NDArray[np.int32], known: NDArray[np.bool_]) -> _Part:
    whole: NDArray[np.bool_] = np.all(known[tasks], axis=2)
    rank = np.where(whole, np.arange(tasks.shape[1]), 2 * tasks.shape[1])
    for place, row in enumerate(rows.tolist()):
        rank[place, [task for task in listed.near.get(row, []) if whole[place, task]]] += tasks.shape[1]
    first = rank.argmin(axis=1)
    kept = np.flatnonzero(np.any(whole, axis=1))
    return rows[kept], first[kept], tasks[kept, first[kept]]
