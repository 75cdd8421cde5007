"""Which images people are asked about: draws from a proposal that is high where an image tells much about the score.

Crowd paper, sections 3.1 and B.3: images are drawn with replacement from probabilities q over D, and enter the estimate with
weights 1 / (n q). The parts gamma / n of q that are spread evenly keep weights below 1 / gamma.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import same_images, standardised
from interpretability.randomness import combine, uniforms

UNIFORM, MODEL_GUIDED, ACTIVATION_GUIDED = "uniform", "mg_is", "ag_is"
SAMPLERS = (UNIFORM, MODEL_GUIDED, ACTIVATION_GUIDED)
# Published: sections 3.1.1 and B.1, and B.3.
GAMMA, ALPHA = 0.2, 2.0


def proposal(
    sampler: str,
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None = None,
    *,
    gamma: float = GAMMA,
    alpha: float = ALPHA,
) -> NDArray[np.float64]:
    """Probabilities q of drawing each image, of the shape of activations (n,) or (units, n): rows add up to 1.

    sampler  uniform: 1 / n
             mg_is:   (1 - gamma) |a g| / sum |a g| + gamma / n (model-guided, Eq. 5 and 6)
             ag_is:   (1 - gamma) |a|^alpha / sum |a|^alpha + gamma / n (activation-guided, Eq. 16 and 17)
             where a and g are activations and guide, each standardised over all images
    guide    probabilities of presence from a machine, of the same shape; needed by mg_is, left alone by the others
    gamma    share of the even part, 0 to 1; with 0 some images may never be drawn
    alpha    exponent above 0

    Raises InputError for constant units, a guide that is missing, constant or outside [0, 1], and other shapes.
    """
    arguments.choice(sampler, "sampler", SAMPLERS)
    gamma = arguments.number(gamma, "gamma", least=0, below=np.nextafter(1, 2))
    alpha = arguments.number(alpha, "alpha", above=0)
    unit = standardised(activations)
    n = unit.shape[-1]
    if sampler == UNIFORM:
        return np.full(unit.shape, 1 / n)
    if sampler == ACTIVATION_GUIDED:
        size = np.abs(unit)
        size = (size / size.max(axis=-1, keepdims=True)) ** alpha  # of at most 1: a large power stays finite
    else:
        size = np.abs(unit * _guide(guide, unit))
    total = size.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise arguments.wrong("guide", "is at its mean wherever the unit is not at its own; no image stands out")
    return (1 - gamma) * size / total + gamma / n


def _guide(guide: NDArray[np.floating] | None, unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """A guide standardised, of the shape of the activations."""
    if guide is None:
        raise arguments.wrong("guide", "is missing; the sampler mg_is draws by it")
    values = np.asarray(guide)
    if values.ndim != unit.ndim or values.shape[:-1] != unit.shape[:-1]:
        raise arguments.wrong(
            "guide", "has shape {shape}; activations have {wanted}", shape=values.shape, wanted=unit.shape
        )
    same_images(unit, values)
    return standardised(probabilities(values, "guide"), "guide")


def probabilities(values: NDArray[np.floating], argument: str) -> NDArray[np.float64]:
    """Values as float64. Raises InputError for any that is not between 0 and 1."""
    numbers = np.asarray(values, np.float64)
    if not ((numbers >= 0) & (numbers <= 1)).all():  # NaN is refused too
        place = np.argwhere(~((numbers >= 0) & (numbers <= 1)))[0].tolist()
        raise arguments.wrong(
            argument,
            "holds {value} at {place}; probabilities lie between 0 and 1",
            value=float(numbers[tuple(place)]),
            place=place,
        )
    return numbers


def weights(q: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights 1 / (n q) of images drawn with probabilities q (..., n) (crowd paper, section 3.1.1: p / q); E_q of them is 1.

    Infinite for images that are never drawn.
    """
    values = probabilities(q, "q")
    with np.errstate(divide="ignore"):
        return 1 / (values.shape[-1] * values)


def draws(q: NDArray[np.floating], n_draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers (n_draws,) of images drawn independently, with replacement, with probabilities q (n,).

    The first draws are the same however many follow.
    """
    arguments.array(q, "q", ("images",))
    return _inverted(q, rng.random(arguments.count(n_draws, "n_draws")))


def keyed_draws(q: NDArray[np.floating], n_draws: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Numbers (units, ..., n_draws) of images drawn as `draws` does, with probabilities q (units, n) and keys (units, ...).

    Each key names a list of draws: the list depends on its key and its row of q alone. The first draws are the same however many
    follow.
    """
    table = arguments.array(q, "q", ("units", "images"))
    counters = np.arange(arguments.count(n_draws, "n_draws"), dtype=np.uint64)
    named = np.asarray(keys, np.uint64)
    found = np.empty((*named.shape, len(counters)), dtype=np.int64)
    for row, (probability, key) in enumerate(zip(table, named, strict=True)):
        found[row] = _inverted(probability, uniforms(combine(key[..., None], counters)))
    return found


def _inverted(q: NDArray[np.floating], chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Images whose share of [0, 1) holds these numbers; those of probability 0 have none."""
    edges = np.cumsum(probabilities(q, "q"))
    if not np.isclose(edges[-1], 1, rtol=0, atol=1e-6):
        raise arguments.wrong("q", "adds up to {total:.6g}; probabilities add up to 1", total=float(edges[-1]))
    return np.searchsorted(edges / edges[-1], chance, side="right").astype(np.int64)
