"""The paper's simulations: how far estimates of few ratings lie from the truth (Oikarinen et al. 2025, sections 3.1.2, 3.2.1, 4).

What is compared is the relative correlation error of Eq. 12, a ratio of sums over units. An undefined estimate (all labels equal)
counts as 0, and the share of them stands beside. In words of the tables:

    sampling      exact labels, few images (Fig. 2a, 6, 8)
    aggregation   every image rated, raters who err (Fig. 2b)
    setting_1     few images and raters who err (Fig. 3a)

Departure: numbers of images and of raters share the beginnings of their lists of draws and ratings, see `experiment_kernels`; and
an image drawn twice is rated anew, so that a budget counts all draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln

from interpretability import arguments
from interpretability.explanations.aggregation import (
    BETA,
    CLIP,
    ETA,
    average,
    bragg,
    bragg_beta,
    guide_prior,
    majority,
)
from interpretability.explanations.correlation import standardised
from interpretability.explanations.experiment_kernels import DIRECT, ESTIMATORS, TIMES_GUIDE, all_rated, sampled
from interpretability.explanations.sampling import ALPHA, GAMMA, SAMPLERS, proposal
from interpretability.randomness import U64, combine, key64
from interpretability.synthetic.crowd_worlds import World


@dataclass(frozen=True)
class Sampler:
    """How images are drawn: uniform, mg_is (Eq. 6) or ag_is (Eq. 17)."""

    kind: str
    gamma: float = GAMMA
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        arguments.choice(self.kind, "kind", SAMPLERS)


@dataclass(frozen=True)
class Aggregation:
    """What the ratings of an image add up to.

    kind    average, majority or bragg (Eq. 13)
    prior   of bragg: uniform (beta for every image) or guide (its probability, `clip` away from 0 and 1)
    eta     assumed error rate of raters; `errors` (a, b) instead: Beta errors, integrated out (appendix B.4)
    """

    kind: str
    prior: str = "uniform"
    beta: float = BETA
    eta: float = ETA
    errors: tuple[float, float] | None = None
    clip: float = CLIP

    def __post_init__(self) -> None:
        arguments.choice(self.kind, "kind", ("average", "majority", "bragg"))
        arguments.choice(self.prior, "prior", ("uniform", "guide"))

    @property
    def name(self) -> str:
        """average, majority, bragg_uniform or bragg_guide."""
        return f"bragg_{self.prior}" if self.kind == "bragg" else self.kind

    def table(self, n_raters: int) -> NDArray[np.float64]:
        """Labels for 0 to n_raters yes; for the prior of the guide what its odds are multiplied by."""
        yes = np.arange(n_raters + 1)
        if self.kind != "bragg":
            return (average if self.kind == "average" else majority)(yes, n_raters)
        if self.prior == "guide":
            return self._likelihood_ratios(yes, n_raters)
        if self.errors is not None:
            return bragg_beta(yes, n_raters, self.beta, *self.errors)
        return bragg(yes, n_raters, self.beta, eta=self.eta)

    def _likelihood_ratios(self, yes: NDArray[np.integer], n: int) -> NDArray[np.float64]:
        if self.errors is None:
            return np.power((1.0 - self.eta) / self.eta, (2 * yes - n).astype(np.float64))
        a, b = self.errors
        return np.exp(betaln(a + n - yes, b + yes) - betaln(a + yes, b + n - yes))

    def odds(self, guide: NDArray[np.floating]) -> NDArray[np.float64]:
        """Prior odds from the guide's probabilities."""
        prior = guide_prior(guide, self.clip)
        return prior / (1.0 - prior)


PUBLISHED_SAMPLERS = (Sampler("uniform"), Sampler("ag_is"), Sampler("mg_is"))
PUBLISHED_AGGREGATIONS = (
    Aggregation("average"),
    Aggregation("majority"),
    Aggregation("bragg"),
    Aggregation("bragg", "guide"),
)
EXACT = (Aggregation("average"),)  # with one rater who never errs: the label is the truth


