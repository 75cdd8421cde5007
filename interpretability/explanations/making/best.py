"""The concept of highest correlation (crowd paper, Eq. 10), by which its simulations give every unit a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interpretability.explanations.correlation import best_concepts
from interpretability.explanations.formulas import Concept
from interpretability.explanations.making.made import Made, checked


def best_texts(activations: NDArray[np.floating], presence: NDArray[np.floating], names: Sequence[str]) -> list[Made]:
    """For each unit (U, n) the concept of presence (C, n) whose correlation is highest; the value is that correlation.

    Of equal ones the first wins. Raises InputError as `correlation.best_concepts` does.
    """
    units, concepts = checked(activations, presence, names)
    index, rho = best_concepts(units, concepts)
    return [Made(Concept(str(names[place])), float(value)) for place, value in zip(index, rho, strict=True)]
