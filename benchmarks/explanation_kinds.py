"""How honest the choice among kinds of explanation is, how often its intervals cover, and what topics of images are worth.

    python -m benchmarks.explanation_kinds            # some 5 minutes of one core

Simulated units: a score of each kind that is known, tasks that spread around it, half of which all kinds share, and where
images are made, the luck of their seed. Half of 20 tasks choose.

`explanation_kinds.csv`, a row a setting, 20,000 units: the gain of the truly best kind; gain and bias of the highest score
(naive); gain, bias and true gain of what `interpretability.analysis.explanation_kinds.choose` chooses, and how often that is the
best. Aim: |bias| below .003 without luck of seeds, or with two seed sets; with one set it shows what luck does.
`explanation_kinds_coverage.csv`, a row a setting with two sets: how often the intervals of 95 % of the gain of choosing and of
the difference of a kind to natural cover; `covered` is the lower of the two. Aim: .93 to .985.
`explanation_topics.csv`, a row a kind of simulated images: how often topics are found in the images that explain one side of a
unit, and how many images are in their own topic; scores of natural tasks, of tasks dealt by topic, and of the same compared with
the nearest topic, and shares of tasks that are solved. Aim: no topics in unordered and stretched images, planted ones found. An
even spread is the border: its ends are unlike, and telling them apart helps.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import report
from interpretability.analysis.explanation_kinds import Choice, choose
from interpretability.margins import cosine_values, unit_rows
from interpretability.mis import probabilities
from interpretability.randomness import generator
from interpretability.similarity.by_topic import topic_margins
from interpretability.statistics import mean_interval
from interpretability.tasks.dealing import deal
from interpretability.tasks.topics import find_topics, topic_tasks

N_TASKS, SPREAD, SHARED, AHEAD = 20, 0.15, 0.5, 0.02
CONFIDENCE = 0.95
# kinds, sd of true differences, sd of the luck of a seed, seed sets
SETTINGS = (
    *((n_kinds, sd, 0.0, 1) for n_kinds, sd in ((3, 0.0), (3, 0.03), (5, 0.0), (5, 0.03), (5, 0.06))),
    *((5, sd, 0.03, n_sets) for sd, n_sets in product((0.0, 0.03), (1, 2))),
)
COVERED = tuple(product((12, 40, 400), (0.0, 0.03, 0.06), (0.0, 0.03)))  # units, sd of true differences, sd of luck
_TOGETHER = 60_000  # units drawn at a time
_MOST_UNITS, _TRUTH = 400_000, 200_000  # units of all studies of a row of the coverage, and those that tell its truth
# images of simulated topics: dimensions, tasks, explanations of a task, and the slope that scores are read with
DIMENSIONS, EXPLANATIONS, SLOPE = 64, 9, 6.25
FAMILIES = ("unordered", "stretched", "even spread", "two alike", "two", "two opposed", "two, one small", "three")


def draw_units(
    draw: np.random.Generator, n_units: int, n_kinds: int, true_sd: float, seed_sd: float, n_sets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True scores (units, kinds), the first kind ahead by AHEAD, and scores (units, kinds, sets, 2) of both halves of tasks."""
    true = true_sd * draw.standard_normal((n_units, n_kinds))
    true[:, 0] += AHEAD
    common = np.sqrt(SHARED) * draw.standard_normal((n_units, 1, 1, N_TASKS))
    own = np.sqrt(1 - SHARED) * draw.standard_normal((n_units, n_kinds, 1, N_TASKS))
    luck = seed_sd * draw.standard_normal((n_units, n_kinds, n_sets, 1))
    luck[:, 0] = 0  # natural images are not made
    tasks = true[:, :, None, None] + SPREAD * (common + own) + luck
    return true, np.stack([tasks[..., half::2].mean(axis=-1) for half in (0, 1)], axis=-1)


