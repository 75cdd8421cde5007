"""Presence, modes and scores of the latent model: values by hand, derivatives by differences, sums over all images by numpy."""

import hashlib
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, logit

from interpretability.explanations.correlation import standardised
from interpretability.explanations.latent import chains, kernels
from interpretability.explanations.latent.covariates import (
    Terms,
    covariates,
    independent_slope,
    logarithm,
    presence,
    terms_of,
)
from interpretability.explanations.latent.likelihood import rating_likelihoods
from interpretability.explanations.latent.population import rated_images
from interpretability.explanations.latent.posterior import split_rhat
from interpretability.explanations.latent.scoring import NO_POSITIVE, TOO_RARE, PairDraws, rho_draws, undefined
from interpretability.randomness import generator

A = np.array([0.0, 1, 2, 3, 4, 8])
GUIDE = np.array([0.1, 0.1, 0.2, 0.6, 0.3, 0.9])
PLAIN = Terms(silent=False, lopsided=False)
# slope 1 of the logit, nothing else, a floor far below: P is the guide
AS_GUIDE = np.array([[0.0, 3.0, 0.0, -30.0]])


def close(values):
    return pytest.approx(values, abs=5e-7)


def scored(rated, yes, noise=(0.0, 0.0)):
    of = covariates(A, GUIDE, PLAIN)
    one, zero = rating_likelihoods(np.array(yes, int), np.full(len(yes), 3), 0.23, 0.23)
    images = np.array(rated, np.int64)
    return rho_draws(AS_GUIDE, of, images, one[None], zero[None], np.array([noise]), floored=True)


def test_the_score_of_six_images_from_the_guide_alone():
    assert scored([], []).rho == close([0.549195])


def test_the_score_with_ratings_of_two_images():
    found = scored([3, 5], [0, 3])
    assert found.posterior == close([0.038440, 0.997048])
    assert found.rho == close([0.652773])


def test_the_noise_of_labels_is_that_of_the_finite_population():
    noise = generator(0, "noise").standard_normal((200_000, 2))
    of = covariates(A, GUIDE, PLAIN)
    none = np.zeros((len(noise), 0))
    found = rho_draws(
        np.repeat(AS_GUIDE, len(noise), axis=0), of, np.zeros(0, np.int64), none, none, noise, floored=True
    )
    # by hand: mu and t have covariance n^-2 sum g (1 - g) [1 abar; abar abar^2]
    v, a, n = GUIDE * (1 - GUIDE), standardised(A), 6
    q = GUIDE.copy()
    wanted = np.array([[v.sum(), v @ a], [v @ a, v @ a**2]]) / n**2
    draws = np.stack([q.mean() + np.sqrt(wanted[0, 0]) * noise[:, 0]])
    assert found.rho.mean() == pytest.approx(0.55, abs=0.05)
    mu = np.clip(draws[0], 1 / n, 1 - 1 / n)
    t = found.rho * np.sqrt(mu * (1 - mu))
    assert np.cov(draws[0], t) == pytest.approx(wanted, abs=3e-4)


def test_the_finite_population_error_with_two_rated_images():
    """The delta method gives .228640; small noise gives its slope."""
    small = 1e-4
    base = scored([3, 5], [0, 3]).rho[0]
    slopes = [(scored([3, 5], [0, 3], noise).rho[0] - base) / small for noise in ((small, 0.0), (0.0, small))]
    assert np.hypot(*slopes) == pytest.approx(0.228640, abs=1e-4)


