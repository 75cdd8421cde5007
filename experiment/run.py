"""One run: its questions, its settings, its database, and the sessions of everybody who came, held in memory.

All of it lives in one process, and what it decides it decides in one event loop. A change of a session is written first and made
in memory once it is committed; a server that was killed finds everything in the database.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from experiment import plan as planning
from experiment import recorded, restoring, store
from experiment.consent import read_consent
from experiment.flow import COMPLETE, CONSENT, TIME, State
from experiment.limits import SIMULATED, Limits
from experiment.people import Hasher
from experiment.pictures import Pictures
from experiment.session import LAPSED, Change, Event, Session, verdict_rows
from experiment.settings import PAGED, read_settings
from experiment.verdicts import verdict
from interpretability.schema import ONE_SIDED
from study.errors import StudyError


class Run:
    """A run folder that is being served. `clock_rate` lets the clock of a simulated run go faster than time; `mark` is part of
    the names of its cookies."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        clock_rate: float = 1.0,
        limits: Limits | None = None,
    ) -> None:
        self.path = path
        self.folder = recorded.folder_of(path)
        self.settings = read_settings(path / "settings.yaml")
        planning.check(self.folder, self.settings)
        self.consent_html = read_consent(path / "consent.md")
        self.hasher = Hasher.read(path / "keys/person.key")
        self._lock = _claim(path)
        with store.reading(recorded.database(path)) as connection:
            meta: dict[str, str] = dict(connection.execute("SELECT name, value FROM meta").fetchall())
            self.source = meta["source"]
            sessions = restoring.read_sessions(connection, self.settings, self.folder)
        # browsers send cookies to all ports of a host: those of another run there have other names
        self.mark = hashlib.sha256(f"{meta['study']} {meta['created']}".encode()).hexdigest()[:8]
        if clock_rate != 1 and self.people:
            raise StudyError("a clock that goes faster than time is for simulated runs; this one asks people")
        self._clock, self._rate, self._zero = clock, clock_rate, clock()
        self.limits = limits or (Limits() if self.people else SIMULATED)
        self.pictures = Pictures(self.folder.pictures)
        self.dealers = restoring.dealers_of(self.folder, self.settings)
        self.explanations = {
            each["experiment"]: each["n_explanations"] for each in self.folder.study.get("experiments", ())
        }
        self.one_sided = {
            each["experiment"] for each in self.folder.study.get("experiments", ()) if each["condition"] == ONE_SIDED
        }
        self.by_token: dict[str, Session] = {}
        self.running: dict[int, Session] = {}
        self.by_person: dict[str, list[Session]] = {}
        self.number = 0
        for session in sessions:
            restoring.restore(session, self.folder, self.dealers)
            self.enter(session)
        self.store = store.Store(recorded.database(path))
        self.early_seconds: float | None = None
        self._late: set[asyncio.Task[None]] = set()

    @property
    def people(self) -> bool:
        """Whether people answer, and no made-up participants."""
        return self.source == "people"

    def close(self) -> None:
        """End the writing; once."""
        if not self._lock.closed:
            self.store.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> float:
        """Seconds since 1970 by the run's clock."""
        now = self._clock()
        return now if self._rate == 1 else self._zero + (now - self._zero) * self._rate

    # --- who is here

    def enter(self, session: Session) -> None:
        """Hold a session."""
        self.number = max(self.number, session.number)
        if not session.lapsed:
            self.by_token[session.token] = session
        if session.running:
            self.running[session.number] = session
        if session.person is not None:
            self.by_person.setdefault(session.person, []).append(session)

    def forget(self, session: Session) -> None:
        """A session that could not be kept."""
        del self.by_token[session.token]
        self.running.pop(session.number, None)
        self.unname(session, session.person)

    def unname(self, session: Session, person: str | None) -> None:
        """Do not know this person by this session any more."""
        if person is not None:
            self.by_person[person].remove(session)
            if not self.by_person[person]:
                del self.by_person[person]

    # --- what changes

    def ending(self, session: Session, after: State, now: float, *, event: str = "", **given: Any) -> Change:
        """The change that ends a session, with the verdict on it. `event` if it is not called as the outcome is."""
        assert after.outcome is not None
        change = Change(
            after, now, Event(event or after.outcome, now), ended=now, accepted=after.outcome == COMPLETE, **given
        )
        if not change.accepted or self.folder.kind in PAGED:
            return change
        row, answers, events = verdict_rows(session, change)
        return replace(change, accepted=verdict(row, answers, events, self.settings.checks).accepted)

    async def change(self, session: Session, change: Change, trial: int = 0) -> None:
        """Write a change, then make it true. trial: the one that is answered, if one is."""
        number, person = len(session.events) + 1, session.person
        await self.write(partial(change.write, session=session, trial=trial, number=number))
        change.apply(session, trial)
        if change.ended is not None:
            del self.running[session.number]
            if session.dealt is not None:
                counted = bool(session.accepted)
                kept = None if counted else restoring.answered(session)
                self.dealers.end(session.number, session.dealt.name, counted, kept)
            if change.forget:
                self.unname(session, person)
            if session.lapsed:
                del self.by_token[session.token]

    async def write(self, write: store.Write) -> None:
        """Write to the database; done once it is committed. Raises DiskFull where there is no space."""
        if self.early_seconds is None:
            await self.store.write(write)
        else:
            task = asyncio.create_task(self._write_late(write, self.early_seconds))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _write_late(self, write: store.Write, seconds: float) -> None:
        """The wrong order, acknowledged before written: what the test that kills servers must be able to find."""
        await asyncio.sleep(seconds)
        await self.store.write(write)

    # --- time

    async def sweep(self, now: float) -> int:
        """End all sessions without a sign of life; how many."""
        silent = [each for each in self.running.values() if now - each.seen > self.settings.silence]
        for session in silent:
            async with session.lock:
                await self.expire(session, now)
        return len(silent)

    async def expire(self, session: Session, now: float) -> None:
        """End a session, whose lock is held, if it gave no sign of life for too long. Who had not agreed yet is forgotten."""
        if session.running and now - session.seen > self.settings.silence:
            after = session.course.ended(session.state, TIME)
            before = session.state.stage == CONSENT
            await self.change(session, self.ending(session, after, now, event=LAPSED if before else "", forget=before))


def _claim(path: Path) -> Any:
    """A lock that one server of a run holds as long as it lives. Raises StudyError where another one has it."""
    file = open(path / ".serving", "w")  # noqa: SIM115  held until the run is closed
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StudyError(
            f"{path} is being served by another process. A run has one server; end that one first"
        ) from None
    return file
