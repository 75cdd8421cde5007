"""Small simulated studies for tests of the latent model."""

from __future__ import annotations

import numpy as np

from interpretability.explanations.latent import design
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.randomness import generator, key64
from interpretability.synthetic.crowd_worlds import World, crowd_world
from interpretability.synthetic.raters import ERRORS, simulate_counts


def keys(n: int) -> np.ndarray:
    return np.array([key64("unit", unit) for unit in range(n)], np.uint64)


def small_study(
    guide: str = "good",
    raters: str = "constant",
    *,
    seed: int = 0,
    units: int = 12,
    n: int = 1000,
    size: int = 40,
    each: int = 3,
    gold: int = 30,
    **world: object,
) -> tuple[World, RatedPairs, GoldImages | None]:
    """A world, ratings of the images that the design draws, and `gold` images that show a concept and as many that do not."""
    made = crowd_world("mixed_guides", guide, seed=seed, n_units=units, n_images=n, **world)
    draw, errors = generator(seed, "small study", guide, raters), ERRORS[raters]
    images = design.drawn_images(made.activations, made.guide, size, keys(units))
    pair, image = np.repeat(np.arange(units), size), np.concatenate(images)
    counts = simulate_counts(made, pair, image, each, errors, draw)
    ratings = RatedPairs(pair, image, np.full(len(pair), each), counts)
    if not gold:
        return made, ratings, None
    present = np.repeat([1, 0], gold)
    of = draw.integers(units, size=2 * gold)
    shown = [draw.choice(np.flatnonzero(made.concept[u] == c)) for u, c in zip(of, present, strict=True)]
    rows = np.unique(np.stack([of, shown]), axis=1)
    yes = simulate_counts(made, rows[0], rows[1], 3, errors, draw)
    label = made.concept[rows[0], rows[1]].astype(int)
    return made, ratings, GoldImages(rows[0], rows[1], label, np.full(len(yes), 3), yes, drawn_uniformly=True)
