"""The crowd paper's simulations with the parameters of the study, and the latent model beside them: curves, fronts, costs.

Everything is simulated; no data of the study is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations import experiments, fronts
from interpretability.explanations.experiment_curves import curves, single
from interpretability.explanations.experiments import (
    EXACT,
    EXACTLY,
    PUBLISHED_AGGREGATIONS,
    PUBLISHED_SAMPLERS,
    Aggregation,
    Plan,
    Sampler,
)
from interpretability.explanations.simulated_studies import Asked, simulated_study
from interpretability.synthetic.crowd_settings import SETTINGS
from interpretability.synthetic.crowd_worlds import World, crowd_world
from interpretability.synthetic.raters import ERRORS, Errors
from study.log import Progress, logger
from study.params.crowd_simulation import CrowdSimulation

log = logger("crowd_simulation")

ASKED = 3  # ratings of an image where their number does not vary: the paper's large study
MOST_VARIED = 2_000  # largest budget at which gamma, alpha, beta and eta are varied
MOST_EXACT = 6_000  # most images with exact labels
BLOCK = 32  # units held at a time
# columns of the tables, which they have without a world, too
CURVES = (
    *("world", "part", "method", "sampler", "gamma", "alpha", "aggregation", "estimator", "beta", "eta", "eta_assumed"),
    *("errors_assumed", "budget", "raters", "images", "ratings", "rce", "rce_se", "bias", "undefined_share", "n_units"),
    *("n_draws", "errors", "simulated"),
)
COSTS = (
    *("world", "part", "method", "level", "ratings", "at_most", "least_rce", "money", "ratio", "ratio_to_ours"),
    *("published_ratings", "published_ratio", "simulated"),
)
_GUIDED = Aggregation("bragg", "guide")


@dataclass(frozen=True)
class Part:
    """A plan with the name of its part of the tables and that of its raters' errors."""

    name: str
    plan: Plan
    errors: str


def tables(params: CrowdSimulation, price: float, seed: int) -> dict[str, pd.DataFrame]:
    """curves (a row a point of a curve), pareto (best number of raters a budget), costs (ratings for each level): by name.

    price: money a rating. All with the columns world and simulated; without worlds they have no rows.
    """
    if not params.worlds:
        empty = {"curves": CURVES, "pareto": (*CURVES, "front"), "costs": COSTS}
        return {name: pd.DataFrame(columns=list(columns)) for name, columns in empty.items()}
    progress = Progress(log, len(params.worlds), "worlds")
    found: list[pd.DataFrame] = []
    for name in params.worlds:
        found += list(_of_world(name, params, seed))
        progress.step()
    table = pd.concat(found, ignore_index=True).assign(simulated=True)
    costs = fronts.costs(table, levels=params.levels, price=price).assign(simulated=True)
    return {"curves": table, "pareto": fronts.pareto(table), "costs": costs}


def parts(params: CrowdSimulation) -> list[Part]:
    """What is simulated in every world."""
    lead = Errors(params.eta[0], params.eta[0])
    few = _up_to(params.budgets, MOST_VARIED)
    aggregations = tuple(_assuming(each, params.eta[0]) for each in PUBLISHED_AGGREGATIONS)
    guided = _assuming(_GUIDED, params.eta[0])
    exact = Plan(PUBLISHED_SAMPLERS, EXACT, (1,), _up_to(params.budgets, MOST_EXACT), params.n_draws, EXACTLY)
    noisy = Plan(PUBLISHED_SAMPLERS, aggregations, params.raters, params.budgets, params.n_draws, lead)
    asked = replace(noisy, samplers=(Sampler("mg_is"),), raters=(ASKED,), budgets=few)
    hard = tuple(replace(each, errors=ERRORS["beta"].beta) for each in aggregations[2:])
    varied = [
        Part("sampling", exact, "none"),
        Part("aggregation", replace(noisy, samplers=(), budgets=(), n_draws=1), "constant"),
        Part("setting_1", noisy, "constant"),
        Part("gamma", replace(exact, samplers=_each("mg_is", gamma=params.gamma), budgets=few), "none"),
        Part("alpha", replace(exact, samplers=_each("ag_is", alpha=params.alpha), budgets=few), "none"),
        Part(
            "beta",
            replace(asked, aggregations=tuple(replace(aggregations[2], beta=b) for b in params.beta)),
            "constant",
        ),
        Part("eta_assumed", replace(asked, aggregations=tuple(_assuming(guided, e) for e in params.eta)), "constant"),
        Part("error_model", replace(asked, errors=ERRORS["beta"], aggregations=(*aggregations[2:], *hard)), "beta"),
    ]
    # raters who err more or less often, read with their own rate
    varied += [
        Part(
            "eta",
            replace(asked, errors=Errors(e, e), aggregations=tuple(_assuming(a, e) for a in aggregations)),
            "constant",
        )
        for e in params.eta
    ]
    return varied


