"""From a study to draws of its scores: first fit, chains, scores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.latent import kernels
from interpretability.explanations.latent.population import first_fit
from interpretability.explanations.latent.posterior import Effort, Kept, draws, split_rhat
from interpretability.explanations.latent.scoring import QUANTILE, PairDraws, rho_draws, undefined
from interpretability.explanations.latent.study import Study, prior_means
from interpretability.randomness import generator


@dataclass(frozen=True)
class Estimated:
    """Draws and what they say, pairs in the order of keys.

    kept       draws of the model (chains, draws, ...)
    rho        (draws of all chains, pairs) scores
    rhat       (pairs,) whether chains agree on the score, see `split_rhat`; errors_rhat (6,): on what `Kept` calls errors and tau
    posterior  (rated,) mean probability that each rated image shows the concept
    reason     (pairs,) why a pair has no score, empty where it has one
    """

    kept: Kept
    rho: NDArray[np.float64]
    rhat: NDArray[np.float64]
    errors_rhat: NDArray[np.float64]
    posterior: NDArray[np.float64]
    reason: NDArray[np.str_]

    @property
    def flat(self) -> Kept:
        """Draws of all chains in one axis."""
        return Kept(*(part.reshape(-1, *part.shape[2:]) for part in self.kept))

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.rho.mean(axis=0)

    @property
    def se(self) -> NDArray[np.float64]:
        return self.rho.std(axis=0, ddof=1)

    def covers(self, truth: NDArray[np.float64], quantile: float = QUANTILE) -> NDArray[np.bool_]:
        """Whether the interval of each pair holds its true score (pairs,)."""
        return np.abs(self.mean - truth) <= quantile * self.se


def estimate(study: Study, seed: int, effort: Effort) -> Estimated:
    """Fit the model to a study and score its pairs (L1 to I1)."""
    z, prior = prior_means(study)
    start = first_fit(study.rated, study.gold, z, prior, study.level, floored=study.floored)
    kept = draws(
        study.rated,
        study.gold,
        z,
        prior,
        study.level,
        start,
        floored=study.floored,
        keys=study.keys,
        seed=seed,
        effort=effort,
    )
    flat = Kept(*(part.reshape(-1, *part.shape[2:]) for part in kept))

    def score(place: int) -> PairDraws:
        first, last = study.rated.start[place], study.rated.start[place + 1]
        present, absent = np.empty((2, len(flat.theta), last - first))
        own = np.ascontiguousarray(flat.own[:, place])
        kernels.ratings_of(study.rated, first, last, flat.errors, own, present, absent)
        noise = generator(seed, "labels of images", int(study.keys[place])).standard_normal((len(flat.theta), 2))
        theta = np.ascontiguousarray(flat.theta[:, place])
        return rho_draws(theta, study.of(place), study.images(place), present, absent, noise, floored=study.floored)

    with ThreadPoolExecutor(arguments.threads(None)) as pool:
        pairs = list(pool.map(score, range(len(study.keys))))
    rho = np.stack([of.rho for of in pairs], axis=1)
    errors = np.concatenate([kept.errors, kept.tau], axis=2)
    return Estimated(
        kept,
        rho,
        split_rhat(rho.reshape(*kept.theta.shape[:3])),
        split_rhat(errors),
        np.concatenate([of.posterior for of in pairs]),
        np.array([undefined(of) for of in pairs], np.str_),
    )
