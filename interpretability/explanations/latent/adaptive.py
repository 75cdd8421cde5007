"""Asking in waves: which rated images to ask about once more, given what was said so far (D3, D4).

The likelihood of the model does not depend on why an image was asked about, so waves need no correction afterwards. They give
narrower intervals than one wave of the same size, and are more easily misled where the form of the model is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from interpretability import arguments
from interpretability.explanations.correlation import standardised
from interpretability.explanations.latent import kernels
from interpretability.explanations.latent.design import drawn_images
from interpretability.explanations.latent.given import GoldImages, RatedPairs, pair_keys
from interpretability.explanations.latent.population import first_fit
from interpretability.explanations.latent.study import prepare, prior_means

FIRST, WAVE = 2, 8  # the first wave takes a half of the budget, each of four others an eighth
MOST_RATINGS = 5  # of one image


def utility(posterior: ArrayLike, abar: ArrayLike, false_yes: float, false_no: float) -> NDArray[np.float64]:
    """What one more rating of an image is worth: (abar^2 + 1/4) (Q (1 - Q))^2 / (r (1 - r)) (D3: J), the higher the more.

    posterior Q that it shows the concept; r, the chance that the next rating is a yes. About the expected drop of the variance of
    its label, by how much the label weighs in the score.

    >>> float(utility(0.5, 1.0, 0.23, 0.23))
    0.3125
    """
    q, a = np.asarray(posterior, np.float64), np.asarray(abar, np.float64)
    yes = false_yes + (1.0 - false_yes - false_no) * q
    return (a**2 + 0.25) * (q * (1.0 - q)) ** 2 / (yes * (1.0 - yes))


def first_wave(
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None,
    budget: int,
    keys: NDArray[np.uint64] | Sequence[object],
) -> list[NDArray[np.int64]]:
    """Images of each pair (pairs, n) to ask one rating of each, half of `budget` a pair, drawn where the guide is unsure."""
    size = arguments.count(budget, "budget", least=WAVE) // FIRST
    return drawn_images(activations, guide, size, pair_keys(keys, len(activations)), unsure=1.0)


def next_wave(
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None,
    ratings: RatedPairs,
    size: int,
    *,
    gold: GoldImages | None = None,
    keys: NDArray[np.uint64] | Sequence[object] = (),
    most: int = MOST_RATINGS,
) -> list[NDArray[np.int64]]:
    """For each pair the `size` rated images, ascending, of which one more rating is worth most, of those with fewer than `most`.

    Posteriors come from the first fit of the model, with one false-yes and one false-no rate for all (D4); it chooses and is
    reported nowhere. Nobody may be asked the same twice. Departure: the fit has the floor of the full model, too.
    """
    arguments.count(size, "size")
    study = prepare(activations, guide, ratings, gold, keys)
    z, prior = prior_means(study)
    rated, level, floored = study.rated, study.level, study.floored
    fit = first_fit(rated, study.gold, z, prior, level, floored=floored)
    posterior = np.empty(len(study.image))
    kernels.fill_ratings(
        rated, 0, len(posterior), logit(fit.false_yes), logit(fit.false_no), 0.0, 0.0, rated.present, rated.absent
    )
    kernels.posteriors(rated, fit.theta, level, floored, posterior)
    n, chosen = rated.kinds[rated.kind, 0], [np.zeros(0, np.int64)] * len(study.keys)
    for place, row in enumerate(study.order):
        rows = slice(rated.start[place], rated.start[place + 1])
        abar = standardised(activations[row])[study.images(place)]
        worth = utility(posterior[rows], abar, fit.false_yes, fit.false_no)
        worth[n[rows] >= most] = -1.0
        best = np.argsort(-worth, kind="stable")[:size]
        chosen[row] = np.sort(study.images(place)[best[worth[best] >= 0]])
    return chosen
