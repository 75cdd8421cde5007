"""Pairs in groups: means of groups that are unlike each other are not drawn together."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.explanations.latent import design
from interpretability.explanations.latent.fit import latent_scores
from interpretability.explanations.latent.given import RatedPairs, group_numbers
from interpretability.explanations.latent.posterior import Effort
from interpretability.randomness import generator
from interpretability.synthetic.crowd_worlds import crowd_world
from interpretability.synthetic.raters import ERRORS, simulate_counts
from tests.interpretability.latent_studies import keys

SHORT = Effort(burn=300, kept=60, every=4)
UNITS, SIZE = 60, 40


@pytest.fixture(scope="module")
def study():
    """Scores of 60 units as (with groups, without), their truth, and which are of the second group: their activations are mixed
    up over the images, so that their texts say nothing about them."""
    world = crowd_world("mixed_guides", "mediocre", seed=3, n_units=UNITS, n_images=1500)
    wrong = np.arange(UNITS) % 3 == 0
    activations = world.activations.copy()
    draw = generator(3, "mixed up")
    for unit in np.flatnonzero(wrong):
        activations[unit] = activations[unit][draw.permutation(activations.shape[1])]
    images = design.drawn_images(activations, world.guide, SIZE, keys(UNITS))
    pair, image = np.repeat(np.arange(UNITS), SIZE), np.concatenate(images)
    yes = simulate_counts(world, pair, image, 3, ERRORS["constant"], draw)
    ratings = RatedPairs(pair, image, np.full(len(pair), 3), yes)
    names = ["wrong" if each else "right" for each in wrong]

    def score(rows, **more):
        place = np.argsort(rows)
        kept = RatedPairs(place[ratings.pair], ratings.image, ratings.n, ratings.yes)
        return latent_scores(
            activations[rows], world.guide[rows], kept, seed=1, effort=SHORT, keys=keys(UNITS)[rows], **more
        )

    truth = np.array([np.corrcoef(a, c)[0, 1] for a, c in zip(activations, world.concept, strict=True)])
    return score, names, truth, wrong


def test_means_of_groups_lie_within_what_their_draws_say(study):
    score, names, truth, wrong = study
    every = np.arange(UNITS)
    apart, together = score(every, groups=names), score(every)
    off, sd = [], []
    for found in (apart, together):
        means = found.draws[:, wrong].mean(axis=1) - found.draws[:, ~wrong].mean(axis=1)
        off.append(abs(means.mean() - (truth[wrong].mean() - truth[~wrong].mean())))
        sd.append(means.std(ddof=1))
    assert off[0] < 2.3 * sd[0]
    assert off[0] < off[1]
    # pairs one by one are as exact as without
    error = [np.abs(found.draws.mean(axis=0) - truth).mean() for found in (apart, together)]
    assert error[0] < 1.1 * error[1]


def test_the_order_of_pairs_and_names_of_groups_change_no_byte(study):
    score, names, _, _ = study
    rows = generator(4, "order").permutation(UNITS)
    first = score(np.arange(UNITS), groups=names)
    # other names in the same order
    second = score(rows, groups=[{"right": ("a", 1), "wrong": ("b", 1)}[names[row]] for row in rows])
    np.testing.assert_array_equal(first.rho[rows], second.rho)
    np.testing.assert_array_equal(first.draws[:, rows], second.draws)


def test_one_group_is_none(study):
    score, _, _, _ = study
    every = np.arange(UNITS)
    np.testing.assert_array_equal(score(every, groups=["all"] * UNITS).rho, score(every).rho)


def test_groups_are_numbered_by_name():
    numbers, n = group_numbers(["b", "a", "b", ("a", "x")], 4)
    assert n == 3
    assert numbers.tolist() == [2, 0, 2, 1]
    assert group_numbers([], 3)[0].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="groups holds 2 names; each of 3 pairs has one"):
        group_numbers(["a", "b"], 3)
