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

import numpy as np
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
from interpretability.synthetic.raters import Errors, yes_chances


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
CONSTANT = Errors()  # the published error rate, of every rating
# with one rater who never errs the label is the truth
EXACT, EXACTLY = (Aggregation("average"),), Errors(0.0, 0.0)


@dataclass(frozen=True)
class Plan:
    """What is simulated: each sampler with each aggregation, number of raters and budget, over and over.

    samplers      none of them: every image is rated, and `budgets` do not count
    raters        ratings of an image, ascending
    budgets       ratings of a unit; with m raters budget // m images are drawn, at least 2
    n_draws       times that images are drawn and rated anew
    errors        of the raters, who belong to nobody: each rating by another one
    """

    samplers: tuple[Sampler, ...]
    aggregations: tuple[Aggregation, ...]
    raters: tuple[int, ...] = (3,)
    budgets: tuple[int, ...] = ()
    n_draws: int = 10
    errors: Errors = CONSTANT

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

    absolute, signed, squared, undefined
                       (samplers, aggregations, raters, budgets, estimators, units); NaN where nothing is drawn. Where every
                       image is rated samplers, budgets and estimators have length 1
    rho                (units,) true scores
    n_images, world    of the world: its number of images, its name
    """

    absolute: NDArray[np.float64]
    signed: NDArray[np.float64]
    squared: NDArray[np.float64]
    undefined: NDArray[np.float64]
    rho: NDArray[np.float64]
    n_images: int
    world: str


def deviations(world: World, plan: Plan, seed: int, *, threads: int | None = 1) -> Deviations:
    """Simulate a plan for every unit of a world. A unit's numbers depend on (seed, world, unit) alone.

    threads: as many as this process has cores where it is None; no number depends on it
    """

    def of_unit(unit: int) -> NDArray[np.float64]:
        return _of_unit(world, plan, seed, unit)

    with ThreadPoolExecutor(arguments.threads(threads)) as pool:
        found = np.stack(list(pool.map(of_unit, range(len(world.rho)))), axis=-1)
    return _beside(world, found)


def of_estimates(world: World, estimates: NDArray[np.float64]) -> Deviations:
    """Those of estimates (repeats, units) from elsewhere: one sampler, aggregation, number of raters, budget and estimator."""
    rows = zip(estimates.T, world.rho, strict=True)
    return _beside(
        world, np.stack([_summed(found[:, None, None, None, None, None], float(rho)) for found, rho in rows], -1)
    )


def together(parts: Sequence[Deviations]) -> Deviations:
    """The same plan for several blocks of units."""

    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    first = parts[0]
    return Deviations(
        *(joined("absolute"), joined("signed"), joined("squared"), joined("undefined"), joined("rho")),
        n_images=first.n_images,
        world=first.world,
    )


def _beside(world: World, found: NDArray[np.float64]) -> Deviations:
    """The four numbers (4, ..., units) of a world's units."""
    absolute, signed, squared, undefined = found
    return Deviations(absolute, signed, squared, undefined, world.rho, world.concept.shape[1], world.name)


def keys(world: World, seed: int, unit: int, n_draws: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Keys (draws,) of the images that are drawn for a unit, and of their ratings."""
    named = (seed, world.name, world.seed, world.first_unit + unit)
    draws = np.arange(n_draws, dtype=U64)
    return combine(U64(key64("images drawn", *named)), draws), combine(U64(key64("ratings", *named)), draws)


def _of_unit(world: World, plan: Plan, seed: int, unit: int) -> NDArray[np.float64]:
    """The four numbers of `Deviations` for one unit."""
    abar = standardised(world.activations[unit])
    guide, images = world.guide[unit].astype(np.float64), np.arange(world.concept.shape[1])
    chances = yes_chances(world, np.full(len(images), unit), images, plan.errors)
    kinds = np.array(
        [TIMES_GUIDE if each.name == "bragg_guide" else DIRECT for each in plan.aggregations], dtype=np.int64
    )
    tables = np.zeros((len(plan.aggregations), len(plan.raters), plan.raters[-1] + 1))
    for (a, aggregation), (m, n_raters) in product(enumerate(plan.aggregations), enumerate(plan.raters)):
        tables[a, m, : n_raters + 1] = aggregation.table(n_raters)
    odds = np.stack([aggregation.odds(guide) for aggregation in plan.aggregations])
    raters = np.array(plan.raters, dtype=np.int64)
    draw_keys, rating_keys = keys(world, seed, unit, plan.n_draws)
    if not plan.samplers:
        found = np.empty((plan.n_draws, len(kinds), len(raters)))
        all_rated(abar, chances, odds, rating_keys, raters, kinds, tables, found)
        return _summed(found[:, None, :, :, None, None], float(world.rho[unit]))
    sizes = plan.sizes
    found = np.empty((len(plan.samplers), plan.n_draws, len(kinds), *sizes.shape, len(ESTIMATORS)))
    for number, each in enumerate(plan.samplers):
        q = proposal(each.kind, world.activations[unit], guide, gamma=each.gamma, alpha=each.alpha)
        sampled(abar, chances, odds, q, draw_keys, rating_keys, raters, sizes, kinds, tables, found[number])
    summed = _summed(found.swapaxes(0, 1), float(world.rho[unit]))
    return np.where(sizes[..., None] > 0, summed, np.nan)


def _summed(found: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Mean absolute, signed and squared deviation, and the share that is undefined, over the first axis."""
    undefined = np.isnan(found)
    away = np.where(undefined, 0.0, found) - rho
    return np.stack([np.abs(away).mean(axis=0), away.mean(axis=0), (away**2).mean(axis=0), undefined.mean(axis=0)])
