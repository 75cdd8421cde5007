"""Participants made up: they are who they should be, a small rehearsal of them goes well, and a bad one is told."""

import argparse
import asyncio
import dataclasses
import json
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from experiment import verdicts
from experiment.answers import text_of
from experiment.commands import rehearse
from experiment.commands.prepare import prepare
from experiment.recorded import read
from experiment.rehearsal import chromium, crowds, participants, rating, recovery
from experiment.rehearsal.bare_server import BARE
from experiment.rehearsal.choosing import walk
from experiment.rehearsal.http import Client
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import HONEST, KINDS, SHARES, Participant, Press, Rater, participant
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.walking import Answered, Chooser, Ticker, Walked
from experiment.settings import Settings
from experiment.study_folder import Folder
from interpretability.schema import KEY
from interpretability.synthetic.observers import Population
from study.errors import StudyError
from study.params.crowd import SimulatedRaters
from study.params.reading import load
from study.people.fitting import CalibrationParams
from tests.experiment import folders
from tests.helpers.rules import ROOT

PEOPLE = Population(6.0, 0.3, 0.05)
UNITS, RESPONSES, SIZE = 20, 6, 20  # 6 sessions of 20


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    return folders.two_alternative(
        folder, n_units=UNITS, n_tasks=2, size=SIZE, n_sessions=3, responses=RESPONSES, checks={"min_row": 3}
    )


@pytest.fixture(scope="module")
def folder(questions):
    return Folder.read(questions)


def keys_of(folder):
    return Keys(folder, dict.fromkeys(folder.questions, 0.3))


# --------------------------------------------------------------------------- people


def test_people_are_drawn_by_key_and_in_the_planned_shares():
    drawn = [participant(3, number, PEOPLE, 40) for number in range(1, 2001)]
    assert drawn[6] == participant(3, 7, PEOPLE, 40) != participant(4, 7, PEOPLE, 40)
    counts = Counter(person.kind for person in drawn)
    for kind in KINDS[1:]:
        assert counts[kind] == pytest.approx(2000 * SHARES[kind], abs=4 * np.sqrt(2000 * SHARES[kind]))
    assert np.median([person.slope for person in drawn]) == pytest.approx(6.0, rel=0.05)
    assert np.mean([person.lapse for person in drawn]) == pytest.approx(0.05, rel=0.1)


def test_an_honest_person_answers_by_the_margin(folder):
    person = Participant(0, 1, HONEST, slope=6.0, lapse=0.1, pace=10.0, reading=30.0, leaves_at=0, closes=False)
    question = folder.questions["q000001"]
    assert person.probability(question, 0.2) == pytest.approx(0.05 + 0.9 * expit(1.2))
    assert person.probability(question, -50.0) == pytest.approx(0.05)
    others = [dataclasses.replace(person, number=number) for number in range(4000)]
    right = [other.press(question, 0.2).right for other in others]
    p = person.probability(question, 0.2)
    assert np.mean(right) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000))
    assert person.press(question, 0.2) == person.press(question, 0.2)
    confidences = Counter(other.press(question, 0.2).confidence for other in others)
    assert set(confidences) == {1, 2, 3}


def test_other_kinds_go_wrong_where_they_should(folder):
    person = participant(0, 1, PEOPLE, 40)
    practice, catch, main = (folder.questions[name] for name in ("p0001", "c0001", "q000001"))
    p = {kind: dataclasses.replace(person, kind=kind).probability for kind in KINDS}
    assert p[HONEST](catch, -9.0) == p["slow"](catch, -9.0) == p["careless"](practice, -9.0) == 0.99
    assert p["careless"](main, 9.0) == p["careless"](catch, 9.0) == 0.5
    assert p["unpractised"](practice, 9.0) == 0.3
    assert p["unpractised"](main, 0.1) == p[HONEST](main, 0.1)


def test_a_rater_errs_at_the_given_rates():
    rater = Rater(0, "r", false_yes=0.2, false_no=0.4, seconds=9.0)
    present = [True] * 500 + [False] * 500
    picked = np.isin(np.arange(1000), rater.picks(3, present))
    assert picked[:500].mean() == pytest.approx(0.6, abs=0.09)
    assert picked[500:].mean() == pytest.approx(0.2, abs=0.07)
    assert rater.picks(3, present) != rater.picks(4, present)


