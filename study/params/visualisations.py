"""Parameters of the feature visualisations: images made to excite units."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number

ADAPTIVE = "adaptive"  # the largest weight of diversity whose weakest image still beats nature (IMI, appendix A.1)
_MOST = 32_767  # tables keep the numbers of seed sets and of images in 16 bits


@dataclass(frozen=True, kw_only=True)
class Visualisations:
    """Images made for a unit.

    units      whose images are made, as model/layer/unit; `*` stands for any text
    n_images   images a side and seed set
    n_sets     seed sets: each is made anew, from other noise
    steps      of the optimiser
    rate       its learning rate
    diversity  weight of the term that keeps the images of a side apart: `adaptive`, or a number
    n_natural  natural images over which the median of a unit is taken, drawn by key; 0 = all
    """

    units: tuple[str, ...]
    n_images: int = number(1, _MOST)
    n_sets: int = number(1, _MOST)
    steps: int = number(1)
    rate: float = number(above=0)
    diversity: str = filled()
    n_natural: int = number(0)


def diversity_of(text: str) -> float | str:
    """What visualisations.diversity means: `adaptive`, or a finite number from 0 on. Raises ValueError for any other text."""
    if text == ADAPTIVE:
        return text
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value
