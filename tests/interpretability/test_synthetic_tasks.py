"""Tasks that made images explain: what stays of the natural ones, and what takes its place."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.tasks.synthetic import mixed_tasks, shown_images, synthetic_tasks

N_NATURAL, UNITS, N, K = 500, 3, 4, 5


@pytest.fixture(scope="module")
def natural():
    rng = np.random.default_rng(0)
    rows = [rng.permutation(N_NATURAL)[: N * 2 * (K + 1)].reshape(N, -1) for _ in range(UNITS)]
    return np.stack(rows).astype(np.int32)


@pytest.fixture(scope="module")
def made():
    """More images a side than a task shows, in an order that is not that of their numbers."""
    numbers = N_NATURAL + np.random.default_rng(1).permutation(2 * UNITS * (K + 2)).reshape(2, UNITS, K + 2)
    return numbers[0], numbers[1]


def test_all_tasks_of_a_unit_show_the_same_made_images_and_ask_the_natural_queries(natural, made):
    tasks = synthetic_tasks(natural, *made)
    assert tasks.dtype == np.int32
    np.testing.assert_array_equal(tasks[..., -2:], natural[..., -2:])
    for unit in range(UNITS):
        for task in range(N):
            for side in range(2):
                shown = tasks[unit, task, side * K : (side + 1) * K]
                assert shown.tolist() == [*made[side][unit, : K - 1], made[side][unit, -1]], "the last is never cut off"


def test_as_many_images_as_tasks_show_are_shown_as_they_are(natural, made):
    assert shown_images(made[0], K + 2).tolist() == made[0].tolist()
    assert shown_images(made[0][0], 1).tolist() == [made[0][0, -1]]
    exact = [side[:, :K] for side in made]
    assert (synthetic_tasks(natural, *exact)[..., :K] == exact[0][:, None]).all()


def test_mixed_tasks_show_made_images_at_every_other_rank(natural, made):
    tasks = mixed_tasks(natural, *made)
    np.testing.assert_array_equal(tasks[..., -2:], natural[..., -2:])
    for side in range(2):
        places = side * K + np.arange(K)
        np.testing.assert_array_equal(tasks[..., places[::2]], natural[..., places[::2]])
        for unit in range(UNITS):
            assert (tasks[unit][:, places[1::2]] == made[side][unit, [1, 3]]).all()
    share = (tasks[..., : 2 * K] >= N_NATURAL).mean()
    assert share == (K // 2) / K


def test_natural_tasks_are_left_as_they_are(natural, made):
    before = natural.copy()
    synthetic_tasks(natural, *made)
    mixed_tasks(natural, *made)
    np.testing.assert_array_equal(natural, before)


def test_one_explanation_a_side_leaves_nothing_to_mix(natural, made):
    few = natural[..., [0, K, -2, -1]]
    np.testing.assert_array_equal(mixed_tasks(few, *made), few)
    assert (synthetic_tasks(few, *made)[..., :2] >= N_NATURAL).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tasks, first, second: (tasks[..., :-1], first, second), r"tasks holds tasks of 11 images"),
        (
            lambda tasks, first, second: (tasks, first[:, :4], second),
            r"positive has the shape \(3, 4\).* 5 images of each",
        ),
        (
            lambda tasks, first, second: (tasks, first, second[:2]),
            r"negative has the shape \(2, 7\).* 3 units of tasks",
        ),
        (
            lambda tasks, first, second: (tasks, first, second - N_NATURAL),
            r"negative names image \d+, but natural tasks",
        ),
        (lambda tasks, first, second: (tasks, first + 2.5, second), r"positive holds .*int32"),
        (lambda tasks, first, second: (tasks, first, None), r"negative is of type NoneType"),
    ],
)
def test_what_are_no_tasks_and_no_made_images_is_refused(natural, made, change, message):
    for build in (synthetic_tasks, mixed_tasks):
        with pytest.raises(InputError, match=message):
            build(*change(natural, *made))
