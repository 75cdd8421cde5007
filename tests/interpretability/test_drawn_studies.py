"""Simulated studies: the design, the answers and the known truth."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpretability.design import drawn_studies
from interpretability.errors import InputError
from interpretability.people import agreement, ceiling, human_scores
from interpretability.people.noise import noise_within_tasks
from interpretability.randomness import generator
from interpretability.synthetic import observers

SMALL = drawn_studies.Design(n_models=3, n_units=12, n_responses=7.5, n_trials=5, n_tasks=6, n_answered=4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.floats(1, 9), st.data())
def test_design_is_balanced_for_any_numbers(n_units, n_responses, data):
    n_trials = data.draw(st.integers(1, 15))
    person = drawn_studies.assign_many(2, n_units, n_responses, n_trials, generator(0, "design"))
    n_trials = min(n_trials, n_units)
    for row in person:
        counts = (row >= 0).sum(axis=1)
        assert counts.sum() == round(n_units * n_responses)
        assert counts.max() - counts.min() <= 1
        assert all((unit[: (unit >= 0).sum()] >= 0).all() for unit in row), "answers are numbered without gaps"
        trials = np.zeros(row.max() + 1, dtype=int)
        for unit in row:
            people = unit[unit >= 0].tolist()
            assert len(set(people)) == len(people), "a unit is never answered twice by one person"
            assert people == sorted(people), "answers are numbered in the order of people"
            for each in people:
                trials[each] += 1
        assert (trials[:-1] == n_trials).all()
        assert 1 <= trials[-1] <= n_trials


def test_patterns_of_imi():
    # 84 units of 30 answers and 80 of 31 or 32 are 2,520 trials, so 63 people with 40 each
    for n_units, n_responses, expected in ((84, 30, [30] * 84), (80, 31.5, [31] * 40 + [32] * 40)):
        person = drawn_studies.assign_many(2, n_units, n_responses, 40, generator(1, "design"))
        assert np.sort((person >= 0).sum(axis=2), axis=1).tolist() == [expected] * 2
        assert (person.max(axis=(1, 2)) == 62).all()


def test_units_meet_people_as_in_the_loop_over_people():
    # how often two units share a person: mean and spread over designs, against observers.assign
    def shared(sets):
        return sum({0, 1} <= each for each in sets)

    fast, slow = [], []
    for repeat in range(400):
        person = drawn_studies.assign_many(1, 9, 4, 5, generator(repeat, "fast"))[0]
        fast.append(shared([set(np.nonzero((person == each).any(axis=1))[0]) for each in range(person.max() + 1)]))
        table = observers.assign(9, 4, 5, 3, generator(repeat, "slow"))
        slow.append(shared([set(units) for _, units in table.groupby("person")["unit"]]))
    # 36 answers, 5 a person: seven people of 10 pairs and one of none, over 36 pairs: 70 / 36 = 1.94 meetings
    assert np.mean(fast) == pytest.approx(70 / 36, abs=0.15)
    assert np.mean(fast) == pytest.approx(np.mean(slow), abs=0.2)
    assert np.std(fast) == pytest.approx(np.std(slow), abs=0.15)


def test_probabilities_scores_and_frames_equal_a_loop_over_answers():
    study = drawn_studies.draw_study(SMALL, generator(0, "study"))
    right = drawn_studies.answer_probabilities(study.seen, study.person, study.slopes, study.lapses, SMALL.n_answered)
    units = drawn_studies.units_frame(study, 5.0).set_index(["model", "unit"])
    answers = drawn_studies.responses_frame(study)
    seen = 0
    for network in range(3):
        for unit in range(12):
            correct, shares = [], []
            for k, person in enumerate(study.person[network, unit]):
                if person < 0:
                    continue
                lapse, slope = study.lapses[network, person], study.slopes[network, person]
                margin = study.seen[network, unit, k % 4]
                expected = lapse / 2 + (1 - lapse) / (1 + np.exp(-slope * margin))
                assert right[network, unit, k] == pytest.approx(expected, rel=1e-12)
                correct.append(study.correct[network, unit, k])
                shares.append(observers.true_probabilities([[margin]], SMALL.population)[0])
            row = units.loc[(f"network-{network}", unit)]
            margins = study.margins[network, unit]
            assert row["mis"] == pytest.approx(np.mean([1 / (1 + np.exp(-5.0 * each)) for each in margins]))
            assert row["his"] == pytest.approx(np.mean(correct))
            assert row["n_responses"] == len(correct)
            assert row["p_true"] == pytest.approx(np.mean(shares), abs=1e-6)
            of_unit = answers[(answers["model"] == f"network-{network}") & (answers["unit"] == unit)]
            assert of_unit["correct"].tolist() == correct
            assert of_unit["task"].tolist() == [k % 4 for k in range(len(correct))]
            seen += len(correct)
    assert len(answers) == seen == 3 * 90
    assert not answers.duplicated(["unit", "participant"]).any()
    scored = human_scores.human_scores(answers).set_index(["model", "unit"])
    np.testing.assert_allclose(scored["his"], units["his"])


def test_answers_are_right_as_often_as_they_should():
    study = drawn_studies.draw_study(drawn_studies.Design(n_models=20), generator(1, "study"))
    right = drawn_studies.answer_probabilities(study.seen, study.person, study.slopes, study.lapses, 11)
    # 20 * 84 * 30 answers; a sum of independent ones has variance sum p (1 - p)
    error = (study.correct - right).sum() / np.sqrt((right * (1 - right)).sum())
    assert abs(error) < 4
    # over people, the share of right answers is the true one: people share lapses and slopes, so a little wider
    his, _ = drawn_studies.human_arrays(study)
    assert his.mean() == pytest.approx(drawn_studies.true_shares(study).mean(), abs=0.004)


def test_default_design_has_the_spread_of_imi():
    design = drawn_studies.Design(n_models=300)
    his, _ = drawn_studies.human_arrays(drawn_studies.draw_study(design, generator(2, "study")))
    # IMI, nine natural conditions: mean .831, SD of their means .036, SD of units within them .097 to .159, mean .118
    assert his.mean() == pytest.approx(0.831, abs=0.01)
    assert his.mean(axis=1).std() == pytest.approx(0.036, abs=0.006)
    assert his.std(axis=1).mean() == pytest.approx(0.118, abs=0.006)


def test_margins_have_the_asked_spread_and_correlation():
    design = drawn_studies.Design(
        n_models=400, n_units=60, agreement=0.6, model_agreement=0.8, n_trials=1, n_responses=1
    )
    study = drawn_studies.draw_study(design, generator(3, "study"))
    for margins in (study.seen, study.margins):
        within = margins - margins.mean(axis=2, keepdims=True)
        assert within.std() == pytest.approx(design.task_spread * np.sqrt(19 / 20), rel=0.02)
        units = margins.mean(axis=2)
        assert units.std(axis=1, ddof=1).mean() == pytest.approx(np.hypot(0.15, 0.15 / np.sqrt(20)), rel=0.02)
        assert margins.mean() == pytest.approx(design.level, abs=0.015)
    units = [margins.mean(axis=2) - margins.mean(axis=(1, 2))[:, None] for margins in (study.seen, study.margins)]
    assert np.corrcoef(units[0].ravel(), units[1].ravel())[0, 1] == pytest.approx(0.6, abs=0.02)
    means = drawn_studies.draw_networks(dataclasses.replace(design, n_models=20_000), generator(4, "networks"))
    assert np.corrcoef(means)[0, 1] == pytest.approx(0.8, abs=0.01)
    assert means.std(axis=1) == pytest.approx([0.06, 0.06], rel=0.02)


def test_given_networks_are_kept_and_perfect_agreement_gives_one_margin():
    design = dataclasses.replace(SMALL, agreement=1.0, unit_spread=0.0, task_spread=0.0)
    networks = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    study = drawn_studies.draw_study(design, generator(0, "study"), networks)
    np.testing.assert_allclose(study.seen, networks[0][:, None, None] + np.zeros(study.seen.shape))
    np.testing.assert_allclose(study.margins, networks[1][:, None, None] + np.zeros(study.seen.shape))
    with pytest.raises(ValueError, match=r"networks must have shape \(2, 3\)"):
        drawn_studies.draw_study(design, generator(0, "study"), networks[:, :2])


def test_study_goes_through_every_statistic():
    study = drawn_studies.draw_study(drawn_studies.Design(n_models=5, n_units=20, n_trials=10), generator(0, "study"))
    units = drawn_studies.units_frame(study, 6.25)
    noise = noise_within_tasks(drawn_studies.responses_frame(study))
    units = units.merge(noise, on=["model", "layer", "unit", "condition"])
    assert agreement.agreement_table(units, 0, 20, 0.95)["pearson"].notna().all()
    assert ceiling.ceiling_table(units, 0, 20, 0.95)["mean"].notna().all()
    again = drawn_studies.units_frame(drawn_studies.draw_study(study.design, generator(0, "study")), 6.25)
    assert again.equals(drawn_studies.units_frame(study, 6.25))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_units": 0}, "n_units is 0"),
        ({"n_responses": 0}, "n_responses is 0; allowed are 1 to 10000"),
        ({"n_answered": 21}, "n_answered is 21; allowed are 1 to the 20 tasks"),
        ({"lapse": 1.0}, "slope is 6.25 and lapse 1"),
        ({"unit_spread": -1.0}, "unit_spread is -1"),
        ({"agreement": 1.5}, "agreement is 1.5; allowed are -1 to 1"),
    ],
)
def test_impossible_designs_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        drawn_studies.Design(**change)
