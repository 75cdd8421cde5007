"""Simulated people in sessions: how sure they are, who passes the checks, and that nothing of it changes an answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from interpretability.people import sessions as rules
from interpretability.randomness import generator
from interpretability.synthetic import observers
from interpretability.synthetic.confidence import _CRITERIA, _SPREAD, confidences
from interpretability.synthetic.sessions import (
    N_PRESSES,
    Conduct,
    careful_sessions,
    careless_answers,
    careless_sessions,
    n_careless,
)

IMI = rules.Bounds(3, 0.8, 135, 2500, 5, 15, "recomputed")
CONDUCT = Conduct(careless=0.43, minutes=11)
PEOPLE = [f"net-{number:03d}" for number in range(400)]
POPULATION = observers.Population(6.25, 0.3, 0.05)


def judged(table):
    stored = {f"stored_{check}": True for check in rules.CHECKS}
    names = {"task_id": "net", "response_index": range(len(table)), "stored_multi_participation": table["returned"]}
    return rules.judge(table.assign(**names, **stored), IMI)


@pytest.fixture(scope="module")
def careful():
    return careful_sessions(PEOPLE, np.full(400, 40), CONDUCT, 0, "net")


@pytest.fixture(scope="module")
def careless(careful):
    return careless_sessions(careful, 400, 40, CONDUCT, 0, "net")


def test_who_cares_passes_and_who_does_not_is_refused(careful, careless):
    verdict = judged(pd.concat([careful, careless], ignore_index=True))
    assert verdict["accepted"].tolist() == [True] * 400 + [False] * 400
    # every check refuses somebody
    refused = verdict["reason"].str.split("; ").explode().value_counts()
    assert set(refused.index) - {""} == {*rules.CHECKS, rules.REPEATED}
    assert refused.min() >= 60  # a sixth of 400, and chance


def test_sessions_with_few_tasks_are_as_long_as_others():
    few = careful_sessions(PEOPLE, np.ones(400, dtype=int), CONDUCT, 0, "net")
    assert (few["n_upper"] + few["n_lower"] == N_PRESSES).all()
    assert judged(few)["accepted"].all()


def test_times_follow_the_median_that_is_asked_for():
    longer = careful_sessions(PEOPLE, np.full(400, 40), Conduct(0.43, 22), 0, "net")
    assert longer["seconds"].median() == pytest.approx(22 * 60, rel=0.1)


def test_sessions_repeat_and_hang_on_their_names(careful, careless):
    pd.testing.assert_frame_equal(careful, careful_sessions(PEOPLE, np.full(400, 40), CONDUCT, 0, "net"))
    pd.testing.assert_frame_equal(careless, careless_sessions(careful, 400, 40, CONDUCT, 0, "net"))
    other = careful_sessions(PEOPLE, np.full(400, 40), CONDUCT, 0, "other")
    assert not other["seconds"].equals(careful["seconds"])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.43, 48), (0.5, 63)])
def test_the_share_of_the_careless_is_that_of_all_sessions(share, expected):
    found = n_careless(63, Conduct(share, 11))
    assert found == expected
    assert found / (63 + found) == pytest.approx(share, abs=0.005)


def test_nobody_careless_is_an_empty_table(careful):
    none = careless_sessions(careful, 0, 40, CONDUCT, 0, "net")
    assert none.empty
    assert list(none.columns) == list(careful.columns)
    answers = careless_answers(np.ones((50, 4)), [], POPULATION, 40, 0, "net")
    assert answers.empty


def test_the_careless_mostly_guess():
    margins = np.full((84, 20), 5.0)  # nobody who looks errs
    answers = careless_answers(margins, [f"c{number}" for number in range(100)], POPULATION, 40, 0, "net")
    assert len(answers) == 100 * 40
    assert not answers.duplicated(["participant", "unit"]).any()
    # 0.8 guesses, half of them right; standard error below 0.01
    assert answers["correct"].mean() == pytest.approx(0.6, abs=0.04)


def test_confidence_changes_no_answer(monkeypatch):
    margins = np.random.default_rng(0).normal(0.2, 0.3, (60, 20))
    found = observers.simulate_responses(margins, POPULATION, 30, 40, 0, "net")
    monkeypatch.setattr(observers, "confidences", lambda correct, *others: np.ones(len(correct), np.int8))
    without = observers.simulate_responses(margins, POPULATION, 30, 40, 0, "net")
    pd.testing.assert_frame_equal(found.drop(columns="confidence"), without.drop(columns="confidence"))
    assert set(found["confidence"]) == {1, 2, 3}
    assert found["confidence"].dtype == np.int8


def test_the_surer_are_right_more_often_and_guessers_know_it():
    draw = generator(0, "test")
    n = 200_000
    evidence, person = draw.normal(1.0, 1.5, n), draw.integers(500, size=n)
    lapse = np.full(n, 0.2)
    correct = draw.random(n) < 0.1 + 0.8 * expit(evidence)
    sure = confidences(correct, evidence, lapse, person, draw)
    shares = [correct[sure == level].mean() for level in (1, 2, 3)]
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05
    # whoever only guesses says 1, and is right in half of the answers
    guessing = confidences(draw.random(n) < 0.5, evidence, np.ones(n), person, draw)
    assert (guessing == 1).all()


def test_strong_evidence_for_what_was_answered_is_high_confidence():
    person, draw = np.zeros(1000, dtype=int), generator(1, "test")
    lapse = np.zeros(1000)
    right = np.ones(1000, dtype=bool)
    assert (confidences(right, np.full(1000, 50.0), lapse, person, draw) == 3).all()
    # a wrong answer against such evidence can only be a faint impression
    assert confidences(~right, np.full(1000, 50.0), lapse, person, draw).mean() < 2.5
    assert confidences(right[:0], lapse[:0], lapse[:0], person[:0], draw).shape == (0,)


def test_confidence_is_the_distance_of_what_was_seen_from_indifference():
    """Against seeing first and answering then: the same people, the same criteria, another order of draws."""
    n = 400_000
    draw = generator(2, "test")
    evidence, person, none = draw.normal(0.5, 1.0, n), np.zeros(n, dtype=int), np.zeros(n)
    seen = evidence + draw.logistic(size=n)
    found = confidences(seen > 0, evidence, none, person, generator(3, "one person"))
    # the one person's factor on both criteria, drawn as there
    other = generator(3, "one person")
    other.random(2 * n)
    scale = float(np.exp(_SPREAD * other.standard_normal(1))[0])
    expected = 1 + sum((np.abs(seen) > criterion * scale).astype(int) for criterion in _CRITERIA)
    for level in (1, 2, 3):
        for right in (False, True):
            both = [((values == level) & ((seen > 0) == right)).mean() for values in (found, expected)]
            assert both[0] == pytest.approx(both[1], abs=0.004)
