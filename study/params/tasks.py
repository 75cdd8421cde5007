"""Parameters of the tasks."""

from __future__ import annotations

from dataclasses import dataclass

from interpretability.schema import HARD, MADE, MOST_TASKS, NATURAL
from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Two-alternative tasks of a unit; `one_sided` names the networks that get one-sided tasks beside those of `conditions`."""

    n_tasks: int = number(2, MOST_TASKS)
    n_explanations: int = number(1)
    conditions: tuple[str, ...] = one_of(NATURAL, *HARD, *MADE)
    one_sided: tuple[str, ...]
    source: str = one_of("rebuilt", "imi")
