"""Runs whose database is filled as a server would have filled it, without one: participants of known share of right answers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiment import recorded
from experiment.commands.prepare import prepare
from experiment.study_folder import Folder, Question
from interpretability.randomness import generator

START = 1_800_000_000.0
Changes = Mapping[int, Mapping[str, Any]]


def filled_run(
    run: Path,
    questions: Path,
    p_right: Callable[[Question], float],
    *,
    changes: Changes | None = None,
    simulated: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> recorded.Recorded:
    """A run in which every listed session was attended once, and what it recorded.

    p_right  share of right answers to a question of the main part
    changes  number of arrival -> how that session differs: columns of the table session, and `caught` (right catch trials),
             `row` (0 or 3: all presses in one row), `read` (seconds of instructions), `failed` (blocks of practice before the
             right one), `n` (answers to the main part, where the person left)
    """
    prepare(run, questions, simulated=simulated, settings=settings)
    folder = Folder.read(run / "questions")
    source = "simulated" if simulated else "people"
    with sqlite3.connect(recorded.database(run)) as connection:
        for number, listed in enumerate(folder.sessions, start=1):
            own = {**(changes or {}).get(number, {})}
            _attend(connection, folder, number, listed, p_right, source, own)
    connection.close()
    return recorded.read(run)


def _attend(connection: Any, folder: Folder, number: int, listed: Any, p_right: Any, source: str, own: Any) -> None:
    draw = generator(7, "filled run", number)
    name, started = f"{number:012d}", START + 40.0 * number
    practice, catch = (folder.of(listed.experiment, kind) for kind in ("practice", "catch"))
    main = [folder.questions[each] for each in listed.questions][: own.pop("n", None)]
    caught, row, failed, read = (own.pop(key, None) for key in ("caught", "row", "failed", "read"))
    clock = ready = started + 5 + (30.0 if read is None else read)
    answers: list[tuple[Any, ...]] = []

    def press(trial: int, question: Question, block: int | None, position: int, right: bool) -> None:
        nonlocal clock
        seconds = 2 + 10 * draw.random()
        clock += seconds
        choice = question.answer if right else ("bottom" if question.answer == "top" else "top")
        confidence = int(draw.integers(1, 4))
        button = (0 if choice == "top" else 3) + confidence - 1
        if row is not None:
            button = row + confidence - 1
        known = name, trial, f"key-{number}-{trial}", question.kind, block, position, question.name
        answers.append((*known, button, choice, int(right), confidence, round(1000 * seconds, 1), clock))

    blocks = 1 + (failed or 0)
    for block in range(1, blocks + 1):
        for position in range(1, 6):
            press((block - 1) * 5 + position - 1, practice[position], block, position, block == blocks or position > 1)
    shown: Sequence[Question] = [(*main, *catch[:5])[at] for at in draw.permutation(len(main) + 5)]
    n_caught = 0
    for position, question in enumerate(shown, start=1):
        right = (
            draw.random() < p_right(question)
            if question.kind == "main"
            else n_caught < (5 if caught is None else caught)
        )
        n_caught += question.kind == "catch"
        press(5 * max(3, blocks) + position - 1, question, None, position, bool(right))
    session = _session(number, source, listed.experiment, [question.name for question in shown], started) | {
        "listed": listed.session,
        "seen": clock,
        "ended": clock + 1,
        "block": blocks,
        **own,
    }
    _insert(connection, "session", [tuple(session.values())], list(session))
    _insert(connection, "answer", answers)
    end = clock + 1
    times = [
        ("started", started),
        ("consent", started + 5),
        ("instructions", ready),
        ("complete", end),
    ]
    _insert(connection, "event", [(name, n, word, at, None) for n, (word, at) in enumerate(times, start=1)])


def _session(
    number: int, source: str, experiment: str, planned: Sequence[Any], started: float = START
) -> dict[str, Any]:
    """A row of the table session that ended as it should."""
    return {
        "session": f"{number:012d}",
        "token": f"token {number}",
        "secret": b"secret",
        "number": number,
        "experiment": experiment,
        "listed": None,
        "attempt": 1,
        "plan": json.dumps({"practice": [], "main": planned} if experiment != "ratings" else {"pages": planned}),
        "person": f"{number:032x}" if number % 2 else None,
        "platform": "prolific" if number % 2 else "direct",
        "returned": 0,
        "source": source,
        "started": started,
        "seen": started,
        "ended": started + 600,
        "stage": "end",
        "block": 1,
        "outcome": "complete",
        "accepted": None,
        "code": f"CODE{number}",
        "comment": 'secret words, "quoted"',
        "screen": "{}",
    }


def _insert(connection: Any, table: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str] = ()) -> None:
    names = f"({', '.join(columns)})" if columns else ""
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} {names} VALUES ({marks})", rows)


def rated_run(run: Path, questions: Path, *, simulated: bool = True, raters: int = 3) -> recorded.Recorded:
    """A run in which as many raters sent every page; one of them came twice, one left after the first page."""
    prepare(run, questions, simulated=simulated)
    folder = Folder.read(run / "questions")
    source = "simulated" if simulated else "people"
    draw = generator(7, "rated run")
    with sqlite3.connect(recorded.database(run)) as connection:
        number = 0
        for rater in range(raters + 1):
            every = list(folder.pages)
            parts = [every[:3], every[3:]] if rater == 0 else [every[:1]] if rater == raters else [every]
            for pages in parts:
                number += 1
                session = _session(number, source, "ratings", pages)
                session |= {
                    "person": f"{rater:032x}" if rater != 1 else None,
                    "outcome": "left" if rater == raters else "complete",
                }
                _insert(connection, "session", [tuple(session.values())], list(session))
                rows = []
                for trial, page in enumerate(pages):
                    picked = [
                        place for place in range(len(folder.pages[page].pictures)) if draw.random() < 0.3 * (page > 1)
                    ]
                    seconds = 5 + round(20 * draw.random(), 3)
                    rows.append(
                        (
                            session["session"],
                            trial,
                            f"key {number} {trial}",
                            page,
                            json.dumps(picked),
                            int(not picked),
                            seconds,
                            START,
                        )
                    )
                _insert(connection, "page", rows)
    connection.close()
    return recorded.read(run)
