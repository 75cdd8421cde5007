"""Worlds whose concepts are known, and raters who err as they are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interpretability.errors import InputError
from interpretability.explanations.raters import fleiss_kappa, kappa_bound
from interpretability.synthetic import crowd_worlds, raters
from interpretability.synthetic.crowd_worlds import GUIDES, SETTINGS, crowd_world
from interpretability.synthetic.raters import ERRORS, Errors, Rater, crowd, simulate_counts, simulate_ratings


def guide_only(world):
    """RCE of the guide alone."""
    return np.abs(world.guide_rho - world.rho).sum() / np.abs(world.rho).sum()


@pytest.mark.parametrize("guide", GUIDES)
def test_true_scores_are_correlations_over_all_images(guide):
    world = crowd_world("base", guide, seed=3, n_units=4, n_images=600)
    for unit in range(4):
        expected = np.corrcoef(world.activations[unit].astype(float), world.concept[unit])[0, 1]
        assert world.rho[unit] == pytest.approx(expected, abs=1e-12)
        expected = np.corrcoef(world.activations[unit].astype(float), world.guide[unit].astype(float))[0, 1]
        assert world.guide_rho[unit] == pytest.approx(expected, abs=1e-12)
    assert ((world.guide >= 0) & (world.guide <= 1)).all()


@pytest.mark.parametrize(
    ("setting", "guide", "expected"),
    [
        ("base", "good", 0.355),
        ("rare", "good", 0.160),
        ("imagenet_like", "good", 0.321),
        ("embedded_like", "good", 0.250),
        ("mixed_guides", "good", 0.306),
        ("mixed_guides", "mediocre", 0.740),
        ("mixed_guides", "overconfident", 0.325),
        ("mixed_guides", "shifted", 0.321),
        ("mixed_guides", "random", 1.0),
        ("mixed_guides", "blind", 0.420),
        ("mixed_guides", "leak", 0.148),
        ("mixed_guides", "broad", 0.210),
    ],
)
def test_guides_alone_are_as_far_off_as_meant(setting, guide, expected):
    """The paper's SigLIP alone has .321; the others are the figures of an independent simulation of such worlds."""
    assert guide_only(crowd_world(setting, guide, seed=5)) == pytest.approx(expected, abs=0.06)


def test_concepts_are_as_frequent_as_the_setting_says():
    world = crowd_world("rare", seed=0, n_units=3, n_images=10_000)
    expected = np.round(np.geomspace(*SETTINGS["rare"].prevalence, 3) * 10_000).astype(int)
    assert world.concept.sum(axis=1).tolist() == expected.tolist()
    assert world.prevalence == pytest.approx(expected / 10_000)


def test_a_good_guide_is_calibrated_and_an_overconfident_one_is_not():
    """Among images of about the same probability that share shows the concept; bins of 1,000 images and more."""
    away = {}
    for guide in ("good", "overconfident", "random"):
        world = crowd_world("base", guide, seed=1, n_units=20, separation=(2.0, 2.0))
        p, c = world.guide.ravel().astype(float), world.concept.ravel()
        bins = np.digitize(p, [0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
        sizes = np.bincount(bins)
        assert sizes.min() > 500
        away[guide] = np.abs(np.bincount(bins, c) - np.bincount(bins, p)) / sizes
    assert away["good"].max() < 0.03
    assert away["overconfident"].max() > 0.1
    assert away["random"].max() > 0.3


def test_a_blind_guide_misses_a_quarter_and_a_broad_one_sees_a_superset():
    good, blind, broad = (
        crowd_world("mixed_guides", kind, seed=2, separation=(6.0, 6.0)) for kind in ("good", "blind", "broad")
    )
    seen = [(world.guide > 0.5)[world.concept].mean() for world in (good, blind)]
    assert seen == pytest.approx([1.0, 1 - crowd_worlds.BLIND_TO], abs=0.02)
    said = broad.concept.sum(axis=1) / (broad.guide > 0.5).sum(axis=1)
    assert said == pytest.approx(np.full(40, crowd_worlds.PART), abs=0.02)
    assert (broad.guide > 0.5)[broad.concept].mean() > 0.98


def test_a_leak_ties_the_unit_to_the_errors_of_the_guide():
    """Partial correlation of activation and logit of the guide, given the concept."""
    for guide, expected in (("good", 0.0), ("leak", crowd_worlds.SHARED)):
        world = crowd_world("base", guide, seed=4, n_units=5)
        logits = np.log(world.guide.astype(float) / (1 - world.guide.astype(float)))
        found = [
            np.corrcoef(a[~c], g[~c])[0, 1] for a, g, c in zip(world.activations, logits, world.concept, strict=True)
        ]
        assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_kinds_of_guides_share_their_units():
    good, mediocre, random = (crowd_world(guide=kind, seed=7, n_units=3) for kind in ("good", "mediocre", "random"))
    for other in (mediocre, random):
        assert (good.concept == other.concept).all()
        assert (good.activations == other.activations).all()
        assert (good.guide != other.guide).any()


def test_blocks_of_units_are_those_of_the_whole_world():
    whole = crowd_world("base", "blind", seed=7, n_units=6, n_images=500)
    part = crowd_world("base", "blind", seed=7, n_units=6, n_images=500, units=range(2, 5))
    assert part.first_unit == 2
    for name in ("activations", "concept", "guide", "rho"):
        assert (getattr(whole, name)[2:5] == getattr(part, name)).all()


def test_wrong_texts_score_about_zero_and_rectified_units_are_skewed():
    wrong = crowd_world(seed=0, half_wrong=True)
    assert np.abs(wrong.rho[1::2]).max() < 0.06
    assert wrong.rho[::2].min() > 0.05
    world = crowd_world(seed=0, rectified=True)
    standard = (world.activations - world.activations.mean(1, keepdims=True)) / world.activations.std(1, keepdims=True)
    assert (standard**3).mean(axis=1).min() > 2
    assert (world.activations == 0).mean() == pytest.approx(crowd_worlds.SILENT, abs=0.01)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"setting": "big"}, "setting is 'big'"),
        ({"guide": "clever"}, "guide is 'clever'"),
        ({"n_images": 3}, "n_images is 3; it must be a whole number of at least 20"),
        ({"n_units": 4, "units": range(2, 6)}, "units is range(2, 6); it must lie within range(4)"),
    ],
)
def test_what_is_no_world_is_refused(given, told):
    with pytest.raises(InputError) as error:
        crowd_world(**{"seed": 0, **given})
    assert told in str(error.value)


