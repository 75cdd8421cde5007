"""One session: what the server holds of it in memory, and its rows in the database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiment.flow import Course, State
from experiment.limits import Bucket, Limits
from experiment.plan import Plan
from interpretability.design.dealing import Dealt

LAPSED, CLOSED = "lapsed", "closed"  # events: silent before consent; nothing was needed any more at consent


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the table answer, without its session and trial."""

    key: str
    kind: str
    block: int | None
    position: int
    question: str
    button: int
    choice: str
    correct: bool
    confidence: int
    rt: float
    received: float


@dataclass(frozen=True, slots=True)
class Rated:
    """One row of the table page, without its session and trial."""

    key: str
    page: int
    picked: tuple[int, ...]
    nothing: bool
    seconds: float
    received: float


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the table event, without its session and number."""

    name: str
    at: float
    seconds: float | None = None


@dataclass(slots=True, eq=False)
class Session:
    """A session. `dealt` is what it asks, from consent on; `given` are its answers or pages by trial; `lock` lets one write
    happen at a time."""

    session: str
    token: str
    secret: bytes
    number: int
    attempt: int
    course: Course
    person: str | None
    platform: str
    returned: bool
    source: str
    started: float
    seen: float
    code: str
    screen: str
    state: State = field(default_factory=State)
    dealt: Dealt | None = None
    ended: float | None = None
    accepted: bool | None = None
    given: dict[int, Answer | Rated] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    names: dict[int, dict[str, str]] = field(default_factory=dict)  # trial -> address of a picture -> file
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: Bucket | None = None
    fetches: Bucket | None = None

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def experiment(self) -> str:
        """What it was dealt from; empty before consent."""
        return self.dealt.name if self.dealt else ""

    @property
    def lapsed(self) -> bool:
        """Whether it ended before there was anything to ask: who came is as if never here, and may begin again."""
        return not self.running and self.events[-1].name in (LAPSED, CLOSED)

    def bucket(self, limits: Limits, now: float, pictures: bool) -> Bucket:
        """Its bucket of calls or of pictures."""
        if self.calls is None or self.fetches is None:
            self.calls, self.fetches = Bucket(limits.calls, now), Bucket(limits.pictures, now)
        return self.fetches if pictures else self.calls


@dataclass(frozen=True, slots=True)
class Change:
    """What one write changes in a session. Nothing of it is true before it is committed."""

    state: State
    seen: float
    event: Event | None = None
    answer: Answer | None = None
    rated: Rated | None = None
    ended: float | None = None
    accepted: bool | None = None
    comment: str | None = None
    plan: Plan | None = None  # of what was dealt at consent
    forget: bool = False  # who it is: they did not agree

    def write(self, connection: sqlite3.Connection, session: Session, trial: int, number: int) -> None:
        """Write it. trial: the one that is answered; number: of the next event."""
        name = session.session
        values: dict[str, Any] = {"stage": self.state.stage, "block": self.state.block, "seen": self.seen}
        if self.ended is not None:
            values |= {"ended": self.ended, "outcome": self.state.outcome, "accepted": int(bool(self.accepted))}
        if self.comment is not None:
            values["comment"] = self.comment
        if self.plan is not None:
            assert session.dealt is not None
            values |= {"experiment": session.dealt.name, "listed": session.dealt.listed, "plan": self.plan.to_json()}
        if self.forget:
            values["person"] = None
        assignments = ", ".join(f"{column} = ?" for column in values)
        connection.execute(f"UPDATE session SET {assignments} WHERE session = ?", (*values.values(), name))
        if self.event is not None:
            event = self.event
            row = (name, number, event.name, event.at, event.seconds)
            connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?)", row)
        if self.answer is not None:
            given = self.answer
            row = (name, trial, given.key, given.kind, given.block, given.position, given.question, given.button)
            row += (given.choice, int(given.correct), given.confidence, given.rt, given.received)
            connection.execute("INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if self.rated is not None:
            page = self.rated
            row = (name, trial, page.key, page.page, json.dumps(page.picked), int(page.nothing))
            connection.execute("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, page.seconds, page.received))

    def apply(self, session: Session, trial: int) -> None:
        """Make it true in memory."""
        session.state, session.seen = self.state, self.seen
        if self.plan is not None:
            session.course = replace(session.course, plan=self.plan)
        if self.event is not None:
            session.events.append(self.event)
        given = self.answer or self.rated
        if given is not None:
            session.given[trial] = given
        if self.ended is not None:
            session.ended, session.accepted = self.ended, self.accepted
            session.names = {}  # nothing is shown any more
        if self.forget:
            session.person = None


def insert(connection: sqlite3.Connection, session: Session) -> None:
    """The first row of a session, with its events so far."""
    row = {
        "session": session.session,
        "token": session.token,
        "secret": session.secret,
        "number": session.number,
        "experiment": session.experiment,
        "listed": session.dealt.listed if session.dealt else None,
        "attempt": session.attempt,
        "plan": session.course.plan.to_json(),
        "person": session.person,
        "platform": session.platform,
        "returned": int(session.returned),
        "source": session.source,
        "started": session.started,
        "seen": session.seen,
        "ended": session.ended,
        "stage": session.state.stage,
        "block": session.state.block,
        "outcome": session.state.outcome,
        "accepted": None if session.accepted is None else int(session.accepted),
        "code": session.code,
        "comment": None,
        "screen": session.screen,
    }
    marks = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO session ({', '.join(row)}) VALUES ({marks})", row)
    for number, event in enumerate(session.events, 1):
        connection.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
            (session.session, number, event.name, event.at, event.seconds),
        )


def verdict_rows(session: Session, change: Change) -> tuple[Mapping[str, Any], Sequence[Any], Sequence[Any]]:
    """Rows of a session at its end as the checks read them: itself, its answers and its events, the last ones included."""
    row = {
        "outcome": change.state.outcome,
        "started": session.started,
        "ended": change.ended,
        "returned": session.returned,
    }
    given = [*session.given.values(), *([change.answer] if change.answer else [])]
    answers = [
        {"kind": each.kind, "block": each.block, "button": each.button, "correct": each.correct}
        for each in given
        if isinstance(each, Answer)
    ]
    events = [{"name": each.name, "at": each.at} for each in session.events]
    return row, answers, events
