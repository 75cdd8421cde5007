"""Agreement with judged pairs: the published table, ties, bins, and intervals that know of shared units."""

import numpy as np
import pytest
from scipy.special import ndtr

import interpretability as it
from interpretability.errors import InputError
from interpretability.people.judged_pairs import judged_pairs

# Pach et al. (arXiv 2504.02821v3): pairs and share that agrees by difference of the score, in steps of 0.1
PUBLISHED_PAIRS = [177, 139, 126, 138, 121, 90, 105, 63, 41]
PUBLISHED_SHARES = [0.56, 0.66, 0.71, 0.81, 0.85, 0.93, 0.94, 0.96, 1.00]


def published():
    """Pairs of units of their own with the counts of the published table."""
    differences, right = [], []
    for place, (n, share) in enumerate(zip(PUBLISHED_PAIRS, PUBLISHED_SHARES, strict=True)):
        differences += [0.1 * place + 0.05] * n
        right += [True] * round(n * share) + [False] * (n - round(n * share))
    turned = np.arange(len(right)) % 2 == 1  # the larger score stands first in every second pair
    scores = np.stack([np.zeros(len(right)), differences], axis=1)
    scores[turned] = scores[turned, ::-1]
    return np.arange(2 * len(right)).reshape(-1, 2), scores, np.where(turned, right, ~np.array(right))


def test_both_readings_of_the_published_table():
    found = judged_pairs(*published())
    assert (found.n_pairs, found.n_units, found.n_ties, found.n_bins) == (1000, 2000, 0, 9)
    assert found.share == pytest.approx(0.779, abs=0.0005)
    assert found.mean_over_bins == pytest.approx(np.mean(PUBLISHED_SHARES), abs=0.003)
    assert round(found.mean_over_bins, 2) == 0.82
    assert found.low < 0.779 < found.high
    assert 0.04 < found.high - found.low < 0.07


def test_equal_scores_count_for_the_second_unit_or_half():
    units, scores = [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]], [[1, 1], [1, 1], [2, 1], [1, 2]]
    found = judged_pairs(units, scores, np.array([True, False, True, True]))
    assert (found.n_ties, found.share, found.share_half_ties) == (2, 2 / 4, 2 / 4)
    found = judged_pairs(units, scores, np.array([True, True, True, True]))
    assert (found.share, found.share_half_ties) == (1 / 4, 2 / 4)


def test_order_and_names_of_units_change_nothing_but_ties():
    units, scores, chosen = published()
    order = np.random.default_rng(0).permutation(len(units))
    same = judged_pairs(units[order].astype(str), scores[order], chosen[order])
    assert same == judged_pairs(units, scores, chosen)
    assert same == judged_pairs(units[:, ::-1], scores[:, ::-1], ~chosen)


def test_pairs_without_a_score_take_no_part():
    units, scores, chosen = published()
    holes = scores.copy()
    holes[::3, 1] = np.nan
    kept = np.arange(len(units)) % 3 != 0
    assert judged_pairs(units, holes, chosen) == judged_pairs(units[kept], scores[kept], chosen[kept])
    none = judged_pairs(units, np.full(scores.shape, np.nan), chosen)
    assert (none.n_pairs, none.n_units, none.n_bins) == (0, 0, 0)
    assert np.isnan([none.share, none.low, none.high, none.mean_over_bins]).all()


def test_bins_begin_at_their_edge_and_need_a_score_of_that_scale():
    units = np.arange(8).reshape(4, 2)
    found = judged_pairs(units, [[0.3, 0], [0.29, 0], [0.9, 0], [1, 0]], np.array([True, False, False, False]))
    assert (found.mean_over_bins, found.n_bins) == (0.5, 2)  # 0.9 and 1 are in no bin
    other = judged_pairs(units, [[0.3, 0], [7, 0], [0.5, 0], [0.5, 0]], np.array([True] * 4))
    assert np.isnan(other.mean_over_bins)
    assert other.n_bins == 0
    assert other.share == 1


def test_no_interval_of_few_units_or_of_shares_that_are_all():
    few = judged_pairs([[0, 1], [1, 2], [2, 0]], [[1, 0], [1, 0], [1, 0]], np.array([True, False, True]))
    assert np.isnan(few.low)
    every = judged_pairs(np.arange(20).reshape(10, 2), np.tile([1, 0], (10, 1)), np.ones(10, bool))
    assert np.isnan(every.high)


def drawn(rng, n_units, n_pairs, error, noise):
    """Pairs of units whose scores miss the truth by `error` of theirs, judged with `noise` of each judgement."""
    truth = rng.normal(size=n_units)
    scores = truth + error * rng.normal(size=n_units)
    first = rng.integers(n_units, size=n_pairs)
    second = (first + rng.integers(1, n_units, size=n_pairs)) % n_units
    chosen = truth[first] - truth[second] + noise * rng.normal(size=n_pairs) > 0
    pairs = np.stack([first, second], axis=1)
    return pairs, scores[pairs], chosen


@pytest.mark.parametrize(("n_units", "error"), [(2000, 0.5), (300, 3.0), (100, 3.0)])
def test_intervals_cover_where_units_are_shared(n_units, error):
    rng = np.random.default_rng(1)
    difference = np.sqrt(2) * rng.normal(size=400_000)
    scores = difference + error * np.sqrt(2) * rng.normal(size=len(difference))
    share = np.where(scores > 0, ndtr(difference / 0.7), ndtr(-difference / 0.7)).mean()
    found = [judged_pairs(*drawn(rng, n_units, 1000, error, 0.7)) for _ in range(300)]
    covered = np.mean([each.low <= share <= each.high for each in found])
    assert 0.91 < covered < 0.98
    if n_units < 1000:  # pairs as if each had units of its own are too sure
        reach = [1.96 * np.sqrt(each.share * (1 - each.share) / each.n_pairs) for each in found]
        assert np.mean([abs(each.share - share) <= width for each, width in zip(found, reach, strict=True)]) < 0.88


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scores": [[1, 2, 3]]}, r"scores has shape \(1, 3\); it must be \(pairs, 2\)"),
        ({"units": [[0, 1], [2, 3]]}, "units has shape"),
        ({"units": [[4, 4]]}, "units holds a pair of 4 with itself, in row 0"),
        ({"scores": [[1, np.inf]]}, "scores holds an infinite value"),
        ({"first_chosen": [1]}, "first_chosen has shape .* it must be .* bool"),
        ({"confidence": 1}, "confidence is 1"),
    ],
)
def test_what_does_not_fit_is_refused(changes, told):
    given = {"units": [[0, 1]], "scores": [[0.2, 0.1]], "first_chosen": np.array([True])} | changes
    with pytest.raises(InputError, match=told):
        it.judged_pairs(**given)
