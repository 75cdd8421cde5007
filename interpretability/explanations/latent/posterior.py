"""Draws from the posterior of the latent model: chains, and whether they agree (L6)."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm, rankdata

from interpretability import arguments
from interpretability.explanations.latent import chains
from interpretability.explanations.latent.population import Gold, Population, Priors, Rated
from interpretability.randomness import generator


@dataclass(frozen=True)
class Effort:
    """How long chains run: `chains` of them, `burn` sweeps to tune and forget, then `kept` draws, `every`-th sweep each."""

    chains: int = 2
    burn: int = 500
    kept: int = 80
    every: int = 6


class Kept(NamedTuple):
    """Draws (draws, ...): coefficients theta (pairs, p); own deviations of the pairs' error rates (pairs, 2), in logits; errors
    (4,): logit false yes, logit false no, spread, pull; tau (2,); b (q,) and diagonal of the precision of the population."""

    theta: NDArray[np.float64]
    own: NDArray[np.float64]
    errors: NDArray[np.float64]
    tau: NDArray[np.float64]
    b: NDArray[np.float64]
    precision: NDArray[np.float64]


class _OwnNoise(NamedTuple):
    """Random numbers of each pair and sweep: standard normal, logarithms of uniform, and gamma ones."""

    normals: NDArray[np.float64]
    chances: NDArray[np.float64]
    gammas: NDArray[np.float64]


class _StudyNoise(NamedTuple):
    """Random numbers of each sweep; chi: roots of chi-squared ones."""

    normals: NDArray[np.float64]
    chances: NDArray[np.float64]
    gammas: NDArray[np.float64]
    chi: NDArray[np.float64]


def draws(
    rated: Rated,
    gold: Gold,
    z: NDArray[np.float64],
    prior: Priors,
    level: NDArray[np.float64],
    start: Population,
    *,
    floored: bool,
    keys: NDArray[np.uint64],
    seed: int,
    effort: Effort,
) -> Kept:
    """Draws of all chains, (chains, draws, ...). Those of a pair depend on its key, not on its place among the pairs.

    Chains start around the first fit, with the spread that the fit gives to the coefficients.
    """
    prior = prior._replace(b_start=start.b, precision_start=np.diag(start.precision).copy())
    units, p, q = z.shape
    length = effort.burn + effort.every * effort.kept
    # without a guide nothing tempts, and the pull of what tempts is left out
    free = np.array([1.0, 1.0, 1.0, 1.0 if rated.lure.any() else 0.0])

    def run(chain: int) -> Kept:
        own = [generator(seed, "latent chain", chain, int(key)) for key in keys]
        study = generator(seed, "latent chain", chain)
        theta, errors = _starts(start, own, study)
        kept = Kept(*(np.empty((effort.kept, *shape)) for shape in ((units, p), (units, 2), (4,), (2,), (q,), (p,))))
        scratch = {name: np.empty_like(getattr(rated, name)) for name in ("present", "absent")}
        chains.run(
            rated._replace(**scratch),
            gold,
            prior,
            z,
            level,
            floored,
            theta,
            start.information,
            errors,
            free,
            _own_noise(own, length, p, prior),
            _study_noise(study, length, units, p, q, prior),
            effort.burn,
            effort.every,
            kept,
        )
        return kept

    # compiled code lets other threads run; each chain has its own random numbers and scratch
    with ThreadPoolExecutor(min(effort.chains, arguments.threads(None))) as pool:
        found = list(pool.map(run, range(effort.chains)))
    return Kept(*(np.stack(parts) for parts in zip(*found, strict=True)))


def _starts(
    start: Population, own: Iterable[np.random.Generator], study: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theta = start.theta.copy()
    for place, draw in enumerate(own):
        spread = np.linalg.cholesky(np.linalg.inv(start.information[place] + start.precision))
        theta[place] += (spread * draw.standard_normal(theta.shape[1])).sum(axis=1)
    errors = np.array([logit(start.false_yes), logit(start.false_no), 0.02, 0.0])
    errors[:2] += 0.2 * study.standard_normal(2)
    errors[2] += 0.1 * study.random()
    return theta, errors


def _own_noise(own: list[np.random.Generator], length: int, p: int, prior: Priors) -> _OwnNoise:
    normals = np.stack([draw.standard_normal((length, p + 2)) for draw in own])
    chances = np.stack([-draw.standard_exponential((length, 2)) for draw in own])
    return _OwnNoise(normals, chances, np.stack([draw.standard_gamma((prior.t_df + p) / 2, length) for draw in own]))


def _study_noise(study: np.random.Generator, length: int, units: int, p: int, q: int, prior: Priors) -> _StudyNoise:
    normals = study.standard_normal((length, 2 * q + 7 + p * (p - 1) // 2))
    gammas = study.standard_gamma((prior.tau_df + units) / 2, (length, 2))
    chi = np.sqrt(2.0 * study.standard_gamma((prior.scatter_df + units - np.arange(p)) / 2, (length, p)))
    return _StudyNoise(normals, -study.standard_exponential((length, 5)), gammas, chi)


def split_rhat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank-normalised R-hat (...) of draws (chains, draws, ...), each chain cut in two halves (Vehtari et al. 2021).

    Near 1 where the halves agree; 1 for draws that are all alike. It compares 2 * chains sequences.
    """
    half = values.shape[1] // 2
    parts = np.concatenate([values[:, :half], values[:, -half:]])
    ranks = rankdata(parts.reshape(-1, *values.shape[2:]), axis=0)
    scores = norm.ppf((ranks - 0.375) / (len(ranks) + 0.25)).reshape(parts.shape)
    within = scores.var(axis=1, ddof=1).mean(axis=0)
    between = scores.mean(axis=1).var(axis=0, ddof=1)
    safe = np.where(within > 0, within, 1.0)
    return np.where(within > 0, np.sqrt((half - 1) / half + between / safe), 1.0)
