"""Which units the gallery lists, and which of them it shows with images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, MADE, NATURAL, UNIT
from study.files.unit_tables import Margins, Scored, matrix, rows_of
from study.report.figures.base import Study
from study.report.page.inputs import gallery_models
from study.report.page.places import PLACES, with_places

COLUMNS = [*KEY, "layer_type", "layer_index", "depth", "mis", "mis_se", "accuracy", "margin_mean"]
Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Listed:
    """Units of the gallery, a row each: networks in the order of their rank, then layer, unit, condition.

    `margins` (units, tasks) under the leading similarity; `near` names the tasks of a unit whose query nearly equals an
    explanation; mis_se holds the luck of made images, or `tasks_alone` says that it does not (`with_luck`); `others` has the
    MIS under every other similarity, NaN where there is none, and `others_se` its standard error; `total` counts all scored
    units of the networks under study, listed or not, once for each kind of their tasks, `total_natural` once each.
    """

    units: pd.DataFrame
    margins: NDArray[np.float32]
    near: Mapping[int, list[int]]
    others: Mapping[str, NDArray[np.float64]]
    others_se: Mapping[str, NDArray[np.float64]]
    total: int
    total_natural: int

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
    tasks_of = [scored.units(study.lead, name, ["condition", "mis"])["condition"] for name in names]
    sizes = [len(conditions) for conditions in tasks_of]
    quota = water_level(sizes, most)
    frames: list[pd.DataFrame] = []
    matrices: list[NDArray[np.float32]] = []
    others: list[list[pd.DataFrame]] = []
    near: dict[int, list[int]] = {}
    for name in names:
        units = with_places(scored.units(study.lead, name, COLUMNS))
        units = units[_kept(units, quota, wanted.get(name, set()))]
        units = with_luck(units.astype(dict.fromkeys((*KEY[:2], KEY[3], "layer_type"), str)), study)
        units = units.sort_values(["layer_index", "layer", "unit", "condition"], kind="stable", ignore_index=True)
        rows = margins.rows([name], [*KEY[1:], "margins", "near"])
        taken = rows.take(rows_of(rows, units))
        start = sum(map(len, frames))
        near |= {start + row: tasks for row, tasks in enumerate(taken["near"].to_pylist()) if tasks}
        matrices.append(matrix(taken["margins"]))
        others.append([_under(scored, backend, units) for backend in study.backends[1:]])
        frames.append(units)
    if not frames:
        none = pd.DataFrame(columns=[*COLUMNS, *PLACES, "tasks_alone"])
        return Listed(none, np.empty((0, 0), np.float32), {}, {}, {}, 0, 0)
    beside = dict(zip(study.backends[1:], map(pd.concat, zip(*others, strict=True)), strict=True))
    return Listed(
        pd.concat(frames, ignore_index=True),
        np.concatenate(matrices),
        near,
        {backend: scores["mis"].to_numpy(np.float64) for backend, scores in beside.items()},
        {backend: scores["mis_se"].to_numpy(np.float64) for backend, scores in beside.items()},
        sum(sizes),
        sum(int((conditions == NATURAL).sum()) for conditions in tasks_of),
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
    maybe = np.flatnonzero(
        units["unit"].isin({unit for _, _, unit, _ in wanted})
    )  # a network may have a million others
    first[maybe] = [key in wanted for key in units[KEY].iloc[maybe].itertuples(index=False, name=None)]
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


def _under(scored: Scored, backend: str, units: pd.DataFrame) -> pd.DataFrame:
    """MIS of the same units under another similarity, and its standard error."""
    if units.empty:
        return pd.DataFrame(columns=["mis", "mis_se"])
    every = scored.units(backend, units["model"].iloc[0], [*KEY, "mis", "mis_se"])
    scores = every.astype(dict.fromkeys(("layer", "condition"), str)).set_index(KEY[1:])[["mis", "mis_se"]]
    return scores.reindex(pd.MultiIndex.from_frame(units[KEY[1:]]))


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
