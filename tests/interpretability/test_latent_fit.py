"""Scores from ratings and a guide: truth that comes back, bytes that do not follow the order, verdicts and refusals."""

from dataclasses import replace

import numpy as np
import pytest

import interpretability.explanations.latent.self_check as checks
from interpretability.errors import InputError
from interpretability.explanations.correlation import correlations
from interpretability.explanations.latent.estimating import estimate
from interpretability.explanations.latent.fit import latent_scores, usual_effort
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.explanations.latent.posterior import Effort
from interpretability.explanations.latent.scoring import NO_POSITIVE, TOO_RARE
from interpretability.explanations.latent.study import prepare
from interpretability.randomness import generator
from interpretability.synthetic.raters import ERRORS, simulate_counts
from tests.interpretability.latent_studies import keys, small_study

SHORT = Effort(burn=300, kept=60, every=4)


def fit(world, ratings, gold=None, **more):
    more = {"seed": 1, "effort": SHORT, "keys": keys(len(world.rho))} | more
    return latent_scores(world.activations, world.guide, ratings, gold=gold, **more)


@pytest.fixture(scope="module")
def mediocre():
    world, ratings, gold = small_study("mediocre", size=60, n=2000)
    return world, ratings, gold, fit(world, ratings, gold)


def test_scores_are_nearer_to_the_truth_than_the_guide(mediocre):
    world, _, _, found = mediocre
    assert np.abs(found.draws.mean(axis=0) - world.rho).sum() < 0.5 * np.abs(found.guide_only - world.rho).sum()
    assert found.guide_only == pytest.approx(world.guide_rho, abs=1e-6)
    has = found.reason == ""
    assert has.sum() >= 11
    assert found.rho[has] == pytest.approx(found.draws.mean(axis=0)[has])
    assert (found.high - found.rho)[has] == pytest.approx(2.3 * found.draws.std(axis=0, ddof=1)[has])
    assert (found.low + found.high)[has] == pytest.approx(2 * found.rho[has])


def test_posteriors_tell_images_apart(mediocre):
    world, ratings, _, found = mediocre
    shown = world.concept[ratings.pair, ratings.image]
    assert found.posterior[shown].mean() > 0.6
    assert found.posterior[~shown].mean() < 0.1
    # what people said counts, not the guide alone
    agreed = found.posterior[ratings.yes == 3].mean() - found.posterior[ratings.yes == 0].mean()
    assert agreed > 0.5


def test_the_order_of_pairs_and_ratings_changes_no_byte(mediocre):
    world, ratings, gold, found = mediocre
    draw = generator(2, "order")
    pairs, rows, gold_rows = (draw.permutation(n) for n in (len(world.rho), len(ratings.pair), len(gold.pair)))
    place = np.argsort(pairs)
    moved = RatedPairs(place[ratings.pair][rows], *(getattr(ratings, name)[rows] for name in ("image", "n", "yes")))
    of_gold = (getattr(gold, name)[gold_rows] for name in ("image", "present", "n", "yes"))
    moved_gold = GoldImages(place[gold.pair][gold_rows], *of_gold, drawn_uniformly=True)
    again = latent_scores(
        world.activations[pairs],
        world.guide[pairs],
        moved,
        gold=moved_gold,
        seed=1,
        keys=keys(len(pairs))[pairs],
        effort=SHORT,
    )
    for name in ("rho", "se", "low", "high", "reason", "status", "rhat", "guide_only"):
        assert getattr(again, name).tobytes() == getattr(found, name)[pairs].tobytes(), name
    assert again.draws.tobytes() == np.ascontiguousarray(found.draws[:, pairs]).tobytes()
    assert again.posterior.tobytes() == found.posterior[rows].tobytes()
    assert again.raters == found.raters
    assert repr(again.check) == repr(found.check)