def test_raters_lie_around_the_rates_of_the_study():
    people = SimulatedRaters(
        n_raters=9, false_yes=0.15, false_no=0.0, spread=0.4, hard_images=0.0, lazy=0, inverted=0, silent=0
    )
    drawn = [rating.rater_of(0, number, people) for number in range(300)]
    assert np.median([rater.false_yes for rater in drawn]) == pytest.approx(0.15, abs=0.02)
    assert {rater.false_no for rater in drawn} == {0.0}


# --------------------------------------------------------------------------- keys


def test_questions_are_found_by_their_pictures_in_any_order(folder):
    keys, question = keys_of(folder), folder.questions["q000003"]

    def told(files):
        return [{"sha256": folder.pictures[file].sha256} for file in files]

    trial = {"trial": 20, "left": told(question.left[::-1]), "right": told(question.right)}
    trial |= {"top": told([question.top])[0], "bottom": told([question.bottom])[0]}
    assert keys.question(trial) == question
    right = keys.button(trial, question, Press(True, 2, 1.0))
    assert right == (1 if question.answer == "top" else 4)
    assert keys.button(trial, question, Press(False, 3, 1.0)) == (5 if question.answer == "top" else 2)
    assert keys.button(trial, question, Press(False, 3, 1.0), upper=True) == 2
    assert keys.right(trial, question, right)
    assert not keys.right(trial, question, 5 - right)
    with pytest.raises(StudyError, match="no question of"):
        keys.question({**trial, "left": []})


def test_two_questions_with_the_same_pictures_are_refused(folder):
    one = folder.questions["q000001"]
    twice = {**folder.questions, "q000099": dataclasses.replace(one, name="q000099")}
    with pytest.raises(StudyError, match="asks twice about the same pictures"):
        Keys(dataclasses.replace(folder, questions=twice))


# --------------------------------------------------------------------------- a small rehearsal


@pytest.fixture(scope="module")
def rehearsed(questions, tmp_path_factory):
    """Recorded, people and keys of a rehearsal over HTTP."""
    out = tmp_path_factory.mktemp("rehearsal")
    prepare(out / "run", questions, simulated=True, settings={"wait_seconds": 0.0})
    keys = keys_of(read(out / "run").folder)
    with ServerProcess(out / "run", out / "log", command=BARE, options=("--clock-rate", "40")) as server:
        people = walk(server, keys, PEOPLE, None, 0)
    return read(out / "run"), people, keys


def test_people_come_until_every_unit_has_its_answers(rehearsed):
    recorded, people, _ = rehearsed
    counted = recorded.sessions[recorded.sessions["accepted"] == 1]
    assert len(counted) == UNITS * RESPONSES / SIZE
    main = recorded.answers[recorded.answers["kind"] == "main"]
    main = main[main["session"].isin(counted["session"])]
    units = main["question"].map(lambda name: recorded.folder.questions[name].unit)
    assert units.value_counts().unique().tolist() == [RESPONSES]
    assert len(people.walked) >= len(counted)
    assert any(walked.n_pictures for walked in people.walked) == (len(people.walked) >= 10)


def test_the_server_kept_what_people_know_to_have_said(rehearsed):
    recorded, people, _ = rehearsed
    kept = recorded.answers[["session", "trial", "key", "question", "button", "correct"]]
    known = [
        (walked.session, answer.trial, answer.key, answer.question, answer.button, int(answer.right))
        for walked in people.walked
        for answer in walked.answers
    ]
    assert sorted(known) == sorted(kept.itertuples(index=False, name=None))


def test_verdicts_are_as_people_expect_and_a_wrong_one_is_told(rehearsed):
    recorded, people, _ = rehearsed
    facts = verdicts.facts(recorded.sessions, recorded.answers, recorded.events)
    judged = verdicts.judged(facts, recorded.settings.checks)
    walked = [*people.walked, people.again]
    assert recovery.surprises(walked, judged, recorded.settings) == []
    ends = recovery.kinds_and_ends(people.kinds, walked, judged)
    assert ends["came"].sum() == len(walked)
    assert ends.set_index("kind").loc["comes again", "not complete"] == 1
    first = next(each for each in people.walked if judged.loc[each.session, "accepted"])
    wrong = judged.copy()
    wrong.loc[first.session, ["accepted", "reason"]] = False, "catch_trials"
    told = recovery.surprises(walked, wrong, recorded.settings)
    assert told == [f"{first.name}: expected accepted, found ['catch_trials']"]


