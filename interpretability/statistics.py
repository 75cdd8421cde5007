"""Correlations, their intervals, and intervals of means."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

MIN_POINTS = 3
# Networks (or layers, or units of one network) below which a correlation over them is not given: these are points to look at.
FEWEST_CORRELATED = 5
# Values per block of resamples: bounds the memory of one bootstrap.
BLOCK_VALUES = 1 << 21
ROUNDING = 1e-12


def pearson(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Pearson correlation along the last axis; NaN below three points or where one side is constant."""
    x, y = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    if x.shape[-1] < MIN_POINTS:
        return np.full(x.shape[:-1], np.nan)[()]
    constant = (np.ptp(x, axis=-1) == 0) | (np.ptp(y, axis=-1) == 0)
    x = x - x.mean(axis=-1, keepdims=True)
    y = y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (x * y).sum(axis=-1) / scale
    return np.clip(np.where(constant, np.nan, value), -1.0, 1.0)[()]


def spearman(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Spearman correlation along the last axis (mean ranks for ties); NaN as for `pearson`."""
    from scipy import stats  # where it is needed: it takes longest to load

    return pearson(stats.rankdata(np.asarray(first), axis=-1), stats.rankdata(np.asarray(second), axis=-1))


def group_means(values: NDArray[np.floating], group: NDArray[np.integer]) -> NDArray[np.float64]:
    """Means (..., groups) of values (..., points) over the points of each group 0, 1, ..., added in one order everywhere."""
    values = np.asarray(values, np.float64)
    parts = (np.ascontiguousarray(values[..., group == index]) for index in range(int(group.max()) + 1))
    return np.stack([part.mean(axis=-1) for part in parts], axis=-1)


def fisher_interval(value: float, spread: float, quantile: float) -> tuple[float, float]:
    """Interval of a correlation: symmetric around it in Fisher's z with the given standard error of z."""
    if not (np.isfinite(value) and np.isfinite(spread)):
        return float("nan"), float("nan")
    z = fisher_z(value)
    return float(np.tanh(z - quantile * spread)), float(np.tanh(z + quantile * spread))


def correlation_intervals(
    rho: NDArray[np.float64], se: NDArray[np.float64], freedom: NDArray[np.float64], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of intervals of correlations with standard errors of their own: symmetric in Fisher's z, with quantiles of t.

    se, freedom   of rho itself, not of z, and its degrees of freedom, above 0. At -1 and 1 the error is that of rounding, and
                  the interval is the point. NaN where rho or se is
    """
    from scipy import stats

    with np.errstate(invalid="ignore", divide="ignore"):
        error_of_z = np.where((np.abs(rho) >= 1 - ROUNDING) & ~np.isnan(se), 0.0, se / (1 - rho**2))
    spread = error_of_z * stats.t.ppf((1 + confidence) / 2, freedom)
    z = fisher_z(rho)
    return np.tanh(z - spread), np.tanh(z + spread)


def fisher_z(value: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Fisher's z; a correlation of exactly 1 is moved inside by rounding, so that z stays finite."""
    return np.arctanh(np.clip(value, -1 + ROUNDING, 1 - ROUNDING))


def percentile_interval(values: NDArray[np.floating], confidence: float) -> tuple[float, float]:
    """Central interval of the finite values; NaN where there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def in_blocks(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


# Units below which a mean gets no interval: that of two scores easily spans more than the whole scale.
FEWEST = 4


def mean_interval(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the interval of means of n values with standard deviation sd (ddof 1); NaN for n < FEWEST."""
    from scipy import stats

    count = np.asarray(n, dtype=np.float64)
    enough = np.maximum(count, FEWEST)
    reach = stats.t.ppf((1 + confidence) / 2, enough - 1) * np.asarray(sd, np.float64) / np.sqrt(enough)
    reach = np.where(count >= FEWEST, reach, np.nan)
    middle = np.asarray(mean, np.float64)
    return middle - reach, middle + reach


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p values (pairs,) adjusted over all that are there by Holm's rule; NaN stays."""
    values = np.asarray(p, np.float64)
    there = np.flatnonzero(np.isfinite(values))
    order = there[np.argsort(values[there], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


# Scores below which their mean gets no interval of `share_interval`: shares of ten answers are often alike in four units.
FEWEST_SCORES = 5


def share_interval(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the interval of means of n scores between 0 and 1, in (0, 1): the t interval of log(mean / (1 - mean)).

    sd is the standard deviation of the scores (ddof 1). A t interval of the mean covers too seldom where few scores crowd near
    one end, as those of easy units do. NaN for n < FEWEST_SCORES, and where all scores are alike.
    """
    middle, spread = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
    middle = np.where((spread > 0) & (np.asarray(n) >= FEWEST_SCORES), middle, np.nan)
    low, high = mean_interval(np.log(middle / (1 - middle)), spread / (middle * (1 - middle)), n, confidence)
    return expit(low), expit(high)


def binomial_interval(
    right: ArrayLike, n: ArrayLike, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of Wilson's score interval (1927) of shares right / n of independent answers, in [0, 1]; NaN where n is 0."""
    from scipy import stats

    shares, count = np.asarray(right, np.float64), np.asarray(n, np.float64)
    count = np.where(count > 0, count, np.nan)
    z = stats.norm.ppf((1 + confidence) / 2)
    share, more = shares / count, z * z / count
    half = z * np.sqrt(share * (1 - share) / count + more / (4 * count))
    middle = share + more / 2
    return np.maximum((middle - half) / (1 + more), 0.0), np.minimum((middle + half) / (1 + more), 1.0)