def test_the_seed_counts_and_keys_may_be_texts(mediocre):
    world, ratings, gold, found = mediocre
    other = fit(world, ratings, gold, seed=2)
    assert not np.array_equal(other.rho, found.rho)
    assert np.nanmax(np.abs(other.draws.mean(axis=0) - found.draws.mean(axis=0))) < 0.5 * found.draws.std(axis=0).max()
    named = fit(world, ratings, gold, keys=[("layer", unit, "a text") for unit in range(len(world.rho))])
    assert not np.array_equal(named.rho, found.rho)


@pytest.mark.parametrize(
    ("raters", "wanted"),
    [
        ("unequal", {"false_yes": (0.1, 0.03), "false_no": (0.4, 0.08), "spread": (0.0, 0.1)}),
        ("beta", {"false_yes": (0.23, 0.04), "false_no": (0.23, 0.08), "spread": (4 / 13, 0.1)}),
    ],
)
def test_errors_of_raters_come_back(raters, wanted):
    world, ratings, gold = small_study("good", raters, units=20, n=1500, size=60, gold=60)
    found = fit(world, ratings, gold).raters
    for name, (value, within) in wanted.items():
        assert abs(found[name][0] - value) < within, name
        assert abs(found[name][0] - value) < 4 * found[name][1] + 0.02, name


def test_intervals_cover_across_kinds_of_guides():
    """96 pairs of 8 studies; with intervals half as wide, or from guides taken at their word, far fewer are covered."""
    hits, narrow = [], []
    for seed, guide in enumerate(("good", "mediocre", "overconfident", "shifted") * 2):
        world, ratings, gold = small_study(guide, seed=seed, size=60, n=1500)
        found = fit(world, ratings, gold)
        off = np.abs(found.rho - world.rho)[found.reason == ""]
        reach = (found.high - found.rho)[found.reason == ""]
        hits += (off <= reach).tolist()
        narrow += (off <= reach / 3).tolist()
    assert np.mean(hits) >= 0.9
    assert np.mean(narrow) <= 0.8
    assert len(hits) > 90


def test_a_blind_guide_is_seen_through():
    """A quarter of the positives look to the guide as if they were none: the floor finds them, by the activation and people."""
    world, ratings, gold = small_study("blind", units=24, n=2000, size=100)
    found = fit(world, ratings, gold)
    assert np.abs((found.rho - world.rho).sum()) < 0.05 * world.rho.sum()
    assert np.abs((found.guide_only - world.rho).sum()) > 0.2 * world.rho.sum()


def test_without_a_guide_and_without_gold():
    world, ratings, _ = small_study("good", size=100, gold=0)
    found = latent_scores(world.activations, None, ratings, seed=1, effort=SHORT)
    assert np.isnan(found.guide_only).all()
    assert found.raters["pull"] == (0.0, 0.0)
    defined = found.reason == ""
    assert np.corrcoef(found.rho[defined], world.rho[defined])[0, 1] > 0.5


def test_a_score_without_ground_is_undefined():
    world, ratings, gold = small_study("good", size=10)
    none = ratings.pair == 3
    found = fit(world, replace(ratings, yes=np.where(none, 0, ratings.yes)), gold)
    assert found.reason[3] in (NO_POSITIVE, TOO_RARE)
    assert found.status[3] == "not calibrated: no score"
    assert np.isnan([found.rho[3], found.se[3], found.low[3], found.high[3]]).all()
    assert np.isfinite(found.draws[:, 3]).all()


# --------------------------------------------------------------------------- verdicts


def test_nothing_is_calibrated_without_a_bootstrap(mediocre):
    *_, found = mediocre
    assert {status.split(";")[0] for status in found.status[found.reason == ""]} == {
        "not calibrated: the bootstrap has 0 pairs of 200"
    }


