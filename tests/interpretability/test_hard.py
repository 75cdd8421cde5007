"""Harder tasks: which images they show, against a slow sort of the total order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpretability import randomness
from interpretability.extremes import selection
from interpretability.extremes.ties import tie_share
from interpretability.tasks import hard, rules
from interpretability.tasks.natural import build


def total_order(values, key):
    """Images by (value, mix), -0 as 0, with Python's own sort."""
    mix = selection.mix32(np.arange(len(values)), np.uint64(key))
    return sorted(range(len(values)), key=lambda image: (float(values[image]) + 0.0, int(mix[image])))


def drawn(units, n, levels, seed):
    """Values with many ties, both zeros among them, and keys."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-levels, levels, (units, n)).astype(np.float32) / 4
    values[rng.random(values.shape) < 0.1] = -0.0
    return values, randomness.unit_keys(seed, "m", "l", np.arange(units))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 1000), st.integers(1, 30), st.integers(0, 6))
def test_queries_are_the_window_and_explanations_stay(n_tasks, k, seed, levels, beyond):
    n, start = 8 * n_tasks * (k + 1), n_tasks * k + beyond
    values, keys = drawn(3, n, levels, seed)
    built, *ties = hard.tasks_from_rank(values, keys, start, n_tasks, k)
    extremes = selection.Extremes(keys, n_tasks * (k + 1))
    extremes.update(values.T, np.arange(n))
    ranked = extremes.ranked()
    natural = build(ranked.top_images, ranked.bottom_images, keys, n_tasks, k)
    np.testing.assert_array_equal(built[..., : 2 * k], natural[..., : 2 * k])
    for unit in range(3):
        order = total_order(values[unit], keys[unit])
        # negative queries: positions start to start + N - 1 from the least exciting, positive ones from the other end
        assert sorted(built[unit, :, -1]) == sorted(order[start : start + n_tasks])
        assert sorted(built[unit, :, -2]) == sorted(order[n - start - n_tasks : n - start])
        for tie, shown in zip(
            ties,
            (
                np.delete(built[unit], np.s_[k : 2 * k], 1)[:, [*range(k), k]],
                np.delete(built[unit], np.s_[:k], 1)[:, [*range(k), -1]],
            ),
            strict=True,
        ):
            images, column = shown.ravel(), values[unit]
            by_hand = np.mean([(column == column[image]).sum() > 1 for image in images])
            assert tie[unit] == pytest.approx(by_hand, abs=1e-6)


def test_a_window_right_after_the_explanations_gives_the_natural_tasks():
    values, keys = drawn(4, 400, 100, 1)
    extremes = selection.Extremes(keys, 40)
    extremes.update(values.T, np.arange(400))
    ranked = extremes.ranked()
    built, *ties = hard.tasks_from_rank(values, keys, 30, 10, 3)
    np.testing.assert_array_equal(built, build(ranked.top_images, ranked.bottom_images, keys, 10, 3))
    shares = tie_share(ranked.top_values, ranked.tied_beyond_top, 40)
    np.testing.assert_array_equal(ties[0], shares)


def test_values_of_queries_come_closer_as_the_window_moves_in():
    rng = np.random.default_rng(2)
    values, keys = rng.normal(size=(5, 4000)).astype(np.float32), randomness.unit_keys(0, "m", "l", np.arange(5))
    gaps = []
    for name in ("hard95", "hard85"):
        built, *_ = hard.tasks_from_rank(values, keys, rules.window_start(4000, name, 20, 9), 20, 9)
        queries = np.take_along_axis(values[:, None], built[..., -2:].reshape(5, 1, -1), 2).reshape(5, 20, 2)
        gaps.append((queries[..., 0] - queries[..., 1]).mean())
    # 5 % and 15 % from either end of a normal distribution: 2 * 1.645 and 2 * 1.036, a little less at the inner edge
    assert gaps == pytest.approx([3.25, 2.05], abs=0.1)
