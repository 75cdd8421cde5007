"""Setting 1 of the crowd paper at full size: 2,048 units, 50,000 images, 10 draws, every sampler, aggregation and budget.

    python -m benchmarks.crowd_setting1 [--units 2048] [--share 4] [--setting imagenet_like] [--guide good]

Simulated units of a world like the paper's stand for its own. They are drawn and simulated in blocks, two at a time; beside
them, for a few of the units, runs a plain loop, which draws images and ratings and calls the estimators of the library one
budget after the other. Both must give the same numbers. Aim: at most ten minutes on two cores.

crowd_setting1.csv        seconds, counts of work, and the largest difference from the plain loop, over its own share of units
crowd_setting1_curves.csv what was found: a row a method, number of raters and budget, with the latent model on a few units
crowd_setting1_costs.csv  ratings a unit for errors of 27.5, 20 and 10 %, beside the published ones
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, process_time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, THREADS, report
from interpretability.explanations.aggregation import ETA, average, bragg, guide_prior, majority
from interpretability.explanations.correlation import standardised
from interpretability.explanations.estimates import importance
from interpretability.explanations.experiment_curves import curves, single
from interpretability.explanations.experiments import (
    PUBLISHED_AGGREGATIONS,
    PUBLISHED_SAMPLERS,
    Aggregation,
    Deviations,
    Plan,
    deviations,
    keys,
    of_estimates,
    together,
)
from interpretability.explanations.fronts import GUIDE_ONLY, LATENT, LEVEL, costs
from interpretability.explanations.sampling import keyed_draws, proposal, weights
from interpretability.explanations.simulated_studies import Asked, simulated_study
from interpretability.randomness import U64, combine, uniforms
from interpretability.synthetic.crowd_settings import GUIDES, SETTINGS
from interpretability.synthetic.crowd_worlds import World, crowd_world
from interpretability.synthetic.raters import Errors
from study.files.tables import write_csv

BUDGETS = (30, 60, 100, 180, 300, 550, 1000, 1760, 3000, 5500, 8000, 14607, 22560, 40000)
RATERS = (1, 3, 5, 9, 15, 25)
LATENT_IMAGES = (10, 20, 30, 60, 183)
BLOCK = 16  # units held at a time by each thread
SEED = 0


def labels(
    aggregation: Aggregation, yes: NDArray[np.integer], m: int, guide: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Labels of images from their numbers of yes, by the functions of the library."""
    if aggregation.kind == "bragg":
        prior = guide_prior(guide) if aggregation.prior == "guide" else aggregation.beta
        return bragg(yes, m, prior, eta=aggregation.eta)
    return (average if aggregation.kind == "average" else majority)(yes, m)


def plain(world: World, unit: int, plan: Plan) -> NDArray[np.float64]:
    """Published estimates (draws, samplers, aggregations, raters, budgets) of a unit, one after the other."""
    draw_keys, rating_keys = keys(world, SEED, unit, plan.n_draws)
    guide, most = world.guide[unit].astype(np.float64), plan.raters[-1]
    abar = standardised(world.activations[unit])
    found = np.full((plan.n_draws, len(plan.samplers), len(plan.aggregations), *plan.sizes.shape), np.nan)
    for s, sampler in enumerate(plan.samplers):
        q = proposal(sampler.kind, world.activations[unit], guide, gamma=sampler.gamma, alpha=sampler.alpha)
        w = weights(q)
        for d in range(plan.n_draws):
            for m, n_raters in enumerate(plan.raters):
                for b, size in enumerate(plan.sizes[m]):
                    if not size:
                        continue
                    images = keyed_draws(q[None], int(size), draw_keys[d : d + 1])[0]
                    chance = np.where(world.concept[unit, images], 1 - plan.errors.false_no, plan.errors.false_yes)
                    places = np.arange(size)[:, None] * most + np.arange(n_raters)
                    yes = (uniforms(combine(rating_keys[d], places.astype(U64))) < chance[:, None]).sum(axis=1)
                    for a, aggregation in enumerate(plan.aggregations):
                        label = labels(aggregation, yes, n_raters, guide[images])
                        found[d, s, a, m, b] = importance(label, w[images], abar[images]).rho
    return found


