"""Names of experiments: one is a network, a kind of task and a number of explanations, asked of people of its own."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from interpretability.schema import HARD, NATURAL, SYNTHETIC
from study.errors import StudyError

OPTIMIZED = "optimized"  # what the IMI record calls synthetic explanations
_FEWER = re.compile(r"(?P<name>.+)_k(?P<k>0|[1-9]\d{0,5})", re.ASCII)


@dataclass(frozen=True)
class Experiment:
    """A network (roster name), the condition of its tasks, and explanations a side (None: all of the study's)."""

    model: str
    condition: str
    n_explanations: int | None


def name_of(model: str, condition: str, k: int, full: int) -> str:
    """Name of an experiment that shows `k` of the study's `full` explanations a side, 0 for queries alone.

    As the IMI record names its runs, where it has a name: MODEL_natural, MODEL_hard95_natural, MODEL_optimized,
    MODEL_hard95_optimized. Any other condition is MODEL_CONDITION. Fewer explanations than the study's end in _kK.
    """
    return f"{model}_{_kind_of(condition)}" + ("" if k == full else f"_k{k}")


def condition_of(condition: str, k: int, full: int) -> str:
    """What answers to such tasks are filed under: natural_k3 for natural tasks with three of the study's `full` explanations.

    Fewer explanations make another measurement of a unit, which must not be pooled with the usual one. No score has such a
    condition, so the answers have a HIS of their own and meet none.
    """
    return condition if k == full else f"{condition}_k{k}"


def experiment_of(name: str, models: Collection[str], conditions: Collection[str]) -> Experiment:
    """The inverse of `name_of` among networks and conditions of a study.

    Raises StudyError for a name that none of them has, and for one that two could have, as a network `net_hard95` beside
    `net` makes of net_hard95_natural.
    """
    readings: list[tuple[str, int | None]] = [(name, None)]
    if parts := _FEWER.fullmatch(name):
        readings.append((parts["name"], int(parts["k"])))
    found = [
        Experiment(model, condition, k)
        for whole, k in readings
        for model in dict.fromkeys(models)
        for condition in dict.fromkeys(conditions)
        if whole == f"{model}_{_kind_of(condition)}"
    ]
    if len(found) == 1:
        return found[0]
    if found:
        both = " or ".join(f"{each.model} with {each.condition} tasks" for each in found)
        raise StudyError(f"experiment {name!r} may be {both}; rename a network in the roster")
    raise StudyError(
        f"no experiment is called {name!r}; a name is NETWORK_natural, NETWORK_hard95_natural, NETWORK_optimized or "
        f"NETWORK_CONDITION, with _k3 where fewer explanations are shown. Networks are {', '.join(models)}; conditions are "
        f"{', '.join(conditions)}"
    )


def _kind_of(condition: str) -> str:
    """The kind of task as names of experiments say it."""
    level, _, rest = condition.partition("_")
    if level in HARD and rest in ("", SYNTHETIC):
        return f"{level}_{OPTIMIZED if rest else NATURAL}"
    return OPTIMIZED if condition == SYNTHETIC else condition
