"""Simulated scores from ratings beside figures that an independent simulation in numpy found with one seed.

    python -m benchmarks.crowd_reference [--seeds 6]

Theirs and ours share the worlds' description alone: sizes, prevalences, separations of the guide and its formula. Ours are means
over several worlds with their spread; a difference of up to .05 is what six of their own worlds would let one expect of RCE.

crowd_reference.csv: a row a figure: table, world, method, images or ratings, theirs, ours, spread over worlds, difference, agrees
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import report
from interpretability.explanations.aggregation import bragg, guide_prior, majority
from interpretability.explanations.correlation import correlation, standardised, top_recall
from interpretability.explanations.estimates import delta_se, importance
from interpretability.explanations.experiment_curves import curves, rce
from interpretability.explanations.experiment_kernels import ESTIMATORS
from interpretability.explanations.experiments import (
    EXACT,
    EXACTLY,
    PUBLISHED_AGGREGATIONS,
    PUBLISHED_SAMPLERS,
    Aggregation,
    Deviations,
    Plan,
    Sampler,
    deviations,
)
from interpretability.explanations.fronts import pareto
from interpretability.explanations.sampling import draws, proposal, weights
from interpretability.randomness import generator
from interpretability.synthetic.crowd_worlds import World, crowd_world
from interpretability.synthetic.raters import ERRORS

ALLOWED = 0.05
IMAGES, RATINGS = (60, 183, 500), (180, 549, 1500)
GUIDED = Aggregation("bragg", "guide")
UNCLIPPED = replace(GUIDED, clip=1e-6)
MG_IS = Sampler("mg_is")
MOST_RATERS = 25  # of an image; with more, MG-IS with majority gets further than theirs


@dataclass(frozen=True)
class Figure:
    """One figure: what they found and what one world of ours gives."""

    table: str
    world: str
    method: str
    at: int
    theirs: float
    ours: float


def three(
    table: str, world: str, method: str, at: tuple[int, ...], theirs: str, ours: NDArray[np.float64]
) -> Iterator[Figure]:
    """A row of a table: theirs as printed, separated by spaces."""
    for size, one, two in zip(at, theirs.split(), ours, strict=True):
        yield Figure(table, world, method, size, float(one), float(two))


def error(found: Deviations, *place: int | slice) -> NDArray[np.float64]:
    """RCE of a place of `Deviations`."""
    return rce(found.absolute[place], found.rho)[0]


EXACT_RCE = {
    ("base", "uniform"): ".507 .277 .156",
    ("base", "ag_is"): ".179 .105 .065",
    ("base", "mg_is"): ".202 .128 .083",
    ("rare", "uniform"): ".967 .674 .420",
    ("rare", "ag_is"): ".167 .091 .057",
    ("rare", "mg_is"): ".112 .078 .057",
    ("embedded_like", "uniform"): ".405 .217 .126",
    ("embedded_like", "ag_is"): ".185 .114 .068",
    ("embedded_like", "mg_is"): ".182 .115 .072",
}
GAINS = {
    ("base", "ag_is"): "5.1 5.5 4.6",
    ("base", "mg_is"): "4.6 3.9 2.9",
    ("rare", "mg_is"): "44 31 24",
    ("embedded_like", "mg_is"): "4.0 3.3 2.6",
}


def exact(seed: int) -> Iterator[Figure]:
    """No errors of raters: RCE, and how many times smaller the squared error is than with uniform draws."""
    for name in ("base", "rare", "embedded_like"):
        world = crowd_world(name, seed=seed)
        alone = rce(np.abs(world.guide_rho - world.rho), world.rho)[0]
        known = {"base": 0.355, "rare": 0.160, "embedded_like": 0.250}[name]
        yield Figure("guide only, RCE", name, "guide_only", 0, known, float(alone))
        plan = Plan(PUBLISHED_SAMPLERS, EXACT, (1,), IMAGES, 10, EXACTLY)
        found = deviations(world, plan, seed)
        squared = found.squared[:, 0, 0, :, 0]
        if name == "base":
            share = float(found.undefined[0, 0, 0, 0, 0].mean())
            yield Figure("no noise, undefined share", name, "uniform", 60, 0.24, share)
        for s, sampler in enumerate(PUBLISHED_SAMPLERS):
            table = EXACT_RCE[name, sampler.kind]
            yield from three("no noise, RCE", name, sampler.kind, IMAGES, table, error(found, s, 0, 0, slice(None), 0))
            if (name, sampler.kind) in GAINS:
                gain = np.median(squared[0] / squared[s], axis=-1)
                yield from three("no noise, gain", name, sampler.kind, IMAGES, GAINS[name, sampler.kind], gain)
    world = crowd_world("base", seed=seed)
    truth = replace(world, guide=world.concept.astype(np.float32))
    found = deviations(truth, Plan((MG_IS,), EXACT, (1,), IMAGES, 10, EXACTLY), seed)
    yield from three(
        "no noise, RCE", "base", "mg_is, guide = truth", IMAGES, ".099 .058 .035", error(found, 0, 0, 0, slice(None), 0)
    )
    plan = Plan((MG_IS, Sampler("mg_is", gamma=0.0)), EXACT, (1,), (183,), 10, EXACTLY)
    found = deviations(world, plan, seed)
    yield Figure("no noise, RCE", "base", "mg_is, self-normalised", 183, 0.139, float(error(found, 0, 0, 0, 0, 1)))
    yield Figure("no noise, RCE", "base", "mg_is, gamma 0", 183, 0.134, float(error(found, 1, 0, 0, 0, 0)))


NOISY = {
    ("base", "uniform"): (".685 .633 .618", ".687 .638 .630", ".636 .526 .503", ".546 .332 .242"),
    ("base", "mg_is"): (".650 .619 .612", ".644 .622 .621", ".502 .481 .484", ".251 .208 .194"),
    ("embedded_like", "mg_is"): ("", ".584 .574 .565", ".443 .435 .428", ".208 .166 .142"),
}
SLOPES = {"base": ".249 .159 .100", "embedded_like": ".229 .136 .087"}


def noisy(seed: int) -> Iterator[Figure]:
    """Raters who err with .23, three an image."""
    for name in ("base", "embedded_like"):
        world = crowd_world(name, seed=seed)
        samplers = (PUBLISHED_SAMPLERS[0], MG_IS)
        found = deviations(world, Plan(samplers, PUBLISHED_AGGREGATIONS, (3,), RATINGS, 10), seed)
        for s, sampler in enumerate(samplers):
            for a, theirs in enumerate(NOISY.get((name, sampler.kind), ())):
                if theirs:
                    method = f"{sampler.kind}+{PUBLISHED_AGGREGATIONS[a].name}"
                    yield from three(
                        "three raters, RCE", name, method, RATINGS, theirs, error(found, s, a, 0, slice(None), 0)
                    )
        found = deviations(world, Plan((MG_IS,), (UNCLIPPED,), (3,), RATINGS, 10), seed)
        ours = error(found, 0, 0, 0, slice(None), ESTIMATORS.index("slope"))
        yield from three("three raters, RCE", name, "mg_is+slope", RATINGS, SLOPES[name], ours)
    etas = (0.1, 0.15, 0.23, 0.3, 0.4)
    plan = Plan((MG_IS,), tuple(replace(GUIDED, eta=eta) for eta in etas), (3,), (549,), 10)
    found = deviations(crowd_world("base", seed=seed), plan, seed)
    for a, (eta, theirs) in enumerate(zip(etas, (0.267, 0.229, 0.210, 0.214, 0.255), strict=True)):
        yield Figure(
            "assumed eta, RCE",
            "base",
            f"mg_is+bragg_guide, eta {eta:g}",
            549,
            theirs,
            float(error(found, 0, a, 0, 0, 0)),
        )


FRONT = {
    "uniform+majority": ".821 .690 .327",
    "uniform+bragg_guide": ".439 .240 .120",
    "mg_is+majority": ".174 .151 .138",
    "mg_is+bragg_guide": ".105 .083 .044",
}


def fronts(seed: int) -> Iterator[Figure]:
    """The best number of raters for each budget, with rare concepts."""
    raters = tuple(m for m in (1, 3, 5, 7, 9, 11, 15, 21, 25) if m <= MOST_RATERS)
    plan = Plan((PUBLISHED_SAMPLERS[0], MG_IS), (Aggregation("majority"), GUIDED), raters, (550, 1760, 22560), 10)
    table = pareto(curves(deviations(crowd_world("rare", seed=seed), plan, seed), plan, "setting_1"))
    for method, theirs in FRONT.items():
        ours = table[table["method"] == method].sort_values("budget", kind="stable")["rce"].to_numpy()
        yield from three("front, RCE", "rare", method, plan.budgets, theirs, ours)


# guide alone, the paper's method and slope-corrected at 550 ratings, by kind of guide and of raters
CELLS = {
    ("good", "constant"): ".306 .186 .149",
    ("mediocre", "constant"): ".740 .385 .294",
    ("overconfident", "constant"): ".325 .220 .183",
    ("shifted", "constant"): ".321 .193 .154",
    ("random", "constant"): "1.00 .777 .701",
    ("blind", "constant"): ".420 .260 .169",
    ("leak", "constant"): ".148 .125 .193",
    ("broad", "constant"): ".210 .264 nan",
    ("good", "beta"): ".306 .213 .167",
    ("mediocre", "beta"): ".740 .487 .359",
    ("mediocre", "unequal"): ".740 .384 .243",
    ("mediocre", "bad"): ".740 .432 .288",
    ("mediocre", "by_text"): ".740 .428 .310",
    ("mediocre", "look_alikes"): ".740 .390 .276",
}


def cells(seed: int) -> Iterator[Figure]:
    """Kinds of guides and raters; 183 images, three ratings each."""
    for (guide, errors), theirs in CELLS.items():
        world = crowd_world("mixed_guides", guide, seed=seed)
        plan = Plan((MG_IS,), (GUIDED, UNCLIPPED), (3,), (549,), 4, ERRORS[errors])
        found = deviations(world, plan, seed)
        alone = rce(np.abs(world.guide_rho - world.rho), world.rho)[0]
        ours = (alone, error(found, 0, 0, 0, 0, 0), error(found, 0, 1, 0, 0, ESTIMATORS.index("slope")))
        for method, one, two in zip(
            ("guide_only", "mg_is+bragg_guide", "mg_is+slope"), theirs.split(), ours, strict=True
        ):
            if one != "nan":
                yield Figure("550 ratings, RCE", f"{guide}, {errors}", method, 549, float(one), float(two))


COVERED = {
    "no noise, mean and sd as known": ".945 .951 .963",
    "no noise, delta": ".845 .870 .897",
    "majority, delta": ".62 .34 .13",
    "bragg_uniform, delta": ".65 .41 .20",
    "bragg_guide, delta": ".73 .60 .44",
    "slope, delta": ".93 .94 .93",
}


def coverage(seed: int) -> Iterator[Figure]:
    """Share of 95 % intervals that hold the true score, MG-IS in the base world, ten draws a unit."""
    world = crowd_world("base", seed=seed)
    for at, size in enumerate(IMAGES):
        hits = [_hits(world, unit, size, generator(seed, "coverage", size, unit)) for unit in range(len(world.rho))]
        for method, theirs in COVERED.items():
            ours = float(np.mean([hit[method] for hit in hits]))
            yield Figure("coverage", "base", method, size, float(theirs.split()[at]), ours)


def _hits(world: World, unit: int, size: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage of one unit's score over ten draws, by interval."""
    guide = world.guide[unit].astype(np.float64)
    abar, rho = standardised(world.activations[unit]), world.rho[unit]
    q = proposal("mg_is", world.activations[unit], guide)
    images = draws(q, 10 * size, rng).reshape(10, size)
    a, w, shown = abar[images], weights(q)[images], world.concept[unit, images]
    yes = rng.binomial(3, np.where(shown, 0.77, 0.23))
    prior = guide_prior(guide[images])
    labels = {
        "no noise, delta": shown.astype(float),
        "majority, delta": majority(yes, 3),
        "bragg_uniform, delta": bragg(yes, 3, 0.05),
        "bragg_guide, delta": bragg(yes, 3, prior),
    }
    hits = {}
    for method, label in labels.items():
        found = importance(label, w, a)
        # an undefined estimate misses: comparisons with NaN are false
        hits[method] = float(np.mean(np.abs(found.rho - rho) <= 1.96 * delta_se(label, w, a)))
    found = importance(labels["no noise, delta"], w, a)
    product = w * a * (shown - found.mean[:, None]) / np.where(found.sd > 0, found.sd, np.nan)[:, None]
    naive = product.std(axis=1, ddof=1) / np.sqrt(size)
    hits["no noise, mean and sd as known"] = float(np.mean(np.abs(found.rho - rho) <= 1.96 * naive))
    estimate, se = _slope(bragg(yes, 3, guide_prior(guide[images], 1e-6)), w, a)
    hits["slope, delta"] = float(np.mean(np.abs(estimate - rho) <= 1.96 * se))
    return hits


