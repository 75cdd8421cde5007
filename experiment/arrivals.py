"""Who comes: known or new, and what they are dealt."""

from __future__ import annotations

import secrets
import string
from collections.abc import Hashable
from functools import partial

from experiment import plan as planning
from experiment.errors import Refused
from experiment.flow import BEFORE, CONSENT, END, Course, State
from experiment.plan import Plan
from experiment.run import Run
from experiment.session import Event, Rated, Session, insert
from experiment.settings import PAGED

NOT_NEEDED = "Nobody else is needed at the moment. Thank you for coming."
_LETTERS = string.ascii_lowercase + string.digits
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that look alike


async def begin(
    run: Run, token: str, platform: str, person: str | None, former: Session | None, screen: str
) -> Session:
    """A new session for the cookie whose SHA-256 is `token`.

    `former` is the session of the cookie that came along. Somebody who came by the same name and has not agreed yet gets
    that session again. It asks nothing before consent. Raises Refused where nothing is needed any more.
    """
    now = run.now()
    await run.sweep(now)
    public = "".join(secrets.choice(_LETTERS) for _ in range(12))
    who = _who(run, platform, person, former, public)
    before = run.by_person.get(who, [])
    waiting = next((each for each in before if each.state.stage == CONSENT), None)
    if waiting is not None and await _handed_over(run, waiting, token):
        return waiting
    refused = bool(before) and run.folder.kind not in PAGED and run.settings.repeat == "refuse"
    if not refused and not wanted(run, who):
        raise Refused(409, "closed", NOT_NEEDED)
    session = Session(
        session=public,
        token=token,
        secret=secrets.token_bytes(32),
        number=run.number + 1,
        attempt=1 + len(before),
        course=Course(Plan(), run.settings.comment),
        person=who,
        platform=platform,
        returned=bool(before),
        source=run.source,
        started=now,
        seen=now,
        code="" if refused else _new_code(run),
        screen=screen,
        events=[Event("started", now), *([Event(BEFORE, now)] if refused else [])],
        state=State(stage=END, outcome=BEFORE) if refused else State(),
        ended=now if refused else None,
        accepted=False if refused else None,
    )
    run.enter(session)
    try:
        await run.write(partial(insert, session=session))
    except BaseException:
        run.forget(session)
        raise
    return session


def plan_of(run: Run, session: Session) -> Plan | None:
    """What a session asks, dealt now and reserved until it ends; the same again where a full disk took no consent. None:
    nothing is needed any more."""
    if session.dealt is None:
        session.dealt = run.dealers.deal(session.number, _seen(run, session.person))
    if session.dealt is None:
        return None
    return planning.draw(run.folder, run.settings, session.dealt.name, session.dealt.items, session.number)


async def _handed_over(run: Run, session: Session, token: str) -> bool:
    """Give a session that nobody agreed to yet to the cookie of whoever comes by the same name: the reply that brought
    the first cookie was lost, or the page was loaded twice. There is nothing in it that could be taken from anybody."""
    async with session.lock:
        if session.state.stage != CONSENT:
            return False
        statement = "UPDATE session SET token = ? WHERE session = ?"
        await run.write(lambda connection: connection.execute(statement, (token, session.session)))
        del run.by_token[session.token]
        session.token = token
        run.by_token[token] = session
        return True


def _who(run: Run, platform: str, person: str | None, former: Session | None, public: str) -> str:
    """The hash of who comes. Who has no name is known by the first session of the cookie."""
    if person is not None:
        return run.hasher.name(platform, person)
    if former is not None and former.person is not None:
        return former.person
    return run.hasher.name("session", public)


def _seen(run: Run, person: str | None) -> set[Hashable]:
    """Pages that a person rated, or was dealt in a session that still runs."""
    seen: set[Hashable] = set()
    for session in run.by_person.get(person or "", ()):
        if session.running:
            seen.update(session.course.plan.pages)
        seen.update(each.page for each in session.given.values() if isinstance(each, Rated))
    return seen


def wanted(run: Run, person: str | None) -> int:
    """Trials of the main part, or pages, that a session of this person would have if it were dealt now; 0: nothing is needed."""
    seen, study = _seen(run, person), run.folder.study
    size, catch = run.settings.pages_a_session, 0
    if run.folder.kind not in PAGED:
        size, catch = study["trials_a_session"], run.settings.catch_trials
    needed = (
        sum(lacking > 0 and item not in seen for item, lacking in items.items())
        for items in run.dealers.remaining().values()
    )
    most = max(needed, default=0)
    return min(most, size) + catch if most else 0


def same_person(run: Run, session: Session, platform: str, person: str | None) -> bool:
    """Whether a cookie's session is of the person that the address names; where it names none, it is."""
    return person is None or session.person in (None, run.hasher.name(platform, person))


def _new_code(run: Run) -> str:
    return run.settings.complete.code or "".join(secrets.choice(_CODE_LETTERS) for _ in range(10))
