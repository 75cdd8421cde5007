"""Tables of kinds of explanation: what units score under each, and what choosing the best for each unit gains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.analysis import explanation_kinds
from interpretability.mis import probabilities
from interpretability.schema import MADE, NATURAL, UNIT
from study.errors import StudyError
from study.files.unit_tables import matrix, near_copies
from study.tabulating.facts import Facts, Tables

ALL = ""  # stands for a network in rows over the units of all networks
TABLE, UNIT_TABLE = "explanation_kinds", "explanation_kinds_units"
COLUMNS = ["backend", "model", *explanation_kinds.COLUMNS, "slope"]
UNIT_COLUMNS = [
    *("backend", *UNIT, "kind", "seed_set", "n_images", "score", "se", "between_sd", "even", "odd", "chosen"),
]
_READ = [*UNIT, "backend", "kind", "seed_set", "n_images", "margins", "near"]
_ONE = -1  # seed set of kinds that show no made image, and of scores over all sets


def kinds_tables(folder: Path, backends: Sequence[str], facts: Facts) -> Tables:
    """Both tables, from what the stage `explanation_kinds` solved. Scores are the mean probability of a right answer.

    All kinds are read with the slope of natural answers: with a slope of its own for one of them, the calibration of people's
    answers would be compared, not the explanations. Tasks with a near copy under any kind are left out of all where those of the
    score are.
    """
    path = folder / "margins.parquet"
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    margins = pq.read_table(path, columns=_READ)
    names = margins.column("backend").to_pandas().to_numpy(object)
    rows, units = [pd.DataFrame(columns=COLUMNS)], [pd.DataFrame(columns=UNIT_COLUMNS)]
    for backend in backends:
        slope = float(facts.slopes[backend]["slope"])
        table = margins.take(pa.array(np.flatnonzero(names == backend)))
        if not len(table):
            continue
        scored = _scored(table, slope, facts.drop_near)
        parts = {str(model): part for model, part in scored.groupby("model", sort=False)}
        networks = {ALL: scored, **parts}
        found = [_network(part, facts.confidence).assign(model=model) for model, part in networks.items()]
        rows.append(pd.concat(found, ignore_index=True).assign(backend=backend, slope=slope)[COLUMNS])
        units += [_units(part).assign(backend=backend)[UNIT_COLUMNS] for part in parts.values()]
    return {
        TABLE: pd.concat(rows[1:] or rows, ignore_index=True),
        UNIT_TABLE: pd.concat(units[1:] or units, ignore_index=True),
    }


def _scored(table: pa.Table, slope: float, drop: bool) -> pd.DataFrame:
    """Rows of one similarity with probabilities of a right answer in each task, NaN in tasks that are left out.

    A task with a near copy under one kind or seed set is left out of a unit's scores under all of them, so that these are of the
    same tasks.
    """
    margins = matrix(table.column("margins"))
    right = probabilities(margins, slope)
    units = table.select([*UNIT, "kind", "seed_set", "n_images"]).to_pandas()
    if drop:
        near = pd.DataFrame(near_copies(table.column("near"), margins.shape[1]))
        right[near.groupby([units[name] for name in UNIT], sort=False).transform("any").to_numpy(bool)] = np.nan
    return units.assign(right=list(right))


def _stacked(part: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[int], NDArray[np.float64]]:
    """Units (UNIT), kinds, their numbers of images, and probabilities (units, kinds, sets, N); NaN where a unit lacks a kind.

    A kind without made images has the same numbers in every set.
    """
    units = part[UNIT].drop_duplicates(ignore_index=True)
    row_of = {unit: row for row, unit in enumerate(units.itertuples(index=False, name=None))}
    kinds = list(dict.fromkeys([NATURAL, *part["kind"]]))
    sets = sorted(set(part["seed_set"]) - {_ONE}) or [_ONE]
    counts = [int(part.loc[part["kind"] == kind, "n_images"].max()) for kind in kinds]
    right = np.full((len(units), len(kinds), len(sets), len(part["right"].iloc[0])), np.nan)
    owners = part[UNIT].itertuples(index=False, name=None)
    for owner, kind, number, of_tasks in zip(owners, part["kind"], part["seed_set"], part["right"], strict=True):
        where = slice(None) if number == _ONE else sets.index(number)
        right[row_of[owner], kinds.index(kind), where] = of_tasks
    return units, kinds, counts, right


def _halves(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (units, kinds, sets, 2) of the even and the odd tasks."""
    return np.stack([_mean(right[..., half::2]) for half in (0, 1)], axis=-1)


def _mean(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the tasks that count; NaN without any."""
    counts = np.isfinite(right).sum(axis=-1)
    return np.where(counts > 0, np.nansum(right, axis=-1) / np.maximum(counts, 1), np.nan)


def _network(part: pd.DataFrame, confidence: float) -> pd.DataFrame:
    _, kinds, counts, right = _stacked(part)
    made = [kind in MADE for kind in kinds]
    return explanation_kinds.kinds_table(_halves(right), kinds, counts, made, confidence)


def _units(part: pd.DataFrame) -> pd.DataFrame:
    """Scores of the units of one network under each kind and set, and over all sets: UNIT_COLUMNS without backend.

    se is that of the tasks, and with made images of the seed, too: the mean square, over the units of the network, of what their
    scores differ between sets, for two sets say little of one unit. With one set it is not known, and se is that of the tasks.
    """
    units, kinds, counts, right = _stacked(part)
    sets = sorted(set(part["seed_set"]) - {_ONE}) or [_ONE]
    halves = _halves(right)
    chosen = explanation_kinds.choose(halves).kinds
    tables = []
    for place, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
        of_kind = right[:, place]
        several = kind in MADE and len(sets) > 1
        has = np.isfinite(halves[:, place]).all(axis=(1, 2))
        spread = explanation_kinds.between_sets(halves[has, place]) if several and has.any() else 0.0
        own = halves[:, place].mean(axis=2).std(axis=1, ddof=1) if several else np.full(len(units), np.nan)
        parts = [(_ONE, _tasks_of_all(of_kind), spread / np.sqrt(len(sets)), halves[:, place].mean(axis=1))]
        if kind in MADE:
            parts += [(number, of_kind[:, at], spread, halves[:, place, at]) for at, number in enumerate(sets)]
        for number, tasks, error, of_halves in parts:
            shares = (chosen == place).mean(axis=1) if number == _ONE else np.nan
            of = {"kind": kind, "seed_set": number, "n_images": count, "between_sd": own, "chosen": shares}
            scores = {"score": _mean(tasks), "se": np.hypot(_error(tasks), error)}
            scores |= {"even": of_halves[:, 0], "odd": of_halves[:, 1]}
            tables.append(units.assign(**of, **scores, row=np.arange(len(units)), place=place))
    table = pd.concat(tables, ignore_index=True).dropna(subset="score")
    return table.sort_values(["row", "place", "seed_set"], kind="stable", ignore_index=True)


def _tasks_of_all(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (units, N) of tasks, the mean over the sets (units, sets, N)."""
    return right.mean(axis=1)


def _error(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error (units,) of a mean over tasks; NaN below two of them."""
    counts = np.isfinite(right).sum(axis=1)
    middle = _mean(right)
    squares = np.nansum((right - middle[:, None]) ** 2, axis=1)
    return np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1) / np.maximum(counts, 1)), np.nan)
