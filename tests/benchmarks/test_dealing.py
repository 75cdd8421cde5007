"""The benchmark of rules of dealing: its form of the paper's rule, and what it counts as the same task."""

import numpy as np

from benchmarks.dealing import by_rank, same_tasks, tasks_of
from interpretability.extremes.selection import rank_images
from interpretability.randomness import unit_keys


def test_by_rank_a_task_takes_one_place_of_each_group():
    keys = unit_keys(0, "m", "l", np.arange(30))
    places = np.tile(np.arange(20, dtype=np.int32), (30, 1))
    dealt = by_rank(places, keys, "positive", 5)
    assert (dealt // 5 == np.arange(4)).all()
    assert (np.sort(dealt % 5, axis=1) == np.arange(5)[:, None]).all()
    other = np.random.default_rng(0).permutation(1000)[:20].astype(np.int32)
    np.testing.assert_array_equal(by_rank(np.tile(other, (30, 1)), keys, "positive", 5), other[dealt])


def test_neighbours_that_change_places_change_tasks_by_rank_alone():
    values = np.random.default_rng(0).standard_normal((200, 50)).astype(np.float32)
    keys = unit_keys(0, "m", "l", np.arange(50))
    nearly = values.copy()
    order = np.argsort(-values, axis=0)
    first, second, column = order[0], order[1], np.arange(50)
    nearly[first, column], nearly[second, column] = values[second, column], values[first, column]
    same = {}
    for rule in ("rank", "image"):
        one, two = (tasks_of(rank_images(v, 40, keys), keys, rule, 10, 3) for v in (values, nearly))
        same[rule] = same_tasks(one, two, 3)
    assert same == {"rank": 0.8, "image": 1.0}


def test_the_order_of_explanations_does_not_make_another_task():
    one = np.array([[[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]], dtype=np.int32)
    two = np.array([[[2, 1, 4, 3, 5, 6], [7, 8, 9, 10, 12, 11]]], dtype=np.int32)
    assert same_tasks(one, two, 2) == 0.5
