"""What all methods take and give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import constant, same_images
from interpretability.explanations.formulas import Formula


@dataclass(frozen=True)
class Made:
    """A formula, and the value by which its method chose it (each method says which)."""

    formula: Formula
    value: float


def checked(
    activations: NDArray[np.floating], presence: NDArray[np.floating], names: Sequence[str]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Activations (units, images) and presence (concepts, images), 0 to 1, checked against each other and the names.

    Constant units are refused: no method has a reason for any text.
    """
    units = arguments.array(activations, "activations", ("units", "images"))
    concepts = arguments.array(presence, "presence", ("concepts", "images"))
    same_images(units, concepts)
    arguments.finite(units, "activations")
    if (row := next((row for row, values in enumerate(units) if constant(values)), None)) is not None:
        raise arguments.wrong(
            "activations", "is constant in row {row}; there is nothing that a text could say", row=row
        )
    if not (np.min(concepts) >= 0 and np.max(concepts) <= 1):  # NaN is refused too
        raise arguments.wrong("presence", "holds values that do not lie between 0 and 1")
    if len(names) != len(concepts) or len(set(names)) != len(names):
        raise arguments.wrong(
            "names",
            "holds {given} names, {different} of them different; there must be one for each of {wanted} concepts",
            given=len(names),
            different=len(set(names)),
            wanted=len(concepts),
        )
    return units, concepts
