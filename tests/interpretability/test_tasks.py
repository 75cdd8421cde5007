"""The task rule of the paper's appendix A.2, as invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpretability import randomness, schema
from interpretability.errors import InputError
from interpretability.tasks import dealing, natural, rules


def ranked_images(units, count, seed=0):
    rng = np.random.default_rng(seed)
    both = np.stack([rng.permutation(5 * count)[: 2 * count] for _ in range(units)]).astype(np.int32)
    return both[:, :count], both[:, count:]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 1000), st.integers(0, 3))
def test_invariants(n_tasks, k, seed, spare):
    count = rules.needed(n_tasks, k)
    top, bottom = ranked_images(3, count + spare, seed)
    built = natural.build(top, bottom, randomness.unit_keys(seed, "m", "l", np.arange(3)), n_tasks, k)
    assert built.shape == (3, n_tasks, 2 * (k + 1))
    for u in range(3):
        for side, ranked, query in ((slice(0, k), top[u], 2 * k), (slice(k, 2 * k), bottom[u], 2 * k + 1)):
            explanations = built[u, :, side]
            # over all tasks exactly the N*K most extreme explain, each once, and exactly the next N are queries
            assert sorted(explanations.ravel()) == sorted(ranked[: n_tasks * k])
            assert sorted(built[u, :, query]) == sorted(ranked[n_tasks * k : count])
            # a task has one explanation of each group of N consecutive ranks
            rank = {image: place for place, image in enumerate(ranked)}
            groups = np.vectorize(rank.get)(explanations) // n_tasks
            assert (groups == np.arange(k)).all()


def test_tasks_depend_on_the_unit_and_the_seed_alone():
    top, bottom = ranked_images(4, 200)
    keys = randomness.unit_keys(0, "m", "l", np.arange(4))
    together = natural.build(top, bottom, keys, 20, 9)
    np.testing.assert_array_equal(together[2:3], natural.build(top[2:3], bottom[2:3], keys[2:3], 20, 9))
    other = natural.build(top, bottom, randomness.unit_keys(1, "m", "l", np.arange(4)), 20, 9)
    assert [(together[u] != other[u]).any() for u in range(4)] == [True] * 4


def test_swapping_sides_swaps_roles():
    top, bottom = ranked_images(2, 30)
    keys = randomness.unit_keys(0, "m", "l", np.arange(2))
    built, swapped = natural.build(top, bottom, keys, 5, 5), natural.build(bottom, top, keys, 5, 5)
    order = [*range(5, 10), *range(5), 11, 10]
    np.testing.assert_array_equal(built[..., order], swapped)


def test_too_few_images_are_refused_and_few_are_warned_about():
    with pytest.raises(InputError, match=r"399 images are too few: n_tasks = 20 and n_explanations = 9.*400"):
        rules.check_images(399, 20, 9)
    # what is proposed is enough, and one more is not
    for n_images, told, enough, too_much in (
        (399, "lower n_tasks to 19", (19, 9), (20, 9)),
        (399, "lower n_explanations to 8", (20, 8), (20, 9)),
        (100, "lower n_tasks to 5", (5, 9), (6, 9)),
        (30, "lower n_tasks to 2 and n_explanations to 6", (2, 6), (2, 7)),
    ):
        with pytest.raises(InputError, match=rf"Add at least {400 - n_images}, or .*{told}"):
            rules.check_images(n_images, 20, 9)
        rules.check_images(n_images, *enough)
        with pytest.raises(InputError):
            rules.check_images(n_images, *too_much)
    with pytest.raises(InputError, match=r"Add at least 393$"):
        rules.check_images(7, 20, 9)
    assert "50.0%" in rules.check_images(400, 20, 9)
    assert rules.check_images(4000, 20, 9) == ""


def test_roles_name_every_place():
    names, positions = rules.roles(2)
    assert names == ["explanation_pos"] * 2 + ["explanation_neg"] * 2 + ["query_pos", "query_neg"]
    assert positions == [0, 1, 0, 1, 0, 0]


def test_constant_units():
    absolute, relative = rules.constant(np.array([0, 0, 1e6, -1e-9]), np.array([0, 1, 1e6 + 0.5, 1e-9]))
    assert absolute.tolist() == [True, False, False, True]
    assert relative.tolist() == [False, False, True, False]  # 0.5 of a million is nothing; 0 of 0 is no share


# --------------------------------------------------------------------------- harder conditions


def test_windows_of_imagenet_are_those_of_imi():
    # IMI's start_min, and D - stop_max from the other end, of its 1,281,167 training images
    starts = {name: rules.window_start(1_281_167, name, 20, 9) for name in schema.HARD}
    assert starts == {"hard99": 12_811, "hard95": 64_058, "hard85": 192_175}
    stops = {"hard99": 1_268_356, "hard95": 1_217_109, "hard85": 1_088_992}
    assert {name: 1_281_167 - start for name, start in starts.items()} == stops


def test_a_window_that_reaches_into_the_explanations_is_refused_with_the_least_number_of_images():
    with pytest.raises(InputError, match=r"hard99, whose queries start at rank 179 of 17999 .*needs at least 18000"):
        rules.window_start(17_999, "hard99", 20, 9)
    assert rules.window_start(18_000, "hard99", 20, 9) == 180
    with pytest.raises(InputError, match="hard99"):
        rules.check_images(4000, 20, 9, ("natural", "hard99"))


def test_a_window_beside_the_natural_queries_is_warned_about():
    # 5 % of 4000 is rank 200, where the natural queries (180 to 199) end
    assert "hard95 is hardly harder" in rules.check_images(4000, 20, 9, ("natural", "hard95"))
    assert rules.check_images(4000, 20, 9, ("natural", "hard85")) == ""


@pytest.mark.parametrize("units", [0, 1, 7])
def test_no_task_depends_on_the_number_of_threads(units):
    draw = np.random.default_rng(3)
    ranked = np.stack([draw.permutation(50)[:24] for _ in range(units)] or [np.empty((0, 24))]).reshape(units, 24)
    keys = np.arange(units, dtype=np.uint64)
    alone = dealing.deal(ranked.astype(np.int32), keys, 4)
    assert alone.shape == (units, 4, 6)
    np.testing.assert_array_equal(dealing.deal(ranked.astype(np.int32), keys, 4, threads=3), alone)
