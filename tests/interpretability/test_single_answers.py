"""Answers one by one against margins."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit

from interpretability.people import single_answers
from interpretability.synthetic import observers


def simulated(seed=0, n_networks=4, slope=6.25, spread=0.0, lapse=0.05):
    """Answers of simulated observers to the tasks of 100 units a network, and their own margins."""
    rng = np.random.default_rng(seed)
    parts = []
    for network in range(n_networks):
        margins = rng.normal(0.26, 0.15, (100, 1)) + rng.normal(0, 0.17, (100, 20))
        population = observers.Population(slope, spread, lapse)
        answers = observers.simulate_responses(margins, population, 30, 40, seed, f"m{network}")
        answers["margin"] = margins[answers["unit"], answers["task"]]
        parts.append(answers.assign(unit_code=answers["unit"] + 100 * network))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(participant_code=pd.factorize(table["participant"])[0], margin_of="task")


def codes(table):
    return [table[f"{name}_code"].to_numpy() for name in ("unit", "participant")]


@pytest.mark.parametrize(("slope", "lapse"), [(6.25, 0.05), (12.0, 0.15)])
def test_slope_and_lapse_of_simulated_observers_are_found(slope, lapse):
    table = simulated(slope=slope, lapse=lapse)
    margin, correct = table["margin"].to_numpy(), table["correct"].to_numpy()
    fit = single_answers.fit_lapse(margin, correct)
    errors = single_answers.clustered_errors(fit, margin, correct, codes(table))
    assert (np.abs(fit.theta - [0, slope, lapse]) < 3 * errors).all()
    # 12,000 answers say a lot
    assert (errors < [0.08, 0.1 * slope, 0.04]).all()


def free_errors(theta, margin, correct, clusters):
    """Errors with two ways of clustering, from differences of the likelihood and loops over clusters."""

    def p_of(theta):
        return theta[2] / 2 + (1 - theta[2]) * expit(theta[0] + theta[1] * margin)

    step = 1e-5 * np.eye(3)
    by = np.stack([(p_of(theta + each) - p_of(theta - each)) / 2e-5 for each in step], axis=1)
    p = p_of(theta)
    scores = by * ((correct - p) / (p * (1 - p)))[:, None]
    bread = np.linalg.inv((by / (p * (1 - p))[:, None]).T @ by)
    meat = np.zeros((3, 3))
    for sign, names in ((1, clusters[0]), (1, clusters[1]), (-1, list(zip(*clusters, strict=True)))):
        sums = pd.DataFrame(scores).groupby([str(name) for name in names]).sum().to_numpy()
        meat += sign * sums.T @ sums
    return np.sqrt(np.diag(bread @ meat @ bread))


def test_without_lapse_it_is_the_logistic_regression_of_the_library():
    table = simulated(slope=4.0, lapse=0.0, n_networks=2)
    margin, correct = table["margin"].to_numpy(), table["correct"].to_numpy()
    # answers slightly worse than sigmoid at either end, so the best lapse is exactly zero
    fit = single_answers.fit_lapse(margin, correct)
    theta = fit.theta if fit.theta[2] == 0 else None
    groups = np.stack(codes(table), axis=1)
    glm = sm.GLM(correct.astype(float), sm.add_constant(margin), family=sm.families.Binomial())
    expected = glm.fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    logistic = single_answers.LapseFit(np.array([*expected.params, 0.0]), expected.llf)
    errors = single_answers.clustered_errors(logistic, margin, correct, codes(table))
    assert errors[:2] == pytest.approx(free_errors(logistic.theta, margin, correct, codes(table))[:2], rel=1e-4)
    # a lapse that is free but at its end leaves the slope less sure than one known to be zero
    assert errors[1] > 1.1 * expected.bse[1]
    assert np.isnan(errors[2])
    assert fit.log_likelihood >= expected.llf - 1e-3
    if theta is not None:
        assert theta[:2] == pytest.approx(expected.params, rel=1e-3)


def test_likelihood_is_no_lower_than_on_a_grid():
    table = simulated(n_networks=1, lapse=0.3)
    margin, correct = table["margin"].to_numpy(), table["correct"].to_numpy()
    fit = single_answers.fit_lapse(margin, correct)
    for intercept in (-0.5, 0, 0.5):
        for slope in (3, 6, 12):
            for lapse in (0, 0.2, 0.4):
                p = lapse / 2 + (1 - lapse) * expit(intercept + slope * margin)
                assert fit.log_likelihood >= np.log(np.where(correct, p, 1 - p)).sum()


def test_effects_of_units_and_participants_are_found():
    rng = np.random.default_rng(3)
    n_units, n_people, each = 200, 150, 40
    unit = np.concatenate([rng.permutation(n_units)[:each] for _ in range(n_people)])
    person = np.repeat(np.arange(n_people), each)
    margin = rng.normal(0.3, 0.2, len(unit))
    evidence = 5 * margin + rng.normal(0, 0.6, n_units)[unit] + rng.normal(0, 0.4, n_people)[person]
    fit = single_answers.fit_effects(margin, rng.random(len(unit)) < expit(evidence), unit, person)
    assert abs(fit.slope - 5) < 3 * fit.slope_se + 0.2
    assert fit.slope_se == pytest.approx(0.19, abs=0.04)
    # variances .36 and .16, known to about a tenth and a seventh from so many effects, and pulled down by a tenth
    assert fit.unit_variance == pytest.approx(0.33, abs=0.1)
    assert fit.participant_variance == pytest.approx(0.14, abs=0.07)


def test_no_effects_are_not_invented():
    table = simulated(n_networks=2, lapse=0.0)
    fit = single_answers.fit_effects(table["margin"].to_numpy(), table["correct"].to_numpy(), *codes(table))
    assert fit.unit_variance < 0.03
    assert fit.participant_variance < 0.03
    assert abs(fit.slope - 6.25) < 3 * fit.slope_se


@pytest.mark.parametrize("turned", [False, True])
def test_answers_that_margins_tell_apart_have_no_slope(turned):
    unit, person = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    margin = np.array([-0.2, -0.1, 0.1, 0.3])[unit]
    fit = single_answers.fit_effects(margin, (margin > 0) != turned, unit, person)
    assert np.isnan([fit.slope, fit.slope_se, fit.unit_variance, fit.participant_variance]).all()
    mixed = (margin > 0) ^ (np.arange(12) % 5 == 0)
    assert np.isfinite(single_answers.fit_effects(margin, mixed, unit, person).slope)


def test_table_of_a_similarity_that_people_share_and_of_one_they_do_not():
    table = simulated(n_networks=2)
    shared, bins = single_answers.trial_tables(table, "b", 0, 0.95)
    row = shared.iloc[0]
    assert (row["n"], row["n_units"], row["n_participants"], row["margin_of"]) == (6000, 200, 150, "task")
    assert row["slope_low"] < 6.25 < row["slope_high"]
    assert row["gain_over_mean"] > 0.03
    assert row["gain_over_unit"] > 0
    right, wrong = (table.loc[table["correct"] == side, "margin"].to_numpy() for side in (True, False))
    assert row["auc"] == pytest.approx((np.sign(right[:, None] - wrong[None]) + 1).mean() / 2)
    # fitted probabilities are right on average in every tenth of the answers
    assert bins["n"].tolist() == [600] * 10
    assert ((bins["low"] - 0.03 < bins["predicted"]) & (bins["predicted"] < bins["high"] + 0.03)).all()
    rng = np.random.default_rng(0)
    other = single_answers.trial_tables(table.assign(margin=rng.normal(0.2, 0.2, len(table))), "b", 0, 0.95)[0].iloc[0]
    assert abs(other["gain_over_mean"]) < 0.003
    assert other["auc"] == pytest.approx(0.5, abs=0.03)
    assert other["mcfadden"] < 0.003


def test_folds_do_not_see_their_own_participants():
    # one unit, four people: each is predicted from the other three
    table = pd.DataFrame({"margin": [0.1, 0.2, 0.3, 0.4, 0.5], "correct": [True, False, True, True, True]})
    table = table.assign(unit_code=0, participant_code=range(5))
    found = single_answers.cross_fitted(table, 0)
    for place, right in enumerate(table["correct"]):
        others = 4 - right
        assert found["mean"][place] == pytest.approx(others / 4)
        assert found["unit"][place] == pytest.approx((others + 1) / 6)


def test_no_answers_or_one_kind_of_answer_give_empty_tables():
    table = simulated(n_networks=1)
    for none in (table.iloc[:0], table[table["correct"]], table.assign(margin=0.2)):
        found = single_answers.trial_tables(none, "b", 0, 0.95)
        assert [list(each.columns) for each in found] == [single_answers.COLUMNS, single_answers.CALIBRATION_COLUMNS]
        assert [len(each) for each in found] == [0, 0]
