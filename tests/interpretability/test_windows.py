"""Windows are the images that a sort of whole columns finds, or refused; never anything else."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.extremes import selection, shrinking, windows
from interpretability.extremes.selection import NotFinite
from interpretability.extremes.windows import Windows, ranks_at
from interpretability.randomness import unit_keys

N = 20


def keys_of(units):
    return unit_keys(0, "net", "layer", np.arange(units))


def ranks_of(n, shares=(1, 5, 15), count=N):
    return [window for share in shares for window in ranks_at(n, n * share // 100, count)]


def stream(n, units, seed=0):
    """Normal values; of every third unit most are zero, of both signs, and of every fourth all are one of few."""
    values = np.random.default_rng(seed).normal(size=(n, units)).astype(np.float32)
    values[:, ::3] = np.where(values[:, ::3] < 1.6, np.copysign(0, values[:, ::3]), values[:, ::3])
    values[:, ::4] = np.round(values[:, ::4])
    return values


def reference(values, keys, ranks):
    """Images and values at the ranks, by value and then by the mix, in float64 and without packed keys."""
    found = np.empty((values.shape[1], len(ranks), ranks[0][1] - ranks[0][0]), dtype=np.int64)
    for unit, key in enumerate(keys):
        mixes = selection.mix32(np.arange(len(values)), np.full(len(values), key))
        order = np.lexsort((mixes, values[:, unit].astype(np.float64) + 0.0))
        for window, (first, last) in enumerate(ranks):
            found[unit, window] = order[first:last]
    return found, np.take_along_axis(values.T[:, None], found, axis=2) + np.float32(0)


def shown(values, keys, ranks, batch, part=slice(None), **more):
    found = Windows(keys, ranks, len(values), **more)
    images = np.arange(len(values))[part]
    for start in range(0, len(images), batch):
        found.update(values[images[start : start + batch]], images[start : start + batch])
    return found


def same(found, expected):
    np.testing.assert_array_equal(found.images, expected[0])
    np.testing.assert_array_equal(found.values.view(np.uint32), expected[1].view(np.uint32))
    assert found.exact.all()


@pytest.fixture(scope="module")
def long():
    values, keys = stream(20_000, 24), keys_of(24)
    return values, keys, ranks_of(20_000), reference(values, keys, ranks_of(20_000))


@pytest.mark.parametrize(("batch", "threads"), [(7, 1), (100, 1), (333, 3), (20_000, 1)])
def test_windows_are_those_of_whole_columns(long, batch, threads):
    values, keys, ranks, expected = long
    same(shown(values, keys, ranks, batch, threads=threads).found(), expected)


def test_whole_columns_give_the_same(long):
    values, keys, ranks, expected = long
    same(windows.whole_columns(values.T, keys, ranks), expected)


@pytest.mark.parametrize("parts", [2, 8])
@pytest.mark.parametrize("order", [1, -1])
def test_parts_of_the_images_join_to_the_same(long, parts, order):
    values, keys, ranks, expected = long
    states = [shown(values, keys, ranks, 256, slice(part, None, parts)).state() for part in range(parts)]
    whole = Windows(keys, ranks, len(values))
    for state in states[::order]:
        whole.add(state)
    same(whole.found(), expected)


def test_a_saved_state_goes_on_as_if_nothing_had_been(long):
    values, keys, ranks, expected = long
    before = shown(values, keys, ranks, 500, slice(0, 7500)).state()
    later = Windows(keys, ranks, len(values), state=before)
    for start in range(7500, len(values), 500):
        later.update(values[start : start + 500], np.arange(start, start + 500))
    same(later.found(), expected)


def test_a_saved_state_takes_no_more_room_than_windows(long):
    values, keys, ranks, _ = long
    before, empty = shown(values, keys, ranks, 500, slice(0, 7500)).state(), Windows(keys, ranks, len(values))
    tracemalloc.start()
    later = Windows(keys, ranks, len(values), state=before)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert later.seen == 7500
    assert later.nbytes == empty.nbytes
    assert most < 1.3 * empty.nbytes


def test_a_state_of_wider_windows_is_drawn_in(long):
    values, keys, ranks, expected = long
    before = shown(values, keys, ranks, 500, slice(0, 7500), z=9).state()
    later = Windows(keys, ranks, len(values), state=before)
    for start in range(7500, len(values), 500):
        later.update(values[start : start + 500], np.arange(start, start + 500))
    same(later.found(), expected)


def test_few_images_are_all_kept():
    values, keys = stream(60, 7), keys_of(7)
    ranks = ranks_of(60, (15,), 4)
    same(shown(values, keys, ranks, 16).found(), reference(values, keys, ranks))
    assert windows.room(ranks, 60) == 2 * (61 * 8 + 32)


def test_memory_at_1_280_000_images_is_at_most_80_kb_a_unit():
    ranks = ranks_of(1_280_000, count=N + 2)
    assert windows.room(ranks, 1_280_000) == Windows(keys_of(3), ranks, 1_280_000).nbytes / 3 < 80_000


@pytest.mark.parametrize("turned", [1, -1])
def test_images_in_the_order_of_what_a_unit_sees_are_refused(turned):
    values, keys = np.sort(stream(20_000, 6), axis=0)[::turned], keys_of(6)
    ranks = ranks_of(20_000)
    found, expected = shown(values, keys, ranks, 500).found(), reference(values, keys, ranks)
    assert not found.exact[[1, 2, 5]].any(), "units without ties"
    exact = found.exact
    np.testing.assert_array_equal(found.images[exact], expected[0][exact])


def test_windows_too_narrow_for_their_luck_are_refused_never_wrong():
    values, keys = stream(20_000, 60, seed=1), keys_of(60)
    ranks = ranks_of(20_000)
    found, expected = shown(values, keys, ranks, 500, z=0.5).found(), reference(values, keys, ranks)
    assert 0.05 < found.exact.mean() < 0.95
    np.testing.assert_array_equal(found.images[found.exact], expected[0][found.exact])


def test_bounds_hold_the_ranks_of_draws_without_replacement():
    """Of 400 draws none leaves bounds of 6 standard deviations, and of half a standard deviation many do."""
    rng, n, window = np.random.default_rng(0), 2000, (100, 120)
    outside = {6.0: 0, 0.5: 0}
    for _ in range(400):
        order = rng.permutation(n)
        for seen in (150, 700, 1900):
            ranks = np.sort(order[:seen])
            wanted = np.flatnonzero((ranks >= window[0]) & (ranks < window[1]))
            for z in outside:
                first, last = shrinking.bounds(*window, seen, n, z)
                outside[z] += bool(len(wanted) and not first <= wanted[0] <= wanted[-1] < last)
    assert outside[6.0] == 0
    assert outside[0.5] > 100


def test_wrong_calls_are_told():
    keys = keys_of(2)
    with pytest.raises(InputError, match="ranks names 90 to 110; they must ascend from 0 to at most the 100 images"):
        Windows(keys, [(90, 110)], 100)
    with pytest.raises(InputError, match="z is 0, it must be above 0"):
        Windows(keys, [(10, 20)], 100, z=0)
    found = Windows(keys, [(10, 20)], 100)
    with pytest.raises(InputError, match=r"values has shape \(3, 3\); it must be \(images, units\), here \(3, 2\)"):
        found.update(np.zeros((3, 3), dtype=np.float32), np.arange(3))
    with pytest.raises(NotFinite, match="unit column 1 for image 2"):
        found.update(np.array([[0, 0], [0, 0], [0, np.nan]], dtype=np.float32), np.arange(3))
    found.update(np.zeros((60, 2), dtype=np.float32), np.arange(60))
    with pytest.raises(InputError, match="images are 60 so far; the windows are of 100"):
        found.found()
    with pytest.raises(InputError, match="images are 110 with those before, but the windows are of 100 in all"):
        found.update(np.zeros((50, 2), dtype=np.float32), np.arange(50))
    with pytest.raises(InputError, match=r"state is of \(3, 1\) units and windows, these are \(2, 1\)"):
        found.add(Windows(keys_of(3), [(10, 20)], 100).state())
