"""Topics of a unit's images, tasks that show them, and what else natural tasks are turned into."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from benchmarks.explanation_kinds import FAMILIES, topic_row
from interpretability.errors import InputError
from interpretability.margins import AGGREGATIONS, aggregated_margins
from interpretability.similarity.by_topic import topic_margins
from interpretability.tasks.fewer import fewer_explanations
from interpretability.tasks.topics import find_topics, topic_tasks

N_TASKS, SIZE = 20, 9
HALVES = np.repeat(np.arange(N_TASKS) % 2, SIZE)
ALONE = {"unordered": 1, "stretched": 1, "two": 2, "two opposed": 2, "two, one small": 2, "three": 3}


@pytest.mark.parametrize(("family", "planted"), ALONE.items())
def test_planted_topics_are_found_and_no_others(family, planted):
    row = topic_row(family, 10)
    assert row["topics"] == planted
    assert row["topics_found"] == planted
    assert row["in_own_topic"] > 0.97


def test_topics_shown_side_by_side_help_where_a_query_need_only_be_like_one():
    row = topic_row("two opposed", 20)
    # the mean over both topics is like neither; dealing alone does not change it
    assert row["natural"] == pytest.approx(0.5, abs=0.02)
    assert row["dealt"] == pytest.approx(row["natural"], abs=0.02)
    assert row["by_topic"] > row["natural"] + 0.15
    assert row["right_by_topic"] > 0.9


def test_every_family_of_the_benchmark_is_named_here_or_lies_between():
    assert set(FAMILIES) - set(ALONE) == {"even spread", "two alike"}


def rows_of(topics, noise=0.1, seed=0):
    """Embeddings near one axis for each topic."""
    rng = np.random.default_rng(seed)
    return np.eye(4, 16)[topics] + noise * rng.standard_normal((len(topics), 16))


def test_topics_are_numbered_by_size_whatever_the_order_of_images():
    topics = np.where(np.arange(180) % 3 == 0, 0, 1)  # 60 and 120 images
    found = find_topics(rows_of(topics), HALVES, 3, 10)
    assert np.array_equal(found, 1 - topics)
    assert np.array_equal(find_topics(5 * rows_of(topics), HALVES, 3, 10), found)


def test_a_topic_too_small_to_be_in_every_task_is_none():
    topics = (np.arange(180) % 20 == 0).astype(int)  # 9 images
    assert not find_topics(rows_of(topics), HALVES, 3, 10).any()
    assert find_topics(rows_of(topics), HALVES, 3, 1).any()


def test_a_topic_of_one_half_alone_is_none():
    topics = ((np.arange(180) % 2 == 0) & (HALVES == 0)).astype(int)
    assert not find_topics(rows_of(topics), HALVES, 3, 10).any()


def test_most_topics_is_a_limit():
    topics = np.arange(180) % 3
    assert find_topics(rows_of(topics), HALVES, 3, 10).max() == 2
    assert not find_topics(rows_of(topics), HALVES, 1, 10).any()


def test_images_that_are_all_alike_have_one_topic():
    assert not find_topics(np.ones((180, 4)), HALVES, 3, 10).any()
    assert not find_topics(np.zeros((180, 4)), HALVES, 3, 10).any()


@pytest.mark.parametrize("halves", [HALVES[:-1], HALVES + 1])
def test_halves_that_do_not_fit_are_refused(halves):
    with pytest.raises(InputError, match="halves"):
        find_topics(rows_of(np.zeros(180, int)), halves, 2, 10)


def natural(n_tasks=N_TASKS, size=SIZE, seed=0):
    """One unit's tasks (N, 2(K + 1)) of images that occur once."""
    rng = np.random.default_rng(seed)
    return rng.permutation(2 * n_tasks * (size + 1)).astype(np.int32).reshape(n_tasks, -1)


@pytest.mark.parametrize(("n_tasks", "size"), [(20, 9), (7, 4), (2, 2)])
def test_tasks_by_topic_show_every_topic_in_proportion_and_mix_no_halves(n_tasks, size):
    tasks = natural(n_tasks, size)
    rng = np.random.default_rng(1)
    topics = rng.integers(0, 2, (n_tasks, 2 * size))
    dealt, shown = topic_tasks(tasks, topics, 7)
    assert np.array_equal(dealt[:, 2 * size :], tasks[:, 2 * size :])
    topic_of = dict(zip(tasks[:, : 2 * size].reshape(-1), topics.reshape(-1), strict=True))
    assert np.array_equal(np.vectorize(topic_of.get)(dealt[:, : 2 * size]), shown)
    for side in (slice(0, size), slice(size, 2 * size)):
        for half in (0, 1):
            before, after, own = tasks[half::2, side], dealt[half::2, side], shown[half::2, side]
            assert sorted(before.reshape(-1)) == sorted(after.reshape(-1))
            assert (np.diff(own, axis=1) >= 0).all()  # topic beside topic
            counts = (own == 1).sum(axis=1)
            share = (topics[half::2, side] == 1).sum() / len(counts)
            assert (counts >= np.floor(share)).all()
            assert (size - counts >= np.floor(size - share)).all()
    again = topic_tasks(tasks, topics, 7)[0]
    assert np.array_equal(again, dealt)
    assert not np.array_equal(topic_tasks(tasks, topics, 8)[0], dealt) or n_tasks == 2