@dataclass(frozen=True)
class Plan:
    """What is simulated: each sampler with each aggregation, number of raters and budget, over and over.

    samplers      none of them: every image is rated, and `budgets` do not count
    raters        ratings of an image, ascending
    budgets       ratings of a unit; with m raters budget // m images are drawn, at least 2
    n_draws       times that images are drawn and rated anew
    false_yes     chance of a yes where the concept is not shown; false_no: of a no where it is
    """

    samplers: tuple[Sampler, ...]
    aggregations: tuple[Aggregation, ...]
    raters: tuple[int, ...] = (3,)
    budgets: tuple[int, ...] = ()
    n_draws: int = 10
    false_yes: float = ETA
    false_no: float = ETA

    def __post_init__(self) -> None:
        arguments.count(self.n_draws, "n_draws")
        for name in ("raters", "budgets"):
            values = getattr(self, name)
            for value in values:
                arguments.count(value, name)
            if list(values) != sorted(set(values)):
                raise arguments.wrong(name, "is {values}; it must ascend", values=values)
        if not (self.aggregations and self.raters) or bool(self.samplers) != bool(self.budgets):
            raise arguments.wrong("plan", "needs aggregations, raters, and both or none of samplers and budgets")

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(raters, budgets) images drawn; 0 where a budget does not pay for two."""
        sizes = np.array([[budget // m for budget in self.budgets] for m in self.raters], dtype=np.int64)
        return np.where(sizes >= 2, sizes, 0)


@dataclass(frozen=True)
class Deviations:
    """How far estimates lie from the truth, mean over draws, an undefined estimate counting as 0.

    absolute, signed, undefined  (samplers, aggregations, raters, budgets, estimators, units); NaN where nothing is drawn.
                                 Where every image is rated samplers, budgets and estimators have length 1
    rho                          (units,) true scores
    n_images, world              of the world: its number of images, its name
    """

    absolute: NDArray[np.float64]
    signed: NDArray[np.float64]
    undefined: NDArray[np.float64]
    rho: NDArray[np.float64]
    n_images: int
    world: str


def deviations(world: World, plan: Plan, seed: int, *, threads: int = 1) -> Deviations:
    """Simulate a plan for every unit of a world. A unit's numbers depend on (seed, world, unit) alone."""

    def of_unit(unit: int) -> NDArray[np.float64]:
        return _of_unit(world, plan, seed, unit)

    with ThreadPoolExecutor(arguments.threads(threads)) as pool:
        found = np.stack(list(pool.map(of_unit, range(len(world.rho)))), axis=-1)
    return Deviations(found[0], found[1], found[2], world.rho, world.concept.shape[1], world.name)


def together(parts: Sequence[Deviations]) -> Deviations:
    """The same plan for several blocks of units."""

    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    return Deviations(
        joined("absolute"), joined("signed"), joined("undefined"), joined("rho"), parts[0].n_images, parts[0].world
    )


