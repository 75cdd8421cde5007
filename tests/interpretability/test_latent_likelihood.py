"""How likely ratings are: values by hand, sums over all outcomes, and integrals over the error rate of an image."""

import numpy as np
import pytest
from scipy import integrate, stats

from interpretability.errors import InputError
from interpretability.explanations.latent import kernels
from interpretability.explanations.latent.likelihood import count_probabilities, rating_likelihoods
from interpretability.explanations.latent.population import rated_images

YES = np.arange(4)


def close(values):
    return pytest.approx(values, abs=5e-7)


def test_three_ratings_with_one_error_rate():
    present, absent = rating_likelihoods(YES, 3, 0.23, 0.23)
    assert present.tolist() == close([0.012167, 0.040733, 0.136367, 0.456533])
    assert absent.tolist() == close([0.456533, 0.136367, 0.040733, 0.012167])
    assert (present / absent).tolist() == close([0.026651, 0.298701, 3.347826, 37.522232])


def test_three_ratings_of_images_that_differ():
    present, absent = rating_likelihoods(YES, 3, 0.23, 0.23, 4 / 13)  # about Beta(.75, 2.5)
    assert present.tolist() == close([0.049492, 0.045079, 0.090351, 0.544220])
    assert (present / absent).tolist() == close([0.090941, 0.498929, 2.004292, 10.996130])
    assert 0.3 * present[2] / (0.3 * present[2] + 0.7 * absent[2]) == close(0.462071)
    one, zero = rating_likelihoods(2, 3, 0.23, 0.23)
    assert 0.3 * one / (0.3 * one + 0.7 * zero) == close(0.589286)


def test_unequal_errors():
    present, absent = rating_likelihoods(2, 3, 0.1, 0.4)
    assert (present, absent) == (pytest.approx(0.144), pytest.approx(0.009))
    assert 0.3 * present / (0.3 * present + 0.7 * absent) == pytest.approx(48 / 55)


@pytest.mark.parametrize(("n", "yes"), [(1, 1), (3, 0), (5, 2)])
def test_spread_is_an_integral_over_beta_error_rates(n, yes):
    false_yes, false_no, spread = 0.15, 0.3, 0.25
    found = rating_likelihoods(yes, n, false_yes, false_no, spread)
    for rate, value in zip((1 - false_no, false_yes), found, strict=True):
        of = stats.beta(rate / spread, (1 - rate) / spread)
        wanted, _ = integrate.quad(lambda r, of=of: of.pdf(r) * r**yes * (1 - r) ** (n - yes), 0, 1)
        assert value == pytest.approx(wanted, rel=1e-6)


def test_counts_add_up_and_have_the_mean_of_their_rates():
    present, spread = np.array([0.0, 0.2, 1.0]), 0.3
    found = count_probabilities(4, present, 0.1, 0.35, spread)
    assert found.sum(axis=-1) == pytest.approx([1, 1, 1])
    assert found @ np.arange(5) == pytest.approx(4 * (present * 0.65 + (1 - present) * 0.1))


@pytest.mark.parametrize("pull", [0.0, 0.4])
def test_compiled_likelihoods_are_those_of_numpy(pull):
    draw = np.random.default_rng(0)
    n = draw.integers(1, 6, 40)
    yes, lure = draw.binomial(n, 0.4), draw.uniform(-1, 2, 40)
    rated = rated_images(np.array([0, 40]), np.zeros((40, 2)), n, yes, lure)
    kernels.fill_ratings(rated, 0, 40, -1.2, -0.7, 0.2, pull, rated.present, rated.absent)
    wanted = rating_likelihoods(yes, n, 1 / (1 + np.exp(1.2 - pull * lure)), 1 / (1 + np.exp(0.7)), 0.2)
    divisor = np.array([np.prod(1 + 0.2 * np.arange(m)) for m in n])
    assert rated.present / divisor == pytest.approx(wanted[0], rel=1e-12)
    assert rated.absent / divisor == pytest.approx(wanted[1], rel=1e-12)
    assert kernels.shared_divisors(rated, 0.2) == pytest.approx(np.log(divisor).sum())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ((4, 3, 0.2, 0.2), "yes holds counts"),
        ((1, 3, 0.0, 0.2), "false_yes holds rates"),
        ((1, 3, 0.2, 1.0), "false_no holds rates"),
        ((1, 3, 0.2, 0.2, -0.1), "spread holds values below 0"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        rating_likelihoods(*call)
