"""Calibration of a guide on gold labels, beside scikit-learn, and priors beside ratings."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from interpretability.errors import InputError
from interpretability.explanations import guide
from interpretability.randomness import generator


def gold(n=4000, slope=0.5, intercept=-1.0, seed=0):
    """Probabilities of a guide, and labels for which they are wrong in this way."""
    draw = generator(seed, "gold")
    x = draw.normal(-1, 3, n)
    return expit(x), (draw.random(n) < expit(intercept + slope * x)).astype(int)


def test_platt_is_a_logistic_regression_of_smoothed_labels():
    p, y = gold(400)
    found = guide.fit_calibration(p, y)
    positive = y.sum()
    high, low = (positive + 1) / (positive + 2), 1 / (len(y) - positive + 2)
    # scikit-learn takes no shares for labels: every image enters as present and as absent with its share
    x = np.tile(logit(p), 2)[:, None]
    target = np.where(y == 1, high, low)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
    model.fit(x, np.repeat([1, 0], len(y)), sample_weight=np.concatenate([target, 1 - target]))
    assert (found.intercept, found.slope) == pytest.approx((model.intercept_[0], model.coef_[0, 0]), abs=1e-5)
    assert found.apply(p).tolist() == pytest.approx(model.predict_proba(logit(p)[:, None])[:, 1].tolist(), abs=1e-5)


@pytest.mark.parametrize("method", guide.METHODS)
def test_calibrated_probabilities_are_the_true_ones(method):
    p, y = gold(20_000)
    found = guide.fit_calibration(p, y, method=method)
    fresh, _ = gold(5000, seed=1)
    assert np.abs(found.apply(fresh) - expit(-1 + 0.5 * logit(fresh))).mean() < 0.015
    assert found.loss_after < found.loss_before
    assert (found.n_present, found.n_absent, found.few) == (y.sum(), (1 - y).sum(), False)
    grid = found.apply(np.linspace(0, 1, 1001))
    assert (np.diff(grid) >= 0).all()
    assert (grid > 0).all()
    assert (grid < 1).all()


def test_isotonic_is_that_of_scikit_learn_within_its_bounds():
    p, y = gold(300)
    p = np.round(p, 2)
    w = generator(0, "weights").uniform(0.5, 2, 300)
    found = guide.fit_calibration(p, y, method="isotonic", weights=w)
    wanted = IsotonicRegression(out_of_bounds="clip").fit(logit(np.clip(p, 1e-6, 1 - 1e-6)), y, sample_weight=w)
    grid = np.clip(np.unique(p), 1e-6, 1 - 1e-6)
    bound = 0.5 / 301
    assert found.apply(grid).tolist() == pytest.approx(
        np.clip(wanted.predict(logit(grid)), bound, 1 - bound).tolist(), abs=1e-9
    )


def test_balanced_gold_needs_weights_to_tell_the_prevalence():
    p, y = gold(60_000, slope=1, intercept=-3)
    kept = np.concatenate([np.flatnonzero(y == 1)[:1000], np.flatnonzero(y == 0)[:1000]])
    weight = np.where(y[kept] == 1, y.sum() / 1000, (1 - y).sum() / 1000)
    assert guide.fit_calibration(p[kept], y[kept], weights=weight).intercept == pytest.approx(-3, abs=0.2)
    assert guide.fit_calibration(p[kept], y[kept]).intercept > -2.2
    assert guide.fit_calibration(p[kept], y[kept], weights=weight).apply(p).mean() == pytest.approx(y.mean(), rel=0.1)


def test_cosines_get_probabilities():
    draw = generator(0, "cosines")
    cosine = draw.normal(0.2, 0.03, 5000)
    y = (draw.random(5000) < expit((cosine - 0.25) * 80)).astype(int)
    found = guide.fit_calibration(cosine, y, of="score")
    assert found.slope == pytest.approx(80, rel=0.1)
    assert -found.intercept / found.slope == pytest.approx(0.25, abs=0.005)
    assert np.isnan(found.loss_before)


def test_separated_labels_have_a_fit():
    found = guide.fit_calibration([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert np.isfinite([found.intercept, found.slope]).all()
    assert found.few
    assert found.apply([0.0, 1.0]).tolist() == pytest.approx([0, 1], abs=1e-2)
    assert 0 < found.apply(0.0) < found.apply(1.0) < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [1, 1, 1]}, "no image without"),
        ({"labels": [0, 0, 0]}, "no image with the"),
        ({"labels": [0, 2, 1]}, "other values"),
        ({"labels": [0, 1]}, r"must be \(m,\)"),
        ({"values": [0.1, 1.2, 0.3]}, "between 0 and 1"),
        ({"values": [0.1, np.nan, 0.3]}, "values holds nan"),
        ({"values": [0.1, np.inf, 0.3], "of": "score"}, "not finite"),
        ({"values": [0.9, 0.5, 0.1]}, "slope"),
        ({"values": [0.5, 0.5, 0.5]}, "one number alone"),
        ({"weights": [1, 0, 1]}, "weights holds"),
        ({"method": "spline"}, "allowed: platt, isotonic"),
        ({"of": "logit"}, "allowed: probability, score"),
    ],
)
def test_gold_that_is_refused(change, message):
    given = {"values": [0.1, 0.5, 0.9], "labels": [0, 1, 1]} | change
    with pytest.raises(InputError, match=message):
        guide.fit_calibration(**given)


def checked(true_shift, seed, n=400):
    draw = generator(seed, "prior")
    prior = expit(draw.normal(-2, 2, n))
    truth = draw.random(n) < expit(logit(prior) + true_shift)
    yes = draw.binomial(3, np.where(truth, 0.8, 0.1))
    return guide.prior_check(prior, yes, np.full(n, 3), draw.uniform(0.3, 5, n), false_yes=0.1, false_no=0.2)


def test_a_right_prior_passes_and_a_shifted_one_does_not():
    z = np.array([checked(0, seed).z for seed in range(200)])
    assert abs(z.mean()) < 0.3
    assert z.std() == pytest.approx(1, abs=0.15)
    assert checked(2, 0).z > 5


def test_the_check_by_hand():
    found = guide.prior_check([0.5, 0.1], [2, 0], [2, 3], [1, 3], eta=0.1)
    assert found.prior_mean == pytest.approx((0.5 + 0.3) / 4)
    assert found.expected == pytest.approx((0.5 + 3 * 0.18) / 4)
    assert found.observed == pytest.approx(0.25)
    with pytest.raises(InputError, match="yes is not between"):
        guide.prior_check([0.5, 0.1], [3, 0], [2, 3], [1, 3])
    with pytest.raises(InputError, match="S at least 2"):
        guide.prior_check([0.5], [3], [3], [1])
    for weight in (np.nan, np.inf, -1, 0):
        with pytest.raises(InputError, match="weights holds"):
            guide.prior_check([0.5, 0.1], [2, 0], [2, 3], [weight, 3])


def test_calibrated_probabilities_are_never_0_or_1():
    draw = generator(0, "sharp")
    labels = draw.random(2000) < 0.5
    fit = guide.fit_calibration(np.where(labels, 0.4, 0.2) + 0.02 * draw.random(2000), labels, of="score")
    found = fit.apply([-1e3, 0.0, 1.0, 1e3])
    assert np.isfinite(logit(found)).all()
    assert (np.diff(found) >= 0).all()


def test_scores_too_large_to_fit_are_refused():
    with pytest.raises(InputError, match="beyond double precision"):
        guide.fit_calibration([0.1, 0.4, 0.2, 1e300], [0, 1, 0, 1], of="score")
