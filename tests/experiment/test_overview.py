"""What a researcher sees while people answer: counts and scores by hand, forecasts, money, and nothing that names anybody."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from experiment import progress
from experiment.overview import overview
from experiment.settings import Pay, Settings
from experiment.study_folder import Folder
from interpretability.analysis.machine_beside_human import his_summary
from interpretability.design import drawn_studies, price
from interpretability.explanations import raters
from interpretability.people import two_way
from interpretability.people.human_scores import human_scores
from interpretability.randomness import generator
from tests.experiment import folders, made_up

LATER = made_up.START + 7200
NAME = "resnet_natural"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "two"
    return Folder.read(folders.two_alternative(path, n_units=20, n_tasks=2, size=10, n_sessions=20, responses=10))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return Folder.read(folders.ratings(tmp_path_factory.mktemp("questions") / "pages", n_pages=4))


@pytest.fixture(scope="module")
def mixed(folder):
    """12 sessions that count, one with too few catch trials right, and one of each other end."""
    table = made_up.answered(folder, 12)
    made_up.walk(table, NAME, list(folder.sessions[0].questions), np.ones(10), caught=3)
    failed = table.session(NAME, "practice", minutes=3)
    for block in (1, 2, 3):
        for question in folder.of(NAME, "practice")[:5]:
            table.answer(failed, "practice", question.name, False, block=block)
    for outcome in (None, "left", "time", "before"):
        table.session(NAME, outcome)
    return table


def test_counts_are_those_of_the_sessions(mixed):
    shown = overview(mixed.recorded(), LATER)
    assert shown["counts"] == {
        "arrived": 18,
        "running": 1,
        "complete": 13,
        "practice": 1,
        "left": 1,
        "time": 1,
        "before": 1,
        "accepted": 12,
        "refused": 2,
    }
    assert (shown["pass_share"]["passed"], shown["pass_share"]["of"]) == (12, 14)
    assert shown["pass_share"]["low"] < 12 / 14 < shown["pass_share"]["high"]
    newest = {row["number"]: row for row in shown["sessions"]["newest"]}
    assert list(newest) == list(range(18, 0, -1))
    assert [newest[n]["verdict"] for n in (1, 13, 14, 15, 16)] == [
        *("counts", "catch_trials", "demo_trials", "running", "not complete"),
    ]
    assert newest[15]["minutes"] == pytest.approx((7200 - 14 * 60) / 60)
    assert newest[15]["silent"] == pytest.approx(7200 - 14 * 60 - 60)
    assert newest[1]["trials"] == 20
    assert newest[14]["trials"] == 15


def test_checks_have_the_bounds_of_the_settings_and_count_who_was_asked(mixed):
    checks = {each["check"]: each for each in overview(mixed.recorded(), LATER)["checks"]}
    assert (checks["demo_trials"]["passed"], checks["demo_trials"]["failed"]) == (13, 1)
    assert (checks["catch_trials"]["passed"], checks["catch_trials"]["failed"]) == (12, 1)
    assert (checks["total_response_time"]["low"], checks["total_response_time"]["high"]) == (135, 2500)
    caught = [(round(bin_["value"], 9), bin_["passed"], bin_["failed"]) for bin_ in checks["catch_trials"]["bins"]]
    assert caught == [(0.6, 0, 1), (1.0, 12, 0)]
    for check in checks.values():
        assert sum(bin_["passed"] for bin_ in check["bins"]) == check["passed"]
    assert overview(mixed.recorded(), LATER)["practice"] == [
        *({"blocks": 1, "sessions": 13}, {"blocks": 4, "sessions": 1}),
    ]


def test_answers_a_unit_are_those_that_count(mixed, folder):
    (shown,) = overview(mixed.recorded(), LATER)["experiments"]
    asked = pd.Series([folder.questions[q].unit[2] for s in folder.sessions[:12] for q in s.questions]).value_counts()
    assert {row["unit"]: row["answers"] for row in shown["units"]["answers"]} == asked.to_dict()
    assert (shown["units"]["min"], shown["units"]["max"], shown["units"]["wanted"]) == (6, 6, 10)
    assert (shown["accepted"], shown["running"], shown["planned_sessions"], shown["more_sessions"]) == (12, 1, 20, 8)


def test_score_and_interval_are_those_of_the_study(mixed, folder):
    recorded = mixed.recorded()
    (shown,) = overview(recorded, LATER)["experiments"]
    counted = recorded.sessions["session"][:12]
    answers = progress.responses(recorded, pd.Index(counted))
    row = his_summary(human_scores(answers), 0, 100, 0.95, answers).iloc[0]
    assert shown["his"]["mean"] == pytest.approx(row["his_mean"])
    assert (shown["his"]["low"], shown["his"]["high"]) == pytest.approx((row["low"], row["high"]))
    assert shown["his"]["width"] == pytest.approx(row["high"] - row["low"])


@pytest.mark.parametrize(("sessions", "interval"), [(0, False), (5, False), (6, True)])
def test_no_interval_where_it_would_promise_more_than_it_holds(folder, sessions, interval):
    (shown,) = overview(made_up.answered(folder, sessions).recorded(), LATER)["experiments"]
    assert (shown["his"]["low"] is not None) == interval
    assert (shown["his"]["why"] is None) == interval
    assert shown["forecast"]["state"] == "early"


@pytest.mark.parametrize("units", [5, 10, 40])
def test_intervals_hold_from_the_fewest_sessions_on(units):
    """300 studies of the network that has these answers; the standard error of the coverage is 0.013."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    weights = weights / weights.sum()
    design = drawn_studies.Design(n_models=1, n_units=units, n_trials=min(units, 40), n_responses=6)
    margins = design.level + design.unit_spread * nodes[:, None, None] + design.task_spread * nodes[:, None]
    p = 1 / (1 + np.exp(-margins * design.slope * np.exp(design.slope_spread * nodes)))
    right = design.lapse / 2 + (1 - design.lapse) * np.einsum("u,t,s,uts->", weights, weights, weights, p)
    inside = []
    for number in range(300):
        study = drawn_studies.draw_study(design, generator(number, "first intervals"), np.full((2, 1), design.level))
        answers = drawn_studies.responses_frame(study)
        first = answers[answers["participant"] < progress.FEWEST_PEOPLE]
        row = two_way.means_of_units(first, progress.CONFIDENCE).iloc[0]
        inside.append(row["low"] <= right <= row["high"])
    assert np.mean(inside) >= 0.9


