"""Answers of a run as tables: for `tools.psychophysics analyse`, for human.source table and imi, and for the stage crowd; and
how its sessions ended.

questions  one row an answer to a question of the main part: question, participant, choice, confidence, source, and what else is
           known of the answer; `analyse` reads it
table      the same by unit: human.source table
imi        every trial of every session that ended, practice and catch trials included, in the 45 columns of the IMI record
           (`imi_rows`): human.source imi
           of pages on which one thing is picked also choice and answer, every page that was sent
units      of these pages one row a unit: share of right answers, interval, chance and score (`picks`)
ratings    one row a picture of a rating page: the stage crowd with crowd.source table
codes      one row a session that ended, accepted or not: what its page showed at the end, to pay people by the code that they
           bring, and their comments; docs/experiment.md says what each column is

questions and table hold the sessions that pass the checks of settings.yaml; with `every` all answers, and a column accepted.
Sessions that did not end are not in imi: there a session is a whole one. Nobody's name on a platform is in any table: a
participant is the keyed hash of it, or where there is none the session. Rows are sorted by arrival and trial, numbers are exact,
and the same database gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiment import imi_rows, picks, verdicts
from experiment.flow import PAID
from experiment.overview import judged
from experiment.settings import PICKING, RATINGS, TWO_ALTERNATIVE
from interpretability.schema import KEY
from study.errors import StudyError
from study.files.tables import csv_text, read_csv
from study.log import logger
from study.people.experiments import condition_of

if TYPE_CHECKING:
    from experiment.recorded import Recorded

log = logger("answers")

_QUESTIONS = (
    *(
        "question",
        "participant",
        "choice",
        "confidence",
        "correct",
        "rt",
        "experiment",
        "session",
        "number",
        "position",
    ),
    "source",
)
_TABLE = (*KEY, "task", "participant", "correct", "confidence", "rt", "session", "source")
_CODES = ("number", "platform", "code", "outcome", "paid", "accepted", "reason", "minutes", "comment", "source")
_WHOLE = ("ratings", "codes", "units")  # forms that are not of one experiment or another
_RATINGS = ("rater", "text", "image", "rating", "seconds", "page", "study", "source")


@dataclass(frozen=True)
class Judged:
    """A run with its verdicts: sessions (indexed by session, in order of arrival) beside their facts and verdicts."""

    recorded: Recorded
    sessions: pd.DataFrame
    facts: pd.DataFrame
    verdicts: pd.DataFrame

    @classmethod
    def of(cls, recorded: Recorded, experiments: Collection[str] = ()) -> Judged:
        """Verdicts by the checks of the settings, on the sessions of some experiments (all if none is named)."""
        sessions = recorded.sessions.sort_values("number", kind="stable")
        known = set(recorded.folder.experiments())
        if unknown := sorted(set(experiments) - known):
            raise StudyError(f"{', '.join(unknown)}: no such experiment in this run; it has {', '.join(sorted(known))}")
        if experiments:
            sessions = sessions[sessions["experiment"].isin(list(experiments))]
        facts = verdicts.facts(sessions, recorded.answers, recorded.events)
        found = verdicts.judged(facts, recorded.settings.checks)
        stored = sessions.set_index("session")["accepted"]
        changed = int((stored.notna() & (stored.fillna(0).astype(bool) != found["accepted"])).sum())
        if changed:
            log.warning(
                "%d sessions were judged otherwise when they ended: settings.yaml has other checks since then, and those count",
                changed,
            )
        return cls(recorded, sessions.set_index("session"), facts, found)


def table_of(recorded: Recorded, form: str, *, every: bool = False, experiments: Collection[str] = ()) -> pd.DataFrame:
    """The answers of a run in one of FORMS, all cells as they stand in the file.

    every        questions and table: also answers of sessions that do not count
    experiments  those whose answers are wanted; all if none is named

    Raises StudyError where the run asks another kind of question, or where a form cannot name what was asked.
    """
    kind = recorded.folder.kind
    if form not in FORMS_OF[kind]:
        raise StudyError(f"--form is {form}, but this run asks {kind} questions; ask for {' or '.join(FORMS_OF[kind])}")
    if kind in PICKING and (every or experiments):
        raise StudyError(
            f"a run of {kind} pages has one experiment, and all its answers count; leave --all and --experiments out"
        )
    if every and form not in EVERY:
        raise StudyError(f"--all goes with {' and '.join(EVERY)}; {form} holds all that it can anyway")
    if experiments and form in _WHOLE:
        raise StudyError(f"--experiments goes with questions, table and imi; {form} is of the whole run")
    return FORMS[form](recorded, every, experiments)


def text_of(recorded: Recorded, form: str, *, every: bool = False, experiments: Collection[str] = ()) -> str:
    """`table_of` as the text of a CSV file."""
    return csv_text(table_of(recorded, form, every=every, experiments=experiments))


def _answers(found: Judged, every: bool) -> pd.DataFrame:
    """Answers of the main part in order of arrival and trial, with what is known of their sessions and questions."""
    given = found.recorded.answers
    given = given[(given["kind"] == "main") & given["session"].isin(found.sessions.index)]
    accepted = given["session"].map(found.verdicts["accepted"]).astype(bool)
    log.info(
        "%d of %d sessions count, with %d of %d answers",
        *(int(found.verdicts["accepted"].sum()), len(found.verdicts), int(accepted.sum()), len(given)),
    )
    of = {name: given["session"].map(found.sessions[name]) for name in ("number", "experiment")}
    rows = given.assign(
        **of,
        accepted=accepted,
        participant=given["session"].map(found.facts["participant_id"]),
        source=found.recorded.source,
        rt=_exact(given["rt"]),
    )
    rows = rows if every else rows[accepted]
    return rows.sort_values(["number", "trial"], kind="stable").reset_index(drop=True)


def _exact(numbers: pd.Series) -> list[str]:
    """Numbers to their last digit; nothing where one is missing."""
    return ["" if np.isnan(number) else repr(float(number)) for number in numbers]


def _questions(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    rows = _answers(Judged.of(recorded, experiments), every)
    return rows[[*_QUESTIONS, *(["accepted"] if every else [])]]


def _table(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    if recorded.folder.kind in PICKING:
        return picks.answers(recorded)
    rows = _answers(Judged.of(recorded, experiments), every)
    asked = [recorded.folder.questions[name] for name in rows["question"]]
    units: list[Any] = [question.unit for question in asked]
    suffix = conditions(recorded)
    rows = rows.assign(
        **{name: [unit[place] for unit in units] for place, name in enumerate(KEY[:3])},
        condition=[unit[3] + suffix[question.experiment] for unit, question in zip(units, asked, strict=True)],
        task=[question.task for question in asked],
    )
    return rows[[*_TABLE, *(["accepted"] if every else [])]]


def conditions(recorded: Recorded) -> dict[str, str]:
    """What is added to the condition of the units of each experiment: nothing, or how few explanations they were shown with
    (`study.people.experiments.condition_of`)."""
    full = recorded.folder.study["n_explanations"]
    shown = {each["experiment"]: each["n_explanations"] for each in recorded.folder.study["experiments"]}
    return {name: condition_of("", k, full) for name, k in shown.items()}


def _imi(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    found = Judged.of(recorded, experiments)
    whole = found.verdicts.index[found.facts["outcome"] == verdicts.COMPLETE]
    if left := len(found.sessions) - len(whole):
        log.info("%d sessions that are not complete are left out: a session of the IMI record is a whole one", left)
    imi_rows.refuse_unnamed(recorded.folder, found.sessions.loc[whole, "experiment"].unique(), conditions(recorded))
    return imi_rows.rows(
        found.sessions.loc[whole],
        found.facts.loc[whole],
        found.verdicts.loc[whole],
        recorded.answers,
        recorded.folder.questions,
    ).assign(source=recorded.source)


def _ratings(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    """Every picture of every page that was sent; a page is sent as a whole."""
    folder, source = recorded.folder, recorded.source
    images = read_csv(folder.path / "images.csv", ("file", "path"), text=("file", "path"))
    path_of = dict(zip(images["file"], images["path"], strict=True))
    sessions = recorded.sessions.set_index("session")
    pages = recorded.pages.assign(number=recorded.pages["session"].map(sessions["number"]))
    rows = []
    for sent in pages.sort_values(["number", "trial"], kind="stable").to_dict("records"):
        person = sessions.loc[sent["session"], "person"]
        rater = person if isinstance(person, str) else f"session-{sent['session']}"
        page, picked = folder.pages[sent["page"]], set(json.loads(sent["picked"]))
        seconds = repr(float(sent["seconds"]))
        rows += [
            (rater, page.text, path_of[file], int(place in picked), seconds, page.page, folder.study["study"], source)
            for place, file in enumerate(page.pictures)
        ]
    return pd.DataFrame(rows, columns=list(_RATINGS))


def _units(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    return picks.units(recorded)


def _codes(recorded: Recorded, every: bool, experiments: Collection[str]) -> pd.DataFrame:
    """Every session that ended, in order of arrival. Names of sessions and hashes of people are left out."""
    table = judged(recorded)
    of = recorded.sessions.set_index("session").loc[table.index]
    ended = of["ended"].notna()
    if running := int((~ended).sum()):
        log.info("%d sessions that still run are left out", running)
    table, of = table[ended], of[ended]
    paid = table["outcome"].isin(PAID)
    rows = of.assign(
        code=of["code"].where(paid, ""),
        paid=paid,
        accepted=table["accepted"].astype(bool),
        reason=table["reason"],
        minutes=[f"{minutes:.1f}" for minutes in (of["ended"] - of["started"]) / 60],
        comment=[_harmless(text) for text in of["comment"].fillna("")],
    )
    return rows[list(_CODES)].reset_index(drop=True)


def _harmless(comment: str) -> str:
    """A comment that no spreadsheet takes for a formula."""
    return f"'{comment}" if comment.startswith(("=", "+", "-", "@", "\t", "\r")) else comment


FORMS: dict[str, Callable[[Recorded, bool, Collection[str]], pd.DataFrame]] = {
    "questions": _questions,
    "table": _table,
    "imi": _imi,
    "ratings": _ratings,
    "codes": _codes,
    "units": _units,
}
FORMS_OF = {
    TWO_ALTERNATIVE: ("questions", "table", "imi", "codes"),
    RATINGS: ("ratings", "codes"),
    **dict.fromkeys(PICKING, ("table", "units", "codes")),
}
EVERY = ("questions", "table")
