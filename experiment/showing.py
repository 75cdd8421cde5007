"""What is shown: trials as their pages are told them, and the pictures behind the addresses of a session."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from experiment.flow import RATING
from experiment.pictures import address
from experiment.run import Run
from experiment.session import Session


def trial(run: Run, session: Session, trial: int) -> dict[str, Any]:
    """What a page is told of a trial whose pictures it may fetch. Nothing in it depends on the right answer."""
    part, _, number, of = session.course.position(trial)
    told: dict[str, Any] = {"trial": trial, "kind": part, "number": number, "of": of}
    tell = partial(run.pictures.told, session.secret)
    if part == RATING:
        page = run.folder.pages[session.course.plan.pages[trial]]
        told |= {"text": page.text, "pictures": [tell(file) for file in page.pictures]}
        return told | ({} if page.pick is None else {"side": page.pick.side, "texts": page.pick.texts})
    asked = run.folder.questions[session.course.name_of(trial)]
    told |= {"left": [tell(file) for file in asked.left], "right": [tell(file) for file in asked.right]}
    return told | {"top": tell(asked.top), "bottom": tell(asked.bottom)}


def file_at(run: Run, session: Session, name: str) -> str | None:
    """The picture behind an address of a session, of a trial that may be seen now."""
    visible = session.course.visible(session.state)
    if not all(trial in session.names for trial in visible):
        kept: Mapping[int, dict[str, str]] = session.names
        session.names = {
            trial: kept.get(trial) or {address(session.secret, file): file for file in _files(run, session, trial)}
            for trial in visible
        }
    for trial in visible:
        if (file := session.names[trial].get(name)) is not None:
            return file
    return None


def _files(run: Run, session: Session, trial: int) -> tuple[str, ...]:
    plan = session.course.plan
    if plan.pages:
        return run.folder.pages[plan.pages[trial]].pictures
    return run.folder.questions[session.course.name_of(trial)].files
