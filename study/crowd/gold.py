"""Labels that are known for certain, among the questions that people answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interpretability.randomness import key64
from study.crowd.asked import Asked
from study.params.crowd import Crowd

EXACT = ("factors", "labels")  # sources of presence that are no guess


def gold_labels(asked: Asked, crowd: Crowd, seed: int) -> dict[tuple[str, int], bool]:
    pass