def test_a_bootstrap_can_say_calibrated(mediocre, monkeypatch):
    world, ratings, gold, _ = mediocre
    monkeypatch.setattr(checks, "LEAST_COPIES", 20)
    found = fit(world, ratings, gold, n_bootstrap=2, effort=None)
    assert found.check.bootstrap_n == 24
    assert found.check.bootstrap_coverage >= 0.85
    if found.check.bootstrap_coverage >= checks.LEAST_COVERAGE:
        assert set(found.status[found.reason == ""]) == {"calibrated under the model"}
    monkeypatch.setattr(checks, "LEAST_COVERAGE", 1.01)
    again = fit(world, ratings, gold, n_bootstrap=2)
    assert all("the bootstrap covers" in status for status in again.status[again.reason == ""])


def test_a_bootstrap_sees_intervals_that_are_too_narrow(mediocre):
    world, ratings, gold, _ = mediocre
    study = prepare(world.activations, world.guide, ratings, gold, keys(12))
    found = estimate(study, 1, SHORT)
    assert found.covers(found.mean).all()
    assert not found.covers(found.mean + 2.4 * found.se).any()
    covered = [checks.bootstrap_copy(study, found, seed=1, effort=SHORT, copy=copy) for copy in range(2)]
    assert not np.array_equal(*covered) or np.concatenate(covered).all()


def status_of(world, ratings, gold):
    return fit(world, ratings, gold).status


def test_too_little_is_not_calibrated():
    world, ratings, gold = small_study(units=7)
    assert all("7 pairs, 8 are needed" in status for status in status_of(world, ratings, gold))
    world, ratings, gold = small_study(each=1)
    assert all("one rating an image and no gold" in status for status in status_of(world, ratings, None))
    assert not any("one rating" in status for status in status_of(world, ratings, gold))


def test_raters_that_the_model_does_not_know_are_seen():
    """Half of the images of a text are rated by people who toss coins together: agreement is not what one spread makes of it."""
    world, ratings, gold = small_study(units=20, size=80, n=1500)
    told = fit(world, ratings, gold).check
    assert told.largest_z < 3.5
    assert abs(told.agreement_z) < 3
    # raters say yes wherever the unit responds, and no elsewhere
    high = world.activations[ratings.pair, ratings.image] > 1.5
    yes = np.where(high, ratings.n, ratings.yes)
    odd = fit(world, replace(ratings, yes=yes), gold).check
    assert odd.largest_z > 3.5 or min(odd.gold_yes, odd.gold_no) < 0.005


def test_gold_that_is_rated_otherwise_is_seen():
    world, ratings, gold = small_study(units=20, size=80, n=1500)
    told = fit(world, ratings, gold).check
    assert min(told.gold_yes, told.gold_no) > 0.005
    worse = replace(gold, yes=np.where(gold.present == 1, 0, gold.yes))
    assert fit(world, ratings, worse).check.gold_no < 0.005


def test_a_guide_that_does_not_see_gold_is_seen():
    world, ratings, gold = small_study(units=20, size=40, n=1500, gold=80)
    assert fit(world, ratings, gold).check.gold_seen > 0.01
    positive = gold.present == 1
    image = gold.image.copy()
    for row in np.flatnonzero(positive):
        own = np.flatnonzero(world.concept[gold.pair[row]])
        image[row] = own[np.argmin(world.guide[gold.pair[row], own])]  # the positive that the guide sees worst
    worst = np.unique(np.stack([gold.pair[positive], image[positive]]), axis=1)
    n = np.full(worst.shape[1], 3)
    unseen = GoldImages(worst[0], worst[1], np.ones_like(n), n, np.full_like(n, 2), drawn_uniformly=True)
    assert fit(world, ratings, unseen).check.gold_seen < 0.01
    assert np.isnan(fit(world, ratings, replace(unseen, drawn_uniformly=False)).check.gold_seen)


def test_adaptive_ratings_have_no_residuals():
    world, ratings, gold = small_study()
    found = fit(world, replace(ratings, adaptive=True), gold).check
    assert np.isnan([found.largest_z, found.agreement_z]).all()


