"""Topics among the images that explain a unit, and tasks that show all topics of a unit.

A unit may be excited by several kinds of images. Its natural tasks mix them by chance: one shows eight of a topic and one of
another, the next the other way round. Here the explanations of a side are grouped by how alike they are, and dealt anew so that
every task shows each topic in proportion, topic beside topic.

Departure: the paper knows no topics (appendix A.2); these tasks are ours.

Dealing alone changes little: the mean over a task's explanations is that of the unit's explanations either way. What topics add
is that a query need only be like one of them, see `interpretability.similarity.by_topic`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.margins import unit_rows
from interpretability.randomness import combine, key64
from interpretability.tasks.dealing import deal

# Shares of pairs that stay together in the other half, from which on clusters count as found again (Tibshirani and Walther 2005,
# "Cluster validation by prediction strength": .8 to .9).
FOUND_AGAIN = 0.8
# Of the variance between two topics, along the line through their centres, the share that the topics must explain more than: an
# even spread that is cut in the middle reaches .75, a normal one .637 (2 / pi).
EVEN_SPREAD = 0.75
_ROUNDS = 50  # of moving centres; they settle in a handful
CLUSTERS = "clusters"  # the kind of explanation
_CHANGING = "task that changes an image of a topic"
_DEALING = "task of an image of a topic"  # keeps these numbers apart from those of natural tasks


def find_topics(
    embeddings: NDArray[np.floating], halves: NDArray[np.integer], most: int, least: int
) -> NDArray[np.int64]:
    """Topic (images,) of each image: 0, 1, ... in the order of their sizes, largest first; all 0 where there are no topics.

    embeddings  (images, E) of the images that explain one side of a unit; lengths of rows do not matter
    halves      (images,) 0 or 1: the half of the unit's tasks that an image belongs to
    most        topics that a unit may have; least: images of each half that a topic must have

    The largest number of topics, at most `most`, such that those found in either half alone are found again in the other
    (FOUND_AGAIN), lie apart there by more than an even spread does (EVEN_SPREAD), and have `least` images in each half. Topics
    are clusters by cosine: Ward's tree cut, then centres moved. No number is drawn. Measured (`benchmarks/explanation_kinds.py`):
    none in unordered images, two or three wherever they are planted apart.
    """
    rows = unit_rows(arguments.array(embeddings, "embeddings", ("images", "dimensions"))).astype(np.float64)
    of_half = np.asarray(halves)
    if of_half.shape != (len(rows),) or not np.isin(of_half, (0, 1)).all():
        raise arguments.wrong(
            "halves", "has shape {shape}; it must be 0 or 1 for each of {n} images", shape=of_half.shape, n=len(rows)
        )
    arguments.count(most, "most")
    arguments.count(least, "least")
    parts = [rows[of_half == half] for half in (0, 1)]
    for n_topics in range(min(most, min(map(len, parts)) // least), 1, -1):
        if _holds(parts, n_topics, least):
            found = _clusters(rows, n_topics)[0]
            sizes = np.stack([np.bincount(found[of_half == half], minlength=n_topics) for half in (0, 1)])
            if sizes.min() >= least:
                order = np.argsort(-sizes.sum(axis=0), kind="stable")
                return np.argsort(order, kind="stable")[found]
    return np.zeros(len(rows), dtype=np.int64)


def topic_tasks(
    tasks: NDArray[np.int32], topics: NDArray[np.integer], key: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Tasks (N, 2(K + 1)) of one unit with explanations dealt by topic, and the topic (N, 2K) of each explanation.

    tasks       natural tasks of the unit, as `natural.build` orders them
    topics      (N, 2K) of their explanations, each side by itself, as `find_topics` numbers them
    key         of the unit, as for natural tasks

    Queries stay. An explanation goes to a task of its own half, even or odd, so that the halves share no image with each other
    whatever the kind of explanation. Of a topic with n images in a half of M tasks, each task shows n / M, rounded down, or one
    more for each of those that are left over. Within a side, images stand topic by topic, the most extreme rank group first.
    """
    size = (tasks.shape[1] - 2) // 2
    dealt, shown = tasks.copy(), np.array(topics, dtype=np.int64)
    keys = combine(np.array([key], dtype=np.uint64), key64(_DEALING))
    for half in (0, 1):
        for side in (slice(0, size), slice(size, 2 * size)):
            part, own = tasks[half::2, side], np.asarray(topics)[half::2, side]
            if not len(part):
                continue
            order = _by_topic(own)
            images = part.reshape(-1)[order]
            topic_of = dict(zip(images.tolist(), own.reshape(-1)[order].tolist(), strict=True))
            new = _once_each(deal(images[None], keys, len(part))[0], topic_of, keys)
            place_of = {image: place for place, image in enumerate(images.tolist())}
            groups = np.array([[topic_of[image] for image in row] for row in new.tolist()])
            places = np.array([[place_of[image] for image in row] for row in new.tolist()])
            arranged = np.lexsort((places, groups))
            dealt[half::2, side] = np.take_along_axis(new, arranged, axis=1)
            shown[half::2, side] = np.take_along_axis(groups, arranged, axis=1)
    return dealt, shown


