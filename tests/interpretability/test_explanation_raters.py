"""Agreement of raters, what each did, and their error rates: by hand, in simulation, and beside crowd-kit."""

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene
from statsmodels.stats.inter_rater import fleiss_kappa

from interpretability.errors import InputError
from interpretability.explanations import aggregation, rater_errors, raters
from interpretability.randomness import generator

YES = np.array([3, 3, 0, 1, 2, 0])


def table_of(rows):
    return pd.DataFrame(rows, columns=["rater", "text", "image", "rating"])


def from_counts(yes, n):
    return table_of([(f"r{r}", "dog", i, int(r < k)) for i, k in enumerate(yes) for r in range(n)])


def simulated(false_yes, false_no, n_images=300, prevalence=0.3, each=None, seed=0):
    """Ratings of raters with these rates; every rater sees all images, or each image has `each` of them."""
    draw = generator(seed, "simulated raters")
    truth = draw.random(n_images) < prevalence
    rows = []
    for image in range(n_images):
        seen = range(len(false_yes)) if each is None else draw.permutation(len(false_yes))[:each]
        for r in seen:
            wrong = draw.random() < (false_no[r] if truth[image] else false_yes[r])
            rows.append((f"r{r:02d}", "dog", image, int(truth[image] != wrong)))
    return table_of(rows), truth


# --------------------------------------------------------------------------- agreement


def test_kappa_by_hand_and_by_statsmodels():
    found = raters.agreement(from_counts(YES, 3))
    assert found.kappa == pytest.approx(5 / 9, abs=1e-12)
    assert found.kappa == pytest.approx(fleiss_kappa(np.stack([3 - YES, YES], axis=1)))
    assert (found.n_images, found.n_ratings, found.yes_share) == (6, 18, 0.5)
    assert found.bound == pytest.approx(0.2916)
    assert raters.agreement(from_counts(YES, 3), eta=0.1).bound == pytest.approx(0.64)


def test_kappa_leaves_out_images_with_one_rating_and_is_none_without_disagreement():
    more = pd.concat([from_counts(YES, 3), table_of([("r0", "dog", 99, 1)])])
    assert raters.agreement(more) == raters.agreement(from_counts(YES, 3))
    assert np.isnan(raters.agreement(from_counts([0, 0], 3)).kappa)
    assert np.isnan(raters.agreement(table_of([("r0", "dog", 99, 1)])).kappa)


@pytest.mark.parametrize(("false_yes", "false_no"), [(0.23, 0.23), (0.1, 0.4), (0.02, 0.3)])
def test_no_prevalence_gives_a_kappa_above_the_bound(false_yes, false_no):
    share = np.linspace(1e-4, 1 - 1e-4, 20_001)
    yes = share * (1 - false_no) + (1 - share) * false_yes
    kappa = share * (1 - share) * (1 - false_yes - false_no) ** 2 / (yes * (1 - yes))
    assert raters.kappa_bound(false_yes, false_no) == pytest.approx(kappa.max(), abs=1e-6)
    ratings, _ = simulated([false_yes] * 3, [false_no] * 3, n_images=4000, prevalence=share[kappa.argmax()])
    found = raters.agreement(ratings, false_yes=false_yes, false_no=false_no)
    assert found.kappa == pytest.approx(found.bound, abs=0.04)


def test_raters_who_share_their_errors_agree_more_than_the_bound_of_their_rate():
    """Each image has an error rate of its own: with Beta(0.75, 2.5) kappa is .394 at a prevalence of .2, and the bound is .29."""
    draw = generator(0, "shared errors")
    truth = draw.random(20_000) < 0.2
    wrong = draw.random((20_000, 3)) < draw.beta(0.75, 2.5, (20_000, 1))
    yes = (truth[:, None] != wrong).sum(axis=1)
    mean, square = 0.75 / 3.25, 0.75 * 1.75 / (3.25 * 4.25)
    share = 0.2 * (1 - mean) + 0.8 * mean
    chance = share**2 + (1 - share) ** 2
    wanted = (1 - 2 * mean + 2 * square - chance) / (1 - chance)
    assert wanted == pytest.approx(0.394, abs=5e-4)
    assert raters.fleiss_kappa(yes, np.full(20_000, 3)) == pytest.approx(wanted, abs=0.015)
    assert raters.kappa_bound(mean, mean) < 0.3 < wanted


# --------------------------------------------------------------------------- rater by rater


def with_pages(ratings, seconds=20.0, size=10):
    page = ratings.groupby("rater").cumcount() // size
    return ratings.assign(page=page, seconds=seconds)


