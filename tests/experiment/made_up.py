"""Sessions made up in memory, in the tables that `recorded.read` gives: people who answer units of known ease, in known ways."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from experiment.recorded import Recorded
from experiment.settings import Settings
from experiment.study_folder import Folder
from interpretability.randomness import generator

START = 1_800_000_000.0
SESSION = [
    *("session", "number", "experiment", "listed", "attempt", "plan", "person", "platform", "returned", "source"),
    *("started", "seen", "ended", "stage", "block", "outcome", "accepted", "code", "comment", "screen"),
]
ANSWER = [
    *("session", "trial", "key", "kind", "block", "position", "question", "button", "choice", "correct"),
    *("confidence", "rt", "received"),
]
PAGE = ["session", "trial", "key", "page", "picked", "nothing", "seconds", "received"]
EVENT = ["session", "number", "name", "at", "seconds"]


class Table:
    """Rows of a run as they are made up."""

    def __init__(self, folder: Folder, settings: Settings | None = None, source: str = "people") -> None:
        self.folder, self.settings, self.source = folder, settings or Settings(), source
        self.sessions, self.answers, self.pages, self.events = [], [], [], []

    def session(self, experiment: str, outcome: str | None = "complete", minutes: float = 10.0, **more) -> str:
        """A session that began 60 s after the one before it; it read its instructions for 30 s."""
        number = len(self.sessions) + 1
        name = f"{number:012d}"
        started = START + 60 * (number - 1)
        ended = None if outcome is None else started + 60 * minutes
        row = {"session": name, "number": number, "experiment": experiment, "listed": None, "attempt": 1, "plan": "{}"}
        row |= {"person": f"hash{number:028d}", "platform": "prolific", "returned": 0, "source": self.source}
        row |= {
            "started": started,
            "seen": ended or started + 60,
            "ended": ended,
            "stage": "end" if outcome else "main",
        }
        row |= {"block": 1, "outcome": outcome, "accepted": None, "code": "SECRETCODE", "comment": None, "screen": "{}"}
        self.sessions.append(row | more)
        for at, event in enumerate(("started", "consent", "instructions")):
            self.events.append((name, at + 1, event, started + (0, 5, 35)[at], None))
        return name

    def answer(
        self, session: str, kind: str, question: str, right: bool, *, block=None, confidence=2, upper=None
    ) -> None:
        """One more answer of a session."""
        trial = sum(row[0] == session for row in self.answers)
        top = trial % 2 == 0 if upper is None else upper
        button = confidence - 1 + (0 if top else 3)
        choice = "top" if top else "bottom"
        self.answers.append(
            (
                *(session, trial, f"key-{trial:016d}", kind, block, trial + 1, question, button, choice, int(right)),
                *(confidence, 3000.0 + 40 * (trial % 50), START + trial),
            )
        )

    def page(self, session: str, page: int, picked: list[int], seconds: float = 15.0) -> None:
        trial = sum(row[0] == session for row in self.pages)
        row = session, trial, f"key-{trial:016d}", page, json.dumps(picked), int(not picked), seconds, START
        self.pages.append(row)

    def recorded(self) -> Recorded:
        whole = {"returned": "int64", "number": "int64", "accepted": "Int64", "ended": "float64", "attempt": "int64"}
        return Recorded(
            pd.DataFrame(self.sessions, columns=SESSION).astype(whole),
            pd.DataFrame(self.answers, columns=ANSWER),
            pd.DataFrame(self.pages, columns=PAGE),
            pd.DataFrame(self.events, columns=EVENT),
            self.source,
            self.folder,
            self.settings,
        )


def walk(
    table: Table, experiment: str, questions: list[str], right: np.ndarray, *, outcome="complete", caught=5, **more
):
    """A session that passes one block of practice, answers these questions and `caught` of 5 catch trials rightly."""
    name = table.session(experiment, outcome, **more)
    folder = table.folder
    for question in folder.of(experiment, "practice")[:5]:
        table.answer(name, "practice", question.name, True, block=1)
    for at, question in enumerate(folder.of(experiment, "catch")[:5]):
        table.answer(name, "catch", question.name, at < caught)
    for at, question in enumerate(questions):
        table.answer(name, "main", question, bool(right[at]), confidence=1 + at % 3)
    return name


def answered(
    folder: Folder, n_sessions: int, seed: int = 0, settings: Settings | None = None, source="people"
) -> Table:
    """Sessions of the list, dealt in its order and again from its beginning; people and units differ in ease."""
    table = Table(folder, settings, source)
    draw = generator(seed, "made up")
    ease = {key: draw.normal(1.5, 0.8) for key in sorted({q.unit for q in folder.questions.values() if q.unit})}
    for number in range(n_sessions):
        listed = folder.sessions[number % len(folder.sessions)]
        person = draw.normal(0, 0.4)
        p = [1 / (1 + np.exp(-ease[folder.questions[name].unit] - person)) for name in listed.questions]
        right = draw.random(len(p)) < np.array(p)
        walk(table, listed.experiment, list(listed.questions), right, listed=listed.session)
    return table
