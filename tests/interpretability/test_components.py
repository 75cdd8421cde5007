"""Variance components of single answers."""

import itertools

import numpy as np
import pandas as pd
import pytest

from interpretability.design import drawn_studies
from interpretability.people import components
from interpretability.randomness import generator


def answers(rows):
    """Rows of (network, unit, task, participant, right or wrong)."""
    table = pd.DataFrame(rows, columns=["model", "unit", "task", "participant", "correct"])
    return table.assign(layer="l", condition="natural")


def by_pairs(table):
    """The same components from a loop over all pairs of answers."""
    kinds = {name: [] for name in ("task", "unit", "person", "network", "nothing")}
    for first, second in itertools.permutations(table.to_dict("records"), 2):
        product = float(first["correct"]) * float(second["correct"])
        same = {name: first[name] == second[name] for name in ("model", "unit", "task", "participant")}
        same["unit"] &= same["model"]
        same["task"] &= same["unit"]
        own = same["participant"] and same["model"]
        if same["unit"] and not own:
            kinds["task" if same["task"] else "unit"].append(product)
        if not same["unit"] and own:
            kinds["person"].append(product)
        if not same["unit"] and not own:
            kinds["nothing"].append(product)
            if same["model"]:
                kinds["network"].append(product)
    mean = {name: np.mean(values) for name, values in kinds.items()}
    person = mean["person"] - mean["network"]
    return {
        "unit": mean["unit"] - mean["nothing"],
        "task": mean["task"] - mean["unit"],
        "person": person,
        "chance": table["correct"].mean() - mean["task"] - person,
    }


def test_components_equal_a_loop_over_all_pairs():
    rng = np.random.default_rng(0)
    rows = []
    for model, unit in itertools.product("ab", range(5)):
        # unequal numbers of answers; two people answer a unit twice
        people = [*rng.choice(8, size=rng.integers(3, 7), replace=False), 0, 1]
        rows += [(model, unit, int(rng.integers(3)), f"{model}{who}", bool(rng.random() < 0.7)) for who in people]
    table = answers(rows)
    found = components.Answers(table).components()
    for name, expected in by_pairs(table).items():
        assert getattr(found, name) == pytest.approx(expected, abs=1e-12), name


def test_signal_and_noise_by_hand():
    # One network, two units, people p and q answer both: unit 0 task 0 right by both, unit 1 task 0 right by p only.
    # pairs: one task (p, q): 1 and 0, mean .5; no pair of one unit with two tasks, so the same .5; one person, two units:
    # 1 and 0, mean .5; neither: (0p, 1q) 0, (0q, 1p) 1, mean .5. Everything is chance: .75 - .5 = .25
    table = answers([("a", 0, 0, "p", 1), ("a", 0, 0, "q", 1), ("a", 1, 0, "p", 1), ("a", 1, 0, "q", 0)])
    found = components.Answers(table).components()
    assert (found.unit, found.task, found.person, found.chance) == pytest.approx((0, 0, 0, 0.25))
    # a recorded share of two answers has half of that as noise
    assert (found.signal, found.noise, found.ceiling) == pytest.approx((0, 0.125, 0))


def test_components_of_known_effects():
    # p = .5 + unit +- .1 + task +- .15 + person +- .2, independent: variances .01, .0225, .04
    rng = np.random.default_rng(1)
    design = drawn_studies.Design(n_models=40, n_units=60, n_responses=30, n_trials=20)
    person = drawn_studies.assign_many(40, 60, 30, 20, generator(0, "design"))
    of_unit = rng.choice([-0.1, 0.1], size=(40, 60, 1))
    of_task = rng.choice([-0.15, 0.15], size=(40, 60, 11))[:, :, np.arange(30) % 11]
    of_person = rng.choice([-0.2, 0.2], size=(40, person.max() + 1))[np.arange(40)[:, None, None], person]
    p = 0.5 + of_unit + of_task + of_person
    study = drawn_studies.Study(design, p, p, person, rng.random(p.shape) < p, of_person[:, 0], of_person[:, 0])
    found = components.Answers(drawn_studies.responses_frame(study)).components()
    assert found.unit == pytest.approx(0.01, abs=0.001)
    assert found.task == pytest.approx(0.0225, abs=0.0015)
    assert found.person == pytest.approx(0.04, abs=0.002)
    # E[p (1 - p)] = .25 - the three variances
    assert found.chance == pytest.approx(0.25 - 0.0725, abs=0.004)
    # 30 answers over 11 tasks: 8 of 3 and 3 of 2
    assert found.signal == pytest.approx(found.unit + found.task * (8 * 9 + 3 * 4) / 900)


def test_ceiling_is_the_correlation_of_true_and_recorded_shares():
    found, true = [], []
    for number in range(25):
        study = drawn_studies.draw_study(drawn_studies.Design(n_models=4, n_units=100), generator(number, "study"))
        units = drawn_studies.units_frame(study, 6.25)
        found.append(components.Answers(drawn_studies.responses_frame(study)).components().ceiling)
        true.append(np.corrcoef(units["p_true"], units["his"])[0, 1])
    # the sd over studies is .02, of the difference .01: standard error .002
    assert np.mean(found) == pytest.approx(np.mean(true), abs=0.007)


def test_shared_people_move_all_units_alike_and_cost_nothing():
    # everybody answers every unit: person effects shift all shares together, so only chance is noise
    rng = np.random.default_rng(2)
    rows = [
        ("a", unit, task, f"p{who}", bool(rng.random() < 0.5 + (0.45 if who % 2 else -0.45)))
        for unit in range(30)
        for who, task in enumerate([0, 0, 1, 1, 2, 2])
    ]
    found = components.Answers(answers(rows)).components()
    assert found.person == pytest.approx(0.2, abs=0.06)
    assert found.noise == pytest.approx(found.chance / 6, rel=1e-9)


def test_jackknife_has_the_spread_of_repeated_studies():
    design = drawn_studies.Design(n_models=2, n_units=60)
    values, errors = [], []
    for number in range(40):
        table = drawn_studies.responses_frame(
            drawn_studies.draw_study(design, generator(number, "study"), [[0.3, 0.4]] * 2)
        )
        point, error, low, high = components.components_ceiling(table, 0.95, generator(0, "jackknife"))
        assert 0 <= low < point < high <= 1
        values.append(point)
        errors.append(error)
    # 40 studies: the standard deviation is known to 11 %
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.4)


def test_what_cannot_be_known_is_nan():
    one_each = answers([("a", unit, 0, f"p{unit}", unit % 2) for unit in range(4)])
    assert np.isnan(components.Answers(one_each).components().ceiling)


def test_jackknife_is_symmetric_in_fishers_z_and_stays_inside():
    design = drawn_studies.Design(n_models=1, n_units=12, n_responses=60, task_spread=0.0, unit_spread=0.3)
    table = drawn_studies.responses_frame(drawn_studies.draw_study(design, generator(0, "study")))
    answers = components.Answers(table)
    point, _, low, high = components.components_ceiling(table, 0.95, generator(0, "jackknife"))
    # 12 units: every unit is a group of its own, t(11) = 2.200985
    left = [np.arctanh(answers.components(np.arange(12) != unit).ceiling) for unit in range(12)]
    reach = 2.200985 * np.sqrt(11 / 12 * np.square(left - np.mean(left)).sum())
    assert (low, high) == pytest.approx(tuple(np.tanh(np.arctanh(point) + np.array([-reach, reach]))))
    assert 0 < low < point < high < 1
