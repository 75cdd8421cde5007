"""Correlations, proposals, weights and estimates of scores: values by hand, exact fractions, and slow obvious forms."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpretability.errors import InputError
from interpretability.explanations import correlation, estimates, sampling
from interpretability.randomness import generator, unit_keys

A = np.array([0.0, 1, 2, 3, 4, 8])
C = np.array([0.0, 0, 0, 1, 0, 1])
GUIDE = np.array([0.1, 0.1, 0.2, 0.6, 0.3, 0.9])
Q = sampling.proposal("mg_is", A, GUIDE)


def close(values):
    return pytest.approx(values, abs=5e-7)


# --------------------------------------------------------------------------- scores over all images


def test_the_score_of_six_images():
    assert correlation.correlation(A, C) == pytest.approx(float(Fraction(5, 6)) / sqrt(Fraction(40, 27)), abs=1e-15)
    assert correlation.correlation(A, C) == close(0.684653)
    assert correlation.standardised(A).tolist() == close([-1.161895, -0.774597, -0.387298, 0, 0.387298, 1.936492])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int64, bool])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_all_pairs_are_those_of_numpy(kind, offset):
    draw = generator(0, "pairs")
    units = (draw.standard_normal((70, 5003)) ** 3 + offset).astype(np.float32)
    concepts = (draw.random((67, 5003)) < draw.uniform(0.01, 0.5, (67, 1))).astype(kind)
    wanted = np.corrcoef(units.astype(np.float64), concepts.astype(np.float64))[:70, 70:]
    assert np.abs(correlation.correlations(units, concepts) - wanted).max() < 1e-12


def test_a_pair_has_its_bits_whatever_stands_beside_it():
    draw = generator(0, "bits")
    units, concepts = draw.standard_normal((90, 2500)), draw.random((75, 2500))
    whole = correlation.correlations(units, concepts)
    for _ in range(5):
        some, others = draw.permutation(90)[: draw.integers(1, 90)], draw.permutation(75)[: draw.integers(1, 75)]
        assert np.array_equal(correlation.correlations(units[some], concepts[others]), whole[np.ix_(some, others)])
    assert correlation.correlation(units[3], concepts[5]) == whole[3, 5]
    assert np.array_equal(correlation.correlations(np.asfortranarray(units), np.asfortranarray(concepts)), whole)
    assert np.array_equal(correlation.standardised(np.asfortranarray(units)), correlation.standardised(units))


def test_sorted_activations_with_an_outlier_in_front_keep_their_precision():
    draw = generator(0, "sorted")
    units = -np.sort(-(draw.standard_normal((2, 30_000)) ** 9), axis=1)
    concepts = draw.random((3, 30_000)) + 1e6
    wanted = np.corrcoef(units, concepts)[:2, 2:]
    assert np.abs(correlation.correlations(units, concepts) - wanted).max() < 1e-9


def test_a_concept_that_all_images_show_alike_has_no_score():
    concepts = np.stack([C, np.ones(6), np.full(6, 0.1), np.zeros(6), np.full(6, 1e-30)])
    assert np.isnan(correlation.correlations(A[None], concepts)[0]).tolist() == [False, True, True, True, True]
    assert np.isnan(correlation.correlation_se(A, np.ones(6)))
    faint = np.where(C > 0, 1e-12, 2e-12)
    assert correlation.correlation(A, faint) == pytest.approx(-0.684653, abs=1e-6)


@pytest.mark.parametrize("call", [correlation.standardised, lambda a: correlation.correlation(a, C)])
def test_a_constant_unit_is_refused(call):
    for constant in (np.zeros(6), np.full(6, 3.7), np.full(6, 3.7) + 1e-9 * A):
        with pytest.raises(InputError, match="activations is constant"):
            call(constant)
    assert correlation.constant(np.stack([A, np.ones(6)])).tolist() == [False, True]


def test_what_is_refused_says_where():
    units = np.tile(A, (3, 1))
    units[2] = 5.0
    with pytest.raises(InputError, match="constant in row 2"):
        correlation.correlations(units, C[None])
    with pytest.raises(InputError, match="constant in row 2"):
        correlation.standardised(units)
    units[2] = A
    units[1, 4] = np.nan
    with pytest.raises(InputError, match=r"activations holds nan at \[1, 4\]"):
        correlation.correlations(units, C[None])
    with pytest.raises(InputError, match=r"presence holds inf at \[0, 5\]"):
        correlation.correlations(A[None], np.where(A == 8, np.inf, 0)[None])
    with pytest.raises(InputError, match="6 images and presence has 5"):
        correlation.correlation(A, C[:5])
    with pytest.raises(InputError, match=r"must be \(units, images\)"):
        correlation.correlations(A, C[None])


def test_the_best_concept_is_the_first_of_the_highest():
    concepts = np.stack([1 - C, np.ones(6), C, C])
    index, rho = correlation.best_concepts(np.stack([A, -A]), concepts)
    assert index.tolist() == [2, 0]
    assert rho.tolist() == close([0.684653, 0.684653])
    with pytest.raises(InputError, match="no concept"):
        correlation.best_concepts(A[None], np.ones((2, 6)))


def jackknife(a, c):
    """Standard error of a correlation from leaving out each image in turn."""
    left = [np.corrcoef(np.delete(a, i), np.delete(c, i))[0, 1] for i in range(len(a))]
    return np.sqrt((len(a) - 1) * np.var(left))


def test_standard_errors_of_scores_are_those_of_leaving_images_out():
    draw = generator(0, "jackknife")
    c = (draw.random((2, 400)) < [[0.3], [0.1]]).astype(float)
    a = draw.laplace(size=(2, 400)) + 2 * c
    found = correlation.paired_scores(a, c)
    assert found.se.tolist() == pytest.approx([jackknife(*pair) for pair in zip(a, c, strict=True)], rel=0.02)
    assert found.rho.tolist() == [correlation.correlation(*pair) for pair in zip(a, c, strict=True)]
    assert correlation.correlation_se(a[1], c[1]) == found.se[1]
    assert (found.low < found.rho).all()
    assert (found.rho < found.high).all()
    narrow = correlation.paired_scores(a, c, confidence=0.5)
    assert (narrow.high - narrow.low < (found.high - found.low) / 2).all()


def test_normal_pairs_have_the_standard_error_of_textbooks():
    a, e = generator(0, "normal").standard_normal((2, 40_000))
    c = 0.6 * a + 0.8 * e
    found = correlation.paired_scores(a[None], c[None])
    assert found.se[0] == pytest.approx((1 - 0.36) / 200, rel=0.03)
    assert found.effective[0] == pytest.approx(40_000 / 9, rel=0.4)  # 3 for one normal factor, 3 for the other


def test_intervals_of_pairs_where_there_is_nothing_to_know():
    found = correlation.paired_scores(np.stack([A, A]), np.stack([np.ones(6), 2 + 3 * A]))
    assert np.isnan([found.rho[0], found.se[0], found.low[0], found.high[0]]).all()
    assert found.rho[1] == pytest.approx(1)
    assert found.se[1] == pytest.approx(0, abs=1e-8)
    assert found.low[1] == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match="presence has 1 rows and activations 2"):
        correlation.paired_scores(np.stack([A, A]), C[None])
    with pytest.raises(InputError, match="confidence"):
        correlation.paired_scores(A[None], C[None], confidence=1)


def test_intervals_of_scores_cover_where_concepts_are_rare():
    """600 pairs with 5 to 200 positive images, of three kinds of tails; binomial error 0.9 points."""
    draw, hits, naive = generator(0, "cover"), [], []
    for number in range(600):
        p, d, s = np.exp(draw.uniform(np.log(0.005), np.log(0.1))), draw.uniform(0, 3), draw.uniform(0.7, 2)
        noise = (draw.standard_normal(2000), draw.laplace(size=2000) / sqrt(2), draw.exponential(size=2000) - 1)[
            number % 3
        ]
        c = draw.random(2000) < p
        if c.sum() < 5:
            continue
        truth = d * sqrt(p * (1 - p)) / sqrt(1 - p + p * s**2 + p * (1 - p) * d**2)
        found = correlation.paired_scores(np.where(c, d + s * noise, noise)[None], c[None].astype(float))
        hits.append(found.low[0] <= truth <= found.high[0])
        naive.append(abs(found.rho[0] - truth) <= 1.96 * found.se[0])
    assert len(hits) > 550
    assert 0.93 <= np.mean(hits) <= 0.98
    assert np.mean(naive) < np.mean(hits)


def test_recall_of_the_top_images_shares_ties_at_the_edge():
    assert correlation.top_recall(A, C, 1) == 1
    assert correlation.top_recall(A, C, 2) == 0.5
    tied = np.array([5.0, 1, 1, 1, 0, 0])  # the second place is shared by three images, one of which shows it
    assert correlation.top_recall(tied, C, 2) == pytest.approx((0 + 1 / 3) / 2)
    assert correlation.top_weights(np.stack([A, tied]), 2).sum(axis=1).tolist() == pytest.approx([1, 1])
    assert correlation.top_recall(A, GUIDE, 2) == pytest.approx(0.6)
    with pytest.raises(InputError, match="at most 6"):
        correlation.top_recall(A, C, 7)


# --------------------------------------------------------------------------- proposals, draws, weights


def test_proposals_and_weights_of_six_images():
    assert Q.tolist() == close([0.184514, 0.134121, 0.064829, 0.033333, 0.045932, 0.537270])
    assert sampling.weights(Q).tolist() == close([0.903272, 1.242661, 2.570850, 5, 3.628571, 0.310210])
    wanted = [0.213333, 0.113333, 0.053333, 0.033333, 0.053333, 0.533333]
    assert sampling.proposal("ag_is", A).tolist() == close(wanted)
    assert sampling.proposal("uniform", A).tolist() == [1 / 6] * 6


@given(st.floats(0.01, 1), st.floats(0.1, 5), st.sampled_from(sampling.SAMPLERS))
def test_proposals_add_up_and_bound_their_weights(gamma, alpha, sampler):
    q = sampling.proposal(sampler, np.stack([A, A**2]), np.stack([GUIDE, GUIDE[::-1]]), gamma=gamma, alpha=alpha)
    assert q.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert (sampling.weights(q) <= 1 / gamma * (1 + 1e-12)).all()
    assert (sampling.weights(q) * q).sum(axis=1).tolist() == pytest.approx([1, 1])
    alone = sampling.proposal(sampler, A**2, GUIDE[::-1], gamma=gamma, alpha=alpha)
    assert np.array_equal(q[1], alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guide": None}, "guide is missing"),
        ({"guide": GUIDE[:5]}, "6 images and guide|guide has|presence has 5"),
        ({"guide": GUIDE * 2}, "probabilities lie between 0 and 1"),
        ({"guide": np.where(A == 3, np.nan, GUIDE)}, r"guide holds nan at \[3\]"),
        ({"guide": np.full(6, 0.3)}, "guide is constant"),
        ({"guide": np.stack([GUIDE, GUIDE])}, "guide has shape"),
        ({"activations": np.ones(6)}, "activations is constant"),
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": 1.1}, "gamma"),
        ({"alpha": 0}, "alpha"),
        ({"sampler": "top"}, "allowed: uniform, mg_is, ag_is"),
    ],
)
def test_proposals_refuse(change, message):
    given = {"sampler": "mg_is", "activations": A, "guide": GUIDE} | change
    with pytest.raises(InputError, match=message):
        sampling.proposal(**given)


def test_draws_follow_their_probabilities_and_never_give_impossible_images():
    q = sampling.proposal("mg_is", A, GUIDE, gamma=0)
    assert q[3] == 0
    found = sampling.draws(q, 20_000, generator(0, "draws"))
    share = np.bincount(found, minlength=6) / len(found)
    assert share[3] == 0
    assert (np.abs(share - q) < 4 * np.sqrt(q * (1 - q) / len(found)) + 1e-12).all()
    assert np.array_equal(sampling.draws(q, 50, generator(0, "draws")), found[:50])
    assert np.isinf(sampling.weights(q)[3])


def test_keyed_draws_are_those_of_their_unit_alone():
    table = np.stack([Q, sampling.proposal("ag_is", A), sampling.proposal("uniform", A)])
    keys = unit_keys(0, "network", "layer", np.arange(12)).reshape(3, 4)
    found = sampling.keyed_draws(table, 300, keys)
    assert found.shape == (3, 4, 300)
    assert np.array_equal(sampling.keyed_draws(table[[2, 0]], 100, keys[[2, 0]]), found[[2, 0], :, :100])
    assert len({each.tobytes() for each in found.reshape(12, -1)}) == 12
    share = np.bincount(found[0].ravel(), minlength=6) / 1200
    assert (np.abs(share - Q) < 4 * np.sqrt(Q * (1 - Q) / 1200)).all()


def test_probabilities_that_do_not_add_up_are_refused():
    with pytest.raises(InputError, match=r"adds up to 0\.5"):
        sampling.draws(Q / 2, 3, generator(0))


# --------------------------------------------------------------------------- estimates


def standard(images):
    return correlation.standardised(A)[images]


def test_estimates_from_four_draws():
    images = np.array([5, 5, 3, 0])
    given = C[images], sampling.weights(Q)[images], standard(images)
    published, normalised = estimates.importance(*given), estimates.self_normalised(*given)
    assert [published.rho, published.mean] == close([0.260075, 1.405105])
    assert [normalised.rho, normalised.mean] == close([0.475128, 0.861540])
    assert published.reason == normalised.reason == ""


def test_an_estimate_may_leave_the_scale():
    images = np.array([5, 5, 0, 0])
    assert estimates.importance(C[images], np.ones(4), standard(images)).rho == close(0.6 * sqrt(5))


@pytest.mark.parametrize(
    ("weight", "published", "normalised"),
    [([0.3, 0.3, 0.6, 1.2, 1.2, 2.4], 0.642302, 0.703607), ([1] * 6, 0.625, 0.684653)],
)
def test_estimates_from_all_six(weight, published, normalised):
    given = C, np.array(weight), standard(np.arange(6))
    assert estimates.importance(*given).rho == close(published)
    assert estimates.self_normalised(*given).rho == close(normalised)
    assert estimates.importance(*given).rho / estimates.self_normalised(*given).rho == close(sqrt(5 / 6))


@pytest.mark.parametrize("form", [estimates.importance, estimates.self_normalised])
def test_one_label_in_all_images_says_nothing(form):
    images = np.array([0, 1, 2])
    weight = np.array([0.5, 1.5, 0.5])
    # what the equations give where nobody looks
    mean = (weight * 1).sum() / 3
    sd = np.sqrt((weight * (1 - mean) ** 2).sum() / 2)
    assert (weight * standard(images) * (1 - mean) / sd).sum() / 3 == close(-1 / sqrt(3))
    found = form(np.ones(3), weight, standard(images))
    assert np.isnan(found.rho)
    assert found.reason == estimates.ALIKE
    assert np.isnan(estimates.delta_se(np.ones(3), weight, standard(images)))
    assert form(np.ones(1), np.ones(1), np.ones(1)).reason == estimates.ONE_DRAW
    assert form(np.array([0, np.nan, 1]), np.ones(3), np.ones(3)).reason == estimates.UNKNOWN


def slow(labels, weight, a):
    """Eq. 7 to 9, term by term."""
    n = len(labels)
    mean = sum(w * c for w, c in zip(weight, labels, strict=True)) / n
    sd = sqrt(sum(w * (c - mean) ** 2 for w, c in zip(weight, labels, strict=True)) / (n - 1))
    return sum(w * x * (c - mean) / sd for w, x, c in zip(weight, a, labels, strict=True)) / n


def test_many_units_at_once_are_each_by_itself():
    draw = generator(0, "many")
    labels, weight, a = draw.random((3, 4, 20)), draw.uniform(0.2, 5, (3, 4, 20)), draw.standard_normal((3, 4, 20))
    labels[1, 2] = 0.3
    found = estimates.importance(labels, weight, a)
    assert found.reason[1, 2] == estimates.ALIKE
    assert (found.reason != "").sum() == 1
    for place in np.ndindex(3, 4):
        if place != (1, 2):
            assert found.rho[place] == pytest.approx(slow(labels[place], weight[place], a[place]), abs=1e-12)
            assert found.rho[place] == estimates.importance(labels[place], weight[place], a[place]).rho
            for normalised in (False, True):
                se = estimates.delta_se(labels, weight, a, normalised=normalised)
                one = estimates.delta_se(labels[place], weight[place], a[place], normalised=normalised)
                assert se[place] == one > 0


@pytest.mark.parametrize("normalised", [False, True])
def test_standard_errors_are_the_spread_of_many_repeats(normalised):
    draw = generator(0, "spread")
    a = draw.standard_normal(2000)
    c = (draw.random(2000) < 1 / (1 + np.exp(2 - a))).astype(float)
    q = sampling.proposal("ag_is", a)
    images = sampling.keyed_draws(q[None], 2000, unit_keys(0, "m", "l", np.arange(400))[None])[0]
    given = c[images], sampling.weights(q)[images], correlation.standardised(a)[images]
    form = estimates.self_normalised if normalised else estimates.importance
    found = form(*given).rho
    se = estimates.delta_se(*given, normalised=normalised)
    assert abs(found.mean() - correlation.correlation(a, c)) < 4 * found.std() / 20
    assert se.mean() / found.std() == pytest.approx(1, abs=0.12)  # the spread of 400 repeats is known to 3.5 %


@pytest.mark.parametrize(
    ("labels", "weight", "a", "message"),
    [
        ([0, 2], [1, 1], [0, 1], "labels holds values outside"),
        ([0, 1], [1, 0], [0, 1], "weights holds"),
        ([0, 1], [1, np.inf], [0, 1], "weights holds"),
        ([0, 1], [1, 1], [0, np.nan], "activations holds nan"),
        (1, 1, 1, "axis of draws"),
    ],
)
def test_estimates_refuse(labels, weight, a, message):
    with pytest.raises(InputError, match=message):
        estimates.importance(labels, weight, a)


def test_relative_error_is_a_ratio_of_sums():
    by_unit = np.array([[0.2, 0.4], [-0.1, 0.1]])
    truth = np.array([0.3, 0.1])
    assert estimates.relative_error(by_unit.T, truth) == pytest.approx(0.5)
    assert estimates.relative_error(truth, truth) == 0
    assert estimates.relative_error(np.full((3, 2), np.nan), truth) == 1
    assert estimates.undefined_share([[np.nan, 1], [0, 1]]) == 0.25
    with pytest.raises(InputError, match="last axis"):
        estimates.relative_error(by_unit, [0.3, 0.1, 0.2])
    with pytest.raises(InputError, match="truth holds no score"):
        estimates.relative_error(by_unit, [0, 0])


def test_effective_draws():
    assert estimates.effective_draws([2, 2, 2]) == 3
    assert estimates.effective_draws([[1, 0, 0], [1, 1, 2]]).tolist() == pytest.approx([1, 16 / 6])


# --------------------------------------------------------------------------- other types and very large numbers


def test_truth_values_are_numbers():
    concepts = np.stack([C == 1, np.ones(6, bool), np.zeros(6, bool)])
    found = correlation.correlations(A[None], concepts)[0]
    assert found[0] == close(0.684653)
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("value", [1e9 / 7, 1e12 / 3, 0.1, 1e30])
def test_large_numbers_that_are_all_the_same_are_constant(value):
    unit = np.full(1000, value)
    assert correlation.constant(unit)
    for call in (correlation.standardised, lambda a: correlation.correlation(a, np.arange(1000))):
        with pytest.raises(InputError, match="activations is constant"):
            call(unit)


def test_numbers_whose_squares_no_double_holds_have_no_score():
    for call in (correlation.standardised, lambda a: correlation.correlation(a, C)):
        with pytest.raises(InputError, match="beyond double precision"):
            call(A * 1e200)
    assert np.isnan(correlation.correlation(A, C * 1e-170))
    assert correlation.correlation((A * 1e37).astype(np.float32), C) == pytest.approx(0.684653, abs=1e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_perfect_score_has_an_interval_without_width(sign):
    c = np.array([0, 0, 0, 1, 0, 1, 0])
    found = correlation.paired_scores(sign * c[None] * 0.3, c[None] * 0.7)
    assert [found.low[0], found.high[0]] == pytest.approx([sign, sign])


def test_a_large_power_of_activations_is_a_proposal():
    q = sampling.proposal("ag_is", np.arange(2000.0) ** 3, alpha=1000)
    assert q.sum() == pytest.approx(1)
    assert q[-1] > 0.5
    assert q.min() == pytest.approx(0.2 / 2000)


def test_labels_that_differ_by_rounding_are_equal():
    found = estimates.importance([0.1 + 0.2, 0.3, 0.3], [0.5, 1.5, 0.5], [0, 1, 2])
    assert found.reason == estimates.ALIKE
    assert np.isnan(found.rho)
    faint = estimates.importance([1e-9, 2e-9, 1e-9], [0.5, 1.5, 0.5], [0, 1, 2])
    assert faint.reason == ""


def test_one_draw_has_no_standard_error():
    assert np.isnan(estimates.delta_se([1.0], [1.0], [1.0]))


@pytest.mark.parametrize("normalised", [False, True])
def test_standard_errors_of_estimates_are_those_of_leaving_draws_out(normalised):
    """With a high score and weights that differ much, the term of rho / 2 is most of the error."""
    draw = generator(0, "leave out")
    c = (draw.random(600) < 0.4).astype(float)
    w = draw.choice([0.25, 4.0], 600, p=[0.8, 0.2])  # of mean 1, as weights have it
    a = (c - 0.4) / np.sqrt(0.24) + 0.2 * draw.standard_normal(600)
    given = c, w, a / np.sqrt(1.04)
    form = estimates.self_normalised if normalised else estimates.importance
    left = [form(*(np.delete(values, k) for values in given)).rho for k in range(600)]
    found = estimates.delta_se(*given, normalised=normalised)
    assert found == pytest.approx(np.sqrt(599 * np.var(left)), rel=0.1)
