"""Which task takes which image: as the rule says, fairly, and hardly moved by images that change places."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interpretability import randomness
from interpretability.tasks.dealing import deal

N_TASKS = 20
FULL = 1 << 64


def keys(n, seed=0):
    return randomness.unit_keys(seed, "m", "l", np.arange(n))


def lists(n_units, length, seed=0):
    """Ranked images (units, length), no image twice in a unit."""
    draw = np.random.default_rng(seed)
    return np.stack([draw.permutation(4000)[:length] for _ in range(n_units)]).astype(np.int32)


def dealt_slowly(images, key, n_tasks):
    """Tasks of the images of one group: whole numbers of any size, one image after the other."""
    base = randomness.combine(np.uint64(key), np.uint64(randomness.key64("task of an image")))
    numbers = {int(image): int(randomness.combine(base, np.uint64(image))) for image in images}
    task_of = {}
    for image in sorted(numbers, key=numbers.get):
        number = numbers[image]
        while True:
            number = (number * 6364136223846793005 + 1) % FULL
            task = (number // 2**32) * n_tasks // 2**32
            if task not in task_of:
                break
        task_of[task] = image
    return [task_of[task] for task in range(n_tasks)]


@pytest.mark.parametrize("n_tasks", [1, 2, 7, 20, 101])
def test_images_go_where_the_rule_says(n_tasks):
    ranked = lists(6, 3 * n_tasks)
    dealt = deal(ranked, keys(6), n_tasks)
    assert dealt.shape == (6, n_tasks, 3)
    for unit, key in enumerate(keys(6)):
        for group in range(3):
            images = ranked[unit, group * n_tasks : (group + 1) * n_tasks]
            assert dealt[unit, :, group].tolist() == dealt_slowly(images, key, n_tasks)


def test_the_order_within_a_group_changes_nothing():
    ranked = lists(50, 5 * N_TASKS)
    shuffled = np.random.default_rng(1).permuted(ranked.reshape(50, 5, N_TASKS), axis=2).reshape(50, -1)
    assert (shuffled != ranked).any(axis=1).all()
    np.testing.assert_array_equal(deal(ranked, keys(50), N_TASKS), deal(shuffled, keys(50), N_TASKS))


def places(ranked, dealt, group):
    """Task (units, N) of the image at each place of a group."""
    images = ranked[:, group * N_TASKS : (group + 1) * N_TASKS]
    return (dealt[:, :, group, None] == images[:, None]).argmax(axis=1)


def test_every_assignment_is_as_likely_as_every_other():
    n = 20_000
    ranked = lists(n, 2 * N_TASKS)
    dealt = deal(ranked, keys(n), N_TASKS)
    first, second = (places(ranked, dealt, group) for group in (0, 1))
    # of permutations: (N - 1) / N * sum (O - E)^2 / E has (N - 1)^2 degrees of freedom
    for task in (first, second):
        counts = np.stack([np.bincount(task[:, place], minlength=N_TASKS) for place in range(N_TASKS)])
        statistic = (N_TASKS - 1) / N_TASKS * ((counts - n / N_TASKS) ** 2).sum() / (n / N_TASKS)
        assert 1e-3 < stats.chi2.sf(statistic, (N_TASKS - 1) ** 2) < 1 - 1e-3
    # two places of one group: neighbouring tasks as often as any other pair
    apart = (first[:, 0] - first[:, 1]) % N_TASKS
    assert stats.chisquare(np.bincount(apart, minlength=N_TASKS)[1:]).pvalue > 1e-3
    # groups are dealt independently
    joint = np.bincount(first[:, 3] * N_TASKS + second[:, 3], minlength=N_TASKS**2)
    assert stats.chisquare(joint).pvalue > 1e-3


def test_a_new_image_in_a_group_moves_few_others():
    n = 4000
    ranked = lists(n, N_TASKS + 1)
    before, after = deal(ranked[:, :N_TASKS], keys(n), N_TASKS), deal(ranked[:, 1:], keys(n), N_TASKS)
    moved = (before != after).sum(axis=(1, 2)).mean() - 1  # the task of the image that left has another one in any case
    # simulated with independent draws of another generator: 2.4
    assert 2.2 < moved < 2.6


def test_two_images_that_change_groups_keep_their_tasks_mostly():
    n = 4000
    ranked = lists(n, 2 * N_TASKS)
    swapped = ranked.copy()
    swapped[:, [N_TASKS - 1, N_TASKS]] = ranked[:, [N_TASKS, N_TASKS - 1]]
    before, after = deal(ranked, keys(n), N_TASKS), deal(swapped, keys(n), N_TASKS)
    # tasks of which either explanation is another one; dealing anew would give nearly all
    changed = (np.sort(before, axis=2) != np.sort(after, axis=2)).any(axis=2).sum(axis=1)
    assert changed.mean() < N_TASKS / 2.5


def test_equal_values_do_not_decide_the_task():
    # the order of equal values follows another mix of unit and image: rank among ties and task are independent
    from interpretability.extremes.selection import mix32

    n, draw = 5000, np.random.default_rng(3)
    images = np.stack([draw.permutation(4000)[:N_TASKS] for _ in range(n)]).astype(np.int32)
    tied = np.argsort(mix32(images, keys(n)[:, None]), axis=1, kind="stable")
    ranked = np.take_along_axis(images, tied, axis=1)
    task = places(ranked, deal(ranked, keys(n), N_TASKS), 0)
    # correlation of rank and task: standard error 1 / sqrt(n (N - 1))
    together = np.corrcoef(np.broadcast_to(np.arange(N_TASKS), task.shape).ravel(), task.ravel())[0, 1]
    assert abs(together) < 4 / np.sqrt(n * (N_TASKS - 1))
