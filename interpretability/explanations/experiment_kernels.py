"""Compiled parts of the paper's simulations: one unit's estimates for every budget, aggregation and number of raters at once.

A draw of S images under a budget is the first S of one long list of draws, and m ratings of an image are the first m of a long
list: each budget by itself sees independent draws, as the paper's do, while different budgets share them. So all sums of
Eq. 7 to 9 run on from budget to budget, and nothing is computed twice.

Every random number is keyed: `combine(key, place)` of `interpretability.randomness`, where the place is that of the draw, or of
the rating of the draw. An image that is drawn twice is rated anew each time.
"""

from __future__ import annotations

import numba
import numpy as np

from interpretability.randomness import GOLDEN, MULTIPLY_1, MULTIPLY_2

# what a label is made from: a table of the number of yes, or the same as odds that multiply those of the guide
DIRECT, TIMES_GUIDE = 0, 1
# estimates, in this order: Eq. 7 to 9 as printed; the same with every sum divided by the sum of weights; and the slope of the
# activation on the self-normalised labels, times the standard deviation of a concept of their mean
PUBLISHED, SELF_NORMALISED, SLOPE = 0, 1, 2
# sums over draws, of labels less the first one, without which nearly equal labels would cancel: of w d, w d^2, w a d, the first
# label, and whether another differs from it
_D, _D2, _AD, _FIRST, _DIFFERS = 0, 1, 2, 3, 4
ESTIMATORS = ("published", "self_normalised", "slope")


@numba.njit(inline="always")
def _mix(value):
    """`randomness.mix64` of one number."""
    z = value + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * MULTIPLY_1
    z = (z ^ (z >> np.uint64(27))) * MULTIPLY_2
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always")
def _uniform(mixed_key, place):
    """`randomness.uniforms(combine(key, place))` of one number, from the key's own mix."""
    return np.float64(_mix(_mix(mixed_key ^ np.uint64(place))) >> np.uint64(11)) * 2.0**-53


@numba.njit(nogil=True, cache=True)
def _starts(cumulative):
    """First place worth looking at for numbers in each of n equal parts of [0, 1)."""
    n = len(cumulative)
    starts = np.empty(n, np.int64)
    place = 0
    for part in range(n):
        while place < n - 1 and cumulative[place] <= part / n:
            place += 1
        starts[part] = place
    return starts


@numba.njit(inline="always")
def _drawn(cumulative, starts, uniform):
    """The first place whose cumulative probability exceeds `uniform`."""
    n = len(cumulative)
    place = starts[min(np.int64(uniform * n), n - 1)]
    while place > 0 and cumulative[place - 1] > uniform:
        place -= 1
    while place < n - 1 and cumulative[place] <= uniform:
        place += 1
    return place


@numba.njit(nogil=True, cache=True)
def sampled(abar, chances, odds, q, draw_keys, rating_keys, raters, sizes, kinds, tables, found):
    """Fill found (draws, aggregations, raters, sizes, estimators) for one unit and one sampler.

    abar (n,) standardised activations; chances (n,) of a yes to an image; odds (aggregations, n) of the guide; q (n,)
    proposal; keys (draws,); raters (M,) ascending; sizes (M, B) numbers of draws, ascending in each row, 0 where there are none;
    kinds (A,); tables (A, M, most raters + 1). NaN where all labels are equal, or the mean of a concept is none.
    """
    n, most = len(q), raters[-1]
    direct, guided = np.flatnonzero(kinds == DIRECT), np.flatnonzero(kinds == TIMES_GUIDE)
    cumulative = np.cumsum(q)
    cumulative /= cumulative[-1]
    starts = _starts(cumulative)
    n_aggregations, n_raters, n_sizes = len(kinds), len(raters), sizes.shape[1]
    longest = np.zeros(n_raters, np.int64)
    for m in range(n_raters):
        longest[m] = sizes[m].max()
    for draw in range(len(draw_keys)):
        draw_key, rating_key = _mix(draw_keys[draw]), _mix(rating_keys[draw])
        total, total_a = 0.0, 0.0
        sums = np.zeros((n_aggregations, n_raters, 5))
        by_yes = np.zeros((n_raters, most + 1, 2))
        following = np.zeros(n_raters, np.int64)  # size that comes next
        for m in range(n_raters):
            while following[m] < n_sizes and sizes[m, following[m]] == 0:
                found[draw, :, m, following[m], :] = np.nan
                following[m] += 1
        for place in range(longest.max()):
            image = _drawn(cumulative, starts, _uniform(draw_key, place))
            weight = 1.0 / (n * q[image])
            weighted_a = weight * abar[image]
            total += weight
            total_a += weighted_a
            chance = chances[image]
            yes, said = 0, 0
            for m in range(n_raters):
                if place >= longest[m]:
                    continue
                while said < raters[m]:
                    yes += _uniform(rating_key, place * most + said) < chance
                    said += 1
                by_yes[m, yes, 0] += weight
                by_yes[m, yes, 1] += weighted_a
                for method in guided:
                    product = odds[method, image] * tables[method, m, yes]
                    _add(sums[method, m], product / (1.0 + product), weight, weighted_a, place == 0)
                if place + 1 == sizes[m, following[m]]:
                    for method in direct:
                        _gather(by_yes[m], tables[method, m], raters[m], sums[method, m])
                    for method in range(n_aggregations):
                        _estimate(sums[method, m], total, total_a, place + 1, found[draw, method, m, following[m]])
                    following[m] += 1
                    # several budgets may come to the same number of draws
                    while following[m] < n_sizes and sizes[m, following[m]] == place + 1:
                        found[draw, :, m, following[m], :] = found[draw, :, m, following[m] - 1, :]
                        following[m] += 1