@pytest.mark.parametrize("n_topics", [2, 3, 4])
def test_each_task_shows_its_share_of_a_topic_or_one_more_whatever_the_sizes(n_topics):
    rng = np.random.default_rng(n_topics)
    for trial in range(60):
        n_tasks, size = int(rng.integers(2, 24)), int(rng.integers(2, 10))
        tasks = natural(n_tasks, size, trial)
        topics = rng.choice(n_topics, (n_tasks, 2 * size), p=rng.dirichlet(np.ones(n_topics)))
        dealt, shown = topic_tasks(tasks, topics, trial)
        for half, side in product((0, 1), (slice(0, size), slice(size, 2 * size))):
            assert sorted(dealt[half::2, side].reshape(-1)) == sorted(tasks[half::2, side].reshape(-1))
            for topic in range(n_topics):
                counts = (shown[half::2, side] == topic).sum(axis=1)
                share = (topics[half::2, side] == topic).sum() // len(counts)
                assert set(counts - share) <= {0, 1}


def test_every_way_to_deal_what_is_left_over_is_as_likely():
    # halves of four tasks with two explanations: three topics of 3, 3 and 2 images; the second lies in both groups
    topics = np.tile(np.repeat([0, 0, 0, 1, 1, 1, 2, 2], 2).reshape(2, 8).T, (1, 2))
    tasks = np.arange(48, dtype=np.int32).reshape(8, 6)
    ways = Counter(tuple(topic_tasks(tasks, topics, key)[0][::2, :2].reshape(-1).tolist()) for key in range(9000))
    # 4! ways for the first group; one task has drawn the second topic, so its other 2 go to 3 tasks: 3 * 2 ways, 2 for the rest
    assert len(ways) == 24 * 3 * 2 * 2
    mean = 9000 / len(ways)
    assert sum((n - mean) ** 2 / mean for n in ways.values()) < 288 + 4 * np.sqrt(2 * 288)


def test_tasks_of_one_topic_are_dealt_by_rank():
    tasks = natural()
    rank = {image: place for place in range(SIZE) for image in tasks[:, place]}
    dealt, _ = topic_tasks(tasks, np.zeros((N_TASKS, 2 * SIZE), int), 3)
    assert np.array_equal(np.vectorize(rank.get)(dealt[:, :SIZE]), np.tile(np.arange(SIZE), (N_TASKS, 1)))


def test_margins_by_topic_by_hand():
    # the positive side has topics of 2 and 1 images, the negative one a topic of 3
    of_positive_query = [0.9, 0.7, 0.1, 0.2, 0.3, 0.4]
    of_negative_query = [0.0, 0.2, 0.6, 0.5, 0.5, 0.8]
    values = np.array([[[of_positive_query, of_negative_query]]])
    topics = np.array([[[0, 0, 1, 0, 0, 0]]])
    # (max(.8, .1) - .3) - (max(.1, .6) - .6)
    assert topic_margins(values, topics)[0, 0] == pytest.approx(0.5)
    swapped = topic_margins(values[:, :, ::-1], topics)
    assert swapped[0, 0] == pytest.approx(-0.5)
    # the largest of each topic: (max(.9, .1) - .4) - (max(.2, .6) - .8)
    assert topic_margins(values, topics, "max")[0, 0] == pytest.approx(0.7)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_with_one_topic_a_side_margins_are_those_of_all_tasks(aggregation):
    rng = np.random.default_rng(0)
    values = rng.random((3, 5, 2, 8))
    found = topic_margins(values, np.zeros((3, 5, 8), int), aggregation, 0.3)
    assert found == pytest.approx(aggregated_margins(values, aggregation, 0.3), abs=1e-6)


def test_topics_of_another_shape_are_refused():
    with pytest.raises(InputError, match="topics"):
        topic_margins(np.zeros((3, 5, 2, 8)), np.zeros((3, 5, 6), int))


def test_fewer_explanations_are_spread_over_the_ranks():
    tasks = np.arange(20)[None, None].astype(np.int32)  # 9 a side, places as images
    assert fewer_explanations(tasks, 1)[0, 0].tolist() == [4, 13, 18, 19]
    assert fewer_explanations(tasks, 3)[0, 0].tolist() == [1, 4, 7, 10, 13, 16, 18, 19]
    assert np.array_equal(fewer_explanations(tasks, 9), tasks)
    with pytest.raises(InputError, match="n_kept is 10"):
        fewer_explanations(tasks, 10)
