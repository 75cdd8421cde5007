"""Whole studies of the latent model in simulated worlds: images drawn and rated, and the scores that come of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.latent.design import drawn_images
from interpretability.explanations.latent.fit import latent_scores
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.randomness import combine, generator, key64
from interpretability.synthetic.crowd_worlds import World
from interpretability.synthetic.raters import Errors, simulate_counts


@dataclass(frozen=True)
class Asked:
    """What people are asked in a study.

    images  of a unit; raters: ratings of each
    gold    images that show a concept, and as many that do not, over all units together, whose labels are known
    guided  whether the guide is used, for drawing and for scoring
    """

    images: int
    raters: int
    gold: int = 0
    guided: bool = True

    def __post_init__(self) -> None:
        arguments.count(self.images, "images", least=2)
        arguments.count(self.raters, "raters")
        arguments.count(self.gold, "gold", least=0)

    @property
    def ratings(self) -> int:
        """Ratings of a unit, without gold."""
        return self.images * self.raters


@dataclass(frozen=True)
class Scored:
    """Scores of a simulated study by unit: rho, low and high, NaN where undefined."""

    rho: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def simulated_study(world: World, asked: Asked, errors: Errors, seed: int, repeat: int = 0) -> Scored:
    """One study of all units of a world: another `repeat` draws and rates anew.

    Raises InputError where a unit has fewer images than are asked for.
    """
    units = np.arange(len(world.rho))
    named = key64("simulated study", seed, world.name, world.seed, repeat)
    keys = combine(np.uint64(named), (units + world.first_unit).astype(np.uint64))
    guide = world.guide if asked.guided else None
    images = drawn_images(world.activations, guide, asked.images, keys)
    pair, image = np.repeat(units, asked.images), np.concatenate(images)
    draw = generator(seed, "ratings of a study", world.name, world.seed, repeat)
    count = np.full(len(pair), asked.raters)
    rated = RatedPairs(pair, image, count, simulate_counts(world, pair, image, asked.raters, errors, draw))
    fit = latent_scores(
        world.activations, guide, rated, gold=_gold(world, asked, errors, images, draw), seed=seed, keys=keys
    )
    return Scored(fit.rho, fit.low, fit.high)


def _gold(
    world: World, asked: Asked, errors: Errors, images: list[NDArray[np.int64]], draw: np.random.Generator
) -> GoldImages | None:
    """Images with known labels, spread evenly over units, none of them among those that are rated otherwise."""
    if not asked.gold:
        return None
    pair, image, present = [], [], []
    for label in (1, 0):
        for number in range(asked.gold):
            unit = number % len(world.rho)
            left = np.setdiff1d(np.flatnonzero(world.concept[unit] == label), images[unit])
            taken = [i for u, i in zip(pair, image, strict=True) if u == unit]
            left = np.setdiff1d(left, taken)
            if len(left):
                pair.append(unit)
                image.append(int(draw.choice(left)))
                present.append(label)
    where = np.array(pair, np.int64), np.array(image, np.int64)
    count = np.full(len(pair), asked.raters)
    yes = simulate_counts(world, *where, asked.raters, errors, draw)
    return GoldImages(*where, np.array(present, np.int64), count, yes)
