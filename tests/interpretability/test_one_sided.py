"""One-sided tasks: random images in place of the least exciting ones, and what scores they give to sparse and signed units."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interpretability import score_units
from interpretability.errors import InputError
from interpretability.randomness import GOLDEN, U64, combine, key64, mix64, unit_keys
from interpretability.tasks import natural, one_sided, rules

N_IMAGES = 400


def ranked_units(n_units: int, n_images: int = N_IMAGES, seed: int = 0):
    """Top and bottom images (units, images / 2) of units with random values."""
    draw = np.random.default_rng(seed)
    both = np.stack([draw.permutation(n_images) for _ in range(n_units)]).astype(np.int32)
    return both[:, : n_images // 2], both[:, : n_images // 2 - 1 : -1]


def slow_draw(top: list[int], key: np.uint64, n_images: int, count: int) -> list[int]:
    """The images of one unit, drawn place by place in words of Python."""
    own, taken, drawn = int(combine(key, key64("image of a negative side"))), set(top), []
    for place in range(count):
        number = int(mix64(np.array([U64(own) ^ U64(place)]))[0])
        while True:
            number = (number + int(GOLDEN)) % 2**64
            image = ((int(mix64(np.array([number], dtype=np.uint64))[0]) >> 32) * n_images) >> 32
            if image not in taken:
                break
        taken.add(image)
        drawn.append(image)
    return drawn


def test_the_draw_is_that_of_a_slow_reference():
    top, _ = ranked_units(5, 60)
    keys = unit_keys(3, "m", "l", np.arange(5))
    drawn = one_sided.draw_outside(top[:, :20], keys, 60, 40)
    assert drawn.tolist() == [slow_draw(top[unit, :20].tolist(), keys[unit], 60, 40) for unit in range(5)]


@pytest.mark.parametrize(("n_tasks", "k", "n_images"), [(20, 9, 400), (2, 1, 8), (5, 3, 41), (7, 2, 1000)])
def test_negative_images_are_other_images_than_the_top_ones_and_none_twice(n_tasks, k, n_images):
    top, bottom = ranked_units(6, n_images)
    keys, count = unit_keys(0, "m", "l", np.arange(6)), rules.needed(n_tasks, k)
    tasks = one_sided.one_sided_tasks(top, keys, n_images, n_tasks, k)
    assert (tasks.shape, tasks.dtype) == ((6, n_tasks, 2 * (k + 1)), np.int32)
    usual = natural.build(top, bottom, keys, n_tasks, k)
    positive = [*range(k), 2 * k]
    np.testing.assert_array_equal(tasks[..., positive], usual[..., positive])
    for unit in range(6):
        negative = tasks[unit, :, [*range(k, 2 * k), 2 * k + 1]].ravel()
        assert len(set(negative)) == count
        assert not set(negative) & set(top[unit, :count])
        assert set(negative) <= set(range(n_images))


def test_every_image_outside_the_top_is_as_likely_in_every_place():
    n_units, n_images, count = 20_000, 30, 10
    top = np.tile(np.arange(5, 15, dtype=np.int32), (n_units, 1))
    drawn = one_sided.draw_outside(top, unit_keys(1, "m", "l", np.arange(n_units)), n_images, count)
    outside = [image for image in range(n_images) if not 5 <= image < 15]
    for place in range(count):
        assert stats.chisquare(np.bincount(drawn[:, place], minlength=n_images)[outside]).pvalue > 1e-4
    # pairs of places: without replacement, so every ordered pair of two images alike
    pairs = np.bincount(drawn[:, 0].astype(int) * n_images + drawn[:, 9], minlength=n_images**2).reshape(n_images, -1)
    pairs = pairs[np.ix_(outside, outside)]
    assert pairs.trace() == 0
    assert stats.chisquare(pairs[~np.eye(len(outside), dtype=bool)]).pvalue > 1e-4


def test_a_units_draw_hangs_on_its_key_alone():
    top, _ = ranked_units(9)
    keys = unit_keys(0, "m", "l", np.arange(9))
    together = one_sided.one_sided_tasks(top, keys, N_IMAGES, 20, 9)
    for part in (slice(0, 1), slice(3, 7), slice(8, None)):
        np.testing.assert_array_equal(together[part], one_sided.one_sided_tasks(top[part], keys[part], N_IMAGES, 20, 9))
    order = np.random.default_rng(0).permutation(9)
    np.testing.assert_array_equal(together[order], one_sided.one_sided_tasks(top[order], keys[order], N_IMAGES, 20, 9))
    other = one_sided.one_sided_tasks(top, unit_keys(1, "m", "l", np.arange(9)), N_IMAGES, 20, 9)
    assert (together != other).any(axis=(1, 2)).all()
    same = np.tile(top[:1], (9, 1))
    drawn = one_sided.draw_outside(same[:, :200], keys, N_IMAGES * 10, 200)
    assert len({tuple(row) for row in drawn}) == 9


def test_another_top_image_changes_only_places_that_meet_it():
    n_images = 4000
    top = np.arange(200, dtype=np.int32)[None].repeat(300, axis=0)
    keys = unit_keys(0, "m", "l", np.arange(300))
    before = one_sided.draw_outside(top, keys, n_images, 200)
    changed = top.copy()
    changed[:, -1] = 3999
    after = one_sided.draw_outside(changed, keys, n_images, 200)
    moved = (before != after).sum(axis=1)
    assert 0 < moved.mean() < 0.3  # each of the two images is met by one place in twenty units
    assert moved.max() <= 4
    assert not (after == 3999).any()
    assert (after == 199).any()


@pytest.mark.parametrize(
    ("top", "n_images", "message"),
    [
        (np.zeros((1, 5), np.int32), 100, r"top has 5 images; 2 \* \(2 \+ 1\) = 6|top has 5 images"),
        (np.arange(6, dtype=np.int32)[None], 11, "n_images is 11, at least 12 are needed"),
        (np.arange(20, 26, dtype=np.int32)[None], 25, "top holds the image numbers 20 to 25; there are 25 images"),
        (np.arange(-1, 5, dtype=np.int32)[None], 25, "top holds the image numbers -1 to 4"),
    ],
)
def test_what_does_not_fit_is_refused(top, n_images, message):
    with pytest.raises(InputError, match=message):
        one_sided.one_sided_tasks(top, unit_keys(0, "m", "l", np.arange(1)), n_images, 2, 2)


def sparse_features(n_active: int) -> np.ndarray:
    """Amounts of 64 features in 4,000 images, each active in so many of them."""
    draw = np.random.default_rng(5)
    ranks = draw.random((4000, 64)).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return np.where(ranks < n_active, draw.uniform(0.5, 1.5, ranks.shape), 0.0)


OTHERS = np.random.default_rng(6).standard_normal((4000, 32))  # further facts of images


def score(values: np.ndarray, embeddings: np.ndarray, **options):
    return score_units(values, embeddings, layer="codes", **options)["mis"].to_numpy()


def test_a_latent_below_the_needed_images_falls_off_a_cliff():
    means, errors = {}, {}
    for n in (20, 50, 100, 150, 180, 190, 200, 300):
        values = sparse_features(n)
        scores = score(values, np.concatenate([values, 0.1 * OTHERS], axis=1), one_sided=True)
        means[n], errors[n] = scores.mean(), scores.std(ddof=1) / 8
    # with N K active images or fewer all positive queries are silent images
    assert all(abs(means[n] - 0.5) <= 3 * errors[n] for n in (20, 50, 100, 150, 180)), means
    # and with N (K + 1) it has its full score
    assert means[200] > 0.65
    assert abs(means[300] - means[200]) < 0.03
    assert means[180] + 0.06 < means[190] < means[200] - 0.06


def test_signed_units_win_by_their_negative_side():
    amounts = sparse_features(300)
    signed = amounts[:, :32] - amounts[:, 32:]
    usual, one = score(signed, amounts), score(signed, amounts, one_sided=True)
    assert usual.mean() > one.mean() + 0.02
    # what is below zero says nothing here
    np.testing.assert_array_equal(one, score(np.maximum(signed, 0.0), amounts, one_sided=True))
    chance = score(OTHERS, amounts, one_sided=True)
    assert abs(chance.mean() - 0.5) <= 3 * chance.std(ddof=1) / np.sqrt(32)
