"""The score of a text from a few drawn images: the paper's estimate, its self-normalised form, and how far estimates are off.

Crowd paper, section 3.1.1. The last axis of all arrays is that of the draws; others (units, repeats) are estimated each by
itself. Labels come from `aggregation`, weights and draws from `sampling`, activations are standardised over all images of D and
taken at the drawn ones. An image that was drawn twice enters twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interpretability import arguments
from interpretability.statistics import ROUNDING

# Labels count as equal up to rounding: posteriors may add the same votes in another order.
ALIKE, ONE_DRAW, UNKNOWN = "all labels are equal", "fewer than two draws", "a label is not known"


@dataclass(frozen=True)
class Estimate:
    """Estimates of the shape of the arrays without their last axis.

    rho     of the score; not confined to [-1, 1]. NaN where it is undefined
    mean    of the presence over D; that of Eq. 7 may be above 1
    sd      of the presence over D
    reason  why rho is undefined, empty where it is not: one label in all images tells nothing about a correlation
    """

    rho: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    reason: NDArray[np.str_]


def importance(labels: ArrayLike, weights: ArrayLike, activations: ArrayLike) -> Estimate:
    """The published estimate (Eq. 7 to 9): every sum over draws is divided by their number, that of the variance by one less.

    labels (..., S) between 0 and 1, weights 1 / (n q) above 0, activations standardised over D; they broadcast.
    """
    c, w, a = _three(labels, weights, activations)
    n = c.shape[-1]
    mean = np.sum(w * c, axis=-1) / n
    centred = c - mean[..., None]
    variance = np.sum(w * centred**2, axis=-1) / max(n - 1, 1)
    return _estimate(c, mean, variance, np.sum(w * a * centred, axis=-1) / n)


def self_normalised(labels: ArrayLike, weights: ArrayLike, activations: ArrayLike) -> Estimate:
    """The estimate with every sum over draws divided by the sum of the weights, so that the mean lies within the labels.

    No more exact than the published one in simulations, and likewise without an interval.
    """
    c, w, a = _three(labels, weights, activations)
    total = np.sum(w, axis=-1)
    mean = np.sum(w * c, axis=-1) / total
    centred = c - mean[..., None]
    variance = np.sum(w * centred**2, axis=-1) / total
    return _estimate(c, mean, variance, np.sum(w * a * centred, axis=-1) / total)


def delta_se(
    labels: ArrayLike, weights: ArrayLike, activations: ArrayLike, *, normalised: bool = False
) -> NDArray[np.float64]:
    """Standard errors of `importance`, or of `self_normalised`, for labels without errors: delta method, from the drawn images.

    The estimate is off by the mean over draws of z = w (a c - rho c^2 / 2), c standardised, from which rho / 2 is taken within
    the bracket if self-normalised. Right for many draws; for some hundred drawn images intervals of 1.96 of these cover 84 to
    90 %, and with errors of raters 10 to 84 %: no interval is made of them. NaN where the estimate is.
    """
    c, w, a = _three(labels, weights, activations)
    found = (self_normalised if normalised else importance)(c, w, a)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = (c - found.mean[..., None]) / found.sd[..., None]
        rho = found.rho[..., None]
        influence = w * (a * standard - rho / 2 * standard**2 - (rho / 2 if normalised else 0.0))
        n = c.shape[-1]
        squares = np.sum((influence - np.mean(influence, axis=-1, keepdims=True)) ** 2, axis=-1)
        return np.where(found.reason == "", np.sqrt(squares / max(n - 1, 1) / n), np.nan)[()]


def effective_draws(weights: ArrayLike) -> NDArray[np.float64]:
    """How many draws of equal weight tell as much about a mean: (sum w)^2 / sum w^2, along the last axis."""
    w = np.asarray(weights, np.float64)
    return np.sum(w, axis=-1) ** 2 / np.sum(w**2, axis=-1)


def relative_error(estimates: ArrayLike, truth: ArrayLike) -> float:
    """Relative correlation error (Eq. 12) of estimates (..., units) of true scores (units,): 0 is exact, 1 that of guessing 0.

    The sum over units of the mean absolute error over all other axes, over the sum of the absolute true scores. An undefined
    estimate (NaN) counts as 0; `undefined_share` says how many there are.
    """
    found, true = _beside(estimates, truth)
    error = np.abs(np.where(np.isnan(found), 0.0, found) - true).reshape(-1, len(true)).mean(axis=0)
    if not (total := np.abs(true).sum()) > 0:
        raise arguments.wrong("truth", "holds no score other than 0; an error relative to them has no meaning")
    return float(error.sum() / total)


def undefined_share(estimates: ArrayLike) -> float:
    """Share of the estimates that are undefined."""
    return float(np.isnan(np.asarray(estimates, np.float64)).mean())


def _beside(estimates: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found, true = np.asarray(estimates, np.float64), arguments.array(truth, "truth", ("units",)).astype(np.float64)
    arguments.finite(true, "truth")
    if found.ndim == 0 or found.shape[-1] != len(true) or not found.size:
        raise arguments.wrong(
            "estimates",
            "has shape {shape}; its last axis must be the {units} units of truth",
            shape=found.shape,
            units=len(true),
        )
    return found, true


def _three(
    labels: ArrayLike, weights: ArrayLike, activations: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    c, w, a = np.broadcast_arrays(
        np.asarray(labels, np.float64), np.asarray(weights, np.float64), np.asarray(activations, np.float64)
    )
    if c.ndim == 0 or not c.size:
        raise arguments.wrong("labels", "has shape {shape}; it needs an axis of draws", shape=c.shape)
    if ((c < 0) | (c > 1)).any():
        raise arguments.wrong("labels", "holds values outside of 0 to 1")
    if not ((w > 0) & np.isfinite(w)).all():
        raise arguments.wrong("weights", "holds values that are not finite numbers above 0")
    arguments.finite(a.reshape(-1, a.shape[-1]), "activations")
    return c, w, a


def _estimate(
    labels: NDArray[np.float64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    product: NDArray[np.float64],
) -> Estimate:
    """Estimates, undefined where the labels say nothing: with unequal weights Eq. 9 would give a number even then."""
    unknown = np.isnan(labels).any(axis=-1)
    highest = np.max(labels, axis=-1)
    alike = highest - np.min(labels, axis=-1) <= ROUNDING * highest
    reason = np.where(unknown, UNKNOWN, np.where(alike, ALIKE, ""))
    if labels.shape[-1] < 2:
        reason = np.full_like(reason, ONE_DRAW, dtype=f"<U{len(ONE_DRAW)}")
    defined = reason == ""
    sd = np.sqrt(variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.where(defined, product / np.where(defined, sd, 1.0), np.nan)
    return Estimate(rho[()], mean[()], sd[()], reason[()])
