"""Scores of pairs over all images, from draws of the posterior (I1, I2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interpretability.explanations.latent import kernels
from interpretability.explanations.latent.covariates import Covariates

QUANTILE = 2.3  # standard errors of an interval of 95 %: more than 1.96, for what the model leaves out
FEWEST_POSITIVE = 1  # rated images that probably show the concept, below which a score has no ground in ratings
RARE_SHARE = 0.05  # share of draws that may see the concept in less than one image
NO_POSITIVE = "no rated image probably shows the concept"
TOO_RARE = "the concept may be in none of the images"


class PairDraws(NamedTuple):
    """Of one pair: scores of all draws, the mean posterior of each rated image, and the share of draws that find less than one
    image with the concept."""

    rho: NDArray[np.float64]
    posterior: NDArray[np.float64]
    nearly_absent: float


def rho_draws(
    theta: NDArray[np.float64],
    of: Covariates,
    rated: NDArray[np.int64],
    present: NDArray[np.float64],
    absent: NDArray[np.float64],
    noise: NDArray[np.float64],
    *,
    floored: bool,
) -> PairDraws:
    """Scores (draws,) of a pair with coefficients theta (draws, p) (I1).

    rated            numbers of the rated images
    present, absent  (draws, rated) likelihoods A1 and A0 of their ratings, up to a factor that both share
    noise            (draws, 2) standard normal numbers for the labels of the images: the concept of an image is 0 or 1, not P

    Prevalences are kept between one image and all but one.
    """
    n = len(of.abar)
    sums = np.empty((len(theta), 5))
    kernels.moments(theta, np.ascontiguousarray(of.x.T), of.abar, floored, of.level, sums)
    odds = np.empty((len(theta), len(rated)))
    kernels.odds_of(theta, of.x[rated], floored, of.level, odds)
    before, after, a = 1.0 / (1.0 + odds), present / (present + odds * absent), of.abar[rated]
    change, spread = after - before, after * (1.0 - after) - before * (1.0 - before)
    parts = (change, a * change, spread, a * spread, a * a * spread)
    s0, s1, s2, s3, s4 = (total + part.sum(axis=1) for total, part in zip(sums.T, parts, strict=True))
    root = np.sqrt(np.maximum(s2, 0.0))
    lean = np.divide(s3, root, out=np.zeros(len(root)), where=root > 0)
    mu = (s0 + root * noise[:, 0]) / n
    t = (s1 + lean * noise[:, 0] + np.sqrt(np.maximum(s4 - lean**2, 0.0)) * noise[:, 1]) / n
    mu = np.clip(mu, 1.0 / n, 1.0 - 1.0 / n)
    return PairDraws(t / np.sqrt(mu * (1.0 - mu)), after.mean(axis=0), float((s0 < 1.0).mean()))


def undefined(of: PairDraws) -> str:
    """Why a pair has no score, empty where it has one.

    Departure: with five rated images whose posterior is above 1/2, as was proposed, a tenth to a half of the pairs of rare
    concepts would have no score at 60 images, though their intervals cover as others do; one is asked for.
    """
    if of.nearly_absent > RARE_SHARE:
        return TOO_RARE
    return NO_POSITIVE if int((of.posterior > 0.5).sum()) < FEWEST_POSITIVE else ""
