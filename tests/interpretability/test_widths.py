"""The closed form of the width of a mean human score, and forecasts of it, beside studies that are simulated as a whole."""

import dataclasses
import math

import numpy as np
import pytest

from interpretability.design import drawn_studies, width_forecast, widths
from interpretability.errors import InputError
from interpretability.people import two_way
from interpretability.people.components import Answers
from interpretability.randomness import generator

DESIGN = drawn_studies.Design(n_models=1)
SPREAD = widths.spread_of(DESIGN)
ASKED = widths.Asked(DESIGN.n_answered, 40)


def answers_of(number, **changes):
    """Answers to units of a network of mean level."""
    design = dataclasses.replace(DESIGN, **changes)
    study = drawn_studies.draw_study(design, generator(number, "widths"), np.full((2, 1), design.level))
    return drawn_studies.responses_frame(study)


def width_of(answers):
    row = two_way.means_of_units(answers, 0.95).iloc[0]
    return row["high"] - row["low"]


def test_spread_of_a_design_is_that_of_its_answers():
    """Of 2,000 units with 60 answers each, whose components have errors of about 0.0003."""
    found = Answers(answers_of(1, n_units=2000, n_responses=60)).components()
    for name in ("unit", "task", "person"):
        assert getattr(SPREAD, name) == pytest.approx(getattr(found, name), abs=0.0006)
    assert pytest.approx(found.chance, abs=0.001) == SPREAD.chance
    share = answers_of(1, n_units=2000, n_responses=60)["correct"].mean()
    total = SPREAD.unit + SPREAD.task + SPREAD.person + SPREAD.chance
    assert total == pytest.approx(share * (1 - share), abs=0.003)


@pytest.mark.parametrize(("units", "responses", "trials"), [(84, 30, 40), (84, 4, 40), (30, 30, 20), (40, 10, 40)])
def test_expected_width_is_that_of_simulated_studies(units, responses, trials):
    found = [
        width_of(answers_of(number, n_units=units, n_responses=responses, n_trials=trials)) for number in range(80)
    ]
    asked = dataclasses.replace(ASKED, n_trials=trials)
    assert widths.his_width(SPREAD, asked, units, units * responses / trials) == pytest.approx(np.mean(found), rel=0.06)


def test_more_people_narrow_it_down_to_what_the_units_allow():
    ladder = [widths.his_width(SPREAD, ASKED, 84, people) for people in (2, 3, 10, 63, 1000, 1e7)]
    assert ladder == sorted(ladder, reverse=True)
    assert widths.narrowest(SPREAD, ASKED, 84) == pytest.approx(ladder[-1], rel=1e-3)
    limit = 2 * 1.98896 * math.sqrt((SPREAD.unit + SPREAD.task / 11) / 84)
    assert widths.narrowest(SPREAD, ASKED, 84) == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize("width", [0.2, 0.1, 0.06, 0.045])
def test_people_for_a_width_are_the_fewest(width):
    people = widths.people_for_width(SPREAD, ASKED, 84, width)
    assert widths.his_width(SPREAD, ASKED, 84, people) <= width
    assert people == 2 or widths.his_width(SPREAD, ASKED, 84, people - 1) > width


@pytest.mark.parametrize("width", [0.1, 0.05, 0.02])
def test_units_for_a_width_are_the_fewest(width):
    units = widths.units_for_width(SPREAD, ASKED, 30, width)
    of = [widths.his_width(SPREAD, ASKED, n, n * 30 / min(n, 40)) for n in (units - 1, units)]
    assert of[1] <= width < of[0]


def test_no_number_of_people_makes_up_for_too_few_units():
    assert widths.people_for_width(SPREAD, ASKED, 84, 0.04) is None
    assert widths.people_for_width(widths.Spread(0, 0, 0, 0.2), ASKED, 84, 0.001) is not None


def test_spread_needs_a_unit_that_two_people_answered_and_counts_tasks_as_chance_where_it_must():
    answers = answers_of(3, n_units=10, n_responses=6, n_trials=10)
    alone = answers.drop_duplicates("unit")
    assert widths.spread_so_far(alone) is None
    # one answer to each task of a unit: tasks cannot be told from chance
    single = answers.drop_duplicates(["unit", "task"])
    found = widths.spread_so_far(single)
    assert found.task == 0
    share = single["correct"].mean()
    assert found.unit + found.person + found.chance == pytest.approx(share * (1 - share))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: widths.his_width(SPREAD, ASKED, 1, 9), "n_units"),
        (lambda: widths.his_width(SPREAD, ASKED, 84, 1), "n_people"),
        (lambda: widths.people_for_width(SPREAD, ASKED, 84, 0), "width"),
        (lambda: widths.units_for_width(SPREAD, ASKED, 0.5, 0.1), "n_answers"),
        (lambda: widths.Spread(-0.1, 0, 0, 0), "unit"),
        (lambda: widths.Asked(0, 40), "n_tasks"),
        (lambda: widths.Asked(2, 40, 1.5), "confidence"),
    ],
)
def test_what_has_no_width_is_refused_by_name(call, word):
    with pytest.raises(InputError, match=word):
        call()


# --------------------------------------------------------------------------- forecasts


@pytest.fixture(scope="module")
def forecasts():
    """Of 24 studies of 60 units, from the first 15 people, for two wanted widths."""
    studies = [answers_of(number, n_units=60, n_responses=10, n_trials=40) for number in range(24)]
    return {
        width: [width_forecast.forecast(study[study["participant"] < 15], ASKED, 60, width) for study in studies]
        for width in (0.1, 0.08)
    }


@pytest.mark.parametrize("width", [0.1, 0.08])
def test_forecasts_of_people_are_right_in_the_middle_and_know_how_sure_they_are(forecasts, width):
    right = widths.people_for_width(SPREAD, ASKED, 60, width)
    people = [each.people for each in forecasts[width]]
    assert np.median(people) == pytest.approx(right, rel=0.2)
    inside = [each.low <= right <= (each.high or math.inf) for each in forecasts[width]]
    assert np.mean(inside) >= 0.75


def test_a_forecast_is_where_the_interval_really_gets_narrow_enough():
    """Mean over 20 studies of the number of people at which the interval first is as narrow as wanted."""
    first, told = [], []
    for number in range(20):
        answers = answers_of(number, n_units=60, n_responses=20, n_trials=40)
        people = range(10, answers["participant"].max() + 1)
        first.append(next(n for n in people if width_of(answers[answers["participant"] < n]) <= 0.09))
        told.append(width_forecast.forecast(answers[answers["participant"] < 12], ASKED, 60, 0.09).people)
    assert np.median(told) == pytest.approx(np.mean(first), rel=0.2)


def test_forecasts_need_people_and_do_not_depend_on_the_order_of_rows():
    answers = answers_of(0, n_units=60, n_responses=10, n_trials=40)
    assert width_forecast.forecast(answers[answers["participant"] < 9], ASKED, 60, 0.1) is None
    found = width_forecast.forecast(answers, ASKED, 60, 0.1)
    assert width_forecast.forecast(answers.sample(frac=1, random_state=0), ASKED, 60, 0.1) == found
    assert found.low <= found.people <= found.high


def test_units_that_differ_too_much_have_no_number_of_people():
    answers = answers_of(0, n_units=10, n_responses=20, n_trials=10)
    found = width_forecast.forecast(answers, ASKED, 10, 0.02)
    assert (found.people, found.high) == (None, None)
    assert found.narrowest > 0.02
