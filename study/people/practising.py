"""Practice and catch trials of an experiment, from units that nobody else is asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from interpretability.analysis.conditions import base_of
from interpretability.design import intervention, practice
from interpretability.randomness import key64, permutations
from interpretability.schema import HARD, KEY, SYNTHETIC
from study.errors import StudyError
from study.people.studied import Built, Scores, among, keys_of


@dataclass(frozen=True)
class Drawn:
    """Practice or catch trials, one a unit: key, task and obvious, and how they are shown (an axis of one task)."""

    units: pd.DataFrame
    shown: intervention.Presentation


def practice_condition(condition: str) -> str:
    """Kind of task that people practise on: harder tasks are learned by easy ones with the same explanations, others by
    their own."""
    return base_of(condition) if condition.partition("_")[0] in HARD else condition


def draw_practice(
    scores: Scores, rest: pd.DataFrame, built: Built, condition: str, n_practice: int, n_catch: int, seed: int
) -> tuple[Drawn, Drawn]:
    """Practice and catch trials of one experiment, from the units `rest` (candidates of no group).

    They show all explanations of the study. Raises StudyError where too few units are left, or have an easy task.
    """
    easy = practice_condition(condition)
    table = scores.table[(scores.table["condition"] == easy) & among(scores.table, rest)]
    table = table.assign(place=built.places(table, easy)).sort_values(KEY, kind="stable")
    table = table[table["place"] >= 0]
    margins = scores.margins[table.index.to_numpy()]
    n_easy, needed = int((margins > 0).any(axis=1).sum()), n_practice + n_catch
    if n_easy < needed:
        raise StudyError(
            f"{built.model} has {n_easy} units of no group and without answers that have an easy {easy} task; {n_practice} "
            f"practice and {n_catch} catch trials need {needed}. Ask for fewer: --practice, --catch, --units, --random"
        )
    drawn = practice.draw_practice(margins, keys_of(table, seed), n_practice, n_catch)
    return (
        _shown(table, drawn[0], built, seed, f"practice {condition}"),
        _shown(table, drawn[1], built, seed, f"catch {condition}", plain=True),
    )


def _shown(
    table: pd.DataFrame, drawn: practice.Practice, built: Built, seed: int, name: str, *, plain: bool = False
) -> Drawn:
    """Drawn tasks as they are shown: explanations in their keyed places, the right query on top in half of them."""
    units = table.iloc[drawn.units][[*KEY, "place"]].assign(task=drawn.tasks, obvious=drawn.obvious)
    units = units.reset_index(drop=True)
    tasks = built.tasks[units["place"].to_numpy(np.int64), drawn.tasks]
    if plain:
        # made images are explanations only
        tasks = practice.caught(tasks, keep_queries=bool((table["condition"] == SYNTHETIC).all()))
    shown = intervention.present(tasks[:, None], keys_of(units, seed), drawn.tasks[:, None])
    turn = np.array([key64("psychophysics", "queries", seed, built.model, name)], dtype=np.uint64)
    on_top = (permutations(turn, len(units))[0] % 2 == 0)[:, None]
    right, wrong = tasks[:, None, -2], tasks[:, None, -1]
    top, bottom = np.where(on_top, right, wrong), np.where(on_top, wrong, right)
    return Drawn(units.drop(columns="place"), replace(shown, top=top, bottom=bottom, right_on_top=on_top))
