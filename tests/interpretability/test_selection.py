"""Streaming selection against a full sort, and exact moments, under every order of batches, shards and merges."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpretability.extremes import selection
from interpretability.extremes.moments import Moments
from interpretability.extremes.selection import Extremes, merge_keys, mix32, pack, ranked, unmix32, unpack
from interpretability.extremes.ties import tie_share

KEYS = np.random.default_rng(7).integers(0, 2**64, 300, dtype=np.uint64)


def reference(values, keys, k):
    """Both sides by a full sort of (value, mix), value as float64 and mix as a plain integer."""
    n, units = values.shape
    images = np.arange(n)
    top, bottom = np.empty((units, min(k, n)), int), np.empty((units, min(k, n)), int)
    for u in range(units):
        order = np.lexsort((mix32(images, keys[u]).astype(np.int64), values[:, u].astype(np.float64) + 0.0))
        top[u], bottom[u] = order[::-1][:k], order[:k]
    return top, bottom


def select(values, keys, k, batch, order=None):
    extremes = Extremes(keys, k)
    order = np.arange(len(values)) if order is None else order
    for start in range(0, len(values), batch):
        rows = order[start : start + batch]
        extremes.update(values[rows], rows)
    return extremes


def some_values(kind, n, units, seed=0):
    values = np.random.default_rng(seed).standard_normal((n, units)).astype(np.float32)
    if kind == "sparse":
        values = np.where(values > 1.645, values, 0)  # 95 % exact zeros, as behind a rectifier
    if kind == "coarse":
        values = np.round(values)
    if kind == "signed zeros":
        values = np.where(np.abs(values) < 1, np.copysign(0, values), values)
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["continuous", "sparse", "coarse", "signed zeros"])
@pytest.mark.parametrize(("n", "k", "batch"), [(700, 20, 64), (45, 20, 7), (10, 20, 3)])
def test_agrees_with_a_full_sort(kind, n, k, batch):
    values = some_values(kind, n, 300)
    found = select(values, KEYS, k, batch).ranked()
    top, bottom = reference(values, KEYS, k)
    np.testing.assert_array_equal(found.top_images, top)
    np.testing.assert_array_equal(found.bottom_images, bottom)
    np.testing.assert_array_equal(found.top_values, np.take_along_axis(values.T, top, 1))
    np.testing.assert_array_equal(found.bottom_values, np.take_along_axis(values.T, bottom, 1))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 12), st.sampled_from(["continuous", "sparse", "coarse"])
)
def test_order_and_size_of_batches_do_not_matter(seed, batch, k, kind):
    values = some_values(kind, 150, 3, seed)
    shuffled = np.random.default_rng(seed).permutation(150)
    first, second = select(values, KEYS[:3], k, 150), select(values, KEYS[:3], k, batch, shuffled)
    for a, b in zip(first.keys(), second.keys(), strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 199), min_size=1, max_size=4))
def test_shards_merge_in_any_order_and_grouping(seed, cuts):
    values, k = some_values("sparse", 200, 5, seed), 10
    whole = select(values, KEYS[:5], k, 64).keys()
    edges = [0, *sorted(set(cuts)), 200]
    states = []
    for start, stop in pairwise(edges):
        part = Extremes(KEYS[:5], k)
        part.update(values[start:stop], np.arange(start, stop))
        states.append(part.keys())
    np.random.default_rng(seed).shuffle(states)
    merged = states[0]
    for state in states[1:]:
        merged = merge_keys([state, merged], k)
    for a, b in zip(whole, merged, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_do_not_matter():
    values = some_values("sparse", 400, 300)
    one, four = (Extremes(KEYS, 20, threads=threads) for threads in (1, 4))
    for extremes in (one, four):
        extremes.update(values, np.arange(400))
    for a, b in zip(one.keys(), four.keys(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_values_are_ordered_by_unit_not_by_image():
    values = np.zeros((1000, 2), dtype=np.float32)
    found = select(values, KEYS[:2], 50, 100).ranked()
    assert set(found.top_images[0]) != set(range(950, 1000))
    assert len(set(found.top_images[0]) & set(found.top_images[1])) < 15  # 2.5 expected of two independent draws
    assert not set(found.top_images[0]) & set(found.bottom_images[0])


def test_a_strictly_increasing_map_leaves_the_order():
    values = some_values("sparse", 300, 20)
    mapped = (np.float32(3) * values + np.where(values > 0, np.float32(1), np.float32(0))).astype(np.float32)
    a, b = select(values, KEYS[:20], 30, 64).ranked(), select(mapped, KEYS[:20], 30, 64).ranked()
    np.testing.assert_array_equal(a.top_images, b.top_images)
    np.testing.assert_array_equal(a.bottom_images, b.bottom_images)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (30, 2)])
@pytest.mark.parametrize("seen", [0, 100])  # taken unit by unit, and scanned
def test_values_that_are_not_finite_are_named(bad, place, seen):
    values = some_values("continuous", 200, 3)
    extremes = Extremes(KEYS[:3], 5)
    extremes.update(values[:seen], np.arange(seen))
    values[seen + place[0], place[1]] = bad
    with pytest.raises(selection.NotFinite) as error:
        extremes.update(values[seen:], np.arange(seen, 200))
    assert (error.value.image, error.value.unit) == (seen + place[0], place[1])
    np.testing.assert_equal(error.value.value, bad)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**64 - 1))
def test_the_mix_gives_the_image_back(image, key):
    keys = np.array([key], dtype=np.uint64)
    assert unmix32(mix32(np.array([image]), keys), keys)[0] == image


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_keys_order_as_values_do(a, b):
    values = np.array([a, b], dtype=np.float32)
    keys = pack(values, np.array([3, 4]), KEYS[0])
    assert (keys[0] >> 32 < keys[1] >> 32) == (a < b)
    back, images = unpack(keys, KEYS[0])
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(images, [3, 4])


def test_ties_at_the_boundary_are_seen():
    values = np.array([[5, 4, 4, 0, 0, 0, 0]], dtype=np.float32).T
    found = select(values, KEYS[:1], 2, 7).ranked()
    assert found.tied_beyond_top[0]  # 5, 4 | 4
    assert found.tied_beyond_bottom[0]
    assert tie_share(found.top_values, found.tied_beyond_top, 2)[0] == 0.5  # of 5 and 4, only 4 occurs again
    assert tie_share(found.bottom_values, found.tied_beyond_bottom, 2)[0] == 1


def test_ties_inside_a_longer_list_are_seen():
    values = np.array([[9, 8, 8, 7, 6, 5]], dtype=np.float32)
    assert tie_share(values, np.array([False]), 2)[0] == 0.5  # 8 occurs again just outside
    assert tie_share(values, np.array([False]), 4)[0] == 0.5
    assert tie_share(values, np.array([True]), 6)[0] == pytest.approx(0.5)  # two 8s, and 5 again beyond the list


def test_moments_agree_with_float64():
    values = some_values("sparse", 1000, 40) * np.float32(3) + np.float32(100)
    moments = Moments(40)
    for start in range(0, 1000, 128):
        moments.update(values[start : start + 128])
    mean, variance = moments.mean_variance()
    np.testing.assert_allclose(mean, values.mean(0, dtype=np.float64), rtol=1e-14)
    np.testing.assert_allclose(variance, values.astype(np.float64).var(0), rtol=1e-9)
    np.testing.assert_array_equal(moments.nonpositive, (values <= 0).sum(0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_moments_are_the_same_bits_in_any_order_of_batches_and_shards(seed):
    rng = np.random.default_rng(seed)
    # twelve orders of magnitude, so that a float64 sum would depend on the order
    values = (rng.standard_normal((640, 6)) * 10.0 ** rng.integers(-6, 6, (640, 6))).astype(np.float32)
    batches = [values[i : i + 64] for i in range(0, 640, 64)]
    straight = Moments(6)
    for batch in batches:
        straight.update(batch)
    parts = [Moments(6), Moments(6)]
    for i in rng.permutation(10):
        parts[rng.integers(2)].update(batches[i])
    merged = Moments(6)
    for part in reversed(parts):
        merged.add(part.bins, part.nonpositive, part.n_images)
    for a, b in zip(straight.mean_variance(), merged.mean_variance(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_exact_sums_lose_nothing():
    # 2^60 + 1 - 2^60 summed batch by batch: float64 would give 0
    moments = Moments(1)
    for value in (2.0**60, 1.0, -(2.0**60)):
        moments.update(np.array([[value]], dtype=np.float32))
    assert moments.mean_variance()[0][0] == 1 / 3


def test_ranked_values_come_from_their_images():
    values = some_values("continuous", 100, 4)
    extremes = select(values, KEYS[:4], 10, 30)
    found = ranked(*extremes.keys(), KEYS[:4], 10)
    np.testing.assert_array_equal(found.top_values, np.take_along_axis(values.T, found.top_images, 1))