def test_who_comes_again_in_another_browser_is_known_and_turned_away(rehearsed):
    recorded, people, _ = rehearsed
    assert people.again.outcome == "before"
    last = recorded.sessions.iloc[-1]
    assert (last["session"], last["returned"], last["accepted"]) == (people.again.session, 1, 0)


def test_all_that_comes_out_is_called_simulated(rehearsed):
    recorded, _, _ = rehearsed
    assert recorded.source == "simulated"
    for form in ("questions", "table", "imi"):
        lines = text_of(recorded, form).splitlines()
        assert lines[0].split(",")[-1] == "source"
        assert {line.rpartition(",")[2] for line in lines[1:]} == {"simulated"}


def test_the_same_seed_makes_the_same_rehearsal(rehearsed, questions, tmp_path):
    recorded, _, keys = rehearsed
    prepare(tmp_path / "run", questions, simulated=True, settings={"wait_seconds": 0.0})
    with ServerProcess(tmp_path / "run", tmp_path / "log", command=BARE) as server:
        walk(server, keys, PEOPLE, None, 0)

    def said(found):
        named = found.answers.merge(found.sessions[["session", "number"]], on="session")
        columns = ["number", "trial", "question", "button", "correct", "rt"]
        return named[columns].sort_values(columns).to_numpy().tolist()

    assert said(read(tmp_path / "run")) == said(recorded)


def test_raters_tick_what_the_server_keeps(tmp_path):
    pages = folders.ratings(tmp_path / "pages", n_pages=8, raters=2)
    prepare(tmp_path / "run", pages, simulated=True, settings={"pages_a_session": 4})
    keys = Keys(Folder.read(tmp_path / "run/questions"))
    present = {(page.text, file): True for page in keys.folder.pages.values() for file in page.pictures}

    def walker(number):
        rater = Rater(0, f"simulated-{number}", 0.0, 0.5 if number > 1 else 1.0, 9.0)
        return Ticker(
            Client(HOST, server.port), keys, rater.name, 30.0, pictures=number == 2, rater=rater, present=present
        )

    with ServerProcess(tmp_path / "run", tmp_path / "log", command=BARE) as server:
        walked = crowds.Crowd(walker, [], server.address).all()
    recorded = read(tmp_path / "run")
    assert len(walked) == 4
    assert recorded.pages["page"].value_counts().unique().tolist() == [2]
    kept = {(row.session, row.page): json.loads(row.picked) for row in recorded.pages.itertuples()}
    assert kept == {(each.session, page): picked for each in walked for page, picked in each.ratings.items()}
    first = recorded.pages[recorded.pages["session"] == walked[0].session]
    assert (first["nothing"] == 1).all()  # whoever misses everything says so


# --------------------------------------------------------------------------- what is expected, by hand

BUTTONS = [0, 3] * 10


def walked_of(*, practice=5, caught=(True,) * 5, buttons=BUTTONS, seconds=600.0, reading=30.0):
    answers = [Answered(trial, "", "practice", "p", 0, True) for trial in range(practice)]
    answers += [Answered(15 + at, "", "main", "q", button, True) for at, button in enumerate(buttons)]
    answers += [Answered(60 + at, "", "catch", "c", 3 * (at % 2), right) for at, right in enumerate(caught)]
    return Walked("x", "s", answers, {}, reading, seconds, "complete")


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, set()),
        ({"practice": 15}, set()),
        ({"practice": 16}, {"demo_trials"}),
        ({"caught": (True, True, True, True, False)}, set()),
        ({"caught": (True, True, True, False, False)}, {"catch_trials"}),
        ({"buttons": [0] * 20}, {"row_variability"}),
        ({"seconds": 134.9}, {"total_response_time"}),
        ({"seconds": 2500.1}, {"total_response_time"}),
        ({"seconds": None, "reading": None}, set()),
        ({"reading": 14.9, "seconds": 100.0}, {"instruction_time", "total_response_time"}),
    ],
)
def test_what_a_participant_expects(change, reasons):
    assert recovery.expected_reasons(walked_of(**change), Settings()) == reasons


def test_wilson_against_published_values():
    low, high = recovery.wilson(np.array([0.0, 0.5, 1.0]), np.array([10, 10, 10]), 0.95)
    # Agresti and Coull, 1998: score intervals of 0 and 5 of 10
    assert low == pytest.approx([0.0, 0.2366, 0.7225], abs=5e-5)
    assert high == pytest.approx([0.2775, 0.7634, 1.0], abs=5e-5)