@pytest.mark.parametrize(("wanted", "state"), [(0.9, "reached"), (0.18, "expected"), (0.001, "not at this design")])
def test_forecasts_say_when_or_that_it_cannot_be(folder, wanted, state):
    table = made_up.answered(folder, 12, settings=Settings(wanted_width=wanted))
    (shown,) = overview(table.recorded(), LATER)["experiments"]
    forecast = shown["forecast"]
    assert forecast["state"] == state
    assert forecast["wanted"] == wanted
    if state == "expected":
        assert 12 < forecast["sessions"]["expected"] <= 20
        assert LATER < forecast["date"]["from"] < (forecast["date"]["to"] or math.inf)
        slower = overview(table.recorded(), LATER + 7200)["experiments"][0]["forecast"]["date"]
        # the same sessions in twice the time: half the pace
        assert slower["from"] - (LATER + 7200) == pytest.approx(2 * (forecast["date"]["from"] - LATER))
    if state == "not at this design":
        assert forecast["sessions"]["expected"] is None
        assert "endlessly many people" in forecast["words"]


def test_money_is_paid_to_whoever_got_a_code_and_forecast_by_the_share_that_passes(folder, mixed):
    table = made_up.Table(folder, Settings(pay=Pay(amount=2.0, platform_share=0.25)))
    table.sessions, table.answers, table.events = mixed.sessions, mixed.answers, mixed.events
    money = overview(table.recorded(), LATER)["money"]
    assert (money["paid_sessions"], money["spent"], money["promised"]) == (14, 14 * 2.5, 2.5)
    more = price.sessions_to_pay(8, price.PassShare.seen(12, 14))
    assert money["more_sessions"] == {"expected": more.expected, "low": more.low, "high": more.high}
    assert money["forecast"]["high"] == (14 + more.high) * 2.5


def test_times_and_confidence_are_those_of_answers_that_count(mixed):
    recorded = mixed.recorded()
    shown = overview(recorded, LATER)
    main = recorded.answers[(recorded.answers["kind"] == "main")].iloc[:120]
    assert shown["times"]["median"] == pytest.approx(main["rt"].median() / 1000)
    for row in shown["confidence"]:
        own = main[main["confidence"] == row["confidence"]]
        assert (row["answers"], row["right"]) == (len(own), pytest.approx(own["correct"].mean()))