def bias_row(n_kinds: int, true_sd: float, seed_sd: float, n_sets: int, n_units: int = 20_000) -> dict[str, float]:
    """What choosing gives over very many units, beside the highest score."""
    draw = generator(0, "kinds of explanation", n_kinds, int(1000 * true_sd), int(1000 * seed_sd), n_sets)
    true, scores = draw_units(draw, n_units, n_kinds, true_sd, seed_sd, n_sets)
    choice = choose(scores)
    whole, units = scores.mean(axis=(2, 3)), np.arange(n_units)
    highest = whole.argmax(axis=1)
    chosen = true_of(true, choice)
    return {
        "n_kinds": n_kinds,
        "true_sd": true_sd,
        "seed_sd": seed_sd,
        "n_sets": n_sets,
        "gain_of_best": float((true.max(axis=1) - true[:, 0]).mean()),
        "naive_gain": float(choice.naive.mean()),
        "naive_bias": float((whole[units, highest] - true[units, highest]).mean()),
        "gain": float(choice.gain.mean()),
        "gain_sd": float(choice.gain.std(ddof=1)),
        "bias": float((choice.scores - chosen).mean()),
        "true_gain": float((chosen - true[:, :1]).mean()),
        "best_chosen": float((choice.kinds == true.argmax(axis=1)[:, None]).mean()),
    }


def true_of(true: NDArray[np.float64], choice: Choice) -> NDArray[np.float64]:
    """True scores (units, directions) of what was chosen."""
    return np.take_along_axis(true, choice.kinds, axis=1)


