"""Simulated people who answer the tasks of chosen units. Their answers are always called simulated.

A person answers a task rightly with probability lapse/2 + (1 - lapse) * sigmoid(b * margin), where the margin
comes from the similarity in factor space, b is the person's own slope and lapse the person's share of
guesses. The design of the experiment follows IMI: units drawn layer first, each answered equally often, never
twice by one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.randomness import generator
from interpretability.synthetic.confidence import confidences

# Beta distribution of the lapses: mean * this and (1 - mean) * this. At a mean of 0.05 it is Beta(1, 19), so
# most people hardly guess and a few guess often.
LAPSE_CONCENTRATION = 20.0
_N_QUADRATURE = 64


@dataclass(frozen=True)
class Population:
    """People from whom observers are drawn: median and log-sd of their slopes, mean share of guesses."""

    slope: float
    slope_spread: float
    lapse: float


def choose_units(layers: NDArray[np.object_] | pd.Series, n_units: int, seed: int, model: str) -> NDArray[np.int64]:
    """Positions of the annotated units among one network's units, ascending.

    `layers` names each unit's layer. As in IMI: draw a layer uniformly, then a unit uniformly in it, reject
    repeats; small layers are therefore over-represented.
    """
    codes, names = pd.factorize(np.asarray(layers, dtype=object), sort=True)
    if n_units > len(codes):
        raise InputError(
            "{n_units} is {wanted}, but network {model} has {units} units with tasks; allowed are 1 to {units}",
            "n_units",
            wanted=n_units,
            model=model,
            units=len(codes),
        )
    probability = 1.0 / (len(names) * np.bincount(codes)[codes])
    draw = generator(seed, "observers", "units", model)
    # Successive draws without replacement are the same as draws whose repeats are rejected.
    return np.sort(draw.choice(len(codes), size=n_units, replace=False, p=probability / probability.sum()))


def assign(n_units: int, n_responses: int, n_trials: int, n_tasks: int, draw: np.random.Generator) -> pd.DataFrame:
    """Design of the experiment, one row a trial in order of presentation: person, unit, task, all 0-based.

    Every unit is answered n_responses times and never twice by one person; a person has n_trials trials (the
    last one fewer where the numbers do not divide). The k-th answer to a unit is to its task k modulo
    n_tasks.
    """
    if not 1 <= n_trials <= n_units:
        raise InputError(
            "{n_trials} is {wanted}; allowed are 1 to the {units} units of a network",
            "n_trials",
            wanted=n_trials,
            units=n_units,
        )
    remaining = np.full(n_units, n_responses)
    people = []
    while remaining.any():
        # The units with most answers still to give come first, in random order: the counts then never differ
        # by more than one, and the design always closes.
        order = draw.permutation(n_units)
        first = order[np.argsort(-remaining[order], kind="stable")][:n_trials]
        first = first[remaining[first] > 0]
        remaining[first] -= 1
        people.append(draw.permutation(first))
    design = pd.DataFrame(
        {
            "person": np.repeat(np.arange(len(people)), [len(units) for units in people]),
            "unit": np.concatenate(people),
        }
    )
    if len(people) < n_responses:
        raise AssertionError("a unit would be answered twice by one person")
    design["task"] = narrowed((design.groupby("unit").cumcount() % n_tasks).to_numpy(), np.int16, "tasks")
    return design


def draw_people(
    n_people: int, population: Population, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes (log-normal) and lapses (beta) of n_people observers."""
    slopes = population.slope * np.exp(population.slope_spread * draw.standard_normal(n_people))
    if population.lapse == 0:
        return slopes, np.zeros(n_people)
    alpha = LAPSE_CONCENTRATION * population.lapse
    return slopes, draw.beta(alpha, LAPSE_CONCENTRATION - alpha, size=n_people)


def simulate_responses(
    margins: NDArray[np.floating],
    population: Population,
    n_responses: int,
    n_trials: int,
    seed: int,
    model: str,
) -> pd.DataFrame:
    """Answers for one network's annotated units: unit (row of margins), task, participant, correct, confidence.

    `margins` (units, tasks) are on the factor similarity of the people, positive where the right answer is
    the likelier. Confidence (`confidence.confidences`) has draws of its own: it changes no answer.
    """
    n_units, n_tasks = margins.shape
    draw = generator(seed, "observers", "answers", model)
    design = assign(n_units, n_responses, n_trials, n_tasks, draw)
    slopes, lapses = draw_people(int(design["person"].max()) + 1, population, draw)
    digits = len(str(len(slopes) - 1))
    names = [f"{model}-{number:0{digits}d}" for number in range(len(slopes))]
    return answered(margins, design, slopes, lapses, names, draw, generator(seed, "observers", "confidence", model))


def answered(
    margins: NDArray[np.floating],
    design: pd.DataFrame,
    slopes: NDArray[np.float64],
    lapses: NDArray[np.float64],
    names: Sequence[str],
    draw: np.random.Generator,
    sure: np.random.Generator,
) -> pd.DataFrame:
    """What people answer in a design (person, unit, task): unit, task, participant, correct, confidence.

    slopes, lapses, names: of the people; `draw` draws whether they are right, `sure` how confident they are.
    """
    person = design["person"].to_numpy()
    evidence = slopes[person] * np.asarray(margins, dtype=np.float64)[design["unit"], design["task"]]
    p_right = lapses[person] / 2 + (1 - lapses[person]) * expit(evidence)
    correct = draw.random(len(design)) < p_right
    return pd.DataFrame(
        {
            "unit": design["unit"],
            "task": design["task"],
            "participant": np.array(names, dtype=object)[person],
            "correct": correct,
            "confidence": confidences(correct, evidence, lapses[person], person, sure),
        }
    )


def true_probabilities(margins: NDArray[np.floating], population: Population) -> NDArray[np.float64]:
    """True share of right answers of each unit (units,), over all its tasks and the whole population."""
    return task_probabilities(margins, population).mean(axis=1)


def task_probabilities(
    margins: NDArray[np.floating], population: Population, n_nodes: int = _N_QUADRATURE
) -> NDArray[np.float64]:
    """Probability that a random person of the population is right, for margins of any shape.

    Lapse and slope of a person are independent, so the lapse enters by its mean; the mean over log-normal
    slopes is a Gauss-Hermite sum.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    weights = weights / weights.sum()
    margins = np.asarray(margins, dtype=np.float64)
    seen = np.zeros(margins.shape)
    for node, weight in zip(nodes, weights, strict=True):
        seen += weight * expit(population.slope * np.exp(population.slope_spread * node) * margins)
    return population.lapse / 2 + (1 - population.lapse) * seen


def pick_probability(n_choices: int, skill: float, lapse: float) -> float:
    """Probability that somebody who picks one of n things picks the right one: lapse / n + (1 - lapse) * skill."""
    return lapse / n_choices + (1 - lapse) * skill


def pick(answer: int, n_choices: int, skill: float, lapse: float, draw: np.random.Generator) -> int:
    """What a simulated person picks of n things, from 0, of which `answer` is right.

    With probability lapse any of them; else with probability skill the right one, and else any of the others.
    """
    guesses, knows = draw.random(2)
    other = int(draw.integers(n_choices - 1))
    anything = int(draw.integers(n_choices))
    if guesses < lapse:
        return anything
    return answer if knows < skill else other + (other >= answer)
