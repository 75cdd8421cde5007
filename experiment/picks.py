"""What was picked on pages that ask about one unit: an answer a row, and each unit's share of right ones beside chance.

localize  a cell of a new picture. Peaks cluster, so chance of a unit is how often answers on one of its pictures are the peaks of
          its others, and a unit that was asked about with one picture has none
name      one of some texts; chance is 1 over their number

Every page that was sent counts, also of people who left. The score is (share right - chance) / (1 - chance).
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiment.progress_of_pages import pages_so_far
from experiment.settings import LOCALIZE
from interpretability.schema import KEY
from interpretability.statistics import binomial_interval

if TYPE_CHECKING:
    from experiment.recorded import Recorded
    from experiment.study_folder import Page, Pick

ANSWERS = (*KEY, "task", "participant", "correct", "choice", "answer", "n_choices", "rt", "session", "source")
UNITS = (*KEY, "n_pages", "n_answers", "right", "low", "high", "chance", "score", "source")
_CONFIDENCE = 0.95


def answers(recorded: Recorded) -> pd.DataFrame:
    """ANSWERS, a row a page that was sent, in order of arrival and trial.

    condition is the kind of trial; choice and answer count from 0, cells row by row; rt in milliseconds.
    """
    sessions = recorded.sessions.set_index("session")
    pages = recorded.pages.assign(number=recorded.pages["session"].map(sessions["number"]))
    rows = []
    for sent in pages.sort_values(["number", "trial"], kind="stable").to_dict("records"):
        person, page = sessions.loc[sent["session"], "person"], recorded.folder.pages[sent["page"]]
        pick, choice = _pick(page), int(json.loads(sent["picked"])[0])
        participant = person if isinstance(person, str) else f"session-{sent['session']}"
        told = (participant, int(choice == pick.answer), choice, pick.answer, page.n_choices)
        rows.append(
            (*pick.unit, pick.task, *told, repr(1000 * float(sent["seconds"])), sent["session"], recorded.source)
        )
    return pd.DataFrame(rows, columns=list(ANSWERS))


def units(recorded: Recorded) -> pd.DataFrame:
    """UNITS, a row a unit that was asked about, in the order of the pages; numbers are missing where nobody answered.

    low, high  ends of Wilson's interval of 95 % of the share of right answers to these pages
    """
    given = answers(recorded)
    asked: dict[Any, int] = {}
    for page in recorded.folder.pages.values():
        asked[_pick(page).unit] = asked.get(_pick(page).unit, 0) + 1
    of_units = dict(iter(given.groupby(list(KEY), sort=False)))
    rows = []
    for unit, n_pages in asked.items():
        own = of_units.get(unit, given.iloc[:0])
        right = float(own["correct"].mean()) if len(own) else math.nan
        low, high = binomial_interval(own["correct"].sum(), len(own), _CONFIDENCE)
        chance = _chance(own, unit[3])
        score = (right - chance) / (1 - chance) if chance < 1 else math.nan
        rows.append((*unit, n_pages, len(own), right, float(low), float(high), chance, score, recorded.source))
    return pd.DataFrame(rows, columns=list(UNITS))


def progress(recorded: Recorded) -> dict[str, Any]:
    """How far the run is, for the researcher's page."""
    given = answers(recorded)
    chance = [_chance(own, str(condition)) for (*_, condition), own in given.groupby(list(KEY), sort=False)]
    known = [each for each in chance if not math.isnan(each)]
    return {
        **pages_so_far(recorded),
        "units": len({_pick(page).unit for page in recorded.folder.pages.values()}),
        "right": float(given["correct"].mean()) if len(given) else None,
        "chance": float(np.mean(known)) if known else None,
    }


def _chance(own: pd.DataFrame, kind: str) -> float:
    """Chance of right answers of one unit, from its rows of `answers`; NaN where nothing tells it."""
    if not len(own):
        return math.nan
    if kind != LOCALIZE:
        return float((1 / own["n_choices"]).mean())
    # each page once, whoever answered it: a page with more answers has no more peaks
    peak = own.drop_duplicates("task").set_index("task")["answer"]
    met = [
        float((peak.drop(task) == choice).mean())
        for task, choice in zip(own["task"], own["choice"], strict=True)
        if len(peak) > 1
    ]
    return float(np.mean(met)) if met else math.nan


def _pick(page: Page) -> Pick:
    assert page.pick is not None  # every page of these kinds has one: `study_folder` reads no others
    return page.pick