def absolute(found: NDArray[np.float64], rho: float, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean absolute deviations over the first axis, an undefined estimate counting as 0; NaN where nothing is drawn."""
    away = np.abs(np.where(np.isnan(found), 0.0, found) - rho).mean(axis=0)
    return np.where(sizes > 0, away, np.nan)


def latent(world_of: Callable[[range], World], units: int, wanted: int) -> Iterator[pd.DataFrame]:
    """The latent model at small budgets, three ratings an image, on a study of some of the units, side by side in prevalence."""
    chosen = np.unique(np.linspace(0, units - 1, min(wanted, units)).astype(int))
    worlds = [world_of(range(unit, unit + 1)) for unit in chosen]
    names = ("activations", "concept", "guide", "rho")
    world = World(
        worlds[0].name, SEED, 0, *(np.concatenate([getattr(each, name) for each in worlds]) for name in names)
    )
    alone = of_estimates(world, world.guide_rho[None])
    yield single(alone, "setting_1", GUIDE_ONLY, images=0, raters=0, n_draws=1)
    for images in LATENT_IMAGES:
        scored = simulated_study(world, Asked(images, 3), Errors(), SEED)
        found = of_estimates(world, scored.rho[None])
        yield single(found, "setting_1", LATENT, images=images, raters=3, n_draws=1, eta=ETA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--share", type=int, default=2, help="units of the plain loop")
    parser.add_argument("--latent", type=int, default=60, help="units of a study that the latent model scores")
    parser.add_argument("--setting", choices=SETTINGS, default="imagenet_like")
    parser.add_argument("--guide", choices=GUIDES, default="good")
    args = parser.parse_args()
    plan = Plan(PUBLISHED_SAMPLERS, PUBLISHED_AGGREGATIONS, RATERS, BUDGETS, args.draws)

    def world_of(units: range) -> World:
        return crowd_world(args.setting, args.guide, seed=SEED, n_units=args.units, n_images=args.images, units=units)

    def block(units: range) -> Deviations:
        return deviations(world_of(units), plan, SEED)

    deviations(crowd_world(seed=SEED, n_units=1, n_images=500), plan, SEED)  # compiles
    blocks = [range(first, min(first + BLOCK, args.units)) for first in range(0, args.units, BLOCK)]
    began, used = perf_counter(), process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        found = together(list(pool.map(block, blocks)))
    seconds, cpu = perf_counter() - began, process_time() - used
    print(f"{args.units} units: {seconds:.0f} s, {cpu:.0f} s of processor time", flush=True)
    share = np.unique(np.linspace(0, args.units - 1, args.share).astype(int))
    began, largest = perf_counter(), 0.0
    for unit in share:
        world = world_of(range(unit, unit + 1))
        slow = absolute(plain(world, 0, plan), float(world.rho[0]), plan.sizes)
        largest = max(largest, float(np.nanmax(np.abs(slow - found.absolute[..., 0, unit]))))
    plain_seconds = (perf_counter() - began) / len(share)
    if largest > 1e-9:
        raise SystemExit(f"the plain loop differs by {largest:g}")
    drawn = plan.sizes.max(axis=1)
    streams = args.units * args.draws * len(plan.samplers)
    work = {
        "units": args.units,
        "images": args.images,
        "draws": args.draws,
        "cells": len(plan.samplers) * len(plan.aggregations) * int((plan.sizes > 0).sum()),
        "images_drawn": streams * int(drawn.max()),
        # a rating of a draw is made once, for the largest number of raters that reaches so far
        "ratings": streams
        * sum(int(max(m for m, s in zip(RATERS, drawn, strict=True) if s > at)) for at in range(drawn.max())),
        "labels": streams * int(drawn.sum()) * len(plan.aggregations),
        "ratings_of_the_plain_loop": streams * int((plan.sizes * np.array(RATERS)[:, None]).sum()),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "plain_seconds_a_unit": plain_seconds,
        "plain_over_ours": plain_seconds * args.units / cpu,
        "units_compared": len(share),
        "largest_difference": largest,
    }
    report("crowd_setting1", "Setting 1 at full size, simulated data", [work])
    table = pd.concat([curves(found, plan, "setting_1"), *latent(world_of, args.units, args.latent)], ignore_index=True)
    write_csv(RESULTS / "crowd_setting1_curves.csv", table.round(5))
    found_costs = costs(table, levels=(LEVEL, 0.2, 0.1))
    write_csv(RESULTS / "crowd_setting1_costs.csv", found_costs)
    shown = found_costs[
        ["method", "ratings", "at_most", "least_rce", "ratio", "ratio_to_ours", "published_ratings", "published_ratio"]
    ]
    print(pd.DataFrame(shown).to_string(index=False))


if __name__ == "__main__":
    main()
