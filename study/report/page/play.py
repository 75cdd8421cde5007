"""Which tasks greet the reader, by a rule that nobody can bend, and on which side their answer stands."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, NATURAL
from study.report.figures.base import Study
from study.report.page.inputs import gallery_models
from study.report.page.listed_units import Listed, ranked, residuals

MOST = 16  # tasks to be played; each embeds up to 2 (K + 1) pictures
FIRST = 8  # among so many, the machine is wrong at least once
# percentiles of MIS among the units of a network, in the order of the rounds; None: the unit that MIS misses most
ROUNDS: tuple[int | None, ...] = (90, 50, 10, None)
# a study of few networks goes on with these, so that it has tasks enough
MORE_ROUNDS: tuple[int | None, ...] = (75, 25, 95, 5)
FEW = 4  # networks

Turn = tuple[int, int]  # row of the list, task


@dataclass(frozen=True)
class Still:
    """The first task as the page shows it before, or without, its script; it does not say where the answer is.

    Pictures as numbers of thumbnails: least, most: those that explain either side; queries: A and B. unit:
    network/layer/unit/condition; number: of the unit in its layer; *_words: the commonest labels of a side.
    """

    unit: str
    model: str
    layer: str
    number: int
    mis: float
    least: tuple[int, ...]
    most: tuple[int, ...]
    queries: tuple[int, int]
    least_words: str
    most_words: str


def choose_play(study: Study, listed: Listed) -> list[Turn]:
    """The tasks that the first screen asks, at most MOST, as (row, task) in the order in which they are asked.

    Units are those with answers of people where their network has any, natural tasks alone. Networks take turns; in each
    round the next one stands at the next of ROUNDS: a unit at the 90th, 50th or 10th percentile of MIS of its network's such
    units, or the one that MIS misses most. The task is that of the median margin of a unit, so a typical one; ties and tasks
    with a near copy are not asked. If the machine is right in all of the FIRST, the unit that it solves least often shows a
    task on which it is wrong, of those the one of the median margin.
    """
    groups = _candidates(study, listed)
    if not groups:
        return []
    missed = _most_missed(study, listed)
    rounds = ROUNDS if len(groups) >= FEW else ROUNDS + MORE_ROUNDS
    chosen: dict[int, None] = {}
    for turn in range(len(rounds)):
        for place, (model, rows) in enumerate(groups.items()):
            row = _at(rows, rounds[(turn + place) % len(rounds)], missed.get(model), chosen)
            if row is not None and _askable(listed, row).any():
                chosen[row] = None
    turns = [(row, _typical(listed, row, _askable(listed, row))) for row in [*chosen][:MOST]]
    return _with_an_error(listed, turns)


def side(key: str, task: int) -> int:
    """Whether the more exciting query stands as A (0) or as B (1): a hash of unit and task, the same in page and script.

    FNV-1a (32 bits) of `key/task`, mixed as MurmurHash3 ends, of which the highest bit counts.
    """
    mixed = 0x811C9DC5
    for byte in f"{key}/{task}".encode():
        mixed = (mixed ^ byte) * 0x01000193 & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return mixed >> 31


def still_task(
    listed: Listed,
    turn: Turn,
    images: NDArray[np.int32],
    number: Mapping[int, int],
    words: Callable[[NDArray[np.int32]], str],
) -> Still:
    """A task as a picture. `images`: its 2 K + 2 rows of the manifest (as in `ShownTasks`); `number`: the thumbnail of each;
    `words`: what the labels of such rows say.
    """
    row, task = turn
    unit = listed.units.loc[row]
    key = f"{unit['model']}/{unit['layer']}/{unit['unit']}/{unit['condition']}"
    half = len(images) // 2 - 1
    ids = [number[int(image)] for image in images]
    exciting, other = ids[-2:]
    queries = (exciting, other) if side(key, task) == 0 else (other, exciting)
    names = str(unit["model"]), str(unit["layer"]), int(unit["unit"]), float(unit["mis"])
    told = words(images[half:-2]), words(images[:half])
    return Still(key, *names, tuple(ids[half:-2]), tuple(ids[:half]), queries, *told)


def _candidates(study: Study, listed: Listed) -> dict[str, NDArray[np.int64]]:
    """Rows that may be asked about, the most understandable first, of each network that is shown."""
    units = listed.units
    row_of = listed.rows()
    asked = {row_of[key] for key in study.human[KEY].itertuples(index=False, name=None) if key in row_of}
    groups: dict[str, NDArray[np.int64]] = {}
    own = [name for name in gallery_models(study) if name not in study.directions()]
    for model in own:
        natural = units[(units["model"] == model) & (units["condition"] == NATURAL)]
        answered = natural[natural.index.isin(list(asked))]
        rows = ranked(answered if len(answered) else natural).index.to_numpy(np.int64)
        if len(rows):
            groups[model] = rows
    return groups


def _most_missed(study: Study, listed: Listed) -> dict[str, int]:
    """Row of the unit of each network whose HIS lies furthest from its MIS, by their standard errors."""
    row_of = listed.rows()
    table = pd.concat([residuals(study, end) for end in ("over", "under")])
    far: dict[str, tuple[float, int]] = {}
    for key, z in zip(table[KEY].itertuples(index=False, name=None), table["z"], strict=True):
        if key in row_of and key[3] == NATURAL and abs(float(z)) > far.get(key[0], (0.0, -1))[0]:
            far[key[0]] = abs(float(z)), row_of[key]
    return {model: row for model, (_, row) in far.items()}


def _at(rows: NDArray[np.int64], percentile: int | None, missed: int | None, taken: Container[int]) -> int | None:
    """The unit at a percentile among ranked rows that was not taken yet, the nearest one else; None where there is none."""
    if percentile is None:
        return None if missed is None or missed in taken else missed
    at = round((1 - percentile / 100) * (len(rows) - 1))
    order = np.argsort(np.abs(np.arange(len(rows)) - at), kind="stable")
    return next((int(rows[i]) for i in order if int(rows[i]) not in taken), None)


def _askable(listed: Listed, row: int) -> NDArray[np.bool_]:
    """Tasks of a unit with an answer: no ties, and no query that nearly equals an explanation."""
    margins = listed.margins[row]
    asked = np.isfinite(margins) & (margins != 0)
    asked[listed.near.get(row, [])] = False
    return asked


def _typical(listed: Listed, row: int, among: NDArray[np.bool_]) -> int:
    """The task of the median margin among some of a unit, of two the lower one."""
    tasks = np.flatnonzero(among)
    order = np.argsort(listed.margins[row][tasks], kind="stable")
    return int(tasks[order[(len(tasks) - 1) // 2]])


def _with_an_error(listed: Listed, turns: Sequence[Turn]) -> list[Turn]:
    """The same tasks, of which the machine gets one of the FIRST wrong if any of these units has such a task."""
    if any(listed.margins[row][task] < 0 for row, task in turns[:FIRST]):
        return list(turns)
    wrong = [(row, _askable(listed, row) & (listed.margins[row] < 0)) for row, _ in turns[:FIRST]]
    known = [(place, row, tasks) for place, (row, tasks) in enumerate(wrong) if tasks.any()]
    if not known:
        return list(turns)
    accuracy = listed.units["accuracy"]
    place, row, tasks = min(known, key=lambda entry: (float(accuracy.loc[entry[1]]), entry[0]))
    return [*turns[:place], (row, _typical(listed, row, tasks)), *turns[place + 1 :]]
