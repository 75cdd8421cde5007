"""Is a machine's probability of a concept one? Fits that make it so on gold labels, and a check of priors against ratings.

Draws need no calibrated guide, priors and intervals do (crowd paper, section 3.2, which describes no calibration). Without gold a
guide stays "not calibrated".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit, xlog1py, xlogy

from interpretability import arguments
from interpretability.explanations.aggregation import error_rates
from interpretability.explanations.sampling import probabilities

PLATT, ISOTONIC = "platt", "isotonic"
METHODS = (PLATT, ISOTONIC)
# Probabilities of a guide are kept away from 0 and 1 by this before their log odds are taken.
CLIP = 1e-6
# Gold labels of either kind below which a fit is marked as one of few.
FEW = 30
# Calibrated probabilities are at least this far from 0 and 1, where the sigmoid itself would round to them.
_INSIDE = 1e-12
_ROUNDS, _SETTLED = 100, 1e-12


@dataclass(frozen=True)
class Calibration:
    """A rising map from what a guide says to probabilities, fitted on gold labels; `apply` uses it.

    method      platt: expit(intercept + slope x); isotonic: steps between the knots, linear from one to the next
    of          "probability": x are log odds of the guide's probabilities; "score": x are its scores, such as cosines
    n_present, n_absent   gold labels behind it; few: whether there are fewer than FEW of one kind
    loss_before, loss_after   mean log loss per label, of the guide itself (NaN for scores) and of the fit, on the same labels
    """

    method: str
    of: str
    intercept: float
    slope: float
    knots: tuple[float, ...]
    values: tuple[float, ...]
    n_present: int
    n_absent: int
    few: bool
    loss_before: float
    loss_after: float

    def apply(self, values: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of presence, of the shape of the guide's values; never 0 or 1."""
        x = _scale(values, self.of)
        found = (
            expit(self.intercept + self.slope * x) if self.method == PLATT else np.interp(x, self.knots, self.values)
        )
        return np.clip(found, _INSIDE, 1 - _INSIDE)


def fit_calibration(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    method: str = PLATT,
    of: str = "probability",
    weights: ArrayLike | None = None,
) -> Calibration:
    """Calibration of a guide on gold: its `values` (m,) for images whose `labels` (m,), 0 or 1, are known.

    of        probability (0 to 1) or score (any finite numbers; the sigmoid of CLIP's cosines is fitted so)
    weights   1 / probability that an image became gold, up to a factor; all alike by default. Gold of as many present as absent
              images, without weights, would teach that half of all images show the concept

    platt is a logistic regression whose labels are pulled inside by one count of either kind (Platt 1999), so that labels which
    are separated have a fit. isotonic is the best rising step function, kept 1 / (2 m + 2) away from 0 and 1; it needs hundreds
    of labels. Raises InputError where one kind of label is missing, and where a Platt slope would not rise.
    """
    arguments.choice(method, "method", METHODS)
    x = _scale(values, arguments.choice(of, "of", ("probability", "score")))
    y, w = (
        np.asarray(labels, np.float64),
        np.ones(np.shape(labels)) if weights is None else np.asarray(weights, np.float64),
    )
    if x.ndim != 1 or x.shape != y.shape or x.shape != w.shape:
        raise arguments.wrong(
            "labels",
            "has shape {own}, values {shape} and weights {others}; all must be (m,)",
            own=y.shape,
            shape=x.shape,
            others=w.shape,
        )
    if not ((y == 0) | (y == 1)).all():
        raise arguments.wrong("labels", "holds other values than 0 and 1")
    if not (np.isfinite(w) & (w > 0)).all():
        raise arguments.wrong("weights", "holds values that are not finite numbers above 0")
    present, absent = int((y == 1).sum()), int((y == 0).sum())
    if not (present and absent):
        raise arguments.wrong("labels", "holds no image {kind} the concept", kind="without" if present else "with")
    w = w * (len(w) / w.sum())
    intercept, slope, knots, heights = np.nan, np.nan, (), ()
    if method == PLATT:
        intercept, slope = _platt(x, y, w)
    else:
        knots, heights = _isotonic(x, y, w)
    before = _loss(expit(x), y, w) if of == "probability" else np.nan
    fitted = Calibration(
        method, of, intercept, slope, knots, heights, present, absent, min(present, absent) < FEW, before, np.nan
    )
    after = _loss(fitted.apply(values), y, w)
    return replace(fitted, loss_after=after)


def _scale(values: ArrayLike, of: str) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    if of == "probability":
        return logit(np.clip(probabilities(numbers, "values"), CLIP, 1 - CLIP))
    if not np.isfinite(numbers).all():
        raise arguments.wrong("values", "holds numbers that are not finite")
    return numbers


