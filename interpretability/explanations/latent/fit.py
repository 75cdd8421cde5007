"""Scores of pairs from ratings and a guide, in one call: see the package for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from interpretability import arguments
from interpretability.explanations.correlation import correlations
from interpretability.explanations.latent.estimating import Estimated, estimate
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.explanations.latent.posterior import Effort
from interpretability.explanations.latent.scoring import QUANTILE
from interpretability.explanations.latent.self_check import SelfCheck, check, statuses
from interpretability.explanations.latent.study import Study, prepare

# A chain takes this many steps of rated images, within bounds: fewer ratings leave more of a posterior to walk through.
STEPS, FEWEST_EVERY, MOST_EVERY = 10_000_000, 6, 10


@dataclass(frozen=True)
class LatentFit:
    """Scores and all that goes with them; pairs as given.

    rho, se, low, high  (pairs,) score, its standard error, and rho -+ 2.3 se, an interval of 95 %; NaN where undefined
    reason      (pairs,) why a score is undefined, empty where it is not
    status      (pairs,) "calibrated under the model", or "not calibrated: " and why
    rhat        (pairs,) rank-normalised split R-hat of the score: near 1 where the halves of all chains agree
    guide_only  (pairs,) correlation of activation and guide over all images: what costs no rating; NaN without a guide
    draws       (draws, pairs) scores of all draws; those of one draw share the raters, so that differences of pairs may be taken
    posterior   (rows,) probability that each rated image shows the concept, in the order of the ratings given
    raters      mean and standard deviation of false_yes, false_no (typical concept), spread (of error rates over images, as
                1 / (a + b) of a Beta distribution), own_yes and own_no (standard deviations over concepts, in logits) and pull
                (how much images that the guide prefers tempt to a false yes)
    check       figures of the self-check
    """

    rho: NDArray[np.float64]
    se: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    reason: NDArray[np.str_]
    status: NDArray[np.str_]
    rhat: NDArray[np.float64]
    guide_only: NDArray[np.float64]
    draws: NDArray[np.float64]
    posterior: NDArray[np.float64]
    raters: dict[str, tuple[float, float]]
    check: SelfCheck


def latent_scores(
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None,
    ratings: RatedPairs,
    *,
    gold: GoldImages | None = None,
    seed: int,
    keys: NDArray[np.uint64] | Sequence[object] = (),
    groups: Sequence[object] = (),
    n_bootstrap: int = 0,
    effort: Effort | None = None,
) -> LatentFit:
    """Score each pair (a unit and a text) from activations, a guide and ratings of some images.

    activations  (pairs, n) of the pair's unit on all images
    guide        (pairs, n) probabilities from a machine that an image shows the pair's concept, calibrated or not, or None
    ratings      of some images of each pair; several of an image tell how raters err
    gold         ratings of images whose label is known
    seed, keys   what is random is drawn for each pair from its key and the seed; keys (pairs,) are 64-bit, texts or tuples of
                 ids. Pairs, ratings and gold in any other order give the same bytes, if keys are given
    groups       (pairs,) names of groups whose means are to be compared, such as the method that wrote the text: each has prior
                 means of its own around those of all. Without groups the mean score of some pairs that are unlike the others is
                 drawn to theirs, by more than its draws say. Departure: the paper has no model that pools
    n_bootstrap  copies of the study to simulate and fit again, each at the cost of the fit. At least 200 pairs of copies are
                 needed before any interval is called calibrated
    effort       length of the chains; by itself shorter for more ratings

    All pairs of one study belong into one call: their raters are the same, and what is learned of the guide is shared. Raises
    InputError for arrays and ratings that do not fit together, and constant units.
    """
    copies = arguments.count(n_bootstrap, "n_bootstrap", least=0)
    study = prepare(activations, guide, ratings, gold, keys, groups)
    effort = effort or usual_effort(len(study.image))
    fit = estimate(study, seed, effort)
    found = check(study, fit, seed=seed, effort=effort, copies=copies)
    back = np.argsort(study.order, kind="stable")
    defined = fit.reason == ""
    rho, se = np.where(defined, fit.mean, np.nan), np.where(defined, fit.se, np.nan)
    posterior = np.empty(len(study.rows))
    posterior[study.rows] = fit.posterior
    return LatentFit(
        rho=rho[back],
        se=se[back],
        low=(rho - QUANTILE * se)[back],
        high=(rho + QUANTILE * se)[back],
        reason=fit.reason[back],
        status=statuses(study, fit, found)[back],
        rhat=fit.rhat[back],
        guide_only=_guide_only(study),
        draws=fit.rho[:, back],
        posterior=posterior,
        raters=_raters(fit),
        check=found,
    )


def usual_effort(n_rated: int) -> Effort:
    """How long chains run for so many rated images."""
    sweeps = STEPS // max(n_rated, 1)
    return Effort(every=int(np.clip((sweeps - Effort.burn) // Effort.kept, FEWEST_EVERY, MOST_EVERY)))


def _guide_only(study: Study) -> NDArray[np.float64]:
    if study.guide is None:
        return np.full(len(study.keys), np.nan)
    rows = zip(study.activations, study.guide, strict=True)
    return np.array([correlations(a[None], g[None])[0, 0] for a, g in rows])


def _raters(fit: Estimated) -> dict[str, tuple[float, float]]:
    flat = fit.flat
    columns = {
        "false_yes": expit(flat.errors[:, 0]),
        "false_no": expit(flat.errors[:, 1]),
        "spread": flat.errors[:, 2],
        "own_yes": flat.tau[:, 0],
        "own_no": flat.tau[:, 1],
        "pull": flat.errors[:, 3],
    }
    return {name: (float(values.mean()), float(values.std(ddof=1))) for name, values in columns.items()}