def _slope(
    label: NDArray[np.float64], w: NDArray[np.float64], a: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope-corrected estimates and their standard errors by the delta method, along the last axis."""
    total = w.sum(axis=-1, keepdims=True)
    mean, mean_a = ((w * x).sum(axis=-1, keepdims=True) / total for x in (label, a))
    d, e = label - mean, a - mean_a
    variance, covariance = ((w * x).sum(axis=-1, keepdims=True) / total for x in (d * d, d * e))
    sd = np.sqrt(mean * (1 - mean))
    estimate = covariance / variance * sd
    influence = (d * e - covariance) / variance * sd
    influence -= covariance / variance**2 * (d * d - variance) * sd
    influence += covariance / variance * (1 - 2 * mean) / (2 * sd) * d
    se = np.sqrt((w**2 * influence**2).sum(axis=-1)) / total[..., 0]
    return estimate[..., 0], se


# of texts that are true, twice as broad, half as narrow, and of another concept: prevalence 1/8, strength .5, separation 2.5
TEXTS = {
    "true score": ".50 .34 .34 0",
    "estimate": ".44 .31 .29 -.02",
    "top-100 recall": ".88 .89 .44 .12",
}


def texts(seed: int) -> Iterator[Figure]:
    """Four texts of the same 40 units, 550 ratings, BRAgg with the guide; broad texts show what recall alone misses."""
    worlds = _texts(seed, n_units=40, n_images=4000)
    plan = Plan((MG_IS,), (GUIDED,), (3,), (549,), 1)
    ours: dict[str, list[float]] = {name: [] for name in TEXTS}
    estimates = {}
    for name, world in worlds.items():
        estimates[name] = world.rho + deviations(world, plan, seed).signed[0, 0, 0, 0, 0]
        ours["true score"].append(float(world.rho.mean()))
        ours["estimate"].append(float(estimates[name].mean()))
        recalls = [top_recall(a, c.astype(float), 100) for a, c in zip(world.activations, world.concept, strict=True)]
        ours["top-100 recall"].append(float(np.mean(recalls)))
    for table, theirs in TEXTS.items():
        for name, one, two in zip(worlds, theirs.split(), ours[table], strict=True):
            yield Figure(f"texts, {table}", "prevalence 1/8", name, 549, float(one), two)
    for name, theirs in (("broad", 0.925), ("narrow", 0.95)):
        share = float((estimates["true"] > estimates[name]).mean())
        yield Figure("texts, true beats", "prevalence 1/8", name, 549, theirs, share)


def _texts(seed: int, n_units: int, n_images: int) -> dict[str, World]:
    """The same units with four texts each, and a calibrated guide to each text."""
    d, strength, size = 2.5, 0.5, n_images // 8
    named: dict[str, list[NDArray[np.bool_]]] = {"true": [], "broad": [], "narrow": [], "wrong": []}
    activations, guides = [], {name: [] for name in named}
    for unit in range(n_units):
        rng = generator(seed, "texts", unit)
        place, other = rng.permutation(n_images), rng.permutation(n_images)
        concept = place < size
        standard = (concept - concept.mean()) / concept.std()
        activations.append(strength * standard + np.sqrt(1 - strength**2) * rng.standard_normal(n_images))
        for name, shown in (
            ("true", concept),
            ("broad", place < 2 * size),
            ("narrow", place < size // 2),
            ("wrong", other < size),
        ):
            p = shown.mean()
            odds = np.log(p / (1 - p)) + d * (d * shown + rng.standard_normal(n_images)) - d**2 / 2
            named[name].append(shown)
            guides[name].append(1 / (1 + np.exp(-odds)))
    values = np.array(activations, dtype=np.float32)
    return {
        name: World(
            *(f"texts-{name}", seed, 0, values, np.array(shown), np.array(guides[name], dtype=np.float32)),
            np.array([correlation(a, c.astype(float)) for a, c in zip(values, shown, strict=True)]),
        )
        for name, shown in named.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    figures = [
        figure
        for seed in range(args.seeds)
        for part in (exact, noisy, fronts, cells, coverage, texts)
        for figure in part(seed)
    ]
    rows = pd.DataFrame(figures)
    groups = rows.groupby(["table", "world", "method", "at"], sort=False)
    table = groups.agg(theirs=("theirs", "first"), ours=("ours", "mean"), spread=("ours", "std")).reset_index()
    table["difference"] = table["ours"] - table["theirs"]
    # gains are ratios of squared errors: what counts is their logarithm
    gain = table["table"] == "no noise, gain"
    table["agrees"] = np.where(
        gain, np.abs(np.log(table["ours"] / table["theirs"])) < np.log(2), table["difference"].abs() < ALLOWED
    )
    report("crowd_reference", f"Theirs and ours, means over {args.seeds} simulated worlds", table)
    print(f"{int(table['agrees'].sum())} of {len(table)} agree")


if __name__ == "__main__":
    main()