def keys(world: World, seed: int, unit: int, n_draws: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Keys (draws,) of the images that are drawn for a unit, and of their ratings."""
    named = (seed, world.name, world.seed, world.first_unit + unit)
    draws = np.arange(n_draws, dtype=U64)
    return combine(U64(key64("images drawn", *named)), draws), combine(U64(key64("ratings", *named)), draws)


def _of_unit(world: World, plan: Plan, seed: int, unit: int) -> NDArray[np.float64]:
    """The three numbers of `Deviations` for one unit."""
    abar = standardised(world.activations[unit])
    shows, guide = world.concept[unit], world.guide[unit].astype(np.float64)
    kinds = np.array(
        [TIMES_GUIDE if each.name == "bragg_guide" else DIRECT for each in plan.aggregations], dtype=np.int64
    )
    tables = np.zeros((len(plan.aggregations), len(plan.raters), plan.raters[-1] + 1))
    for (a, aggregation), (m, n_raters) in product(enumerate(plan.aggregations), enumerate(plan.raters)):
        tables[a, m, : n_raters + 1] = aggregation.table(n_raters)
    odds = np.stack([aggregation.odds(guide) for aggregation in plan.aggregations])
    raters = np.array(plan.raters, dtype=np.int64)
    draw_keys, rating_keys = keys(world, seed, unit, plan.n_draws)
    rates = (plan.false_yes, plan.false_no)
    if not plan.samplers:
        found = np.empty((plan.n_draws, len(kinds), len(raters)))
        all_rated(abar, shows, odds, rating_keys, raters, *rates, kinds, tables, found)
        return _summed(found[:, None, :, :, None, None], float(world.rho[unit]))
    sizes = plan.sizes
    found = np.empty((len(plan.samplers), plan.n_draws, len(kinds), *sizes.shape, len(ESTIMATORS)))
    for number, each in enumerate(plan.samplers):
        q = proposal(each.kind, world.activations[unit], guide, gamma=each.gamma, alpha=each.alpha)
        sampled(abar, shows, odds, q, draw_keys, rating_keys, raters, sizes, *rates, kinds, tables, found[number])
    summed = _summed(found.swapaxes(0, 1), float(world.rho[unit]))
    return np.where(sizes[..., None] > 0, summed, np.nan)


def _summed(found: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Mean absolute and signed deviation, and the share that is undefined, over the first axis."""
    undefined = np.isnan(found)
    away = np.where(undefined, 0.0, found) - rho
    return np.stack([np.abs(away).mean(axis=0), away.mean(axis=0), undefined.mean(axis=0)])


def rce(absolute: NDArray[np.float64], rho: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RCE (Eq. 12) and its standard error over units, from mean absolute deviations (..., units).

    The error is that of a ratio of means (delta method): other units from the same population, with the draws as they are.
    """
    size, n = np.abs(rho), len(rho)
    ratio = absolute.sum(axis=-1) / size.sum()
    rest = absolute - ratio[..., None] * size
    spread = np.sqrt((rest**2).sum(axis=-1) * n / max(n - 1, 1))
    return ratio, np.where(n > 1, spread / size.sum(), np.nan)


def curves(found: Deviations, plan: Plan, part: str, *, estimators: Sequence[str] = ("published",)) -> pd.DataFrame:
    """One row for each sampler, aggregation, number of raters, budget and estimator.

    Columns: world, part, method, sampler, gamma, alpha, aggregation, estimator, beta, eta (true error rate, the mean of both
    kinds), eta_assumed, budget, raters, images, ratings (images times raters), rce, rce_se, bias (sum of signed deviations, as a
    share of the sum of absolute scores), undefined_share, n_units, n_draws. `method` is sampler+aggregation, with the estimator
    where that is not the published one.
    """
    ratio, spread = rce(found.absolute, found.rho)
    bias = found.signed.sum(axis=-1) / np.abs(found.rho).sum()
    undefined = found.undefined.mean(axis=-1)
    everything = not plan.samplers
    sizes = plan.sizes
    samplers: Sequence[Sampler | None] = plan.samplers or (None,)
    named = ("published",) if everything else ESTIMATORS
    rows: list[dict[str, Any]] = []
    for place in np.ndindex(ratio.shape):
        s, a, m, b, e = place
        if named[e] not in estimators or not np.isfinite(ratio[place]):
            continue
        sampler, aggregation, n_raters = samplers[s], plan.aggregations[a], plan.raters[m]
        exact = plan.false_yes == plan.false_no == 0
        images = found.n_images if everything else int(sizes[m, b])
        label = "exact" if exact else aggregation.name
        method = f"{sampler.kind if sampler else 'all'}+{label}"
        rows.append(
            {
                "world": found.world,
                "part": part,
                "method": method if named[e] == "published" else f"{method}+{named[e]}",
                "sampler": sampler.kind if sampler else "all",
                "gamma": sampler.gamma if sampler and sampler.kind != "uniform" else np.nan,
                "alpha": sampler.alpha if sampler and sampler.kind == "ag_is" else np.nan,
                "aggregation": label,
                "estimator": named[e],
                "beta": aggregation.beta if aggregation.name == "bragg_uniform" else np.nan,
                "eta": (plan.false_yes + plan.false_no) / 2,
                "eta_assumed": aggregation.eta if aggregation.kind == "bragg" else np.nan,
                "budget": images * n_raters if everything else plan.budgets[b],
                "raters": n_raters,
                "images": images,
                "ratings": images * n_raters,
                "rce": ratio[place],
                "rce_se": spread[place],
                "bias": bias[place],
                "undefined_share": undefined[place],
                "n_units": len(found.rho),
                "n_draws": plan.n_draws,
            }
        )
    return pd.DataFrame(rows)
