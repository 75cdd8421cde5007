"""Error rates of each rater, from their ratings alone: each is compared with what all others together say.

The model of Dawid and Skene (1979) for two classes: an image shows the concept or not; a rater says yes to an image without it
with a probability of their own, and no to one with it. Labels of images and rates of raters are found in turn (EM), beginning
with the average of the ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability import arguments
from interpretability.explanations.aggregation import checked_ratings, priors_of

# Wrong and right answers that every rater starts with, of either kind: those of a Beta distribution of mean 0.23 that weighs as
# much as four ratings, so that a rater with few ratings is taken for a common one.
COMMON = 0.92, 3.08
MOST_ROUNDS = 1000
_SETTLED = 1e-10
_FLOOR = 1e-12  # keeps rates of exactly 0 and 1 within the logarithm


@dataclass(frozen=True)
class RaterErrors:
    """Rates by rater, labels by image.

    rates       a row a rater, sorted: rater, n, n_present and n_absent (expected numbers), false_yes, false_no
    labels      a row a (text, image), sorted: text, image, n, yes, posterior
    prevalence  share of images that show their concept, NaN where priors were given
    rounds      of EM; settled: whether the last one changed the log likelihood by less than 1e-10 of it
    """

    rates: pd.DataFrame
    labels: pd.DataFrame
    prevalence: float
    rounds: int
    settled: bool


@dataclass(frozen=True)
class _Coded:
    """Ratings by number: which rater, which pair of text and image, and what was said."""

    rater: NDArray[np.int64]
    pair: NDArray[np.int64]
    said: NDArray[np.float64]
    raters: pd.Index
    pairs: pd.Index


def fit_rater_errors(
    ratings: pd.DataFrame,
    *,
    prior: float | Mapping[tuple[str, int], float] | None = None,
    common: tuple[float, float] = COMMON,
) -> RaterErrors:
    """Error rates of raters and labels of images by EM; identified where images have three raters or more, roughly.

    ratings   rater, text, image, rating, one row a rating
    prior     of the presence, 0 to 1, for all or by (text, image); left out, one prevalence of all images is fitted too
    common    wrong and right answers that every rater starts with; (0, 0) is plain maximum likelihood

    A rater whose false_yes and false_no add up to more than 1 answers the wrong way round. Raters who err on the same images look
    better than they are: labels are then what raters think together, which need not be the truth.
    """
    coded = _coded(checked_ratings(ratings))
    wrong, right = (arguments.number(value, "common", least=0) for value in common)
    fixed = None if prior is None else priors_of(prior, coded.pairs)
    n = np.bincount(coded.pair).astype(np.float64)
    posterior = np.bincount(coded.pair, coded.said) / n
    before, rounds, settled = -np.inf, 0, False
    share = float("nan")
    rates = np.empty((2, len(coded.raters)))
    while rounds < MOST_ROUNDS and not settled:
        rounds += 1
        rates = _rates(coded, posterior, wrong, right)
        if fixed is None:
            share = float(posterior.mean())
        posterior, likelihood = _labels(coded, rates, np.full(len(n), share) if fixed is None else fixed)
        settled = abs(likelihood - before) <= _SETTLED * abs(likelihood)
        before = likelihood
    return RaterErrors(
        _rates_table(coded, posterior, rates), _labels_table(coded, n, posterior), share, rounds, settled
    )


def _coded(table: pd.DataFrame) -> _Coded:
    # one order, so that sums have the same bits whatever order the table has
    ordered = table.sort_values(["text", "image", "rater"], kind="stable")
    groups = ordered.groupby(["text", "image"], sort=True, observed=True)
    rater, raters = pd.factorize(ordered["rater"], sort=True)
    return _Coded(
        rater.astype(np.int64),
        np.asarray(groups.ngroup(), np.int64),
        ordered["rating"].to_numpy(np.float64),
        pd.Index(raters),
        groups.size().index,
    )


def _rates(coded: _Coded, posterior: NDArray[np.float64], wrong: float, right: float) -> NDArray[np.float64]:
    """false_yes and false_no of each rater, given labels; NaN where a rater saw no such image and nothing is common."""
    q = posterior[coded.pair]
    counts = len(coded.raters)
    invented, absent = np.bincount(coded.rater, (1 - q) * coded.said, counts), np.bincount(coded.rater, 1 - q, counts)
    missed, present = np.bincount(coded.rater, q * (1 - coded.said), counts), np.bincount(coded.rater, q, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([(invented + wrong) / (absent + wrong + right), (missed + wrong) / (present + wrong + right)])


def _labels(coded: _Coded, rates: NDArray[np.float64], prior: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Posteriors of the images given rates, and the log likelihood of all ratings."""
    # a rater who saw no image of one kind has no rate there, and there is no vote that it would enter
    fy, fn = np.clip(np.nan_to_num(rates, nan=0.5), _FLOOR, 1 - _FLOOR)[:, coded.rater]
    here = np.bincount(coded.pair, np.where(coded.said == 1, np.log1p(-fn), np.log(fn)))
    not_here = np.bincount(coded.pair, np.where(coded.said == 1, np.log(fy), np.log1p(-fy)))
    with np.errstate(divide="ignore"):
        first, second = np.log(prior) + here, np.log1p(-prior) + not_here
    return expit(first - second), float(np.logaddexp(first, second).sum())


def _rates_table(coded: _Coded, posterior: NDArray[np.float64], rates: NDArray[np.float64]) -> pd.DataFrame:
    q = posterior[coded.pair]
    return pd.DataFrame(
        {
            "rater": coded.raters,
            "n": np.bincount(coded.rater),
            "n_present": np.bincount(coded.rater, q),
            "n_absent": np.bincount(coded.rater, 1 - q),
            "false_yes": rates[0],
            "false_no": rates[1],
        }
    )


def _labels_table(coded: _Coded, n: NDArray[np.float64], posterior: NDArray[np.float64]) -> pd.DataFrame:
    labels = coded.pairs.to_frame(index=False)
    yes = np.bincount(coded.pair, coded.said)
    return labels.assign(n=n.astype(np.int64), yes=yes.astype(np.int64), posterior=posterior)
