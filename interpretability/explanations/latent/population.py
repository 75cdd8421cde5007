"""Pairs side by side: what is known of their rated images, priors of what they share, and a first fit of both (L2, L5).

All pairs stand in the order of their keys, and rated images of a pair in the order of their numbers, so that sums add up alike
whatever order they were given in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from interpretability.explanations.latent import kernels

START = 0.2  # error rates that the first fit starts from
MOST = 0.45  # and the largest that it takes
ROUNDS, INNER = 15, 3  # of the first fit: of everything, and of steps of the coefficients within


class Rated(NamedTuple):
    """Rated images, those of pair u in rows start[u] to start[u + 1] - 1.

    x, lure   covariates, as in `covariates.Covariates`; columns: x, transposed
    kind      (rows,) row of `kinds` (n, yes) that the image's ratings are, of which `counts` says how many images have them
    present, absent  (rows,) scratch: A1 and A0 without the divisor that they share
    """

    start: NDArray[np.int64]
    x: NDArray[np.float64]
    columns: NDArray[np.float64]
    kind: NDArray[np.int64]
    kinds: NDArray[np.int64]
    counts: NDArray[np.int64]
    lure: NDArray[np.float64]
    present: NDArray[np.float64]
    absent: NDArray[np.float64]


class Gold(NamedTuple):
    """Ratings of images whose label is known: label, m ratings, k yes, and how much the image tempts."""

    label: NDArray[np.int64]
    m: NDArray[np.int64]
    k: NDArray[np.int64]
    lure: NDArray[np.float64]


class Priors(NamedTuple):
    """Priors (L5): of b normal; of the population's covariance inverse Wishart; of its tails t; of the raters' errors."""

    b_mean: NDArray[np.float64]
    b_var: NDArray[np.float64]
    scatter: NDArray[np.float64]  # diagonal of the scale of the inverse Wishart
    scatter_df: float
    b_start: NDArray[np.float64]  # where chains start; no part of the prior
    precision_start: NDArray[np.float64]
    t_df: float = 5.0
    tau_df: float = 3.0
    tau_scale: float = 0.01
    spread_mean: float = 0.3
    pull_sd: float = 0.3
    beta_a: float = 0.92
    beta_b: float = 3.08
    most_errors: float = 0.95


class Population(NamedTuple):
    """A first fit: modes of the coefficients (pairs, p), the information of their ratings (pairs, p, p), and what pairs share."""

    theta: NDArray[np.float64]
    information: NDArray[np.float64]
    b: NDArray[np.float64]
    precision: NDArray[np.float64]
    false_yes: float
    false_no: float


def rated_images(
    start: NDArray[np.int64],
    x: NDArray[np.float64],
    n: NDArray[np.int64],
    yes: NDArray[np.int64],
    lure: NDArray[np.float64],
) -> Rated:
    """Rated images from their covariates (rows, p), ratings and lure."""
    kinds, kind, counts = np.unique(np.stack([n, yes], axis=1), axis=0, return_inverse=True, return_counts=True)
    scratch = np.empty((2, len(n)))
    rows = np.ascontiguousarray(x)
    return Rated(start, rows, np.ascontiguousarray(rows.T), kind.ravel(), kinds, counts, lure, scratch[0], scratch[1])


def priors(p: int, q: int, *, floored: bool, guided: bool) -> Priors:
    """Priors of p coefficients and q means b of the population.

    b starts where a calibrated guide has it. Departure: the height of the floor, relative to the level, has a prior of its own,
    N(-3, 4) and a scatter of 0.3: a twentieth of the odds at the level, give or take, where nothing is known.
    """
    mean, variance, scatter, start = np.zeros(q), np.full(q, 25.0), np.full(p, 0.08), np.zeros(q)
    scatter[0] = 0.15
    if guided:
        start[1] = 3.0
    if floored:
        mean[p - 1], variance[p - 1], scatter[p - 1], start[p - 1] = -3.0, 4.0, 0.3, -2.0
    return Priors(mean, variance, scatter * (p + 1), p + 1.0, start, 1.0 / scatter)


def first_fit(
    rated: Rated,
    gold: Gold,
    z: NDArray[np.float64],
    prior: Priors,
    level: NDArray[np.float64],
    *,
    floored: bool,
    rounds: int = ROUNDS,
) -> Population:
    """Fit coefficients, population and error rates in turns (EM with a Laplace approximation), error rates alike for all (D4).

    z (pairs, p, q) makes prior means of coefficients of b.
    """
    units, p, _ = z.shape
    b, precision = prior.b_start.copy(), np.diag(prior.precision_start)
    theta, information = np.einsum("upq,q->up", z, b), np.zeros((units, p, p))
    wrong, q = np.array([START, START]), np.empty(len(rated.kind))
    m, k = rated.kinds[rated.kind].T
    absent = gold.label == 0
    for _ in range(rounds):
        kernels.fill_ratings(rated, 0, len(m), logit(wrong[0]), logit(wrong[1]), 0.0, 0.0, rated.present, rated.absent)
        kernels.modes(rated, z, b, precision, level, floored, theta, INNER, information)
        kernels.posteriors(rated, theta, level, floored, q)
        weight = np.diag(1.0 / prior.b_var) + np.einsum("uia,ij,ujb->ab", z, precision, z)
        b = np.linalg.solve(weight, prior.b_mean / prior.b_var + np.einsum("uia,ij,uj->a", z, precision, theta))
        off = theta - np.einsum("upq,q->up", z, b)
        spread = np.einsum("ui,uj->ij", off, off) + np.linalg.inv(information + precision).sum(axis=0)
        precision = np.linalg.inv((np.diag(prior.scatter) + spread) / (prior.scatter_df + units + p + 1))
        yes = ((1 - q) * k).sum() + gold.k[absent].sum(), ((1 - q) * m).sum() + gold.m[absent].sum()
        no = (q * (m - k)).sum() + (gold.m - gold.k)[~absent].sum(), (q * m).sum() + gold.m[~absent].sum()
        wrong = np.array([(part + prior.beta_a) / (of + prior.beta_a + prior.beta_b) for part, of in (yes, no)])
        wrong = np.minimum(wrong, MOST)
    return Population(theta, information, b, precision, float(wrong[0]), float(wrong[1]))