def test_the_mode_of_an_intercept():
    yes = np.array([1, 0, 0, 0])
    rated = rated_images(np.array([0, 4]), np.ones((4, 1)), np.ones(4, int), yes, np.zeros(4))
    kernels.fill_ratings(rated, 0, 4, logit(0.23), logit(0.23), 0.0, 0.0, rated.present, rated.absent)
    theta, information = np.zeros(1), np.empty((1, 1))
    kernels.mode(theta, np.zeros(1), np.array([[0.25]]), rated, False, 0.0, 0, 4, 500, information)
    q = np.empty(4)
    kernels.posteriors(rated, theta[None], np.zeros(1), False, q)
    assert theta == close([-0.955942])
    assert q == close([0.562759, 0.103007, 0.103007, 0.103007])
    assert (q - expit(theta)).sum() == pytest.approx(theta[0] / 4, abs=1e-7)
    assert information[0, 0] == pytest.approx(((q - expit(theta)) ** 2).sum())


@pytest.fixture(params=[True, False])
def problem(request):
    draw, floored = generator(1, "problem", str(request.param)), request.param
    x = np.concatenate([np.ones((50, 1)), draw.standard_normal((50, 3))], axis=1)
    rated = rated_images(np.array([0, 50]), x, np.full(50, 3), draw.binomial(3, 0.4, 50), draw.uniform(-1, 2, 50))
    kernels.fill_ratings(rated, 0, 50, -1.2, -1.0, 0.1, 0.2, rated.present, rated.absent)
    return SimpleNamespace(rated=rated, floored=floored, theta=np.array([-1.0, 2.0, 0.5, -0.7]), level=-0.8)


def slow_likelihood(problem, theta):
    p = presence(theta, problem.rated.x, problem.level, floored=problem.floored)
    return np.log(p * problem.rated.present + (1 - p) * problem.rated.absent).sum()


def test_likelihood_and_slope_are_those_of_numpy(problem):
    odds, slope = np.empty(50), np.empty(4)
    value = kernels.climb(problem.theta, problem.rated, problem.floored, problem.level, 0, 50, odds, slope)
    assert value == pytest.approx(slow_likelihood(problem, problem.theta), rel=1e-12)
    assert value == pytest.approx(kernels.log_likelihood(odds, problem.rated.present, problem.rated.absent, 0, 50))
    steps = np.eye(4) * 1e-6
    wanted = [
        (slow_likelihood(problem, problem.theta + s) - slow_likelihood(problem, problem.theta - s)) / 2e-6
        for s in steps
    ]
    assert slope == pytest.approx(wanted, abs=1e-6)


def test_sums_over_images_are_those_of_numpy(problem):
    draw = generator(2, "sums")
    x = np.concatenate([np.ones((3000, 1)), draw.standard_normal((3000, 3))], axis=1)
    thetas, sums = problem.theta + 0.1 * draw.standard_normal((3, 4)), np.empty((3, 5))
    kernels.moments(thetas, np.ascontiguousarray(x.T), x[:, 2].copy(), problem.floored, problem.level, sums)
    for theta, found in zip(thetas, sums, strict=True):
        p, a = presence(theta, x, problem.level, floored=problem.floored), x[:, 2]
        v = p * (1 - p)
        assert found == pytest.approx([p.sum(), a @ p, v.sum(), a @ v, a**2 @ v], rel=1e-12)


def test_exponentials_are_those_of_numpy():
    x = np.concatenate([np.linspace(-40, 40, 4001), [0.0]])
    out = np.empty_like(x)
    kernels.exponentials(x, np.empty(len(x), np.int64), out)
    assert np.abs(out / np.exp(x) - 1).max() < 5e-16
    assert out[-1] == 1.0


def test_a_floor_keeps_the_odds_of_what_the_guide_does_not_see():
    x = np.array([[1.0, logit(g) / 3, 0.0, 0.0] for g in (1e-6, 1e-4, 0.5)])
    low, lower, high = presence(np.array([0.0, 3.0, 0.0, -1.0]), x, logit(0.1), floored=True)
    floor = expit(-1.0 + logit(0.1))
    assert low == pytest.approx(floor, rel=1e-4)
    assert lower == pytest.approx(floor, rel=1e-2)
    assert high == pytest.approx((1 + np.exp(-1.0) / 9) / (2 + np.exp(-1.0) / 9))


