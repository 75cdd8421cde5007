"""What the model knows of every image of a pair before anybody is asked: the logit of the guide, and the activation (L1).

The score itself is computed with the activation as it is; covariates may be others, so that the log odds of presence are as
linear in them as can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from interpretability.explanations.correlation import standardised
from interpretability.explanations.sampling import probabilities

CLIP = 1e-6  # probabilities of the guide are kept this far from 0 and 1
SCALE = 3.0  # logits of the guide over this are of the size of standardised activations
LURE = (-1.0, 2.0)  # bounds of what tempts raters, in the same unit
# Share of images at a unit's lowest value from which on it is silent there, as behind a rectifier: what silence says of the
# concept then is a coefficient of its own. A lowest value that is met by chance is met once.
SILENT = 0.05

# Skewness of the bulk, (q90 + q10 - 2 q50) / (q90 - q10), from which on the logarithm of an activation is a covariate, too. A
# concept that a fifth of the images show makes it about .15 though its log odds are linear in the activation; exp(normal): .57.
LOPSIDED = 0.25


class Terms(NamedTuple):
    """Which covariates a study has beside guide and activation, because any of its units needs them."""

    silent: bool
    lopsided: bool


def clipped(guide: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of the guide, kept away from 0 and 1. Raises InputError for values outside of [0, 1]."""
    return np.clip(probabilities(guide, "guide"), CLIP, 1.0 - CLIP)


def silence(abar: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which images (n,) leave the unit at its lowest value, all False where fewer than SILENT of them do."""
    lowest = abar == abar.min()
    return lowest if lowest.mean() >= SILENT else np.zeros(len(abar), bool)


def logarithm(abar: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(a - min a + s), standardised (n,), where the bulk of a unit is lopsided and it is not silent; all 0 for other units.

    s makes the tenth, fiftieth and ninetieth percentiles symmetric: images that show a concept are few, and if the others are
    normal on some scale, log odds of presence are rather linear in that scale.
    """
    above = abar - abar.min()
    low, middle, high = np.quantile(above, [0.1, 0.5, 0.9])
    if silence(abar).any() or not high + low - 2.0 * middle > LOPSIDED * (high - low):
        return np.zeros(len(abar))
    offset = (middle**2 - high * low) / (high + low - 2.0 * middle)
    return standardised(np.log(above + max(offset, 1e-3 * (high - low))))


def terms_of(activations: NDArray[np.floating]) -> Terms:
    """What the units of pairs (pairs, n) need."""
    rows = [standardised(row) for row in activations]
    return Terms(any(silence(row).any() for row in rows), any(logarithm(row).any() for row in rows))


@dataclass(frozen=True)
class Covariates:
    """Of the images (n,) of one pair.

    x      (n, p): 1; logit of the guide / SCALE; standardised activation; 1 where the unit is silent, if the study has that term;
           the `logarithm`, if it has that; a column of 0 in the place of the floor's height, which is no covariate. Without a
           guide neither logit nor floor
    abar   (n,) standardised activations
    lure   (n,) how much an image tempts raters to a false yes: its logit above the level, / SCALE, inside LURE
    level  logit of the mean of the guide
    """

    x: NDArray[np.float64]
    abar: NDArray[np.float64]
    lure: NDArray[np.float64]
    level: float


def covariates(activations: NDArray[np.floating], guide: NDArray[np.floating] | None, terms: Terms) -> Covariates:
    """Covariates of one pair from its activations (n,) and guide (n,)."""
    abar = standardised(activations)
    more = [silence(abar).astype(np.float64)] if terms.silent else []
    more += [logarithm(abar)] if terms.lopsided else []
    ones = np.ones(len(abar))
    if guide is None:
        return Covariates(np.stack([ones, abar, *more], axis=1), abar, np.zeros(len(abar)), 0.0)
    g = clipped(guide)
    logits, level = logit(g), float(logit(g.mean()))
    x = np.stack([ones, logits / SCALE, abar, *more, np.zeros(len(abar))], axis=1)
    return Covariates(x, abar, np.clip((logits - level) / SCALE, *LURE), level)


def independent_slope(abar: NDArray[np.float64], presence: NDArray[np.float64]) -> float:
    """What the coefficient of the activation would be if the guide's errors were independent of the unit (L2: z_u).

    presence (n,): probabilities from the guide alone. From the difference of the mean activations of images that show the concept
    and those that do not, and the variance that it leaves within either, as for two normal distributions.
    """
    mu = float(presence.mean())
    sd = np.sqrt(mu * (1.0 - mu))
    difference = float(np.mean(abar * (presence - mu))) / (float(presence.var()) + 1.0 / len(abar))
    difference = float(np.clip(difference * sd, -0.95, 0.95)) / sd
    return float(np.clip(difference / (1.0 - (difference * sd) ** 2), -6.0, 6.0))


def presence(theta: NDArray[np.float64], x: NDArray[np.float64], level: float, *, floored: bool) -> NDArray[np.float64]:
    """Probabilities (n,) that images with covariates x (n, p) show the concept (L2), for coefficients theta (p,).

    floored: log odds = theta[0] + log(exp(theta[1] x[1]) + exp(theta[-1] + level)) + the other terms. Departure: the hinge of the
    model's first form, linear in the logit on either side of the level, became a floor: a guide that does not see some of the
    positives leaves the odds at a constant where its own part falls below it.
    """
    if not floored:
        return expit(x @ theta)
    rest = theta[0] + x[:, 2:-1] @ theta[2:-1]
    return expit(rest + np.logaddexp(theta[1] * x[:, 1], theta[-1] + level))
