"""How wide the interval of a network's mean human score will be: a closed form of what one answer is made of.

Answers vary between units, tasks of a unit, people, and by chance (`people.components`). In the design of IMI, in which every
unit is answered equally often and every person gives as many answers, the interval for other units and other people
(`people.two_way`) has, with U units, N = U n answers and P = N / T people of T answers,

    variance  (unit + task / min(n, tasks)) / U + person / P + chance / N    the answers to a unit in turn over its tasks
    width     2 t(min(U, P) - 1) sqrt(variance)

and corrections for few clusters. More people narrow it to about 2 t(U - 1) sqrt((unit + task / tasks) / U) and no further;
from there only units help. `precision` finds the same by simulating whole studies, which takes minutes; against simulated
studies the closed form is within 6 % from 4 people on, and within 3 % from 20 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from interpretability import arguments
from interpretability.design.drawn_studies import Design
from interpretability.people.components import Answers
from interpretability.synthetic.observers import LAPSE_CONCENTRATION

# More people than this are not looked for: the width then differs from its limit by less than a thousandth.
MOST_PEOPLE = 1_000_000
MOST_UNITS = 1_000_000
_N_NODES = 32


@dataclass(frozen=True)
class Spread:
    """Variances of one answer to a unit of one network, by where they come from; all at least 0.

    unit  of the units' means;  task  of tasks within a unit;  person  of people;  chance  what is left
    """

    unit: float
    task: float
    person: float
    chance: float

    def __post_init__(self) -> None:
        for name in ("unit", "task", "person", "chance"):
            arguments.number(getattr(self, name), name, least=0)


@dataclass(frozen=True)
class Asked:
    """How a network's units are asked: tasks of a unit that are answered, answers of a person, level of the interval."""

    n_tasks: int
    n_trials: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        arguments.count(self.n_tasks, "n_tasks")
        arguments.count(self.n_trials, "n_trials")
        arguments.number(self.confidence, "confidence", above=0, below=1)


def spread_so_far(responses: pd.DataFrame) -> Spread | None:
    """The spread that answers to units of one network show (key, task, participant, correct); None where they cannot tell yet.

    That takes two people, and a unit that two of them answered. Unbiased estimates may be negative by chance; they count as 0
    here. Where no task has two answers, tasks cannot be told from chance and count as such.
    """
    found = Answers(responses).components()
    if not (math.isfinite(found.unit) and math.isfinite(found.person)):
        return None
    unit, person = max(found.unit, 0.0), max(found.person, 0.0)
    if math.isfinite(found.task):
        return Spread(unit, max(found.task, 0.0), person, max(float(found.chance), 0.0))
    mean = float(responses["correct"].mean())
    return Spread(unit, 0.0, person, max(mean * (1 - mean) - unit - person, 0.0))


def spread_of(design: Design) -> Spread:
    """The spread of answers to units of one network of mean level, for planning before there are answers.

    By quadrature over margins of units and tasks, slopes and lapses of people; the defaults of `Design` are IMI's easy
    natural condition.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_N_NODES)
    weights = weights / weights.sum()
    unit = design.level + design.unit_spread * nodes
    margins = unit[:, None] + design.task_spread * nodes
    slopes = design.slope * np.exp(design.slope_spread * nodes)
    # share of right answers without lapses (units, tasks, slopes); a lapse L moves it to 1/2 + (1 - L) (p - 1/2)
    sure = 1 / (1 + np.exp(-margins[:, :, None] * slopes)) - 0.5
    kept = 1 - design.lapse
    square_kept = kept**2 + design.lapse * kept / (LAPSE_CONCENTRATION + 1)
    by_task = sure @ weights
    by_unit = by_task @ weights
    by_person = np.einsum("u,t,uts->s", weights, weights, sure)
    mean = float(by_unit @ weights)
    of_unit = kept**2 * (float(by_unit**2 @ weights) - mean**2)
    of_task = kept**2 * float(((by_task**2) @ weights - by_unit**2) @ weights)
    of_person = square_kept * float(by_person**2 @ weights) - (kept * mean) ** 2
    share = 0.5 + kept * mean
    return Spread(of_unit, of_task, of_person, share * (1 - share) - of_unit - of_task - of_person)


def his_width(spread: Spread, asked: Asked, n_units: int, n_people: float) -> float:
    """Expected whole width of the interval of the mean HIS of `n_units` units, at least 2, answered by `n_people`, at least 2.

    A person gives `asked.n_trials` answers, at most one to a unit. n_people need not be whole. Where there are fewer answers
    than units, the mean is that of as many units. The real interval is cut to 0 to 1, which this is not.
    """
    arguments.count(n_units, "n_units", 2)
    return _width(spread, asked, n_units, arguments.number(n_people, "n_people", least=2))


def narrowest(spread: Spread, asked: Asked, n_units: int) -> float:
    """The width with endlessly many people: what this number of units allows."""
    return _width(spread, asked, arguments.count(n_units, "n_units", 2), math.inf)


def people_for_width(spread: Spread, asked: Asked, n_units: int, width: float) -> int | None:
    """Fewest people, at least 2, whose interval is expected to be no wider than `width`; None where no number of people does."""
    arguments.count(n_units, "n_units", 2)
    wanted = arguments.number(width, "width", above=0)
    return _fewest(lambda people: _width(spread, asked, n_units, people) <= wanted, MOST_PEOPLE)


def units_for_width(spread: Spread, asked: Asked, n_answers: float, width: float) -> int | None:
    """Fewest units, at least 2, of `n_answers` answers each whose interval is expected to be no wider than `width`."""
    wanted = arguments.number(width, "width", above=0)
    answers = arguments.number(n_answers, "n_answers", least=1)

    def enough(n_units: int) -> bool:
        people = n_units * answers / min(asked.n_trials, n_units)
        return people >= 2 and _width(spread, asked, n_units, people) <= wanted

    return _fewest(enough, MOST_UNITS)


def _width(spread: Spread, asked: Asked, n_units: int, people: float) -> float:
    answers = people * min(asked.n_trials, n_units)
    units = min(n_units, answers)
    degrees = min(n_units, people) - 1
    # two_way takes deviations from the mean of the same answers, which leaves (k - 1) / k of what k clusters show
    of_units, of_people = 1 - 1 / n_units, 1 - 1 / people
    variance = (spread.unit + spread.task / min(answers / units, asked.n_tasks)) / units * of_units
    variance += spread.person / people * of_people + spread.chance / answers * of_units * of_people
    root = math.sqrt(variance) * (1 - 1 / (4 * degrees))  # the mean of a root is below the root of the mean
    return float(2 * stats.t.ppf((1 + asked.confidence) / 2, degrees) * root)


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """The least number from 2 to `most` that is enough, where all larger ones are too."""
    high = 2
    while not enough(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = max(high // 2, 1)  # not enough, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
