"""Verdicts on sessions: facts by hand, and one session at a time as all at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiment import verdicts
from study.params.human import Checks

CHECKS = Checks(
    max_demo_blocks=3,
    min_catch_share=0.8,
    min_seconds=135,
    max_seconds=2500,
    min_row=5,
    min_instruction_seconds=15,
    multi_participation="recomputed",
)
SESSION = {
    "session": "aaaaaaaaaaaa",
    "number": 7,
    "experiment": "resnet_natural",
    "attempt": 1,
    "person": None,
    "returned": 0,
    "started": 1000.0,
    "ended": 1600.0,
    "outcome": "complete",
    "accepted": 1,
}
EVENTS = [
    {"session": "aaaaaaaaaaaa", "number": n, "name": name, "at": at}
    for n, (name, at) in enumerate([("started", 1000.0), ("consent", 1010.0), ("instructions", 1040.5)])
]


def practice(*blocks):
    return [
        {"kind": "practice", "block": number, "correct": right, "button": 0}
        for number, block in enumerate(blocks, start=1)
        for right in block
    ]


def shown(n_upper=20, n_lower=20, caught=(1, 1, 1, 1, 1)):
    buttons = [0] * n_upper + [5] * n_lower
    main = [{"kind": "main", "block": None, "correct": 0, "button": button} for button in buttons]
    return main + [{"kind": "catch", "block": None, "correct": right, "button": 2} for right in caught]


def frames(session, answers, events):
    rows = [{"session": session["session"], **row} for row in answers]
    columns = ["session", "kind", "block", "correct", "button"]
    return (
        pd.DataFrame([session]),
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(events, columns=["session", "number", "name", "at"]),
    )


def both(session, answers, events, checks=CHECKS):
    """The verdict of one session, which both ways must say."""
    one = verdicts.verdict(session, answers, events, checks)
    every = verdicts.judged(verdicts.facts(*frames(session, answers, events)), checks).iloc[0]
    assert (one.accepted, one.reason) == (every["accepted"], every["reason"])
    return one


def test_the_facts_of_a_session():
    answers = practice([1, 1, 0, 1, 1], [1, 1, 1, 1, 1]) + shown(12, 28, (1, 1, 0, 1, 1))
    facts = verdicts.facts(*frames(SESSION, answers, EVENTS)).loc["aaaaaaaaaaaa"]
    assert facts["task_id"] == "resnet_natural-7"
    assert facts["response_index"] == 1
    assert facts["participant_id"] == "session-aaaaaaaaaaaa"
    assert facts[["demo_blocks", "n_upper", "n_lower"]].tolist() == [2, 17, 28]
    assert facts["catch_share"] == pytest.approx(0.8)
    assert facts["seconds"] == 600
    assert facts["instruction_seconds"] == 30.5
    assert both(SESSION, answers, EVENTS) == verdicts.Verdict(True, "")


@pytest.mark.parametrize(
    ("change", "answers", "reason"),
    [
        (
            {},
            practice([1] * 4 + [0]) * 1 + shown(),
            "",
        ),  # a second block would have been the right one: two are allowed
        ({}, practice(*[[0] * 5] * 3) + shown(), "demo_trials"),
        ({"outcome": "practice"}, practice(*[[0] * 5] * 3), "not complete; demo_trials; row_variability"),
        ({}, practice([1] * 5) + shown(caught=(1, 0, 0, 1, 1)), "catch_trials"),
        ({}, practice([1] * 5) + shown(caught=()), ""),  # settings without catch trials
        ({"ended": 1134.9}, practice([1] * 5) + shown(), "total_response_time"),
        ({"ended": 3500.1}, practice([1] * 5) + shown(), "total_response_time"),
        ({"ended": 3500.0}, practice([1] * 5) + shown(), ""),
        ({}, practice([1] * 5) + shown(36, 4), "row_variability"),
        ({"returned": 1}, practice([1] * 5) + shown(), "multi_participation"),
        ({"outcome": "left"}, practice([1] * 5) + shown(), "not complete"),
        (
            {"outcome": None, "ended": None, "accepted": None},
            [],
            "not complete; total_response_time; row_variability",
        ),
    ],
)
def test_why_a_session_does_not_count(change, answers, reason):
    assert both(SESSION | change, answers, EVENTS).reason == reason


def test_who_skips_the_instructions_is_refused():
    quick = [event | {"at": 1024.9} if event["name"] == "instructions" else event for event in EVENTS]
    answers = practice([1] * 5) + shown()
    assert both(SESSION, answers, quick).reason == "instruction_time"
    assert both(SESSION, answers, EVENTS[:2]).reason == "instruction_time"


def test_repeated_participation_can_be_ignored():
    answers = practice([1] * 5) + shown()
    ignoring = dataclasses.replace(CHECKS, multi_participation="ignore")
    assert both(SESSION | {"returned": 1}, answers, EVENTS, ignoring).accepted


def test_many_sessions_at_once_are_judged_as_one_by_one():
    draw = np.random.default_rng(3)
    sessions, answers, events, alone = [], [], [], []
    for number in range(200):
        name = f"s{number:011d}"
        session = SESSION | {
            "session": name,
            "number": number,
            "returned": int(draw.random() < 0.1),
            "person": None if draw.random() < 0.3 else f"p{number}",
            "ended": 1000.0 + 3000 * draw.random(),
            "outcome": ["complete", "complete", "left", "time"][draw.integers(4)],
        }
        blocks = [list(draw.random(5) < 0.9) for _ in range(draw.integers(0, 5))]
        rows = practice(*blocks) + shown(int(draw.integers(0, 41)), int(draw.integers(0, 41)), draw.random(5) < 0.85)
        times = [("consent", 1005.0), ("instructions", 1005 + 60 * draw.random()), ("instructions", 1900.0)]
        said = [{"session": name, "number": n, "name": word, "at": at} for n, (word, at) in enumerate(times)]
        alone.append(verdicts.verdict(session, rows, said, CHECKS))
        sessions.append(session)
        answers += [{"session": name, **row} for row in rows]
        events += said
    table = verdicts.facts(pd.DataFrame(sessions), pd.DataFrame(answers), pd.DataFrame(events))
    found = verdicts.judged(table, CHECKS)
    assert found.index.tolist() == [session["session"] for session in sessions]
    assert found["accepted"].tolist() == [one.accepted for one in alone]
    assert found["reason"].tolist() == [one.reason for one in alone]
    assert 20 < sum(one.accepted for one in alone) < 180
