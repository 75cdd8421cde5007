"""Which units the gallery lists, which of them it shows with images, and what it says of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, MADE, NATURAL, UNIT
from study.files.tables import read_parquet
from study.files.unit_tables import Margins, Scored, matrix
from study.report.figures.base import Study
from study.report.page.inputs import gallery_models

COLUMNS = [*KEY, "layer_type", "layer_index", "depth", "mis", "mis_se", "accuracy", "margin_mean"]
Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Listed:
    """Units of the gallery, a row each: networks in the order of their rank, then layer, unit, condition.

    `margins` (units, tasks) under the leading similarity; `near` names the tasks of a unit whose query nearly equals an
    explanation; mis_se holds the luck of made images, or `tasks_alone` says that it does not (`with_luck`); `others` has the
    MIS under every other similarity, NaN where there is none; `total` counts all scored units of the networks under study,
    listed or not.
    """

    units: pd.DataFrame
    margins: NDArray[np.float32]
    near: Mapping[int, list[int]]
    others: Mapping[str, NDArray[np.float64]]
    total: int

    def rows(self) -> dict[Key, int]:
        """Row of each unit by its key."""
        return {key: row for row, key in enumerate(self.units[KEY].itertuples(index=False, name=None))}


def list_units(study: Study, mis: Path, scores: Path, most: int) -> Listed:
    """At most about `most` units, networks alike: all if they are so few, else those that people answered, those at
    either end and those that MIS misses most, and the rest evenly spaced along the ranking of their network.
    """
    scored = Scored(mis / "units.parquet")
    margins = Margins(scores / f"{study.lead}.parquet")
    names = [*study.models()["model"], *study.directions()]
    wanted = _wanted(study)
    sizes = [len(scored.units(study.lead, name, ["unit", "mis"])) for name in names]
    quota = water_level(sizes, most)
    frames: list[pd.DataFrame] = []
    matrices: list[NDArray[np.float32]] = []
    others: list[list[NDArray[np.float64]]] = []
    near: dict[int, list[int]] = {}
    for name in names:
        units = scored.units(study.lead, name, COLUMNS)
        units = units[_kept(units, quota, wanted.get(name, set()))]
        units = with_luck(units.astype(dict.fromkeys((*KEY[:2], KEY[3], "layer_type"), str)), study)
        units = units.sort_values(["layer_index", "layer", "unit", "condition"], kind="stable", ignore_index=True)
        rows = margins.rows([name], [*KEY[1:], "margins", "near"])
        known = pd.MultiIndex.from_frame(rows.select(KEY[1:]).to_pandas())
        taken = rows.take(known.get_indexer(pd.MultiIndex.from_frame(units[KEY[1:]])))
        start = sum(map(len, frames))
        near |= {start + row: tasks for row, tasks in enumerate(taken["near"].to_pylist()) if tasks}
        matrices.append(matrix(taken["margins"]))
        others.append([_mis_of(scored, backend, units) for backend in study.backends[1:]])
        frames.append(units)
    if not frames:
        return Listed(pd.DataFrame(columns=[*COLUMNS, "tasks_alone"]), np.empty((0, 0), np.float32), {}, {}, 0)
    return Listed(
        pd.concat(frames, ignore_index=True),
        np.concatenate(matrices),
        near,
        dict(zip(study.backends[1:], map(np.concatenate, zip(*others, strict=True)), strict=True)),
        sum(sizes),
    )


def with_luck(units: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Units (model, condition, mis_se, ...) whose mis_se holds, where made images explain, the luck of their seed set, too.

    All tasks of a unit show images of one set, so their spread does not tell it. It is the spread between sets under the leading
    similarity, root mean square over the units of the network (explanation_kinds.csv), added in quadrature. tasks_alone marks
    units of which it is not known, as with one set.
    """
    table = study.tables["explanation_kinds"]
    rows = table[(table["backend"] == study.lead) & table["kind"].isin(MADE)]
    spread = dict(zip(zip(rows["model"], rows["kind"], strict=True), rows["between_sd"].astype(float), strict=True))
    made = units["condition"].isin(MADE).to_numpy(bool)
    keys = zip(units["model"], units["condition"], strict=True)
    luck = np.array([spread.get(key, np.nan) for key in keys], dtype=np.float64)
    known = made & np.isfinite(luck)
    return units.assign(
        mis_se=np.hypot(units["mis_se"].to_numpy(np.float64), np.where(known, luck, 0.0)), tasks_alone=made & ~known
    )


def water_level(sizes: Sequence[int], most: int) -> int:
    """The highest level up to which all sizes can be filled with `most` in all; sizes below it count as they are."""
    for number, size in enumerate(sorted(sizes)):
        level = most // (len(sizes) - number)
        if size > level:
            return level
        most -= size
    return max(sizes, default=0)


def _wanted(study: Study) -> dict[str, set[Key]]:
    """Units of each network that are listed first: those that people answered, those of two tables of ends, and those that are
    explained in several ways.
    """
    rows = [study.tables[name] for name in ("extreme_units", "residuals")]
    named = [study.tables[name][UNIT].drop_duplicates() for name in ("made_images", "explanation_kinds_units")]
    several = [units.assign(condition=condition) for units in named for condition in (NATURAL, *MADE)]
    keys = pd.concat([study.human[KEY], *(table.loc[table["backend"] == study.lead, KEY] for table in rows), *several])
    wanted: dict[str, set[Key]] = {}
    for key in keys.astype({"unit": np.int64}).itertuples(index=False, name=None):
        wanted.setdefault(key[0], set()).add(key)
    return wanted