def _platt(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope by Newton's method on standardised x, halving steps that do not better the likelihood."""
    with np.errstate(over="ignore"):  # told below
        middle, spread = float(np.average(x, weights=w)), float(np.std(x))
    if x.min() == x.max():
        raise arguments.wrong("values", "holds one number alone")
    if not (np.isfinite(spread) and spread > 0):
        raise arguments.wrong("values", "holds numbers whose squares are beyond double precision")
    scaled = (x - middle) / spread
    positive = float((w * y).sum())
    # Platt's targets: one more count of either kind
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (len(y) - positive + 2))
    theta = np.array([logit(float(np.average(target, weights=w))), 0.0])

    def likelihood(point: NDArray[np.float64]) -> float:
        z = point[0] + point[1] * scaled
        return float((w * (target * z - np.logaddexp(0, z))).sum())

    for _ in range(_ROUNDS):
        p = expit(theta[0] + theta[1] * scaled)
        step = _newton(scaled, w * (target - p), w * p * (1 - p))
        while likelihood(theta + step) < likelihood(theta) and np.abs(step).max() > _SETTLED:
            step /= 2
        theta += step
        if np.abs(step).max() <= _SETTLED:
            break
    slope = float(theta[1] / spread)
    if slope <= 0:
        raise arguments.wrong(
            "values",
            "falls or stays where the concept is present (slope {slope:.3g}); such a guide cannot be calibrated",
            slope=slope,
        )
    return float(theta[0] - slope * middle), slope


def _newton(
    x: NDArray[np.float64], residual: NDArray[np.float64], curvature: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Step of intercept and slope: the inverse of a matrix of two rows, written out."""
    first, second = residual.sum(), (residual * x).sum()
    a, b, d = curvature.sum(), (curvature * x).sum(), (curvature * x**2).sum()
    return np.array([d * first - b * second, a * second - b * first]) / (a * d - b * b)


def _isotonic(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ends of the steps and their heights."""
    knots, place = np.unique(x, return_inverse=True)
    weight = np.bincount(place, w)
    steps = isotonic_regression(np.bincount(place, w * y) / weight, weights=weight)
    heights = np.clip(steps.x, 0.5 / (len(x) + 1), 1 - 0.5 / (len(x) + 1))
    blocks = np.asarray(steps.blocks)
    ends = np.unique(np.concatenate([blocks[:-1], blocks[1:] - 1]))
    return tuple(knots[ends].tolist()), tuple(heights[ends].tolist())


def _loss(p: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    return float(np.average(-xlogy(y, p) - xlog1py(1 - y, -p), weights=w))


@dataclass(frozen=True)
class PriorCheck:
    """The share of yes that a prior expects of the ratings, beside that which came. z beyond +-3 speaks against prior or rates.

    expected, observed   weighted over the draws, so both are of all images; se: of their difference
    prior_mean           weighted mean of the prior
    """

    prior_mean: float
    expected: float
    observed: float
    se: float
    z: float


def prior_check(
    prior: ArrayLike,
    yes: ArrayLike,
    n: ArrayLike,
    weights: ArrayLike,
    *,
    eta: float | None = None,
    false_yes: float | None = None,
    false_no: float | None = None,
) -> PriorCheck:
    """Does a prior fit the ratings? For drawn images (S,): their prior, `yes` of n ratings, and weights 1 / (n q).

    A prior p expects a share of p (1 - false_no) + (1 - p) false_yes; eta, false_yes, false_no as for `aggregation.bragg`.
    """
    wrong_yes, wrong_no = (float(rate) for rate in error_rates(eta, false_yes, false_no))
    p, k = probabilities(np.asarray(prior), "prior"), np.asarray(yes, np.float64)
    m, w = np.asarray(n, np.float64), np.asarray(weights, np.float64)
    if not (p.ndim == 1 and p.shape == k.shape == m.shape == w.shape and len(p) > 1):
        raise arguments.wrong(
            "prior", "has shape {shape}; it, yes, n and weights must be (S,), S at least 2", shape=p.shape
        )
    if not ((m > 0) & (k >= 0) & (k <= m)).all():
        raise arguments.wrong("yes", "is not between 0 and n, or n is 0")
    if not (np.isfinite(w) & (w > 0)).all():
        raise arguments.wrong("weights", "holds values that are not finite numbers above 0")
    says_yes = p * (1 - wrong_no) + (1 - p) * wrong_yes
    total = w.sum()
    expected, observed = float((w * says_yes).sum() / total), float((w * k / m).sum() / total)
    residual = w * (k / m - says_yes - (observed - expected))
    se = float(np.sqrt((residual**2).sum()) / total)
    z = (observed - expected) / se if se > 0 else float("nan")
    return PriorCheck(float((w * p).sum() / total), expected, observed, se, z)
