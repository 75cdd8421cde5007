"""What somebody with a session does: each act is written first and true once it is committed.

All are called with the session's lock held. Acts that were done before give False, or what they gave before, and write nothing;
acts that are not due yet raise Refused.
"""

from __future__ import annotations

from experiment import arrivals
from experiment.errors import Refused
from experiment.flow import CONSENT, LEFT, MAIN, PRACTICE, RATING, STAGES
from experiment.run import Run
from experiment.session import CLOSED, Answer, Change, Event, Rated, Session


async def consent(run: Run, session: Session, agreed: bool, now: float) -> bool:
    """Consent given or refused; False where it was given before. Who refuses is not kept by name.

    What the session asks is dealt now, so that nobody who only looks keeps it from others; where nothing is needed any more
    the session is over.
    """
    if not _due(session, "consent"):
        return False
    plan = arrivals.plan_of(run, session) if agreed else None
    if plan is not None:
        await run.change(session, Change(session.course.agreed(session.state), now, Event("consent", now), plan=plan))
    else:
        after, event = session.course.ended(session.state, LEFT), CLOSED if agreed else "declined"
        await run.change(session, run.ending(session, after, now, event=event, forget=True))
    return True


async def instructions(run: Run, session: Session, seconds: float, now: float) -> bool:
    """The instructions were read; seconds by the browser's clock."""
    if not _due(session, "instructions"):
        return False
    await run.change(session, Change(session.course.read(session.state), now, Event("instructions", now, seconds)))
    return True


async def ready(run: Run, session: Session, now: float) -> bool:
    """The main part begins."""
    if not _due(session, "ready"):
        return False
    await run.change(session, Change(session.course.began(session.state), now, Event("ready", now)))
    return True


async def comment(run: Run, session: Session, text: str, now: float) -> bool:
    """A comment at the end, which may be empty."""
    if not _due(session, "comment"):
        return False
    after = session.course.commented(session.state)
    await run.change(session, Change(after, now, Event("comment", now), comment=text))
    return True


async def leave(run: Run, session: Session, now: float) -> bool:
    """The person leaves; False where the session has ended."""
    if not session.running:
        return False
    after = session.course.ended(session.state, LEFT)
    await run.change(session, run.ending(session, after, now, forget=session.state.stage == CONSENT))
    return True


async def alive(run: Run, session: Session, now: float) -> None:
    """A sign of life."""
    if session.running:
        await run.change(session, Change(session.state, now))


async def answer(
    run: Run, session: Session, trial: int, key: str, button: int, rt: float, now: float
) -> tuple[bool, bool]:
    """Take an answer: whether it is right, and whether it had been taken before under the same key."""
    known = _known(session, trial, key, (PRACTICE, MAIN))
    if known is not None:
        assert isinstance(known, Answer)
        return known.correct, True
    course, state = session.course, session.state
    _, block, position, _ = course.position(trial)
    question = run.folder.questions[course.name_of(trial)]
    choice = "top" if button < 3 else "bottom"
    right = choice == question.answer
    given = Answer(key, question.kind, block, position, question.name, button, choice, right, button % 3 + 1, rt, now)
    after = course.answered(state, right)
    if after.outcome is None:
        await run.change(session, Change(after, now, answer=given), trial)
    else:
        await run.change(session, run.ending(session, after, now, answer=given), trial)
    return right, False


async def rate(run: Run, session: Session, trial: int, given: Rated, now: float) -> bool:
    """Take a page of ticks; whether it had been taken before under the same key."""
    if _known(session, trial, given.key, (RATING,)) is not None:
        return True
    after = session.course.answered(session.state, True)
    if after.outcome is None:
        await run.change(session, Change(after, now, rated=given), trial)
    else:
        await run.change(session, run.ending(session, after, now, rated=given), trial)
    return False


def _due(session: Session, stage: str) -> bool:
    """Whether the session waits for this; False where it is past it. Raises Refused where it is not there yet."""
    at = session.state.stage
    if at == stage:
        return True
    if STAGES.index(at) > STAGES.index(stage):
        return False
    raise Refused(409, "not now", f"The session is at {at}, not at {stage}.")


def _known(session: Session, trial: int, key: str, stages: tuple[str, ...]) -> Answer | Rated | None:
    """What was given under this key before; None for the trial that is open now. Raises Refused for any other."""
    known = session.given.get(trial)
    if known is not None:
        if known.key == key:
            return known
        raise Refused(409, "answered", "This trial was answered before, perhaps in another window.")
    if session.state.stage not in stages or trial != session.state.trial:
        raise Refused(409, "not now", f"Trial {trial} cannot be answered now.")
    return None