def _kept(units: pd.DataFrame, quota: int, wanted: set[Key]) -> NDArray[np.bool_]:
    """Which units of one network are listed: the wanted ones first, then an even grid along the ranking."""
    if len(units) <= quota:
        return np.ones(len(units), dtype=bool)
    order = ranked(units).index.to_numpy()
    first = np.zeros(len(units), dtype=bool)
    if wanted:
        first[:] = [key in wanted for key in units[KEY].itertuples(index=False, name=None)]
    kept = np.zeros(len(units), dtype=bool)
    kept[order[first[order]][:quota]] = True
    rest = order[~first[order]]
    kept[rest[evenly(len(rest), quota - int(kept.sum()))]] = True
    return kept


def ranked(units: pd.DataFrame) -> pd.DataFrame:
    """Most understandable first; margins break the ties of saturated scores."""
    return units.sort_values(["mis", "margin_mean", *KEY], ascending=[False, False] + [True] * len(KEY))


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` indices from 0 to n - 1, both ends among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)) if n and most > 0 else np.arange(0)


def _mis_of(scored: Scored, backend: str, units: pd.DataFrame) -> NDArray[np.float64]:
    """MIS of the same units under another similarity."""
    if units.empty:
        return np.empty(0)
    every = scored.units(backend, units["model"].iloc[0], [*KEY, "mis"])
    mis = every.astype(dict.fromkeys(("layer", "condition"), str)).set_index(KEY[1:])["mis"]
    return mis.reindex(pd.MultiIndex.from_frame(units[KEY[1:]])).to_numpy(dtype=np.float64)


def choose(study: Study, listed: Listed, n_each: int) -> list[int]:
    """Rows of the units that get images, the most wanted first.

    Of each network shown the `n_each` easiest, hardest and evenly spaced ones, and as many a network of those that MIS
    over- and underestimates most; taken in turns, so that a limit on images cuts all of them alike.
    """
    groups = list(chain.from_iterable(ends(listed, model, n_each) for model in gallery_models(study)))
    row_of = listed.rows()
    for side in ("over", "under"):
        keys = residuals(study, side)[KEY].itertuples(index=False, name=None)
        groups.append([row_of[key] for key in keys if key in row_of][: n_each * len(gallery_models(study))])
    return list(dict.fromkeys(_in_turns(groups)))


def ends(listed: Listed, model: str, n_each: int) -> tuple[list[int], list[int], list[int]]:
    """Rows of the easiest, the hardest and evenly spaced units of a network, natural tasks alone."""
    units = listed.units
    order = ranked(units[(units["model"] == model) & (units["condition"] == NATURAL)]).index.to_numpy()
    n_end = min(n_each, len(order) // 2)
    between = order[n_end : len(order) - n_end]
    spaced = between[evenly(len(between), n_each + 2)[1:-1]]
    return order[:n_end].tolist(), order[::-1][:n_end].tolist(), spaced.tolist()


def residuals(study: Study, side: str) -> pd.DataFrame:
    """Units whose HIS lies furthest below (`over`) or above (`under`) MIS under the leading similarity, by rank."""
    rows = study.tables["residuals"]
    return rows[(rows["backend"] == study.lead) & (rows["side"] == side)].sort_values("rank", kind="stable")


def _in_turns(groups: Sequence[Sequence[int]]) -> Iterable[int]:
    return (row for turn in zip_longest(*groups) for row in turn if row is not None)


Ends = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class ShownTasks:
    """Tasks of the units shown with images, by row of the list: (tasks, 2K + 2) rows of the manifest.

    Order in a task: K explanations of the exciting side, the most extreme rank group first, K of the other side, the
    exciting query, the other one. `extremes` are the N most extreme images of the exciting and of the other side, the most
    extreme first but for tasks that people saw (`unranked`), where only those that hold an image are known; where made
    images explain, those of the first task.
    """

    tasks: Mapping[int, NDArray[np.int32]]
    extremes: Mapping[int, Ends]
    unranked: frozenset[int]
    n_full: int  # tasks whose explanations are shown, too

    def images(self, row: int) -> NDArray[np.int32]:
        """Every image that is shown of a unit."""
        tasks = self.tasks[row]
        half = tasks.shape[1] // 2 - 1
        return np.unique(np.concatenate([tasks[:, [0, half, -2, -1]].ravel(), tasks[: self.n_full].ravel()]))


def load_tasks(
    listed: Listed,
    chosen: Sequence[int],
    folder: Path,
    ends_of: Callable[[str, str, int, int], Ends],
    n_full: int,
    most: int,
    known: Collection[int] = (),
) -> ShownTasks:
    """Tasks of the chosen units in turn, as long as all together and the `known` images are at most `most` different ones.

    ends_of: the most extreme images of both sides in their order, from network, layer and number of a unit, and how many.
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
    whole = ShownTasks(every, extremes, frozenset(unranked), n_full)
    kept: dict[int, NDArray[np.int32]] = {}
    images: set[int] = set(known)
    for row in chosen:
        more = images | set(whole.images(row).tolist())
        if len(more) <= most:
            images, kept[row] = more, every[row]
    return replace(whole, tasks=kept)
