"""Which images of a pair to ask people about, for the latent model.

The likelihood of the model does not depend on how images were drawn, so nothing needs to be known of the design afterwards.
Departure: the crowd paper draws with replacement from its proposal (Eq. 6) and weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import standardised
from interpretability.explanations.latent.covariates import clipped
from interpretability.randomness import combine, key64, permutations, uniforms

EVEN = 0.2  # share of the proposal that is spread evenly over all images
UNSURE = 0.6  # share of the rest that goes where the guide is unsure, the others where the unit responds


def design_proposal(
    activations: NDArray[np.floating], guide: NDArray[np.floating] | None, *, unsure: float = UNSURE
) -> NDArray[np.float64]:
    """Probabilities q (n,) or (pairs, n) of asking about each image; rows add up to 1 (D1).

    With e = sqrt(abar^2 + 1/4) sqrt(g (1 - g)): four fifths of `unsure` e / sum e + (1 - unsure) |abar| / sum |abar|, one fifth
    spread evenly. Without a guide |abar| / sum |abar| in place of the mixture.
    """
    abar = standardised(activations)
    size = np.abs(abar)
    drawn = size / size.sum(axis=-1, keepdims=True)
    if guide is not None:
        g = clipped(guide)
        if g.shape != abar.shape:
            raise arguments.wrong(
                "guide", "has shape {shape}; activations have {wanted}", shape=g.shape, wanted=abar.shape
            )
        doubt = np.sqrt(abar**2 + 0.25) * np.sqrt(g * (1.0 - g))
        drawn = unsure * doubt / doubt.sum(axis=-1, keepdims=True) + (1.0 - unsure) * drawn
    return (1.0 - EVEN) * drawn + EVEN / abar.shape[-1]


def inclusion(q: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Probabilities (n,) that each image is among `size` different ones, size * q where 1 allows; they add up to size (D2).

    What is above 1 becomes 1, and the rest of `size` is spread over the others in proportion to q, until none is above 1.
    Raises InputError if fewer than `size` images can be drawn.
    """
    shares = np.asarray(arguments.array(q, "q", ("images",)), np.float64)
    most = int((shares > 0).sum())
    size = arguments.count(size, "size", most=most)
    sure = np.zeros(len(shares), bool)
    while True:
        pi = np.where(sure, 1.0, shares)
        if (left := size - int(sure.sum())) > 0:
            pi[~sure] *= left / shares[~sure].sum()
        else:
            pi[~sure] = 0.0
        above = ~sure & (pi >= 1.0)
        if not above.any():
            return pi
        sure |= above


def draw(pi: NDArray[np.floating], key: int | np.uint64) -> NDArray[np.int64]:
    """Numbers of different images, ascending: systematic sampling with inclusion probabilities pi (n,), in keyed order (D2).

    As many as pi adds up to, a whole number. Each image is drawn with its probability; the key names order and start.
    """
    chances = np.asarray(pi, np.float64)
    size = round(float(chances.sum()))
    named = np.asarray(key, np.uint64)
    order = permutations(combine(named, key64("order of images")), len(chances))
    edges = np.cumsum(chances[order])
    edges *= size / edges[-1]  # rounding alone
    start = float(uniforms(combine(named, key64("start")))[()])
    places = np.searchsorted(edges, start + np.arange(size), side="right")
    return np.sort(order[np.minimum(places, len(chances) - 1)])


def drawn_images(
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None,
    size: int,
    keys: NDArray[np.uint64],
    *,
    unsure: float = UNSURE,
) -> list[NDArray[np.int64]]:
    """Images to ask about for each pair (pairs, n): D1 and D2 in one, by its key."""
    rows = zip(activations, [None] * len(activations) if guide is None else guide, keys, strict=True)
    return [draw(inclusion(design_proposal(a, g, unsure=unsure), size), key) for a, g, key in rows]
