"""The state of a session as its page is told it. What is not in here no page ever learns."""

from __future__ import annotations

from typing import Any

from experiment.arrivals import NOT_NEEDED, wanted
from experiment.flow import (
    BEFORE,
    COMMENT,
    CONSENT,
    END,
    FAILED,
    INSTRUCTIONS,
    LEFT,
    MAIN,
    PAID,
    PRACTICE,
    RATING,
    READY,
    TIME,
)
from experiment.run import Run
from experiment.session import CLOSED, Session
from experiment.settings import PAGED, PICKING, RATINGS

_SCRIPTS = {RATINGS: "rating", **dict.fromkeys(PICKING, "picking")}  # that pages of these kinds load beside their own
_MESSAGES = {
    FAILED: "The practice trials did not go well this time, so the main part does not follow.",
    LEFT: "You have left. Nothing more will be asked.",
    TIME: "Nothing was heard from this page for a long time, so the session was closed.",
    BEFORE: "Somebody with your name on the platform took part before, and each person can take part once.",
}


def nobody(run: Run, needed: bool = True) -> dict[str, Any]:
    """What a page without a session is told; `needed`: whether this person may be, as far as is known."""
    state: dict[str, Any] = {
        "stage": "none",
        "kind": run.folder.kind,
        "title": run.settings.title,
        "language": run.settings.language,
        "source": run.source,
        "narrow": run.settings.narrow,
        "contact": run.settings.contact,
        "open": needed and run.dealers.open and run.store.trouble is None,
    }
    if run.store.trouble is not None:
        state["message"] = full_words()
    elif not state["open"]:
        state["message"] = NOT_NEEDED
    return state


def full_words() -> str:
    return (
        "The server cannot keep answers at the moment. Nothing that it took is lost. Please wait; it goes on by itself."
    )


def told(run: Run, session: Session) -> dict[str, Any]:
    """The state of a session; `none` where it ended before anything was asked."""
    if session.lapsed:
        return nobody(run, session.events[-1].name != CLOSED)
    settings, course, at = run.settings, session.course, session.state
    state: dict[str, Any] = {
        "stage": at.stage,
        "session": session.session,
        "kind": run.folder.kind,
        "script": _SCRIPTS.get(run.folder.kind),
        "title": settings.title,
        "language": settings.language,
        "source": run.source,
        "feedback": settings.feedback,
        "wait": settings.wait_seconds,
        "narrow": settings.narrow,
        "max_blocks": len(course.plan.practice),
        "n_trials": wanted(run, session.person) if at.stage == CONSENT else course.plan.n_trials,
        "minutes": settings.minutes,
        "pay": {"amount": settings.pay.amount, "currency": settings.pay.currency},
        "contact": settings.contact,
        "n_explanations": run.explanations.get(session.experiment, 0),
        "random_left": session.experiment in run.one_sided,
        "accepting": run.store.trouble is None,
    }
    if run.store.trouble is not None:
        state["message"] = full_words()
    if at.stage == CONSENT:
        state["consent_html"] = run.consent_html
    elif at.stage in (INSTRUCTIONS, READY):
        state["first"] = at.trial  # where looking ahead begins
    elif at.stage in (PRACTICE, MAIN, RATING):
        _, _, number, of = course.position(at.trial)
        state["trial"] = {"trial": at.trial, "number": number, "of": of}
        if at.stage == PRACTICE:
            state |= {"block": at.block, "blocks": len(course.plan.practice)}
    elif at.stage == END:
        state |= _end(run, session)
    elif at.stage == COMMENT:
        state["outcome"] = at.outcome
    return state


def _end(run: Run, session: Session) -> dict[str, Any]:
    outcome = session.state.outcome or ""
    paid = outcome in PAID
    link = run.settings.complete.link.replace("{code}", session.code)
    again = run.folder.kind in PAGED and paid and wanted(run, session.person) > 0
    message = _MESSAGES.get(outcome)
    if outcome == FAILED and run.settings.pay.amount > 0:
        message = f"{message} You are paid all the same."
    return {
        "outcome": outcome,
        "code": session.code if paid else None,
        "link": link if paid and link else None,
        "message": message,
        "again": again,  # whether this person may go on with another session
    }
