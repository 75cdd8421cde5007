"""How far a score agrees with people who said which of two units is the clearer one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import expit, logit

from interpretability import arguments

BIN_WIDTH, N_BINS = 0.1, 9  # of the differences of a score, 0 to 0.9
FEWEST_UNITS = 5  # in pairs, below which there is no interval
_LARGEST = 1.0  # difference above which a score is on another scale than from 0 to 1, and has no bins


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of a score with judged pairs.

    n_pairs        pairs with a score of both units; n_units: units in them; n_ties: pairs whose two scores are equal
    share          share of pairs whose larger score is that of the unit that people chose; at equal scores the second unit counts
                   as the larger (Pach et al., 2025, appendix C), which hangs on the order of a pair
    low, high      interval of `share`
    share_half_ties   the same, equal scores counted as half right
    mean_over_bins    mean share over the filled ones of nine bins of the difference of scores, 0 to 0.9: what agreement would be
                   if all differences were as frequent. NaN where a difference is above 1, as for scores on another scale
    n_bins         filled bins, 0 where there is no mean over them
    """

    n_pairs: int
    n_units: int
    n_ties: int
    share: float
    low: float
    high: float
    share_half_ties: float
    mean_over_bins: float
    n_bins: int


def judged_pairs(
    units: ArrayLike, scores: ArrayLike, first_chosen: ArrayLike, *, confidence: float = 0.95
) -> PairAgreement:
    """Agreement of a score with people who chose one unit of each pair (Pach et al., arXiv 2504.02821v3, appendices C and D).

    units         (pairs, 2) names or numbers of the two units of each pair
    scores        (pairs, 2) their scores; a pair with NaN takes no part
    first_chosen  (pairs,) whether people chose the first one

    The interval is that of the units, since one unit is in several pairs: each unit is left out in turn, and what a pair counts
    twice, once for each of its units, is taken off (Aronow, Samii and Assenova, 2015). It is symmetric in log(share / (1 -
    share)), by the t distribution of the number of units.

    Departure: the paper gives no interval. One by drawing units with replacement, a pair as often as both its units, would be
    1.2 to 1.7 times as wide: it counts the noise of single pairs three times.

    Raises InputError for shapes that do not fit, a pair of a unit with itself, infinite scores, and a confidence outside (0, 1).

    >>> from interpretability import judged_pairs
    >>> pairs = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"]]
    >>> judged_pairs(pairs, [[2, 1], [1, 3], [3, 0], [0, 2]], [True, False, True, True]).share
    0.75
    """
    given = arguments.array(scores, "scores", ("pairs", "2"), empty=True)
    names = np.asarray(units)
    chosen = np.asarray(first_chosen)
    if given.shape[1] != 2:
        raise arguments.wrong("scores", "has shape {shape}; it must be (pairs, 2)", shape=given.shape)
    if names.shape != given.shape:
        raise arguments.wrong("units", "has shape {shape}; it must be {wanted}", shape=names.shape, wanted=given.shape)
    if chosen.dtype != np.bool_ or chosen.shape != (len(given),):
        raise arguments.wrong(
            "first_chosen",
            "has shape {shape} and values of type {kind}; it must be ({pairs},) bool",
            shape=chosen.shape,
            kind=chosen.dtype,
            pairs=len(given),
        )
    if np.isinf(given).any():
        raise arguments.wrong("scores", "holds an infinite value; all must be finite, or NaN where there is no score")
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    codes = pd.factorize(names.ravel())[0].reshape(names.shape)
    if (codes[:, 0] == codes[:, 1]).any():
        row = int(np.argmax(codes[:, 0] == codes[:, 1]))
        raise arguments.wrong("units", "holds a pair of {unit} with itself, in row {row}", unit=names[row, 0], row=row)
    there = ~np.isnan(given).any(axis=1)
    return _agreement(codes[there], np.asarray(given[there], np.float64), chosen[there], confidence)


def _agreement(
    codes: NDArray[np.int64], scores: NDArray[np.float64], chosen: NDArray[np.bool_], confidence: float
) -> PairAgreement:
    difference = scores[:, 0] - scores[:, 1]
    right = ((difference > 0) == chosen).astype(np.float64)
    tied = difference == 0
    n_units = len(np.unique(codes))
    nothing = float("nan")
    share = float(right.mean()) if len(right) else nothing
    low, high = _interval(right, codes, n_units, confidence)
    mean, n_bins = _over_bins(np.abs(difference), right)
    return PairAgreement(
        n_pairs=len(right),
        n_units=n_units,
        n_ties=int(tied.sum()),
        share=share,
        low=low,
        high=high,
        share_half_ties=float(np.where(tied, 0.5, right).mean()) if len(right) else nothing,
        mean_over_bins=mean,
        n_bins=n_bins,
    )


def _interval(
    right: NDArray[np.float64], codes: NDArray[np.int64], n_units: int, confidence: float
) -> tuple[float, float]:
    """Interval of a share over pairs of units; NaN for few units, and where all pairs are right or all wrong."""
    share = right.mean() if len(right) else 0.0
    if n_units < FEWEST_UNITS or not 0 < share < 1:
        return float("nan"), float("nan")
    rest = right - share
    pairs = float(rest @ rest)
    of_units = np.bincount(codes.ravel(), np.repeat(rest, 2))
    # the correction may leave less than independent pairs would have, where pairs of a unit disagree by chance
    variance = max(float(of_units @ of_units) - pairs, pairs) / len(right) ** 2
    reach = stats.t.ppf((1 + confidence) / 2, n_units - 1) * np.sqrt(variance) / (share * (1 - share))
    low, high = expit(logit(share) + np.array([-reach, reach]))
    return float(low), float(high)


def _over_bins(difference: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, int]:
    """Mean over bins of the share that is right, and how many bins are filled; pairs above the last bin are in none."""
    if not len(right) or difference.max() > _LARGEST:
        return float("nan"), 0
    # the edges are the decimals themselves: 0.3 belongs to the bin that begins there, whatever 3 * 0.1 is
    edges = np.array([round(place * BIN_WIDTH, 1) for place in range(N_BINS + 1)])
    place = np.searchsorted(edges, difference, side="right") - 1
    means = [right[place == each].mean() for each in range(N_BINS) if (place == each).any()]
    return (float(np.mean(means)), len(means)) if means else (float("nan"), 0)