def test_a_rater_by_hand():
    ratings = table_of(
        [
            (r, "dog", i, v)
            for r, said in (("a", [1, 0, 1, 0]), ("b", [1, 1, 0, 0]), ("c", [0, 0, 0, 0]))
            for i, v in enumerate(said)
        ]
    ).assign(page=[0, 0, 1, 1] * 3, seconds=[10.0, 10, 20, 20] * 2 + [1, 1, np.nan, np.nan])
    found = raters.rater_table(
        ratings, gold={("dog", 0): 1, ("dog", 1): 0, ("dog", 3): False}, prior=0.2, eta=0.1
    ).set_index("rater")
    assert list(found["n"]) == [4, 4, 4]
    assert list(found["yes_share"]) == [0.5, 0.5, 0]
    assert list(found["pages"]) == [2, 2, 2]
    assert list(found["all_no_pages"]) == [0, 1, 2]
    assert list(found["all_yes_pages"]) == [0, 1, 0]
    assert list(found["seconds_page"]) == [15, 15, 1]
    assert list(found["gold_present"]) == [1, 1, 1]
    assert list(found["gold_absent"]) == [2, 2, 2]
    assert list(found["gold_false_no"]) == [0, 0, 1]
    assert list(found["gold_false_yes"]) == [0, 0.5, 0]
    by_others = aggregation.bragg([2 - 1, 1, 0, 0], 2, 0.2, eta=0.1)  # of a: what b and c say of the images 0 to 3
    said = np.array([1, 0, 1, 0])
    assert found.loc["a", "agreement"] == pytest.approx(np.where(said, by_others, 1 - by_others).mean())
    assert (found["flags"] == "").all()


def test_without_pages_and_gold_there_is_less_to_tell():
    found = raters.rater_table(from_counts(YES, 3))
    assert found[["pages", "seconds_page", "all_no_pages", "gold_false_no", "agreement_limit"]].isna().all(axis=None)
    assert list(found.columns) == raters.RATER_COLUMNS
    alone = raters.rater_table(table_of([("r0", "dog", 1, 1)]))
    assert alone.loc[0, "n_with_others"] == 0
    assert np.isnan(alone.loc[0, "agreement"])


def test_ratings_without_a_page_are_no_page():
    ratings = with_pages(from_counts(YES, 3), size=2).astype({"page": object})
    ratings.loc[ratings["image"] >= 4, ["page", "seconds"]] = ["", np.nan]
    found = raters.rater_table(ratings)
    assert list(found["pages"]) == [2, 2, 2]
    assert list(found["seconds_page"]) == [20, 20, 20]


def test_who_is_lazy_inverted_fast_or_never_selects_is_flagged_and_honest_raters_are_not():
    n = 12
    ratings, truth = simulated([0.2] * n, [0.2] * n, n_images=200, seed=4)
    draw = generator(0, "bad raters")
    never, inverted, lazy = (ratings["rater"] == name for name in ("r00", "r01", "r02"))
    ratings.loc[never, "rating"] = 0
    ratings.loc[inverted, "rating"] = 1 - ratings.loc[inverted, "rating"]
    ratings.loc[lazy, "rating"] = draw.integers(2, size=lazy.sum())
    ratings = with_pages(ratings, size=20)
    ratings.loc[ratings["rater"] == "r03", "seconds"] = 2.0
    gold = {("dog", image): bool(truth[image]) for image in range(60)}
    rules = raters.Rules(seconds_page=3, constant_pages=3, agreement_quantile=0.001, gold_error=0.4)
    options = {"gold": gold, "prior": 0.3, "eta": 0.2}
    found = raters.rater_table(ratings, rules=rules, **options).set_index("rater")
    assert "always no, over 10 pages" in found.loc["r00", "flags"]
    for name in ("r01", "r02"):
        assert "of honest raters" in found.loc[name, "flags"]
        assert "gold images wrong" in found.loc[name, "flags"]
    assert found.loc["r03", "flags"] == "2 s a page, below 3"
    assert (found.loc["r04":, "flags"] == "").all()
    honest = found.loc["r04":]
    assert np.abs(honest["agreement"] - honest["agreement_expected"]).max() < 0.08
    mixed = raters.rater_table(ratings.sample(frac=1, random_state=1), rules=rules, **options)
    pd.testing.assert_frame_equal(found.reset_index(), mixed, check_exact=True)
    assert (raters.rater_table(ratings, **options)["flags"] == "").all()


def test_about_one_in_a_hundred_honest_raters_falls_below_the_first_percentile():
    n = 150
    ratings, _ = simulated([0.23] * n, [0.23] * n, n_images=1500, each=9)
    rules = raters.Rules(agreement_quantile=0.01)
    found = raters.rater_table(ratings, prior=0.3, rules=rules)
    assert (found["flags"] != "").sum() <= 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(seconds=-1.0), "negative time"),
        (lambda t: t.assign(seconds=np.arange(len(t)) * 1.0), "different seconds for page"),
        (lambda t: t.assign(page=np.where(t.index == 3, np.nan, 1)), "no page in row 3"),
        (lambda t: t.assign(rating=0.5), "column rating"),
    ],
)
def test_tables_that_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        raters.rater_table(change(with_pages(from_counts(YES, 3))))