def _of_world(name: str, params: CrowdSimulation, seed: int) -> Iterator[pd.DataFrame]:
    """Curves of one world, part by part; first the guide alone, which needs no ratings."""
    setting, _, guide = name.partition("/")
    own = SETTINGS[setting]
    n_units, n_images = params.n_units or own.n_units, params.n_images or own.n_images

    def world(units: range) -> World:
        return crowd_world(setting, guide, seed=seed, n_units=n_units, n_images=n_images, units=units)

    todo = parts(params)
    blocks = [range(first, min(first + BLOCK, n_units)) for first in range(0, n_units, BLOCK)]
    found: list[list[experiments.Deviations]] = [[] for _ in todo]
    alone: list[experiments.Deviations] = []
    for block in map(world, blocks):
        for each, part in zip(found, todo, strict=True):
            each.append(experiments.deviations(block, part.plan, seed, threads=None))
        alone.append(experiments.of_estimates(block, block.guide_rho[None]))
    guided = experiments.together(alone)
    yield single(guided, "setting_1", fronts.GUIDE_ONLY, images=0, raters=0, n_draws=1).assign(errors="none")
    for each, part in zip(found, todo, strict=True):
        table = curves(experiments.together(each), part.plan, part.name)
        yield table.assign(errors=part.errors)
    yield from _latent(world(range(n_units)), params, seed)


def _up_to(budgets: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The smaller budgets, at least one."""
    return tuple(budget for budget in budgets if budget <= most) or budgets[:1]


def _latent(world: World, params: CrowdSimulation, seed: int) -> Iterator[pd.DataFrame]:
    """The latent model, three ratings an image, at each of its budgets; all units of a world are one study."""
    errors = Errors(params.eta[0], params.eta[0])
    sizes = sorted({min(budget // ASKED, world.concept.shape[1]) for budget in params.latent_budgets})
    jobs = [(size, repeat) for size in sizes for repeat in range(params.latent_studies)]

    def scores(job: tuple[int, int]) -> NDArray[np.float64]:
        size, repeat = job
        return simulated_study(world, Asked(size, ASKED), errors, seed, repeat).rho

    with ThreadPoolExecutor(arguments.threads(None)) as pool:
        found = dict(zip(jobs, pool.map(scores, jobs), strict=True))
    for size in sizes if params.latent_studies else ():
        estimates = np.stack([found[size, repeat] for repeat in range(params.latent_studies)])
        yield single(
            experiments.of_estimates(world, estimates),
            *("setting_1", fronts.LATENT),
            images=size,
            raters=ASKED,
            n_draws=params.latent_studies,
            eta=params.eta[0],
        ).assign(errors="constant")


def _each(kind: str, **varied: tuple[float, ...]) -> tuple[Sampler, ...]:
    [(name, values)] = varied.items()
    return tuple(replace(Sampler(kind), **{name: value}) for value in values)


def _assuming(aggregation: Aggregation, eta: float) -> Aggregation:
    return replace(aggregation, eta=eta)
