"""Which slopes the answers tell."""

import numpy as np
import pytest
from scipy import stats

from interpretability.errors import InputError
from interpretability.mis import probabilities
from interpretability.people import calibration, identification
from interpretability.people.calibration import SlopeFit

INSIDE, NARROW = SlopeFit(6.0, 0.01, 10, at_bound=False), (5.0, 7.0)
GAINS = np.linspace(0.01, 0.1, 10)


def answered(n_units=14, seed=0, n_tasks=8):
    """Margins and shares of right answers of units of slope 6.25, with the noise of 30 answers."""
    draw = np.random.default_rng(seed)
    margins = draw.normal(0.25, 0.2, size=(n_units, n_tasks))
    return margins, draw.binomial(30, probabilities(margins, 6.25).mean(axis=1)) / 30


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_gains_are_those_of_a_fit_to_all_other_units(objective):
    margins, his = answered()
    found = identification.gains_over_half(margins, his, objective)
    for unit, gain in enumerate(found):
        others = np.arange(len(his)) != unit
        slope = calibration.fit_slope(margins[others], his[others], objective).slope
        mis = probabilities(margins[unit], slope).mean()
        # a parabola on the grid stands in for the polished minimum
        assert gain == pytest.approx((0.5 - his[unit]) ** 2 - (mis - his[unit]) ** 2, abs=2e-4)


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_rows_of_one_unit_are_left_out_together(objective):
    margins, his = answered()
    unit = np.arange(len(his)) // 2
    found = identification.gains_over_half(margins, his, objective, unit)
    assert len(found) == 7
    for code, gain in enumerate(found):
        own = unit == code
        slope = calibration.fit_slope(margins[~own], his[~own], objective).slope
        mis = probabilities(margins[own], slope).mean(axis=1)
        assert gain == pytest.approx(((0.5 - his[own]) ** 2 - (mis - his[own]) ** 2).mean(), abs=2e-4)


def test_tasks_that_do_not_count_change_nothing():
    margins, his = answered()
    wide = np.concatenate([margins, np.full((len(his), 2), 9.0)], axis=1)
    used = np.ones(wide.shape, dtype=bool)
    used[:, -2:] = False
    plain = identification.gains_over_half(margins, his, "squared_error")
    assert identification.gains_over_half(wide, his, "squared_error", used=used) == pytest.approx(plain)


def test_gains_by_hand_are_those_of_the_other_unit():
    # each unit is fitted by the other alone: sigmoid(b) = .8 for the first, .6 for the second
    found = identification.gains_over_half(np.ones((2, 3)), np.array([0.6, 0.8]), "squared_error")
    assert found == pytest.approx([0.1**2 - 0.2**2, 0.3**2 - 0.2**2], abs=1e-3)
    assert np.isnan(identification.gains_over_half(np.ones((1, 3)), np.array([0.6]), "squared_error")).all()


def test_a_slope_that_answers_tell_is_identified_with_its_numbers():
    found = identification.identify(INSIDE, NARROW, GAINS)
    assert found.identified
    assert found.ratio == pytest.approx(1.4)
    assert found.gain_t == pytest.approx(stats.ttest_1samp(GAINS, 0).statistic)
    assert (
        found.reason
        == f"the interval spans a factor of 1.4; nearer to the answers than one half (t {found.gain_t:.2g})"
    )


@pytest.mark.parametrize(
    ("fit", "interval", "gains", "reason"),
    [
        (SlopeFit(1e4, 0.01, 10, at_bound=True), NARROW, GAINS, "the fit lies at the bound 10000"),
        (INSIDE, (2.0, 10.0), GAINS, "the interval spans a factor of 5 (below 5 is needed)"),
        (INSIDE, (0.01, 2000.0), GAINS, "the interval spans a factor of 200,000 (below 5 is needed)"),
        (INSIDE, (np.nan, np.nan), GAINS, "there is no interval (below 5 is needed)"),
        (INSIDE, NARROW, -GAINS, "than one half is (t -5.7, above 2.26 is needed)"),
        (INSIDE, NARROW, np.zeros(10), "than one half is (t 0, above 2.26 is needed)"),
        (INSIDE, NARROW, np.array([np.nan]), "than one half is (a single unit)"),
    ],
)
def test_each_condition_is_needed_and_named(fit, interval, gains, reason):
    found = identification.identify(fit, interval, gains)
    assert not found.identified
    assert reason in found.reason
    assert ";" not in found.reason  # no other one fails


def test_the_test_against_one_half_is_one_sided_at_two_and_a_half_percent():
    needed = stats.t.ppf(0.975, 9)
    shape = stats.zscore(np.arange(10.0), ddof=1) / np.sqrt(0.1)  # its mean has t = 0 with a standard error of 1
    assert identification.identify(INSIDE, NARROW, shape + needed + 1e-6).identified
    assert not identification.identify(INSIDE, NARROW, shape + needed - 1e-6).identified


def test_gains_without_spread_decide_by_their_sign():
    assert identification.identify(INSIDE, NARROW, np.full(4, 0.25)).gain_t == np.inf
    assert identification.identify(INSIDE, NARROW, np.full(4, -0.25)).gain_t == -np.inf


def test_masks_that_leave_a_unit_nothing_are_refused():
    margins, his = answered()
    used = np.ones(margins.shape, dtype=bool)
    used[3] = False
    with pytest.raises(InputError, match=r"^used leaves no task of 1 of 14 units"):
        calibration.fit_slope(margins, his, used=used)
    with pytest.raises(InputError, match=r"^used has shape \(14, 7\).*must be bool, of the shape of margins"):
        calibration.fit_slope(margins, his, used=used[:, 1:])


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_every_step_of_the_fit_leaves_masked_tasks_out(objective):
    margins, his = answered()
    used = np.random.default_rng(1).random(margins.shape) < 0.7
    used[:, 0] = True
    # the same with other margins where nothing counts: no step may see them
    other = np.where(used, margins, -3.0)
    fits = [calibration.fit_slope(values, his, objective, used) for values in (margins, other)]
    assert fits[0] == fits[1]
    assert fits[0].slope != pytest.approx(calibration.fit_slope(margins, his, objective).slope, rel=1e-3)
    curves = [calibration.loss_curve(values, his, objective, used)["loss"] for values in (margins, other)]
    assert curves[0].tolist() == curves[1].tolist()
    # a unit alone, by hand: the slope whose mean probability over its counted tasks is its share
    alone = calibration.fit_slope(margins[:1], his[:1], "squared_error", used[:1])
    assert probabilities(margins[0][used[0]], alone.slope).mean() == pytest.approx(his[0], abs=1e-6)
