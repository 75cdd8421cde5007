"""Labels from ratings: values by hand, both truths enumerated, and other people's implementations."""

from itertools import product
from math import comb

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import MajorityVote
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from interpretability.errors import InputError
from interpretability.explanations import aggregation
from interpretability.explanations.attenuation import attenuation
from interpretability.randomness import generator


def close(values):
    return pytest.approx(values, abs=5e-7)


def test_three_ratings_by_hand():
    assert aggregation.average(2, 3) == pytest.approx(2 / 3)
    assert aggregation.majority(2, 3) == 1
    wanted = {0.1: 27 / 34, 0.2: 12 / 19, 0.23: 33 / 56}
    for eta, posterior in wanted.items():
        assert aggregation.bragg(2, 3, 0.3, eta=eta) == pytest.approx(posterior, abs=1e-14)
    assert aggregation.bragg(2, 3, 0.3) == close(0.589286)
    assert aggregation.bragg(2, 3, 0.3, false_yes=0.1, false_no=0.2) == pytest.approx(128 / 149, abs=1e-14)
    assert aggregation.bragg(2, 3, 0.3, false_yes=0.2, false_no=0.1) == close(0.520343)


def test_posteriors_of_none_to_three_yes():
    k = np.arange(4)
    assert aggregation.bragg(k, 3, 0.05).tolist() == close([0.001401, 0.015478, 0.149805, 0.663849])
    assert aggregation.bragg(k, 3, 0.5).tolist() == close([0.025959, 0.23, 0.77, 0.974041])
    assert aggregation.bragg_beta(k, 3, 0.05).tolist() == close([0.004801, 0.025641, 0.095238, 0.364742])


def bins(k, m, prior, density):
    """The integral of the paper with 100 bins."""
    eta = (np.arange(100) + 0.5) / 100
    present = (density(eta) * (1 - eta) ** k * eta ** (m - k)).sum()
    absent = (density(eta) * eta**k * (1 - eta) ** (m - k)).sum()
    return prior * present / (prior * present + (1 - prior) * absent)


def test_error_rates_of_images_integrated_by_hand():
    assert aggregation.bragg_beta(2, 3, 0.3) == pytest.approx(6 / 13, abs=1e-14)
    assert bins(2, 3, 0.3, stats.beta(0.75, 2.5).pdf) == close(0.461612)
    # Eq. 21 as printed is another density
    assert aggregation.bragg_beta(2, 3, 0.3, 1.75, 3.5) == pytest.approx(54 / 131, abs=1e-14)


@given(st.integers(0, 6), st.integers(0, 6), st.floats(0.01, 0.99), st.floats(1, 4), st.floats(1, 8))
def test_closed_form_is_the_integral(yes, no, prior, a, b):
    density = stats.beta(a, b).pdf
    present = quad(lambda e: density(e) * (1 - e) ** yes * e**no, 0, 1)[0]
    absent = quad(lambda e: density(e) * e**yes * (1 - e) ** no, 0, 1)[0]
    wanted = prior * present / (prior * present + (1 - prior) * absent)
    assert aggregation.bragg_beta(yes, yes + no, prior, a, b) == pytest.approx(wanted, abs=1e-6)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0, 1), st.floats(0.01, 0.49))
def test_one_rate_is_that_of_log_odds(yes, no, prior, eta):
    present, absent = (1 - eta) ** yes * eta**no, eta**yes * (1 - eta) ** no
    both = prior * present + (1 - prior) * absent
    assert aggregation.bragg(yes, yes + no, prior, eta=eta) == pytest.approx(prior * present / both, abs=1e-12)


def test_priors_of_zero_and_one_stay_and_those_of_a_guide_are_kept_away():
    assert aggregation.bragg(3, 3, [0, 1]).tolist() == [0, 1]
    assert aggregation.guide_prior([0, 0.5, 1]).tolist() == [0.001, 0.5, 0.999]
    assert aggregation.guide_prior([0, 1], clip=0).tolist() == [0, 1]


def test_without_ratings_there_is_the_prior_alone():
    assert np.isnan(aggregation.average(0, 0))
    assert np.isnan(aggregation.majority(0, 0))
    assert aggregation.bragg(0, 0, 0.3) == pytest.approx(0.3)
    assert aggregation.bragg_beta(0, 0, 0.3) == pytest.approx(0.3)