def test_a_proposal_of_a_normal_target_keeps_it():
    """With slope -(x - m) / C the density of what is proposed and that of the target are in balance."""
    covariance = np.array([[1.0, 0.3], [0.3, 0.5]])
    factor, here, there = np.linalg.cholesky(covariance), np.array([0.4, -1.0]), np.array([-0.2, 0.7])
    precision = np.linalg.inv(covariance)
    slopes = [-precision @ point for point in (here, there)]
    for size in (0.3, 0.9, 0.999):
        forth = kernels.log_proposal(there, here, slopes[0], covariance, factor, size) - 0.5 * here @ precision @ here
        back = kernels.log_proposal(here, there, slopes[1], covariance, factor, size) - 0.5 * there @ precision @ there
        assert forth == pytest.approx(back)
    tried, noise = np.empty(2), np.array([0.5, -0.3])
    kernels.propose(here, slopes[0], covariance, factor, 0.6, noise, tried)
    assert tried == pytest.approx(0.8 * here + 0.6 * factor @ noise)


def test_the_slope_of_the_activation_where_the_guide_errs_by_itself():
    draw = generator(3, "slope")
    c = draw.random(200_000) < 0.2
    a = standardised(1.5 * c + draw.standard_normal(len(c)))
    p = expit(logit(0.2) + 2 * (2 * c + draw.standard_normal(len(c))) - 2)
    # two normal distributions: the log odds rise by their difference over the variance within, in units of the whole
    sd = np.sqrt(1 + 1.5**2 * 0.16)
    assert independent_slope(a, p) == pytest.approx(1.5 * sd, rel=0.03)
    assert independent_slope(a, np.full(len(c), 0.2) + 1e-3 * p) <= 6.0


def test_units_that_are_silent_or_lopsided_get_terms_of_their_own():
    draw = generator(4, "terms")
    plain = draw.standard_normal(5000)
    silent, lopsided = np.maximum(plain, 0.8), np.exp(plain)
    assert terms_of(plain[None]) == (False, False)
    assert terms_of(np.stack([plain, silent])) == (True, False)
    assert terms_of(np.stack([plain, lopsided])) == (False, True)
    assert np.corrcoef(logarithm(standardised(lopsided)), plain)[0, 1] > 0.999
    of = covariates(silent, np.full(5000, 0.3), Terms(True, True))
    assert of.x.shape == (5000, 6)
    assert of.x[:, 3].tolist() == (silent == 0.8).tolist()
    assert not of.x[:, 4:].any()


def test_when_a_score_is_undefined():
    rho = np.zeros(3)
    assert undefined(PairDraws(rho, np.array([0.1, 0.6]), 0.05)) == ""
    assert undefined(PairDraws(rho, np.array([0.1, 0.5]), 0.0)) == NO_POSITIVE
    assert undefined(PairDraws(rho, np.array([0.9]), 0.051)) == TOO_RARE


def test_chains_that_agree_and_that_do_not():
    draw = generator(5, "chains")
    same = draw.standard_normal((2, 1000, 3))
    assert np.abs(split_rhat(same) - 1).max() < 0.01
    apart = same + np.array([0.0, 3.0])[:, None, None]
    drifting = same + np.linspace(0, 3, 1000)[None, :, None]
    assert split_rhat(apart).min() > 1.5
    assert split_rhat(drifting).min() > 1.2
    assert split_rhat(np.ones((2, 10))) == 1.0
    # ranks: one value far out changes nothing
    same[0, 0, 0] = 1e9
    assert split_rhat(same)[0] < 1.01


def test_compiled_chains_are_renewed_with_the_kernels_that_they_hold():
    """numba keeps compiled chains until their own file changes: it must change with that of the kernels."""
    digest = hashlib.sha256(inspect.getsource(kernels).encode()).hexdigest()[:16]
    assert digest == chains.KERNELS, "write this digest into chains.KERNELS"