@numba.njit(inline="always")
def _add(sums, label, weight, weighted_a, first):
    """Take one more label into the sums."""
    if first:
        sums[_FIRST] = label
    d = label - sums[_FIRST]
    sums[_D] += weight * d
    sums[_D2] += weight * d * d
    sums[_AD] += weighted_a * d
    if d != 0.0:
        sums[_DIFFERS] = 1.0


@numba.njit(inline="always")
def _gather(by_yes, table, most_yes, sums):
    """The sums for labels that depend on the number of yes alone, from sums of w and w a for each number of yes."""
    sums[:] = 0.0
    first = -1
    for yes in range(most_yes + 1):
        if by_yes[yes, 0] > 0.0:
            first = yes if first < 0 else first
            _add(sums, table[yes], by_yes[yes, 0], by_yes[yes, 1], yes == first)


@numba.njit(inline="always", error_model="numpy")
def _estimate(sums, total, total_a, size, out):
    """The three estimates from the sums over the first `size` draws, of weights that add up to `total`."""
    if sums[_DIFFERS] == 0.0:
        out[:] = np.nan
        return
    first, d, d2 = sums[_FIRST], sums[_D], sums[_D2]
    above = first * (total / size - 1.0) + d / size  # mean (Eq. 7) above the first label
    variance = (d2 - 2.0 * above * d + above * above * total) / (size - 1)
    out[PUBLISHED] = (sums[_AD] - above * total_a) / size / np.sqrt(variance)
    above = d / total
    variance = d2 / total - above * above
    covariance = (sums[_AD] - above * total_a) / total
    mean = first + above
    out[SELF_NORMALISED] = covariance / np.sqrt(variance)
    out[SLOPE] = covariance / variance * np.sqrt(mean * (1.0 - mean))


@numba.njit(nogil=True, cache=True)
def all_rated(abar, chances, odds, rating_keys, raters, kinds, tables, found):
    """Fill found (draws, aggregations, raters): correlations (Eq. 1) where every image has as many ratings; NaN as above."""
    direct, guided = np.flatnonzero(kinds == DIRECT), np.flatnonzero(kinds == TIMES_GUIDE)
    n, most, three = len(abar), raters[-1], np.empty(len(ESTIMATORS))
    for draw in range(len(rating_keys)):
        key, total_a = _mix(rating_keys[draw]), abar.sum()
        sums = np.zeros((len(kinds), len(raters), 5))
        by_yes = np.zeros((len(raters), most + 1, 2))
        for image in range(n):
            chance = chances[image]
            yes, said = 0, 0
            for m in range(len(raters)):
                while said < raters[m]:
                    yes += _uniform(key, image * most + said) < chance
                    said += 1
                by_yes[m, yes, 0] += 1.0
                by_yes[m, yes, 1] += abar[image]
                for method in guided:
                    product = odds[method, image] * tables[method, m, yes]
                    _add(sums[method, m], product / (1.0 + product), 1.0, abar[image], image == 0)
        for method in direct:
            for m in range(len(raters)):
                _gather(by_yes[m], tables[method, m], raters[m], sums[method, m])
        for method in range(len(kinds)):
            for m in range(len(raters)):
                _estimate(sums[method, m], np.float64(n), total_a, n, three)
                found[draw, method, m] = three[SELF_NORMALISED]