def test_a_very_skewed_unit_is_not_calibrated():
    world, ratings, gold = small_study(size=60)
    activations = world.activations.copy()
    activations[2] = np.exp(2 * activations[2])
    found = latent_scores(activations, world.guide, ratings, gold=gold, seed=1, effort=SHORT)
    assert ["the unit is skewed" in status for status in found.status] == [unit == 2 for unit in range(12)]


def test_copies_of_a_study_are_drawn_from_its_model(mediocre):
    """Simulated labels have the fitted prevalence, so scores of copies scatter around the fitted ones."""
    world, ratings, gold, _ = mediocre
    study = prepare(world.activations, world.guide, ratings, gold, keys(12))
    fitted = estimate(study, 1, SHORT)
    draw, labels = generator(3, "labels"), []
    for place in range(12):
        of = study.of(place)
        p = checks.presence(fitted.flat.theta[0, place], of.x, of.level, floored=True)
        labels.append(correlations(of.abar[None], (draw.random(2000) < p)[None])[0, 0])
    assert np.corrcoef(labels, fitted.rho[0])[0, 1] > 0.9


# --------------------------------------------------------------------------- refusals


def test_longer_chains_for_fewer_ratings():
    assert usual_effort(100).every == 10
    assert usual_effort(20_000).every == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: replace(r, pair=r.pair + 5), "ratings names a number of pair outside of 0 to 11"),
        (lambda r: replace(r, image=r.image - 900), "ratings names a number of image outside"),
        (
            lambda r: replace(r, image=np.zeros_like(r.image)),
            "ratings holds image 0 of pair 0 twice, the second time at",
        ),
        (lambda r: replace(r, yes=r.n + 1), "yes holds 4 of 3 ratings"),
        (lambda r: replace(r, n=0 * r.n), "n holds 0 at"),
        (lambda r: replace(r, yes=r.yes[:-1]), "yes has 479 rows, pair has 480"),
        (lambda r: replace(r, yes=r.yes + 0.5), "yes holds"),
        (lambda r: RatedPairs(*[np.zeros(0, int)] * 4), "ratings holds no rating"),
    ],
)
def test_ratings_that_do_not_fit_are_refused(change, said):
    world, ratings, _ = small_study()
    with pytest.raises(InputError, match=said):
        fit(world, change(ratings))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": np.zeros(12, np.uint64)}, "keys holds 1 different keys; each of 12"),
        ({"keys": ["a", "b"]}, "keys holds 2 different keys"),
        ({"n_bootstrap": -1}, "n_bootstrap is -1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, said):
    world, ratings, _ = small_study()
    with pytest.raises(InputError, match=said):
        fit(world, ratings, **change)


def test_guides_and_units_that_do_not_fit_are_refused():
    world, ratings, _ = small_study()
    for guide, said in (
        (world.guide[:, :-1], r"guide has shape \(12, 999\) and activations has \(12, 1000\)"),
        (world.guide[:-1], r"guide has shape \(11, 1000\)"),
        (world.guide + 1, "guide holds"),
    ):
        with pytest.raises(InputError, match=said):
            latent_scores(world.activations, guide, ratings, seed=1)
    constant = world.activations.copy()
    constant[4] = 1.0
    with pytest.raises(InputError, match="activations is constant"):
        latent_scores(constant, world.guide, ratings, seed=1)
    with pytest.raises(InputError, match="present holds values other than 0 and 1"):
        GoldImages(*(np.array([value]) for value in (0, 1, 2, 3, 1)))


def test_ratings_of_a_lone_study_are_simulated_by_the_same_raters():
    world, ratings, _ = small_study(seed=3)
    again = simulate_counts(
        world, ratings.pair, ratings.image, 3, ERRORS["constant"], generator(3, "small study", "good", "constant")
    )
    assert again.tolist() == ratings.yes.tolist()