def test_a_tie_is_no():
    assert aggregation.majority([1, 2, 3, 2], [2, 4, 4, 3]).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *[(lambda eta=eta: aggregation.bragg(1, 3, 0.3, eta=eta), "eta is") for eta in (0, 0.5, 0.7, -1, float("nan"))],
        (lambda: aggregation.bragg(4, 3, 0.3), "yes holds 4 of 3"),
        (lambda: aggregation.bragg(1.5, 3, 0.3), "whole numbers"),
        (lambda: aggregation.bragg(-1, 3, 0.3), "yes holds"),
        (lambda: aggregation.bragg(1, 3, 1.2), "prior holds 1.2"),
        (lambda: aggregation.bragg(1, 3, np.nan), "prior holds nan"),
        (lambda: aggregation.bragg(1, 3, 0.3, false_yes=0.1), "stand together"),
        (lambda: aggregation.bragg(1, 3, 0.3, eta=0.2, false_yes=0.1, false_no=0.1), "stands alone"),
        (lambda: aggregation.bragg(1, 3, 0.3, false_yes=0.6, false_no=0.4), "add up to 1"),
        (lambda: aggregation.bragg(1, 3, 0.3, false_yes=0, false_no=0.4), "false_yes holds"),
        (lambda: aggregation.bragg_beta(1, 3, 0.3, 0, 1), "a is 0"),
        (lambda: aggregation.guide_prior([0.1], clip=0.5), "clip is"),
        (lambda: aggregation.fit_beta_errors([0, 0], [3, 3]), "only right ratings"),
        (lambda: aggregation.fit_beta_errors([3, 3], [3, 3]), "only wrong ratings"),
        (lambda: aggregation.fit_beta_errors([0, 1], [1, 1]), "two ratings"),
        (lambda: aggregation.fit_beta_errors([4], [3]), "wrong holds 4 of 3"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# --------------------------------------------------------------------------- raters with rates of their own


def rated(n_images=8, raters=5, seed=0):
    draw = generator(seed, "rated")
    rows = [
        (f"rater{rater}", text, image, int(draw.random() < 0.4))
        for text in ("a dog", "red")
        for image in range(n_images)
        for rater in range(raters)
        if draw.random() < 0.8
    ]
    return pd.DataFrame(rows, columns=["rater", "text", "image", "rating"])


def test_posteriors_of_raters_are_those_of_both_truths_enumerated():
    table = rated()
    false_yes = {f"rater{r}": 0.05 + 0.08 * r for r in range(5)}
    false_no = {f"rater{r}": 0.4 - 0.07 * r for r in range(5)}
    prior = {(t, i): 0.1 + 0.1 * i for t, i in product(("a dog", "red"), range(8))}
    found = aggregation.bragg_raters(table, prior, false_yes, false_no)
    groups = table.groupby(["text", "image"])
    assert len(found) == groups.ngroups
    for row, ((text, image), own) in zip(found.itertuples(), groups, strict=True):
        weight = {}
        for truth in (0, 1):
            weight[truth] = prior[text, image] if truth else 1 - prior[text, image]
            for rater, said in zip(own["rater"], own["rating"], strict=True):
                yes = 1 - false_no[rater] if truth else false_yes[rater]
                weight[truth] *= yes if said else 1 - yes
        assert (row.text, row.image, row.n, row.yes) == (text, image, len(own), own["rating"].sum())
        assert row.posterior == pytest.approx(weight[1] / (weight[0] + weight[1]), abs=1e-12)


def test_raters_who_are_alike_give_the_common_posterior_in_any_order():
    table = rated()
    rates = dict.fromkeys(table["rater"], 0.23)
    found = aggregation.bragg_raters(table, 0.05, rates, rates)
    wanted = aggregation.bragg(found["yes"], found["n"], 0.05)
    assert found["posterior"].tolist() == pytest.approx(wanted.tolist(), abs=1e-14)
    mixed = aggregation.bragg_raters(table.sample(frac=1, random_state=3), 0.05, rates, rates)
    pd.testing.assert_frame_equal(found, mixed, check_exact=True)


# of pandas, about crowd-kit's calls
@pytest.mark.filterwarnings("ignore:The .* keyword:DeprecationWarning")
def test_the_majority_is_that_of_crowd_kit_where_it_has_one():
    table = rated(40)
    counts = table.groupby(["text", "image"])["rating"].agg(["sum", "size"])
    tasks = table.assign(task=table["text"] + table["image"].astype(str), worker=table["rater"], label=table["rating"])
    theirs = MajorityVote().fit_predict(tasks)
    ours = aggregation.majority(counts["sum"], counts["size"])
    decided = (2 * counts["sum"] != counts["size"]).to_numpy()  # they take a tie by chance
    assert decided.sum() > 40
    named = [f"{text}{image}" for text, image in counts.index]
    assert ours[decided].tolist() == theirs.loc[named].to_numpy()[decided].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(rating=2), "column rating"),
        (lambda t: t.assign(rating=0.5), "column rating"),
        (lambda t: t.drop(columns="image"), "lacks the column image"),
        (lambda t: pd.concat([t, t.iloc[[3]]], ignore_index=True), "more than one rating of rater"),
        (lambda t: t.assign(rater=3), "column rater"),
        (lambda t: t.assign(image=-1), "column image"),
        (lambda t: t.assign(rater="somebody else"), "more than one rating|lacks the rater"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_tables_of_ratings_that_are_refused(change, message):
    rates = {f"rater{r}": 0.2 for r in range(5)}
    with pytest.raises(InputError, match=message):
        aggregation.bragg_raters(change(rated()), 0.05, rates, rates)


def test_a_prior_or_a_rate_that_is_missing_is_told():
    rates = {f"rater{r}": 0.2 for r in range(5)}
    with pytest.raises(InputError, match="prior lacks text 'a dog', image 0"):
        aggregation.bragg_raters(rated(), {("red", 0): 0.2}, rates, rates)
    with pytest.raises(InputError, match="false_no lacks the rater 'rater4'"):
        aggregation.bragg_raters(rated(), 0.2, rates, {f"rater{r}": 0.2 for r in range(4)})
    with pytest.raises(InputError, match="speaks against"):
        aggregation.bragg_raters(rated(), 0.2, dict.fromkeys(rates, 0.7), dict.fromkeys(rates, 0.4))


# --------------------------------------------------------------------------- what errors leave of a score


@pytest.mark.parametrize(("n", "wanted"), [(3, (0.0701, 0.0676, 0.1302)), (101, (0.3774, 1.0000, 1.0000))])
def test_what_rare_concepts_keep_of_their_score(n, wanted):
    k, share = np.arange(n + 1), 0.001
    labels = aggregation.average(k, n), aggregation.majority(k, n), aggregation.bragg(k, n, share)
    found = [attenuation(label, share, eta=0.23) for label in labels]
    assert found == pytest.approx(wanted, abs=5e-5)
    u = (1 - 2 * 0.23) ** 2 * share * (1 - share)
    assert found[0] == pytest.approx(np.sqrt(u / (u + 0.23 * 0.77 / n)), abs=1e-12)


@given(
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.45),
    st.floats(0.01, 0.45),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_no_label_keeps_more_than_the_posterior(share, false_yes, false_no, other):
    errors = {"false_yes": false_yes, "false_no": false_no}
    best = attenuation(aggregation.bragg(np.arange(4), 3, share, **errors), share, **errors)
    for label in (aggregation.average(np.arange(4), 3), aggregation.majority(np.arange(4), 3), np.array(other)):
        assert np.ptp(label) == 0 or attenuation(label, share, **errors) <= best + 1e-9


def test_what_is_left_is_what_a_simulation_finds():
    draw = generator(0, "attenuation")
    truth = draw.random(200_000) < 0.1
    yes = draw.binomial(3, np.where(truth, 0.7, 0.1))
    label = aggregation.bragg(yes, 3, 0.1, false_yes=0.1, false_no=0.3)
    wanted = attenuation(
        aggregation.bragg(np.arange(4), 3, 0.1, false_yes=0.1, false_no=0.3), 0.1, false_yes=0.1, false_no=0.3
    )
    assert np.corrcoef(truth, label)[0, 1] == pytest.approx(wanted, abs=0.01)
    a = truth + draw.standard_normal(200_000)
    assert np.corrcoef(a, label)[0, 1] == pytest.approx(np.corrcoef(a, truth)[0, 1] * wanted, abs=0.01)
    assert np.isnan(attenuation([0.5, 0.5], 0.1))
    with pytest.raises(InputError, match="prevalence"):
        attenuation([0, 1], 0)


# --------------------------------------------------------------------------- error rates over images


def test_fitted_error_rates_are_the_highest_of_a_grid_and_near_the_truth():
    draw = generator(0, "beta")
    wrong = draw.binomial(9, draw.beta(0.75, 2.5, 6000))
    found = aggregation.fit_beta_errors(wrong, np.full(6000, 9))
    assert found.overdispersed
    assert (found.a, found.b) == pytest.approx((0.75, 2.5), rel=0.1)
    assert (found.mean, found.second_moment) == pytest.approx((0.2308, 0.0950), abs=0.01)
    assert (found.moment_a, found.moment_b) == pytest.approx((found.a, found.b), rel=0.15)
    constants = sum(np.log(comb(9, int(k))) for k in wrong)
    own = stats.betabinom(9, found.a, found.b).logpmf(wrong).sum()
    assert own == pytest.approx(found.log_likelihood + constants, rel=1e-9)
    for a, b in product(found.a * np.array([0.97, 1, 1.03]), found.b * np.array([0.97, 1, 1.03])):
        assert stats.betabinom(9, a, b).logpmf(wrong).sum() <= own + 1e-6


def test_error_rates_that_are_alike_are_said_to_be():
    of = np.repeat([3, 4], 200)
    found = aggregation.fit_beta_errors(generator(0, "alike").permuted(np.tile([0, 1, 1, 1], 100)), of)
    assert not found.overdispersed
    assert found.mean == pytest.approx(300 / of.sum(), abs=1e-3)
