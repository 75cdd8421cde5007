"""How much of a single answer is due to the unit, the task, the person and chance.

A linear model of right (1) or wrong (0) with random effects of unit, task within unit and person. People answer many units
and units are answered by many people, so the effects are crossed. Its variance components come from products of two
answers, averaged over all pairs of one kind: two answers to one task have unit and task in common, to one unit with
different tasks the unit, of one person to different units the person. These moment estimates (the pair form of
Henderson's method 1) are unbiased whatever the distributions and need a pass over the answers. statsmodels' MixedLM fits
the same crossed effects by restricted likelihood: seconds for a few thousand answers where this takes milliseconds, with an
optimiser inside, whose last digits differ between processors, and nothing gained over the closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.schema import KEY
from interpretability.statistics import fisher_interval, fisher_z

# Groups of units that the jackknife leaves out in turn.
_N_GROUPS = 40


@dataclass(frozen=True)
class Components:
    """Variances of one answer. They may be slightly negative by chance, as unbiased estimates of 0 are.

    unit      of the units' means, networks and conditions among them
    task      of tasks within a unit
    person    of people, over the units of one network and condition
    chance    what is left
    signal    variance over units of their true shares, each over the tasks as they were answered
    noise     variance over units of the error of a recorded share
    """

    unit: float
    task: float
    person: float
    chance: float
    signal: float
    noise: float

    @property
    def ceiling(self) -> float:
        """Correlation of true with recorded shares, in [0, 1]."""
        if not np.isfinite(self.signal) or self.signal + self.noise <= 0:
            return float("nan")
        return float(np.sqrt(np.clip(self.signal / (self.signal + self.noise), 0.0, 1.0)))


class Answers:
    """Answers (key, task, participant, correct) with codes of what they have in common."""

    def __init__(self, responses: pd.DataFrame) -> None:
        condition = responses.groupby(["model", "condition"], observed=True).ngroup()
        unit = responses.groupby(KEY, observed=True).ngroup()
        person = pd.Series(pd.factorize(responses["participant"])[0], index=responses.index)
        task = responses["task"]
        self.correct = responses["correct"].to_numpy(np.float64)
        self.unit = unit.to_numpy()
        # a person who meets two networks counts as two, so that an effect of the person lies within a network
        self.codes = {
            "task": _codes(unit, task),
            "unit": self.unit,
            "person": _codes(condition, person),
            "unit_person": _codes(unit, person),
            "task_person": _codes(unit, task, person),
            "network": condition.to_numpy(),
            "all": np.zeros(len(responses), dtype=np.int64),
        }

    def components(self, kept: NDArray[np.bool_] | None = None) -> Components:
        """Components from all answers, or from those of the units (mask over unit codes) that are kept."""
        rows = slice(None) if kept is None else kept[self.unit]
        correct = self.correct[rows]
        total = {name: _pairs(codes[rows], correct) for name, codes in self.codes.items()}
        number = {name: _pairs(codes[rows], np.ones_like(correct)) for name, codes in self.codes.items()}

        def mean(*signed: tuple[int, str]) -> float:
            pairs = sum(sign * number[name] for sign, name in signed)
            return sum(sign * total[name] for sign, name in signed) / pairs if pairs > 0 else float("nan")

        one_task = mean((1, "task"), (-1, "task_person"))
        one_unit = mean((1, "unit"), (-1, "task"), (-1, "unit_person"), (1, "task_person"))
        one_person = mean((1, "person"), (-1, "unit_person"))
        one_network = mean((1, "network"), (-1, "unit"), (-1, "person"), (1, "unit_person"))
        nothing = mean((1, "all"), (-1, "unit"), (-1, "person"), (1, "unit_person"))
        person = one_person - one_network
        if not np.isfinite(one_unit):  # people saw one task of each unit
            one_unit = one_task
        unit, task = one_unit - nothing, one_task - one_unit
        chance = correct.mean() - one_task - person if len(correct) else float("nan")
        weights = self._weights(rows)
        # people whom two units share move both alike, which takes nothing from a correlation over units
        noise = chance * weights["answer"] + person * (weights["answer"] - weights["shared"])
        return Components(unit, task, person, chance, unit + task * weights["task"], noise)

    def _weights(self, rows: slice | NDArray[np.bool_]) -> dict[str, float]:
        """Mean over units of 1 / n and of sum n_t^2 / n^2, and over pairs of units of their shared people, / (n n')."""
        unit = pd.factorize(self.unit[rows])[0]
        count = np.bincount(unit)
        tasks, first = np.unique(self.codes["task"][rows], return_index=True)
        of_task = np.bincount(np.searchsorted(tasks, self.codes["task"][rows]))
        task = np.bincount(unit[first], weights=of_task**2) / count**2
        share = 1.0 / count[unit]
        shared = _pairs(self.codes["person"][rows], share) - _pairs(self.codes["unit_person"][rows], share)
        n_pairs = max(len(count) * (len(count) - 1), 1)
        return {"answer": float((1 / count).mean()), "task": float(task.mean()), "shared": shared / n_pairs}


def components_ceiling(
    responses: pd.DataFrame, confidence: float, draw: np.random.Generator
) -> tuple[float, float, float, float]:
    """Ceiling of the model, its standard error, low and high in (0, 1), from a jackknife over groups of units.

    `responses`: key, task, participant, correct, one row an answer. The units are dealt to 40 groups at random (each its
    own group where there are fewer), which are left out in turn. The interval is symmetric in Fisher's z, with the
    jackknife's error of z and the t quantile of the number of groups.
    """
    answers = Answers(responses)
    n_units = int(answers.unit.max()) + 1
    point, n_groups = answers.components().ceiling, min(_N_GROUPS, n_units)
    group = draw.permutation(np.arange(n_units) % n_groups)
    values = np.array([answers.components(group != left_out).ceiling for left_out in range(n_groups)])
    error, error_of_z = (
        float(np.sqrt((n_groups - 1) * each.var())) if n_groups > 1 else float("nan")
        for each in (values, fisher_z(values))
    )
    low, high = fisher_interval(point, error_of_z, float(stats.t.ppf((1 + confidence) / 2, max(n_groups - 1, 1))))
    return point, error, max(low, 0.0), high


def _codes(*columns: pd.Series) -> NDArray[np.int64]:
    """Number of each row's combination of values."""
    combined = pd.factorize(columns[0])[0].astype(np.int64)
    for column in columns[1:]:
        codes, names = pd.factorize(column)
        combined = pd.factorize(combined * max(len(names), 1) + codes)[0].astype(np.int64)
    return combined


def _pairs(codes: NDArray[np.integer], values: NDArray[np.float64]) -> float:
    """Sum of products of two different answers with equal code, each pair in both orders."""
    return float((np.bincount(codes, weights=values) ** 2).sum() - (values**2).sum()) if len(codes) else 0.0
