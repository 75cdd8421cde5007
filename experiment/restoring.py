"""A server that starts: its dealers, and the sessions that its database holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Hashable, Sequence
from typing import Any

from experiment.flow import Course
from experiment.plan import Plan
from experiment.session import Answer, Event, Rated, Session
from experiment.settings import PAGED, Settings
from experiment.study_folder import MAIN, Folder
from interpretability.design.dealing import COUNTED, GIVEN_BACK, RUNNING, Dealer, Dealers, Dealt

Item = Hashable  # what answers are counted for: the key of a unit, or the number of a page


def dealers_of(folder: Folder, settings: Settings) -> Dealers[Item]:
    """One dealer an experiment, of its units; or one of the pages, each to be rated by as many as the export says."""
    study = folder.study
    if folder.kind in PAGED:
        pages: dict[str, Item] = {str(page): page for page in folder.pages}
        return Dealers([Dealer(pages, study["raters"], settings.pages_a_session, [], folder.seed, folder.kind)])
    dealers: list[Dealer[Item]] = []
    for name in folder.experiments():
        units: dict[str, Item] = {each.name: each.unit for each in folder.of(name, MAIN)}
        listed = [(each.session, each.questions) for each in folder.sessions if each.experiment == name]
        dealers.append(Dealer(units, study["responses_a_unit"], study["trials_a_session"], listed, folder.seed, name))
    return Dealers(dealers)


def items_of(plan: Plan, folder: Folder) -> tuple[str, ...]:
    """What a plan was dealt: its pages, or its main questions without the catch trials."""
    if plan.pages:
        return tuple(map(str, plan.pages))
    return tuple(name for name in plan.main if folder.questions[name].kind == MAIN)


def restore(session: Session, folder: Folder, dealers: Dealers[Item]) -> None:
    """Enter a session into the dealers, if it was dealt anything."""
    if session.dealt is None:
        return
    state = RUNNING if session.running else COUNTED if session.accepted else GIVEN_BACK
    kept = answered(session) if state == GIVEN_BACK else None
    dealers.restore(session.number, session.dealt, state, kept)


def answered(session: Session) -> Sequence[str] | None:
    """Pages that somebody rated who did not finish: they count. Of two alternatives whole sessions count, or none."""
    pages = [str(each.page) for each in session.given.values() if isinstance(each, Rated)]
    return pages or None


def read_sessions(connection: sqlite3.Connection, settings: Settings, folder: Folder) -> list[Session]:
    """All sessions, in the order of their arrival."""
    sessions: dict[str, Session] = {}
    for row in connection.execute("SELECT * FROM session ORDER BY number"):
        plan = Plan.from_json(row["plan"])
        items = items_of(plan, folder)
        sessions[row["session"]] = Session(
            session=row["session"],
            token=row["token"],
            secret=row["secret"],
            number=row["number"],
            attempt=row["attempt"],
            course=Course(plan, settings.comment),
            person=row["person"],
            platform=row["platform"],
            returned=bool(row["returned"]),
            source=row["source"],
            started=row["started"],
            seen=row["seen"],
            code=row["code"],
            screen=row["screen"],
            dealt=Dealt(row["listed"], items, row["experiment"]) if items else None,
            ended=row["ended"],
            accepted=None if row["accepted"] is None else bool(row["accepted"]),
        )
    for row in connection.execute("SELECT * FROM answer ORDER BY session, trial"):
        given: dict[str, Any] = {name: row[name] for name in Answer.__dataclass_fields__}
        given["correct"] = bool(row["correct"])
        sessions[row["session"]].given[row["trial"]] = Answer(**given)
    for row in connection.execute("SELECT * FROM page ORDER BY session, trial"):
        rated: dict[str, Any] = {name: row[name] for name in Rated.__dataclass_fields__}
        rated |= {"picked": tuple(json.loads(row["picked"])), "nothing": bool(row["nothing"])}
        sessions[row["session"]].given[row["trial"]] = Rated(**rated)
    for row in connection.execute("SELECT * FROM event ORDER BY session, number"):
        sessions[row["session"]].events.append(Event(row["name"], row["at"], row["seconds"]))
    for row in connection.execute("SELECT session, stage, block, outcome FROM session"):
        session = sessions[row["session"]]
        right = {trial: not isinstance(each, Answer) or each.correct for trial, each in session.given.items()}
        session.state = session.course.restored(row["stage"], row["block"], row["outcome"], right)
    return list(sessions.values())
