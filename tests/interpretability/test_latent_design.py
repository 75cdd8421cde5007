"""Which images are asked about: values by hand, chances that are kept, and what one more rating is worth."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.explanations.latent import adaptive, design
from interpretability.explanations.latent.given import RatedPairs
from interpretability.randomness import generator
from tests.interpretability.latent_studies import keys, small_study

A = np.array([0.0, 1, 2, 3, 4, 8])
GUIDE = np.array([0.1, 0.1, 0.2, 0.6, 0.3, 0.9])


def close(values):
    return pytest.approx(values, abs=5e-7)


def test_the_proposal_of_six_images():
    q = design.design_proposal(A, GUIDE)
    assert q.tolist() == close([0.202454, 0.151624, 0.119414, 0.090861, 0.128067, 0.307579])
    assert design.inclusion(q, 3).tolist() == close([0.607363, 0.454873, 0.358242, 0.272582, 0.384202, 0.922738])


def test_the_proposal_without_a_guide_and_of_many_pairs():
    size = np.abs(A - A.mean())
    assert design.design_proposal(A, None) == pytest.approx(0.8 * size / size.sum() + 0.2 / 6)
    both = design.design_proposal(np.stack([A, A[::-1]]), np.stack([GUIDE, GUIDE[::-1]]))
    assert both[0].tolist() == design.design_proposal(A, GUIDE).tolist()
    assert both[1] == pytest.approx(both[0][::-1])


def test_what_is_above_one_is_spread_over_the_others():
    q = np.array([0.6, 0.25, 0.1, 0.05])
    # 3 q = 1.8 .75 .3 .15: the first is sure, two are left for .25 .1 .05 in proportion: 1.25 .5 .25; then one for .1 .05
    assert design.inclusion(q, 3) == pytest.approx([1, 1, 2 / 3, 1 / 3])
    assert design.inclusion(q, 4).tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match="size is 4; it must be at most 3"):
        design.inclusion(np.array([0.5, 0.3, 0.2, 0.0]), 4)


def test_images_are_drawn_with_their_chances():
    pi = design.inclusion(design.design_proposal(A, GUIDE), 3)
    drawn = [design.draw(pi, key) for key in generator(0, "keys").integers(2**63, size=6000)]
    assert {len(set(images)) for images in map(tuple, drawn)} == {3}
    share = np.bincount(np.concatenate(drawn), minlength=6) / len(drawn)
    # standard errors of .0065 at most
    assert np.abs(share - pi).max() < 0.03
    assert design.draw(pi, 7).tolist() == design.draw(pi, 7).tolist()
    assert len({tuple(images) for images in drawn}) > 10


def test_draws_are_keyed_by_pair():
    world, _, _ = small_study()
    all_of = design.drawn_images(world.activations, world.guide, 20, keys(12))
    last = design.drawn_images(world.activations[-1:], world.guide[-1:], 20, keys(12)[-1:])
    assert all_of[-1].tolist() == last[0].tolist()


def test_the_worth_of_one_more_rating():
    found = adaptive.utility([0.5, 0.9, 0.1], [1.0, 1.936492, -1.161895], 0.23, 0.23)
    assert found.tolist() == close([0.3125, 0.159336, 0.063734])


def test_a_wave_asks_about_uncertain_images_that_may_be_asked_about():
    world, ratings, gold = small_study(each=1)
    more = adaptive.next_wave(world.activations, world.guide, ratings, 5, gold=gold, keys=keys(12))
    assert {len(images) for images in more} == {5}
    for pair, images in enumerate(more):
        own = ratings.image[ratings.pair == pair]
        assert set(images) <= set(own)
        # where the guide is nearly sure of absence and people agree, nothing is left to ask
        doubt = world.guide[pair] * (1 - world.guide[pair])
        assert doubt[images].mean() > doubt[own].mean()
    full = RatedPairs(ratings.pair, ratings.image, np.full(len(ratings.n), 5), ratings.yes)
    assert not any(map(len, adaptive.next_wave(world.activations, world.guide, full, 5, gold=gold)))


def test_the_first_wave_takes_half_of_the_budget():
    world, _, _ = small_study()
    images = adaptive.first_wave(world.activations, world.guide, 80, keys(12))
    assert {len(set(each)) for each in images} == {40}
