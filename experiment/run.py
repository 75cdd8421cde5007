"""One run: its questions, its settings, its database, and the sessions of everybody who came, held in memory.

All of it lives in one process, and what it decides it decides in one event loop. A change of a session is written first and made
in memory once it is committed; a server that was killed finds everything in the database.
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import string
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from experiment import plan as planning
from experiment import recorded, restoring, store
from experiment.consent import read_consent
from experiment.errors import Refused
from experiment.flow import BEFORE, COMPLETE, END, FAILED, LEFT, MAIN, PRACTICE, RATING, STAGES, TIME, Course, State
from experiment.limits import SIMULATED, Limits
from experiment.people import Hasher
from experiment.pictures import Pictures, address
from experiment.plan import Plan
from experiment.session import Answer, Change, Event, Rated, Session, insert, verdict_rows
from experiment.settings import RATINGS, read_settings
from experiment.verdicts import verdict
from interpretability.design.dealing import Dealt
from study.errors import StudyError
from study.log import logger

log = logger("experiment")

_LETTERS = string.ascii_lowercase + string.digits
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that look alike
_LEAVING = {LEFT: "left", TIME: "time", FAILED: "practice", COMPLETE: "complete"}


class Run:
    """A run folder that is being served. `clock_rate` lets the clock of a simulated run go faster than time."""

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
            self.source = str(connection.execute("SELECT value FROM meta WHERE name = 'source'").fetchone()[0])
            sessions = restoring.read_sessions(connection, self.settings)
        if clock_rate != 1 and self.people:
            raise StudyError("a clock that goes faster than time is for simulated runs; this one asks people")
        self._clock, self._rate, self._zero = clock, clock_rate, clock()
        self.limits = limits or (Limits() if self.people else SIMULATED)
        self.pictures = Pictures(self.folder.pictures)
        self.dealers = restoring.dealers_of(self.folder, self.settings)
        self.explanations = {
            each["experiment"]: each["n_explanations"] for each in self.folder.study.get("experiments", ())
        }
        self.by_token: dict[str, Session] = {}
        self.running: dict[int, Session] = {}
        self.by_person: dict[str, list[Session]] = {}
        self._number = 0
        for session in sessions:
            restoring.restore(session, self.folder, self.dealers)
            self._enter(session)
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

    # --- who comes

    async def begin(
        self, token: str, platform: str, person: str | None, former: Session | None, screen: str
    ) -> Session:
        """A new session for the cookie whose SHA-256 is `token`.

        `former` is the session of the cookie that came along. Raises Refused where nothing is needed any more.
        """
        now = self.now()
        await self.sweep(now)
        name = secrets.token_bytes(32)
        public = "".join(secrets.choice(_LETTERS) for _ in range(12))
        who = self._who(platform, person, former, public)
        before = self.by_person.get(who, [])
        returned = bool(before)
        self._number += 1
        number = self._number
        dealt: Dealt | None = None
        refused = returned and self.folder.kind != RATINGS and self.settings.repeat == "refuse"
        if not refused:
            dealt = self.dealers.deal(number, self._seen(who))
            if dealt is None:
                self._number -= 1
                raise Refused(409, "closed", self.closed_words())
        plan = planning.draw(self.folder, self.settings, dealt.name, dealt.items, number) if dealt else Plan()
        experiment = dealt.name if dealt else before[-1].experiment
        session = Session(
            session=public,
            token=token,
            secret=name,
            number=number,
            experiment=experiment,
            listed=dealt.listed if dealt else None,
            attempt=1 + len(before),
            course=Course(plan, self.settings.comment),
            person=who,
            platform=platform,
            returned=returned,
            source=self.source,
            started=now,
            seen=now,
            code=self._new_code() if dealt else "",
            screen=screen,
            events=[Event("started", now)],
        )
        if dealt is None:
            session.state = State(stage=END, outcome=BEFORE)
            session.ended, session.accepted = now, False
            session.events.append(Event(BEFORE, now))
        self._enter(session)
        try:
            await self._write(partial(insert, session=session))
        except BaseException:
            self._forget(session)
            if dealt is not None:
                self.dealers.end(number, dealt.name, False)
            raise
        return session

    def _who(self, platform: str, person: str | None, former: Session | None, public: str) -> str:
        """The hash of who comes. Who has no name is known by the first session of the cookie."""
        if person is not None:
            return self.hasher.name(platform, person)
        if former is not None and former.person is not None:
            return former.person
        return self.hasher.name("session", public)

    def _seen(self, person: str | None) -> set[Hashable]:
        """Pages that a person rated, or was dealt in a session that still runs."""
        seen: set[Hashable] = set()
        for session in self.by_person.get(person or "", ()):
            if session.running:
                seen.update(session.course.plan.pages)
            seen.update(each.page for each in session.given.values() if isinstance(each, Rated))
        return seen

    def needs(self, person: str | None) -> bool:
        """Whether anything is needed that this rater has not seen."""
        seen = self._seen(person)
        return any(
            lacking and page not in seen
            for pages in self.dealers.remaining().values()
            for page, lacking in pages.items()
        )

    def same_person(self, session: Session, platform: str, person: str | None) -> bool:
        """Whether a cookie's session is of the person that the address names; where it names none, it is."""
        return person is None or session.person in (None, self.hasher.name(platform, person))

    def _new_code(self) -> str:
        return self.settings.complete.code or "".join(secrets.choice(_CODE_LETTERS) for _ in range(10))

    def _enter(self, session: Session) -> None:
        self._number = max(self._number, session.number)
        self.by_token[session.token] = session
        if session.running:
            self.running[session.number] = session
        if session.person is not None:
            self.by_person.setdefault(session.person, []).append(session)

    def _forget(self, session: Session) -> None:
        """A session that could not be kept."""
        del self.by_token[session.token]
        self.running.pop(session.number, None)
        self._unname(session, session.person)

    def _unname(self, session: Session, person: str | None) -> None:
        if person is not None:
            self.by_person[person].remove(session)
            if not self.by_person[person]:
                del self.by_person[person]

    # --- what they do

    async def consent(self, session: Session, agreed: bool, now: float) -> bool:
        """Consent given or refused; False where it was given before. Who refuses is not kept by name."""
        if not self._due(session, "consent"):
            return False
        after = session.course.agreed(session.state, agreed)
        if agreed:
            await self._change(session, Change(after, now, Event("consent", now)))
        else:
            person = session.person
            await self._change(session, self._ending(session, after, now, event="declined", forget=True))
            self._unname(session, person)
        return True

    async def instructions(self, session: Session, seconds: float, now: float) -> bool:
        if not self._due(session, "instructions"):
            return False
        await self._change(
            session, Change(session.course.read(session.state), now, Event("instructions", now, seconds))
        )
        return True

    async def ready(self, session: Session, now: float) -> bool:
        if not self._due(session, "ready"):
            return False
        await self._change(session, Change(session.course.began(session.state), now, Event("ready", now)))
        return True

    async def comment(self, session: Session, text: str, now: float) -> bool:
        if not self._due(session, "comment"):
            return False
        after = session.course.commented(session.state)
        await self._change(session, Change(after, now, Event("comment", now), comment=text))
        return True

    async def leave(self, session: Session, now: float) -> bool:
        """The person leaves; False where the session has ended."""
        if not session.running:
            return False
        after = session.course.ended(session.state, LEFT)
        await self._change(session, self._ending(session, after, now))
        return True

    async def alive(self, session: Session, now: float) -> None:
        """A sign of life."""
        if session.running:
            await self._change(session, Change(session.state, now))

    async def answer(
        self, session: Session, trial: int, key: str, button: int, rt: float, now: float
    ) -> tuple[bool, bool]:
        """Take an answer: whether it is right, and whether it had been taken before under the same key."""
        known = self._known(session, trial, key, (PRACTICE, MAIN))
        if known is not None:
            assert isinstance(known, Answer)
            return known.correct, True
        course, state = session.course, session.state
        _, block, position, _ = course.position(trial)
        question = self.folder.questions[course.name_of(trial)]
        choice = "top" if button < 3 else "bottom"
        right = choice == question.answer
        given = Answer(
            key, question.kind, block, position, question.name, button, choice, right, button % 3 + 1, rt, now
        )
        after = course.answered(state, right)
        if after.outcome is None:
            await self._change(session, Change(after, now, answer=given), trial)
        else:
            await self._change(session, self._ending(session, after, now, answer=given), trial)
        return right, False

    async def rate(self, session: Session, trial: int, given: Rated, now: float) -> bool:
        """Take a page of ticks; whether it had been taken before under the same key."""
        if self._known(session, trial, given.key, (RATING,)) is not None:
            return True
        after = session.course.answered(session.state, True)
        if after.outcome is None:
            await self._change(session, Change(after, now, rated=given), trial)
        else:
            await self._change(session, self._ending(session, after, now, rated=given), trial)
        return False

    def _due(self, session: Session, stage: str) -> bool:
        """Whether the session waits for this; False where it is past it. Raises Refused where it is not there yet."""
        at = session.state.stage
        if at == stage:
            return True
        if STAGES.index(at) > STAGES.index(stage):
            return False
        raise Refused(409, "not now", f"The session is at {at}, not at {stage}.")

    def _known(self, session: Session, trial: int, key: str, stages: tuple[str, ...]) -> Answer | Rated | None:
        """What was given under this key before; None for the trial that is open now. Raises Refused for any other."""
        known = session.given.get(trial)
        if known is not None:
            if known.key == key:
                return known
            raise Refused(409, "answered", "This trial was answered before, perhaps in another window.")
        if session.state.stage not in stages or trial != session.state.trial:
            raise Refused(409, "not now", f"Trial {trial} cannot be answered now.")
        return None

    def _ending(self, session: Session, after: State, now: float, *, event: str = "", **given: Any) -> Change:
        """The change that ends a session, with the verdict on it."""
        assert after.outcome is not None
        name = event or _LEAVING[after.outcome]
        change = Change(after, now, Event(name, now), ended=now, accepted=after.outcome == COMPLETE, **given)
        if change.accepted and self.folder.kind != RATINGS:
            row, answers, events = verdict_rows(session, change)
            accepted = verdict(row, answers, events, self.settings.checks).accepted
            change = Change(after, now, Event(name, now), ended=now, accepted=accepted, **given)
        return change

    async def _change(self, session: Session, change: Change, trial: int = 0) -> None:
        """Write a change, then make it true."""
        number = len(session.events) + 1
        await self._write(partial(change.write, session=session.session, trial=trial, number=number))
        change.apply(session, trial)
        if change.ended is not None:
            del self.running[session.number]
            counted = bool(session.accepted)
            kept = None if counted else restoring.answered(session)
            self.dealers.end(session.number, session.experiment, counted, kept)

    async def _write(self, write: store.Write) -> None:
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
        """End a session, whose lock is held, if it gave no sign of life for too long."""
        if session.running and now - session.seen > self.settings.silence:
            after = session.course.ended(session.state, TIME)
            await self._change(session, self._ending(session, after, now))

    # --- what they are told

    def closed_words(self) -> str:
        return "Nobody else is needed at the moment. Thank you for coming."

    def trial(self, session: Session, trial: int) -> dict[str, Any]:
        """What a page is told of a trial whose pictures it may fetch. Nothing in it depends on the right answer."""
        part, _, number, of = session.course.position(trial)
        told: dict[str, Any] = {"trial": trial, "kind": part, "number": number, "of": of}
        tell = partial(self.pictures.told, session.secret)
        if part == RATING:
            page = self.folder.pages[session.course.plan.pages[trial]]
            return told | {"text": page.text, "pictures": [tell(file) for file in page.pictures]}
        asked = self.folder.questions[session.course.name_of(trial)]
        told |= {"left": [tell(file) for file in asked.left], "right": [tell(file) for file in asked.right]}
        return told | {"top": tell(asked.top), "bottom": tell(asked.bottom)}

    def file_at(self, session: Session, name: str) -> str | None:
        """The picture behind an address of a session, of a trial that may be seen now."""
        visible = session.course.visible(session.state)
        if not all(trial in session.names for trial in visible):
            kept: Mapping[int, dict[str, str]] = session.names
            session.names = {
                trial: kept.get(trial) or {address(session.secret, file): file for file in self._files(session, trial)}
                for trial in visible
            }
        for trial in visible:
            if (file := session.names[trial].get(name)) is not None:
                return file
        return None

    def _files(self, session: Session, trial: int) -> tuple[str, ...]:
        plan = session.course.plan
        if plan.pages:
            return self.folder.pages[plan.pages[trial]].pictures
        return self.folder.questions[session.course.name_of(trial)].files


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
