"""CLIP-Dissect with soft weighted pointwise mutual information (Oikarinen and Weng 2023): the text that a unit's top images have
in common and those of other units have not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from interpretability import arguments
from interpretability.explanations.formulas import Concept
from interpretability.explanations.making.made import Made, checked

# As in the code of the method: images taken for the top, sharpness of the softmax over concepts, probability that the first and
# the last of them belong to the top, and what keeps logarithms finite.
TOP, SHARPNESS, SURE, LEAST = 100, 10.0, (0.998, 0.97), 1e-7


def dissect_texts(
    activations: NDArray[np.floating],
    presence: NDArray[np.floating],
    names: Sequence[str],
    *,
    top: int = TOP,
    sharpness: float = SHARPNESS,
    weight: float = 1.0,
) -> list[Made]:
    """For each unit (U, n) the concept of highest soft WPMI over its `top` images (all, if there are fewer); the value is that.

    With s the softmax over concepts of sharpness x presence, image by image, and p falling from 0.998 to 0.97 over the top images
    of a unit, log P(top | concept) is the sum of log(1 + p (s - 1)); from it `weight` times the log of its mean over all units is
    taken away. So a unit's text depends on which units are beside it; ties go to earlier images and concepts.

    Departure: the method takes cosines of CLIP, of which it makes the same softmax; presences, which are probabilities, stand in
    their place.
    """
    units, concepts = checked(activations, presence, names)
    top = min(arguments.count(top, "top"), units.shape[1])
    sharpness, weight = arguments.number(sharpness, "sharpness", above=0), arguments.number(weight, "weight", least=0)
    evidence = _evidence(units, concepts, top, sharpness)
    common = logsumexp(evidence, axis=0) - np.log(len(evidence))
    information = evidence - weight * common
    best = information.argmax(axis=1)
    return [Made(Concept(str(names[place])), float(row[place])) for place, row in zip(best, information, strict=True)]


def _evidence(
    units: NDArray[np.floating], concepts: NDArray[np.floating], top: int, sharpness: float
) -> NDArray[np.float64]:
    """Log probability (units, concepts) of the top images of each unit given each concept."""
    sure = SURE[0] - np.arange(top) / top * (SURE[0] - SURE[1])
    found = np.empty((len(units), len(concepts)))
    for row, values in enumerate(units):
        images = np.argsort(-values.astype(np.float64), kind="stable")[:top]
        scaled = sharpness * concepts[:, images].astype(np.float64)
        share = np.exp(scaled - logsumexp(scaled, axis=0))
        found[row] = np.log(1 + sure * (share - 1) + LEAST).sum(axis=1)
    return found
