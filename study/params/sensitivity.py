"""Parameters of the sensitivity analysis."""

from __future__ import annotations

from dataclasses import dataclass

from interpretability.schema import MOST_TASKS
from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Other settings for which tasks are rebuilt."""

    models: tuple[str, ...]
    n_units: int = number(2)
    n_tasks: tuple[int, ...] = number(1, MOST_TASKS)
    n_explanations: tuple[int, ...] = number(1)
    slopes: tuple[float, ...] = number(above=0)
    map_models: tuple[str, ...]
    map_images: int = number(1)