@pytest.mark.parametrize("label", [0.5, 2, np.nan])
def test_gold_is_yes_or_no(label):
    with pytest.raises(InputError, match="gold of text 'dog', image 1 is neither"):
        raters.rater_table(from_counts(YES, 3), gold={("dog", 0): True, ("dog", 1): label})


def test_the_limit_of_a_rater_with_many_ratings_is_the_same_quantile():
    """Agreement with others of whom half say yes with .9, half with .1, is normal for many ratings."""
    n = 5000
    q = np.tile([0.9, 0.1], n // 2)
    says = 0.77 * q + 0.23 * (1 - q)
    found = raters._honest(q, says, generator(0, "limit"))
    right = says[0] * 0.9 + (1 - says[0]) * 0.1
    assert found.mean() == pytest.approx(right, abs=0.001)
    assert found.std() == pytest.approx(0.8 * np.sqrt(says[0] * (1 - says[0]) / n), rel=0.08)


# --------------------------------------------------------------------------- error rates without gold


RATES = np.array([0.05, 0.1, 0.2, 0.3, 0.15, 0.25]), np.array([0.3, 0.2, 0.1, 0.15, 0.4, 0.05])


# of pandas, about crowd-kit's calls
@pytest.mark.filterwarnings("ignore:The .* keyword:DeprecationWarning")
def test_plain_likelihood_gives_what_crowd_kit_gives():
    ratings, _ = simulated(*RATES, n_images=150, each=4)
    ours = rater_errors.fit_rater_errors(ratings, common=(0, 0))
    tasks = ratings.rename(columns={"image": "task", "rater": "worker", "rating": "label"})[["task", "worker", "label"]]
    theirs = DawidSkene(n_iter=3000, tol=1e-15).fit(tasks)
    assert ours.settled
    assert ours.labels["posterior"].tolist() == pytest.approx(theirs.probas_[1].sort_index().tolist(), abs=1e-5)
    assert ours.prevalence == pytest.approx(theirs.priors_[1], abs=1e-5)
    errors = theirs.errors_
    for row in ours.rates.itertuples():
        assert row.false_yes == pytest.approx(errors.loc[(row.rater, 1), 0], abs=1e-5)
        assert row.false_no == pytest.approx(errors.loc[(row.rater, 0), 1], abs=1e-5)


def test_rates_come_back_and_the_inverted_one_is_seen():
    false_yes, false_no = np.append(RATES[0], 0.85), np.append(RATES[1], 0.8)
    ratings, truth = simulated(false_yes, false_no, n_images=3000)
    found = rater_errors.fit_rater_errors(ratings)
    assert np.abs(found.rates["false_yes"] - false_yes).max() < 0.05
    assert np.abs(found.rates["false_no"] - false_no).max() < 0.05
    assert found.prevalence == pytest.approx(truth.mean(), abs=0.02)
    assert ((found.labels["posterior"] > 0.5) == truth).mean() > 0.96
    assert found.rates["n_present"].tolist() == pytest.approx([found.labels["posterior"].sum()] * 7)


def test_labels_are_those_of_the_rates_and_priors():
    ratings, _ = simulated(*RATES, n_images=40, each=3)
    prior = {("dog", image): 0.05 + 0.02 * image for image in range(40)}
    found = rater_errors.fit_rater_errors(ratings, prior=prior)
    assert np.isnan(found.prevalence)
    rates = found.rates.set_index("rater")
    wanted = aggregation.bragg_raters(ratings, prior, rates["false_yes"].to_dict(), rates["false_no"].to_dict())
    assert found.labels["posterior"].tolist() == pytest.approx(wanted["posterior"].tolist(), abs=1e-9)
    assert found.labels[["n", "yes"]].equals(wanted[["n", "yes"]])


def test_the_order_of_ratings_changes_no_bit():
    ratings, _ = simulated(*RATES, n_images=60, each=3)
    found = rater_errors.fit_rater_errors(ratings)
    mixed = rater_errors.fit_rater_errors(ratings.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(found.rates, mixed.rates, check_exact=True)
    pd.testing.assert_frame_equal(found.labels, mixed.labels, check_exact=True)


def test_a_rater_with_few_ratings_is_taken_for_a_common_one():
    ratings, _ = simulated(*RATES, n_images=60)
    ratings = pd.concat([ratings, table_of([("new", "dog", 0, 1)])])
    row = rater_errors.fit_rater_errors(ratings).rates.set_index("rater").loc["new"]
    assert 0.15 < row["false_yes"] < 0.42
    assert 0.15 < row["false_no"] < 0.42