def coverage_row(n_units: int, true_sd: float, seed_sd: float, n_studies: int) -> dict[str, float]:
    """How often the intervals of studies of five kinds and two seed sets hold the truth of very many units.

    Intervals are those of `mean_interval`, which the table of kinds gives.
    """
    n_kinds, ids = 5, (n_units, int(1000 * true_sd), int(1000 * seed_sd))
    true, scores = draw_units(generator(0, "truth of kinds", *ids), _TRUTH, n_kinds, true_sd, seed_sd, 2)
    truths = np.array([(true_of(true, choose(scores)) - true[:, :1]).mean(), -AHEAD])
    draw, held, widths = generator(0, "coverage of kinds", *ids), [], []
    n_studies = min(n_studies, _MOST_UNITS // n_units)
    for start in range(0, n_studies, _TOGETHER // n_units):
        count = min(_TOGETHER // n_units, n_studies - start)
        _, scores = draw_units(draw, count * n_units, n_kinds, true_sd, seed_sd, 2)
        whole = scores.mean(axis=(2, 3))
        values = np.stack([choose(scores).gain, whole[:, 1] - whole[:, 0]]).reshape(2, count, n_units)
        low, high = mean_interval(values.mean(axis=2), values.std(axis=2, ddof=1), n_units, CONFIDENCE)
        held.append((low <= truths[:, None]) & (truths[:, None] <= high))
        widths.append((high - low)[0])
    truth = float(truths[0])
    of_gain, of_difference = np.concatenate(held, axis=1).mean(axis=1)
    return {
        "n_units": n_units,
        "n_studies": n_studies,
        "true_sd": true_sd,
        "seed_sd": seed_sd,
        "gain": truth,
        "width": float(np.concatenate(widths).mean()),
        "covered_gain": float(of_gain),
        "covered_difference": float(of_difference),
        "covered": float(min(of_gain, of_difference)),
    }


def draw_images(draw: np.random.Generator, family: str, n_images: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Embeddings (n_images, DIMENSIONS) of what excites a unit, and the true topic of each.

    All share a direction. Topics add one of their own: alike (cosine .5), apart, or opposed. Of the families without topics one
    has nothing else, one is stretched along a direction, and one spread evenly along it.
    """
    noise = draw.standard_normal((n_images, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    shared, first, second, third = np.eye(4, DIMENSIONS)
    topic = np.zeros(n_images, dtype=np.int64)
    if family == "unordered":
        return 0.8 * shared + noise, topic
    if family == "stretched":
        return 0.8 * shared + noise + 0.5 * draw.standard_normal((n_images, 1)) * first, topic
    if family == "even spread":
        return 0.8 * shared + 0.3 * noise + draw.uniform(-1, 1, (n_images, 1)) * first, topic
    centres = {
        "two alike": [first, 0.5 * first + np.sqrt(0.75) * second],
        "two": [first, second],
        "two opposed": [first, -first],
        "two, one small": [first, second],
        "three": [first, second, third],
    }[family]
    shares = [0.75, 0.25] if family == "two, one small" else np.full(len(centres), 1 / len(centres))
    topic = draw.choice(len(centres), n_images, p=shares)
    return 0.8 * shared + 0.6 * np.stack(centres)[topic] + noise, topic


def topic_row(family: str, n_units: int) -> dict[str, float | str]:
    """Topics found in simulated units of a family, and scores with and without them."""
    draw = generator(0, "topics", family)
    found, agree, scores = [], [], []
    for unit in range(n_units):
        planted, told, score = _unit(draw, family, unit)
        found.append(told.max() + 1)
        agree.append(_agreement(planted, told))
        scores.append(score)
    means = np.mean(scores, axis=0)
    names = ("natural", "dealt", "by_topic", "right_natural", "right_dealt", "right_by_topic")
    return {
        "family": family,
        "topics": 3 if family == "three" else 2 if family.startswith("two") else 1,
        "found_more": float(np.mean(np.array(found) > 1)),
        "topics_found": float(np.mean(found)),
        "in_own_topic": float(np.mean(agree)),
        **dict(zip(names, means.tolist(), strict=True)),
    }


def _unit(
    draw: np.random.Generator, family: str, unit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[float]]:
    """True and found topics of a unit's positive explanations; scores and shares of solved tasks: natural, dealt, by topic."""
    count = N_TASKS * (EXPLANATIONS + 1)
    positive, planted = draw_images(draw, family, count)
    negative, _ = draw_images(draw, "unordered", count)
    rows = unit_rows(np.concatenate([positive, negative]).astype(np.float32))
    key = np.array([unit], dtype=np.uint64)
    sides = [deal(np.arange(count, dtype=np.int32)[None] + side * count, key, N_TASKS)[0] for side in (0, 1)]
    tasks = np.concatenate([*(side[:, :-1] for side in sides), *(side[:, -1:] for side in sides)], axis=1)
    halves = np.repeat(np.arange(N_TASKS) % 2, EXPLANATIONS)
    topics = np.zeros((N_TASKS, 2 * EXPLANATIONS), dtype=np.int64)
    for side in (slice(0, EXPLANATIONS), slice(EXPLANATIONS, 2 * EXPLANATIONS)):
        topics[:, side] = find_topics(rows[tasks[:, side].reshape(-1)], halves, 3, N_TASKS // 2).reshape(N_TASKS, -1)
    shown, of_shown = topic_tasks(tasks, topics, unit)
    natural, dealt = (cosine_values(rows, each[None], EXPLANATIONS) for each in (tasks, shown))
    none = np.zeros_like(of_shown)[None]
    margins = [topic_margins(natural, none), topic_margins(dealt, none), topic_margins(dealt, of_shown[None])]
    scores = [float(probabilities(each, SLOPE).mean()) for each in margins]
    images = tasks[:, :EXPLANATIONS].reshape(-1)
    return (
        planted[images],
        topics[:, :EXPLANATIONS].reshape(-1),
        scores + [float((each > 0).mean()) for each in margins],
    )


def _agreement(planted: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Share of images in a found topic whose most frequent true topic is theirs."""
    counts = np.zeros((found.max() + 1, planted.max() + 1))
    np.add.at(counts, (found, planted), 1)
    return float(counts.max(axis=1).sum() / len(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=8000, help="simulated studies a row of the coverage")
    parser.add_argument("--units", type=int, default=200, help="simulated units a family of images")
    args = parser.parse_args()
    report("explanation_kinds", "20,000 simulated units a row", [bias_row(*setting) for setting in SETTINGS])
    covered = [coverage_row(*setting, args.studies) for setting in COVERED]
    report("explanation_kinds_coverage", f"up to {args.studies} simulated studies a row", covered)
    topics = [topic_row(family, args.units) for family in FAMILIES]
    report("explanation_topics", f"{args.units} simulated units a row", topics)


if __name__ == "__main__":
    main()