@pytest.fixture(scope="module")
def rated():
    world = crowd_world("mixed_guides", seed=0)
    pair, image = (each.ravel() for each in np.meshgrid(np.arange(40), np.arange(2000), indexing="ij"))
    return world, pair, image, world.concept[pair, image]


@pytest.mark.parametrize(
    ("kind", "false_yes", "false_no"),
    [("constant", 0.23, 0.23), ("unequal", 0.1, 0.4), ("beta", 0.75 / 3.25, 0.75 / 3.25), ("bad", 0.257, 0.257)],
)
def test_raters_err_as_often_as_they_are_told(rated, kind, false_yes, false_no):
    """A tenth of the ratings by coins adds .1 (.5 - .23) = .027."""
    world, pair, image, present = rated
    yes = simulate_counts(world, pair, image, 3, ERRORS[kind], np.random.default_rng(0))
    assert (yes[~present] / 3).mean() == pytest.approx(false_yes, abs=0.006)
    assert 1 - (yes[present] / 3).mean() == pytest.approx(false_no, abs=0.015)


def test_beta_errors_have_the_published_moments(rated):
    """Beta(.75, 2.5): mean .2308, second moment .0950, .124 above one half; wrong ratings of an image go together."""
    world, pair, image, present = rated
    rates, also = raters.error_rates(world, pair, image, ERRORS["beta"])
    assert (rates == also).all()
    assert rates.mean() == pytest.approx(0.2308, abs=0.003)
    assert (rates**2).mean() == pytest.approx(0.0950, abs=0.002)
    assert (rates > 0.5).mean() == pytest.approx(0.124, abs=0.004)
    wrong = simulate_counts(world, pair, image, 2, ERRORS["beta"], np.random.default_rng(1))[~present]
    assert (wrong == 2).mean() == pytest.approx(0.0950, abs=0.004)


@pytest.mark.parametrize(
    ("kind", "prevalence", "expected"),
    [
        ("constant", 0.5, 0.2916),
        ("constant", 0.2, None),
        ("constant", 0.05, None),
        ("beta", 0.2, 0.394),
        ("beta", 0.5, 0.457),
    ],
)
def test_agreement_of_raters_tells_whether_errors_are_shared(kind, prevalence, expected):
    """Constant errors stay below (1 - 2 eta)^2 = .2916 at any prevalence and reach it at one half; Beta errors exceed it."""
    images = np.arange(60_000)
    world = crowd_world("base", seed=0, n_units=1, n_images=len(images))
    world = replace(world, concept=(images < prevalence * len(images))[None])
    yes = simulate_counts(world, np.zeros_like(images), images, 3, ERRORS[kind], np.random.default_rng(0))
    kappa = fleiss_kappa(yes, np.full(len(images), 3))
    if kind == "constant":
        assert kappa < kappa_bound(0.23, 0.23) + 0.006
    if expected is not None:
        assert kappa == pytest.approx(expected, abs=0.006)


def test_what_belongs_to_an_image_or_a_text_stays_when_it_is_rated_again(rated):
    world, pair, image, _ = rated
    some = np.arange(0, len(pair), 37)[::-1]
    for kind in ("beta", "by_text", "look_alikes"):
        whole = raters.error_rates(world, pair, image, ERRORS[kind])
        part = raters.error_rates(world, pair[some], image[some], ERRORS[kind])
        for one, two in zip(whole, part, strict=True):
            assert (one[some] == two).all()