def _once_each(dealt: NDArray[np.int32], topic_of: dict[int, int], keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Dealt images (M, K) of one half, where no task takes two that are left over of one topic.

    What is left over of a topic may begin in one group and end in the next. There, tasks that drew both change what they drew
    in the second with tasks that drew neither, picked by keyed numbers, so that every assignment is as likely as every other.
    """
    new = dealt.copy()
    topics = np.array([[topic_of[image] for image in row] for row in dealt.tolist()])
    n_full = int((np.bincount(topics.reshape(-1)) // len(dealt)).sum())
    for group in range(n_full + 1, dealt.shape[1]):
        before, now = new[:, group - 1], new[:, group].copy()
        for topic in np.intersect1d(topics[:, group - 1], topics[:, group]).tolist():
            had, has = (np.array([topic_of[image] == topic for image in row.tolist()]) for row in (before, now))
            twice, free = np.flatnonzero(had & has), np.flatnonzero(~had & ~has)
            draws = combine(combine(keys, key64(_CHANGING)), now[free].astype(np.uint64))
            others = free[np.argsort(draws, kind="stable")][: len(twice)]
            new[twice, group], new[others, group] = now[others], now[twice]
    return new


def _by_topic(topics: NDArray[np.integer]) -> NDArray[np.int64]:
    """Places in the flat (tasks, K) of one half: full rows of each topic first, by rank group, then what is left over."""
    n_tasks, _ = topics.shape
    ranked = np.arange(topics.size).reshape(topics.shape).T.reshape(-1)  # rank group by rank group
    of_topic = topics.reshape(-1)[ranked]
    full, left = [], []
    for topic in np.unique(of_topic):
        places = ranked[of_topic == topic]
        whole = len(places) // n_tasks * n_tasks
        full.append(places[:whole])
        left.append(places[whole:])
    return np.concatenate([*full, *left])


def _clusters(rows: NDArray[np.float64], n_topics: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cluster (n,) of each unit row, and the centres (n_topics, E) of length 1."""
    from scipy.cluster.hierarchy import fcluster, linkage

    found = fcluster(linkage(rows, "ward"), n_topics, "maxclust").astype(np.int64) - 1
    centres = _centres(rows, found, np.zeros((n_topics, rows.shape[1])))
    for _ in range(_ROUNDS):
        moved = _nearest(rows, centres)
        if np.array_equal(moved, found):
            break
        found, centres = moved, _centres(rows, moved, centres)
    return found, centres


def _centres(rows: NDArray[np.float64], found: NDArray[np.int64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions of the means of clusters; an empty one stays where it was."""
    centres = before.copy()
    for topic in range(len(before)):
        own = rows[found == topic]
        if len(own):
            mean = own.mean(axis=0)
            centres[topic] = mean / max(float(np.sqrt((mean**2).sum())), np.finfo(np.float64).tiny)
    return centres


def _nearest(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """The centre that each row is most alike; sums by einsum, in one order on every processor."""
    return np.einsum("nd,kd->nk", rows, centres).argmax(axis=1)


def _holds(parts: list[NDArray[np.float64]], n_topics: int, least: int) -> bool:
    """Whether either half finds topics that the other half has, too."""
    fits = [_clusters(part, n_topics) for part in parts]
    if any(np.bincount(found, minlength=n_topics).min() < least for found, _ in fits):
        return False
    return all(
        _found_again(parts[half], fits[half][0], fits[1 - half][1]) >= FOUND_AGAIN
        and _apart(parts[half], fits[1 - half][1]) > EVEN_SPREAD
        for half in (0, 1)
    )


def _found_again(rows: NDArray[np.float64], found: NDArray[np.int64], others: NDArray[np.float64]) -> float:
    """Prediction strength: least share, over clusters, of pairs of images that the other half's centres keep together."""
    given = _nearest(rows, others)
    shares = []
    for topic in range(len(others)):
        counts = np.bincount(given[found == topic], minlength=len(others)).astype(np.float64)
        n = counts.sum()
        shares.append((counts * (counts - 1)).sum() / (n * (n - 1)) if n > 1 else 0.0)
    return float(min(shares))


def _apart(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
    """Least share of variance, over pairs of centres, that their topics explain along the line through both."""
    given = _nearest(rows, centres)
    least = 1.0
    for first in range(len(centres)):
        for second in range(first):
            both = (given == first) | (given == second)
            along = np.einsum("nd,d->n", rows[both], centres[first] - centres[second])
            of_first = given[both] == first
            share = float(of_first.mean()) if len(along) else 0.0
            whole = float(along.var()) if len(along) else 0.0
            if share in (0.0, 1.0) or whole == 0:
                return 0.0
            within = share * along[of_first].var() + (1 - share) * along[~of_first].var()
            least = min(least, 1 - float(within) / whole)
    return least
