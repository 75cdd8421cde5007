"""Tasks to practise on and to catch with: which are drawn, and what becomes of them."""

import numpy as np
import pytest

from interpretability.design import practice
from interpretability.errors import InputError
from interpretability.randomness import unit_keys

N_UNITS, N_TASKS = 200, 6


@pytest.fixture(scope="module")
def margins():
    return np.random.default_rng(0).normal(0.1, 0.3, (N_UNITS, N_TASKS)).astype(np.float32)


def keys(n=N_UNITS, seed=0):
    return unit_keys(seed, "net", "head", np.arange(n))


def test_nobody_meets_a_unit_twice_and_one_task_in_five_is_less_obvious(margins):
    found, catch = practice.draw_practice(margins, keys(), 12, 10)
    units = np.concatenate([found.units, catch.units])
    assert len(set(units)) == len(units) == 22
    assert found.obvious.sum() == 9
    assert catch.obvious.all()
    assert [practice.n_less_obvious(n) for n in (0, 1, 2, 5, 6, 12)] == [0, 0, 1, 1, 2, 3]


def test_obvious_tasks_are_the_easiest_of_the_easiest_units_and_the_others_half_as_easy(margins):
    found, catch = practice.draw_practice(margins, keys(), 12, 10)
    ease = np.sort(margins.max(axis=1))[::-1]
    of_task = margins[found.units, found.tasks]
    obvious = of_task[found.obvious]
    assert (obvious == margins.max(axis=1)[found.units[found.obvious]]).all()
    assert obvious.min() >= ease[4 * 9 - 1]
    assert margins[catch.units, catch.tasks].min() >= ease[9 + 3 + 4 * 10 - 1]
    # among 200 * 6 tasks some are as near to one half as this
    assert of_task[~found.obvious] == pytest.approx(np.full(3, np.median(obvious) / 2), abs=0.02)


def test_draws_hang_on_keys_and_not_on_the_order_of_units(margins):
    found, catch = practice.draw_practice(margins, keys(), 12, 10)
    turned, caught = practice.draw_practice(margins[::-1], keys()[::-1], 12, 10)
    assert (N_UNITS - 1 - turned.units).tolist() == found.units.tolist()
    assert (N_UNITS - 1 - caught.units).tolist() == catch.units.tolist()
    other, _ = practice.draw_practice(margins, keys(seed=1), 12, 10)
    assert other.units.tolist() != found.units.tolist()
    places = [practice.draw_practice(margins, keys(seed=seed), 12, 10)[0].obvious for seed in range(20)]
    assert len({tuple(each) for each in places}) > 10, "the number of a trial tells not whether it is obvious"


def test_no_task_that_the_machine_gets_wrong_is_drawn():
    margins = np.full((30, 3), -0.2)
    margins[:15, 1] = 0.3
    found, catch = practice.draw_practice(margins, keys(30), 10, 5)
    for drawn in (found, catch):
        assert set(drawn.tasks) == {1}
        assert drawn.units.max() < 15
    with pytest.raises(InputError, match="margins has 15 units with a task of positive margin; 16 are needed"):
        practice.draw_practice(margins, keys(30), 10, 6)


def test_none_and_too_many():
    found, catch = practice.draw_practice(np.empty((0, 4)), keys(0), 0, 0)
    assert len(found.units) == len(catch.units) == 0
    with pytest.raises(
        InputError, match="margins has 3 units; 3 practice and 1 catch tasks need as many units as tasks"
    ):
        practice.draw_practice(np.ones((3, 4)), keys(3), 3, 1)


def test_the_queries_of_a_catch_trial_are_the_strongest_explanations_of_their_sides():
    tasks = np.arange(2 * 3 * 8, dtype=np.int32).reshape(2, 3, 8)  # K = 3
    found = practice.caught(tasks)
    assert (found[..., -2] == tasks[..., 0]).all()
    assert (found[..., -1] == tasks[..., 3]).all()
    assert (found[..., :6] == tasks[..., :6]).all()
    assert tasks[0, 0].tolist() == list(range(8)), "the given tasks stay as they were"


def test_queries_that_stay_take_the_places_of_the_strongest_explanations():
    tasks = np.arange(2 * 3 * 8, dtype=np.int32).reshape(2, 3, 8)  # K = 3
    found = practice.caught(tasks, keep_queries=True)
    np.testing.assert_array_equal(found[..., -2:], tasks[..., -2:])
    np.testing.assert_array_equal(found[..., [0, 3]], tasks[..., -2:])
    np.testing.assert_array_equal(found[..., [1, 2, 4, 5]], tasks[..., [1, 2, 4, 5]])
    assert tasks[0, 0].tolist() == list(range(8)), "the tasks themselves stay"


def test_fewer_explanations_are_the_strongest_of_either_side():
    task = np.array([[10, 11, 12, 20, 21, 22, 1, 2]], dtype=np.int32)
    assert practice.fewer(task, 2).tolist() == [[10, 11, 20, 21, 1, 2]]
    assert practice.fewer(task, 0).tolist() == [[1, 2]]
    assert practice.fewer(task, 3).tolist() == task.tolist()
    for k in (-1, 4):
        with pytest.raises(InputError, match=f"k is {k}; allowed are 0 to 3"):
            practice.fewer(task, k)