def test_texts_are_misread_and_look_alikes_fool_people(rated):
    world, pair, image, _ = rated
    by_text, _ = raters.error_rates(world, pair, image, ERRORS["by_text"])
    means = by_text.reshape(40, -1)
    assert (np.ptp(means, axis=1) == 0).all()
    assert 0.13 <= means.min() < 0.15
    assert 0.31 < means.max() <= 0.33
    fooled, missed = raters.error_rates(world, pair, image, ERRORS["look_alikes"])
    high = world.guide[pair, image] > 0.95
    assert fooled[high].min() > 0.25
    assert fooled.min() == pytest.approx(0.15)
    assert fooled.max() <= 0.40 + 1e-12
    assert (missed == 0.23).all()


def questions(n=90):
    return pd.DataFrame(
        {
            "text": np.repeat(["star", "house"], n),
            "image": np.tile(np.arange(n), 2),
            "present": np.tile(np.arange(n) % 3 == 0, 2),
        }
    )


def test_pages_hold_one_text_and_each_rater_once():
    table = simulate_ratings(questions(), crowd(9), n_raters=3, seed=0)
    assert list(table.columns) == ["rater", "text", "image", "rating", "seconds", "page"]
    assert not table.duplicated(["rater", "text", "image"]).any()
    assert (table.groupby(["text", "image"]).size() == 3).all()
    assert (table.groupby("page")["text"].nunique() == 1).all()
    assert (table.groupby(["page", "rater"]).size() == raters.PAGE).all()
    assert (table.groupby(["page", "rater"])["seconds"].nunique() == 1).all()


def test_ratings_hang_on_rater_text_and_image_alone():
    both = simulate_ratings(questions(), crowd(9), n_raters=3, seed=0)
    shuffled = questions().sample(frac=1, random_state=1)
    assert both.equals(simulate_ratings(shuffled, crowd(9), n_raters=3, seed=0))
    one = questions()[lambda table: table["text"] == "star"]
    alone = simulate_ratings(one, crowd(9), n_raters=3, seed=0)
    columns = ["rater", "text", "image", "rating", "seconds"]
    assert alone[columns].equals(both[both["text"] == "star"][columns].reset_index(drop=True))


def test_special_raters_do_what_they_are_called():
    special = ["lazy", "inverted", "never", "always"]
    people = crowd(8, special=special)
    assert [rater.kind for rater in people] == ["honest"] * 4 + special
    table = simulate_ratings(questions(450), people, n_raters=8, seed=0)
    table = table.merge(questions(450), on=["text", "image"])
    kinds = table["rater"].map({rater.name: rater.kind for rater in people})
    wrong = (table["rating"] != table["present"].astype(int)).groupby(kinds).mean()
    assert wrong["honest"] == pytest.approx(0.23, abs=0.02)
    assert wrong["inverted"] == pytest.approx(0.77, abs=0.04)
    yes = table.groupby(kinds)["rating"].mean()
    assert (yes["never"], yes["always"]) == (0, 1)
    pages = table[kinds == "lazy"].groupby("page").agg(yes=("rating", "sum"), seconds=("seconds", "first"))
    assert (pages["yes"] == 0).mean() == pytest.approx(raters.LAZY_PAGES, abs=0.15)
    assert (pages["seconds"][pages["yes"] > 0]).min() > pages["seconds"].min() * 3


def test_hard_images_are_hard_for_all():
    """Two ratings of an image are wrong together as often as the second moment of Beta(.75, 2.5)."""
    table = simulate_ratings(questions(3000), crowd(2), n_raters=2, seed=0, hard=raters.BETA)
    table = table.merge(questions(3000), on=["text", "image"])
    wrong = (table["rating"] != table["present"].astype(int)).groupby([table["text"], table["image"]]).sum()
    assert (wrong == 2).mean() == pytest.approx(0.0950, abs=0.012)
    assert wrong.mean() / 2 == pytest.approx(0.2308, abs=0.015)


def test_no_questions_give_no_ratings():
    table = simulate_ratings(questions().iloc[:0], crowd(3), n_raters=3, seed=0)
    assert len(table) == 0
    assert list(table.columns) == ["rater", "text", "image", "rating", "seconds", "page"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Errors(false_yes=1.2), "false_yes is 1.2; it must lie in [0, 1]"),
        (lambda: Errors(bad_share=-0.1), "bad_share is -0.1"),
        (lambda: Errors(beta=(0.0, 1.0)), "beta is (0.0, 1.0)"),
        (lambda: Rater("a", "angry"), "kind is 'angry'"),
        (lambda: crowd(1, special=["never", "lazy"]), "special names 2 raters, but there are 1"),
        (lambda: simulate_ratings(questions(), crowd(2), n_raters=3, seed=0), "n_raters is 3; it must be at most 2"),
        (
            lambda: simulate_ratings(pd.concat([questions()] * 2), crowd(3), n_raters=3, seed=0),
            "questions holds an image of a text twice",
        ),
    ],
)
def test_what_no_rater_can_be_is_refused(call, told):
    with pytest.raises(InputError) as error:
        call()
    assert told in str(error.value)