def test_known_scores_and_slope_are_held_against_answers(folder, tmp_path):
    margins = np.random.default_rng(0).normal(0.25, 0.2, (UNITS, 2)).astype(np.float32)
    asked = [question for question in folder.questions.values() if question.kind == "main"]
    units = list(dict.fromkeys(question.unit for question in asked))
    columns = dict(zip(KEY, map(list, zip(*units, strict=True)), strict=True))
    table = pa.table({**columns, "margins": list(margins), "near": [[]] * UNITS})
    pq.write_table(table, tmp_path / "encoder.parquet")
    of = {question.name: float(margins[units.index(question.unit), question.task]) for question in asked}
    keys = Keys(folder, of)
    people = {number: participants.participant(1, number, PEOPLE, 40) for number in range(1, 41)}
    people = {number: dataclasses.replace(person, kind=HONEST) for number, person in people.items()}
    rows = [
        (
            *question.unit,
            question.task,
            f"resnet_natural-{number}/1",
            people[number].press(question, of[question.name]).right,
        )
        for number in people
        for question in asked[number % 2 :: 2]
    ]
    answers = pd.DataFrame(rows, columns=[*KEY, "task", "participant", "correct"])
    params = load(ROOT / "params.yaml", CalibrationParams)
    found = recovery.recovered(answers, keys, people.__getitem__, params, tmp_path / "encoder.parquet")
    unit = units[3]
    [row] = found.units[(found.units[list(KEY)] == list(unit)).all(axis=1)].to_dict("records")
    given = [(number, question) for number in people for question in asked[number % 2 :: 2] if question.unit == unit]
    assert row["n_responses"] == len(given)
    assert row["p_true"] == pytest.approx(
        np.mean([people[number].probability(question, of[question.name]) for number, question in given])
    )
    assert found.share_inside >= 0.9
    assert found.slope_inside
    wrong = recovery.recovered(
        answers.assign(correct=False), keys, people.__getitem__, params, tmp_path / "encoder.parquet"
    )
    assert wrong.share_inside < 0.1
    assert not wrong.slope_inside


# --------------------------------------------------------------------------- errors


def test_a_rehearsal_takes_the_place_of_another_one_alone(tmp_path):
    out = rehearse.new_place(tmp_path / "out")
    (out / "more").mkdir()
    assert [path.name for path in rehearse.new_place(out).iterdir()] == [rehearse.MARK]
    (tmp_path / "kept").write_text("x")
    with pytest.raises(StudyError, match="holds something else than a rehearsal"):
        rehearse.new_place(tmp_path)


def test_without_chromium_the_way_on_is_told(monkeypatch):
    monkeypatch.setattr(chromium, "NAMES", ("no-such-browser",))
    with pytest.raises(StudyError, match="--no-browser"), rehearse.browser(True):
        pass
    with rehearse.browser(False) as nothing:
        assert nothing is None


def test_without_packages_of_npm_pages_are_refused_or_left_out(monkeypatch):
    def missing():
        raise StudyError("jsPsych is missing.")

    monkeypatch.setattr("experiment.assets.Assets.load", missing)
    with pytest.raises(StudyError, match=r"jsPsych is missing\. Or let everybody come over HTTP: .* --no-browser"):
        rehearse.server_command(needs_pages=True)
    assert rehearse.server_command(needs_pages=False) == BARE


def test_a_server_that_ends_says_why(tmp_path):
    with pytest.raises(StudyError, match=r"ended with status 1 before it answered: .*no such folder"):
        ServerProcess(tmp_path / "none", tmp_path / "log", command=BARE).start()


def test_a_refused_participant_names_what_was_said(questions, folder, tmp_path):
    prepare(tmp_path / "run", questions, simulated=True)
    person = participant(0, 1, PEOPLE, 5)

    async def wrong(port):
        chooser = Chooser(Client(HOST, port), keys_of(folder), "simulated-1", 30.0, person=person)
        assert await chooser.start()
        try:
            await chooser.step("comment", {"text": 5})
        finally:
            await chooser.client.close()

    with (
        ServerProcess(tmp_path / "run", tmp_path / "log", command=BARE) as server,
        pytest.raises(StudyError, match=r"simulated-1 \(session .{12}, stage instructions\) got status 422"),
    ):
        asyncio.run(wrong(server.port))


def test_the_command_has_its_options():
    line = argparse.ArgumentParser()
    rehearse.add_arguments(line)
    args = line.parse_args(["--no-browser"])
    assert (args.no_browser, args.units, args.model) == (True, 28, "resnet")