def test_comments_come_as_they_were_written_and_nothing_names_anybody(folder):
    table = made_up.answered(folder, 7)
    table.sessions[2]["comment"] = "<b>hard</b> & 'fun'"
    table.sessions[4]["comment"] = ""
    shown = overview(table.recorded(), LATER)
    assert shown["comments"] == {"all": 1, "newest": [{"number": 3, "text": "<b>hard</b> & 'fun'"}]}
    text = json.dumps(shown, allow_nan=False)
    for row in table.sessions:
        for hidden in ("person", "code", "platform"):
            assert row[hidden] not in text
        assert f'"{row["session"]}"' not in text


def test_simulated_runs_say_so_and_follow_their_own_clock(folder):
    table = made_up.answered(folder, 8, source="simulated")
    shown = overview(table.recorded(), made_up.START)  # before anything of it happened by our clock
    assert shown["source"] == "simulated"
    assert {row["source"] for row in shown["experiments"] + shown["sessions"]["newest"]} == {"simulated"}
    assert shown["now"] == max(row["seen"] for row in table.sessions)


@pytest.mark.parametrize("kind", ["folder", "pages"])
def test_a_run_without_anybody_is_shown(request, kind):
    shown = overview(made_up.Table(request.getfixturevalue(kind)).recorded(), LATER)
    json.dumps(shown, allow_nan=False)
    assert shown["counts"]["arrived"] == 0
    assert shown["money"]["spent"] == 0
    assert shown["sessions"] == {"all": 0, "newest": []}


def test_the_order_of_rows_changes_nothing(mixed):
    recorded = mixed.recorded()
    tables = ("sessions", "answers", "events")
    other = {name: getattr(recorded, name).sample(frac=1, random_state=0).reset_index(drop=True) for name in tables}
    assert overview(type(recorded)(**{**vars(recorded), **other}), LATER) == overview(recorded, LATER)


# --------------------------------------------------------------------------- rating pages


@pytest.fixture(scope="module")
def rated(pages):
    """Two sessions of one person and two of others; gold pictures are the first two of pages 1 and 2, labels 0 and 1."""
    table = made_up.Table(pages)
    ticks = {1: [[1, 2], [0], []], 2: [[1], [1], [1, 14]], 3: [[3]], 4: []}
    names = [table.session("ratings", person="a", minutes=4), table.session("ratings", person="b")]
    names += [table.session("ratings", None, person=None), table.session("ratings", person="a")]
    for page, of in ticks.items():
        for rater, picked in enumerate(of):
            table.page(names[3 if (page, rater) == (2, 0) else rater], page, picked, seconds=10.0 + page)
    return table


def test_ratings_are_counted_by_page_and_rater(rated, pages):
    shown = overview(rated.recorded(), LATER)["ratings"]
    assert {row["page"]: row["raters"] for row in shown["pages"]["counts"]} == {1: 3, 2: 3, 3: 1, 4: 0}
    assert (shown["pages"]["answered"], shown["pages"]["wanted"]) == (7, 12)
    assert shown["sessions_to_come"] == 1  # 5 pages are missing, 12 are on offer in a session
    assert shown["none_share"] == pytest.approx(1 / 7)
    assert shown["yes_share"] == pytest.approx(8 / (7 * 15))
    assert shown["seconds_page"] == 12
    first, second, third = shown["raters"]
    # the person of the first and the fourth session is one rater
    assert [first["rater"], second["rater"], third["rater"]] == ["rater 1", "rater 2", "rater 3"]
    assert [row["pages"] for row in shown["raters"]] == [3, 2, 2]
    # known: places 0 (no) and 1 (yes) of pages 1 and 2
    assert [(row["gold_wrong"], row["gold"]) for row in shown["raters"]] == [(0, 4), (2, 4), (1, 4)]


def test_agreement_of_raters_is_that_of_their_pictures(rated):
    shown = overview(rated.recorded(), LATER)["ratings"]["agreement"]
    yes = np.zeros((2, 15))
    for page, picked in ((0, [1, 2]), (0, [0]), (1, [1]), (1, [1]), (1, [1, 14])):
        yes[page, picked] += 1
    yes = yes.ravel()
    kappa = raters.fleiss_kappa(yes, np.full(30, 3))
    assert shown["kappa"] == pytest.approx(kappa)
    assert shown["alpha"] == pytest.approx(kappa + (1 - kappa) / 90)
    assert (shown["pictures"], shown["ratings"]) == (30, 90)


def test_rating_runs_name_nobody_and_pay_complete_sessions(rated):
    shown = overview(rated.recorded(), LATER)
    assert shown["money"]["paid_sessions"] == 3
    assert "checks" not in shown
    text = json.dumps(shown, allow_nan=False)
    assert "SECRETCODE" not in text
    assert "prolific" not in text
