"""Compile what is compiled before it is needed: bytecode of the code here, and the kernels that stages run, on a few numbers.

numba keeps a kernel beside its file (in __pycache__) and takes it up until that file changes. Without this the first run of a
study spends most of a minute on compiling, one kernel after the other, while the stage that asks for them waits.

Run     python -m tools.kernels      (part of setting up the environment)
"""

from __future__ import annotations

import compileall
from collections.abc import Callable

import numpy as np

from study.command import arguments, run
from study.log import logger

log = logger("kernels")
PACKAGES = ("interpretability", "study", "stages", "tools")
SEED = 0


def main(argv: list[str] | None = None) -> None:
    arguments(__doc__, argv)
    for package in PACKAGES:
        compileall.compile_dir(package, quiet=1)
    for each in KERNELS:
        each()
    log.info("the kernels of the stages are compiled")


def _unit_keys(units: int) -> np.ndarray:
    from interpretability import randomness

    return randomness.unit_keys(SEED, "kernels", "", np.arange(units))


def activations() -> None:
    """Extremes, moments and windows, in all their forms."""
    from interpretability.extremes.moments import Moments
    from interpretability.extremes.selection import Extremes
    from interpretability.extremes.windows import Windows, ranks_at

    values = np.random.default_rng(SEED).standard_normal((64, 2), dtype=np.float32)
    images, keys, ranks = np.arange(len(values)), _unit_keys(2), ranks_at(2 * len(values), 10, 4)
    extremes, windows, others = Extremes(keys, 2), *(Windows(keys, ranks, 2 * len(values)) for _ in range(2))
    for first in (0, len(values)):  # the first are taken by another kernel than those after them
        extremes.update(values, first + images)
        (others if first else windows).update(values, first + images)
    extremes.ranked()
    Moments(2).update(values)
    windows.add(others.state())
    windows.found()


def scores() -> None:
    """Tasks, similarities from embeddings and what is measured without labels."""
    import interpretability as it
    from interpretability import margins
    from interpretability.tasks.one_sided import one_sided_tasks

    draw = np.random.default_rng(SEED)
    values = draw.standard_normal((60, 2), dtype=np.float32)
    rows, keys = margins.unit_rows(draw.standard_normal((60, 8), dtype=np.float32)), _unit_keys(2)
    margins.unit_rows(rows.astype(np.float64))
    ranked = it.rank_images(values, 12, keys)
    tasks = it.build_tasks(ranked, keys, 2, 2)
    one_sided_tasks(ranked.top_images, keys, len(values), 2, 2)
    rows.setflags(write=False)  # as rows of a table that workers share
    for kernel in (margins.cosine_margins, margins.nearest_explanation, margins.cosine_values):
        kernel(rows, tasks, 2)
    it.monosemanticity(values, rows)
    it.whole_range(values, rows, n_images=20, n_tasks=2, n_explanations=2)


def crowd() -> None:
    """The latent model of ratings, and the simulated experiments with raters."""
    from interpretability.explanations import experiments
    from interpretability.explanations.latent.fit import latent_scores
    from interpretability.explanations.latent.given import RatedPairs
    from interpretability.explanations.latent.posterior import Effort
    from interpretability.synthetic.crowd_worlds import crowd_world

    world = crowd_world("mixed_guides", "good", seed=SEED, n_units=4, n_images=200)
    pairs, images = (axis.ravel() for axis in np.indices((4, 20)))
    ratings = RatedPairs(pairs, images, np.full(80, 3), images % 4)
    latent_scores(world.activations, world.guide, ratings, seed=SEED, effort=Effort(burn=2, kept=4, every=1))
    plan = experiments.Plan(experiments.PUBLISHED_SAMPLERS, experiments.PUBLISHED_AGGREGATIONS, (3,), (30,), 1)
    experiments.deviations(world, plan, SEED)
    experiments.deviations(world, experiments.Plan((), experiments.EXACT, (3,), n_draws=1), SEED)


KERNELS: tuple[Callable[[], None], ...] = (activations, scores, crowd)

if __name__ == "__main__":
    run(main)
