"""Whole studies in the form of IMI, drawn from known slopes, unit scores and observers.

A study has networks, units of each network and tasks of each unit. What a task shows is two margins: the one that people
see and the one that a similarity sees, normal around the means of their unit, which are normal around the means of their
network, and correlated between the two. Observers answer as in `observers`, in the design of IMI: every
unit equally often, never twice by one person, the answers in turn over the first tasks of the unit.
So everything that a statistic estimates is known, and a statistic can be tried on thousands of studies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.mis import probabilities
from interpretability.schema import NATURAL
from interpretability.synthetic.observers import Population, draw_people, task_probabilities

# Nodes of the sum over people's slopes: its error against 64 nodes is below 1e-6 for spreads up to 0.5.
_N_NODES = 9
BACKEND = "simulated"


@dataclass(frozen=True)
class Design:
    """What studies are drawn from; margins are in the unit of a cosine similarity.

    The defaults give human scores like those of IMI's easy natural condition (facts of its figure 3): mean .83, SD of
    the networks' means .036, SD of units within a network .115. How much tasks of one unit differ is not known for IMI.
    """

    n_models: int = 9
    n_units: int = 84  # of each network
    n_responses: float = 30.0  # mean number of answers a unit: 31.5 gives half of the units 31 and half 32
    n_tasks: int = 20  # tasks of a unit that the similarity solves
    n_answered: int = 11  # the first tasks of a unit, which people answer in turn
    n_trials: int = 40  # answers a person
    slope: float = 6.25
    slope_spread: float = 0.3
    lapse: float = 0.05
    level: float = 0.37  # mean margin
    model_spread: float = 0.06  # SD of the networks' mean margins
    unit_spread: float = 0.15  # SD of units within a network
    task_spread: float = 0.15  # SD of tasks within a unit
    agreement: float = 0.9  # correlation of both margins over units of a network and over tasks of a unit
    model_agreement: float = 0.98  # the same over networks

    def __post_init__(self) -> None:
        for name in ("n_models", "n_units", "n_tasks", "n_answered", "n_trials"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; a simulated study needs at least 1")
        if not 1 <= self.n_responses <= 10_000:
            raise InputError(f"n_responses is {self.n_responses:g}; allowed are 1 to 10000 answers a unit")
        if self.n_answered > self.n_tasks:
            raise InputError(f"n_answered is {self.n_answered}; allowed are 1 to the {self.n_tasks} tasks of a unit")
        if self.slope <= 0 or not 0 <= self.lapse < 1:
            raise InputError(
                f"slope is {self.slope:g} and lapse {self.lapse:g}; slope > 0 and 0 <= lapse < 1 are allowed"
            )
        for name in ("slope_spread", "model_spread", "unit_spread", "task_spread"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name):g}; it must not be negative")
        for name in ("agreement", "model_agreement"):
            if not -1 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; allowed are -1 to 1")

    @property
    def population(self) -> Population:
        return Population(self.slope, self.slope_spread, self.lapse)


@dataclass(frozen=True)
class Study:
    """One drawn study, arrays (networks, units, ...).

    seen      margins that people see (.., tasks); margins: those of the similarity
    person    who gave the k-th answer (.., most answers of a unit), -1 where there is none
    correct   whether that answer is right; its task is k modulo design.n_answered
    slopes, lapses  of the people (networks, people)
    """

    design: Design
    seen: NDArray[np.float64]
    margins: NDArray[np.float64]
    person: NDArray[np.int32]
    correct: NDArray[np.bool_]
    slopes: NDArray[np.float64]
    lapses: NDArray[np.float64]


def draw_networks(design: Design, draw: np.random.Generator) -> NDArray[np.float64]:
    """Mean margins of the networks (2, networks): first those that people see, then those of the similarity."""
    return design.level + design.model_spread * _pair(design.model_agreement, (design.n_models,), draw)


def draw_study(design: Design, draw: np.random.Generator, networks: NDArray[np.floating] | None = None) -> Study:
    """A study of new units, tasks, people and answers; of new networks too, unless their means are given."""
    means = draw_networks(design, draw) if networks is None else np.asarray(networks, dtype=np.float64)
    if means.shape != (2, design.n_models):
        raise ValueError(f"networks must have shape (2, {design.n_models}), got {means.shape}")
    shape = design.n_models, design.n_units
    margins = design.unit_spread * _pair(design.agreement, shape, draw)[..., None]
    margins = margins + design.task_spread * _pair(design.agreement, (*shape, design.n_tasks), draw)
    seen, margins = margins + means[:, :, None, None]
    return asked(design, seen, margins, draw)


def asked(design: Design, seen: NDArray[np.float64], margins: NDArray[np.float64], draw: np.random.Generator) -> Study:
    """A study of these tasks (networks, units, tasks), answered by new people."""
    person = assign_many(design.n_models, design.n_units, design.n_responses, design.n_trials, draw)
    n_people = int(person.max()) + 1
    slopes, lapses = draw_people(design.n_models * n_people, design.population, draw)
    slopes, lapses = slopes.reshape(-1, n_people), lapses.reshape(-1, n_people)
    right = answer_probabilities(seen, person, slopes, lapses, design.n_answered)
    correct = (draw.random(person.shape) < right) & (person >= 0)
    return Study(design, seen, margins, person, correct, slopes, lapses)


def assign_many(
    n_rows: int, n_units: int, n_responses: float, n_trials: int, draw: np.random.Generator
) -> NDArray[np.int32]:
    """Who gives the k-th answer to a unit (rows, units, most answers), -1 for none: `observers.assign` for many networks.

    People, numbered in order, take n_trials units each (all units where that is more) from an endless series of rounds
    in which every unit comes once in random order; in the round in which a person begins anew no unit of the same person
    is among that person's next ones. The last round ends where n_units * n_responses answers are reached.
    """
    n_trials = min(n_trials, n_units)
    total = round(n_units * n_responses)
    n_rounds = -(-total // n_units)
    person = np.full((n_rows, n_units, n_rounds), -1, dtype=np.int32)
    rows = np.arange(n_rows)[:, None]
    order = np.empty((n_rows, n_units), dtype=np.int64)
    for number in range(n_rounds):
        keys = draw.random((n_rows, n_units))
        begun = number * n_units % n_trials  # answers of the person who goes on from the round before
        if begun:
            keys[rows, order[:, -begun:]] += 1.0  # that person's units come last, then everybody else mixes them in
        order = np.argsort(keys, axis=1, kind="stable")
        if begun:
            order[:, n_trials - begun :] = draw.permuted(order[:, n_trials - begun :], axis=1)
        kept = min(n_units, total - number * n_units)
        person[rows, order[:, :kept], number] = (number * n_units + np.arange(kept)) // n_trials
    return person


def answer_probabilities(
    seen: NDArray[np.float64],
    person: NDArray[np.int32],
    slopes: NDArray[np.float64],
    lapses: NDArray[np.float64],
    n_answered: int,
) -> NDArray[np.float64]:
    """Probability that each answer of `person` is right, its shape; of no meaning where there is no answer."""
    rows = np.arange(len(person))[:, None, None]
    evidence = slopes[rows, person] * seen[:, :, np.arange(person.shape[2]) % n_answered]
    lapse = lapses[rows, person]
    return lapse / 2 + (1 - lapse) * expit(evidence)


def human_arrays(study: Study) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Recorded share of right answers and number of answers of each unit (networks, units)."""
    count = (study.person >= 0).sum(axis=2)
    return study.correct.sum(axis=2) / count, count


def true_shares(study: Study) -> NDArray[np.float64]:
    """Expected recorded share of each unit (networks, units): over people, with its tasks answered as they were."""
    n_answered = study.design.n_answered
    p = task_probabilities(study.seen[:, :, :n_answered], study.design.population, _N_NODES)
    answered = study.person >= 0
    tasks = np.arange(answered.shape[2]) % n_answered
    weight = answered @ np.eye(n_answered)[tasks]  # whole numbers, which any order adds up to
    return (p * weight).sum(axis=2) / weight.sum(axis=2)


def units_frame(study: Study, slope: float) -> pd.DataFrame:
    """Units as `agreement_table` and `ceiling_table` take them, scored with this slope, with their true shares.

    Columns: model, layer, unit, condition, backend, mis, mis_se, his, n_responses, in_split (False), p_true.
    """
    his, count = human_arrays(study)
    p = probabilities(study.margins, slope)
    n_tasks = p.shape[2]
    spread = p.std(axis=2, ddof=1) / np.sqrt(n_tasks) if n_tasks > 1 else np.full(his.shape, np.nan)
    values = {"mis": p.mean(axis=2), "mis_se": spread, "his": his, "n_responses": count, "p_true": true_shares(study)}
    frame = _keys(study).assign(backend=BACKEND, in_split=False)
    return frame.assign(**{name: array.ravel() for name, array in values.items()})


def responses_frame(study: Study) -> pd.DataFrame:
    """Answers as `noise_within_tasks` and `human_scores` take them: key, task, participant, correct."""
    model, unit, answer = np.nonzero(study.person >= 0)
    keys = _keys(study).iloc[model * study.design.n_units + unit].reset_index(drop=True)
    return keys.assign(
        task=narrowed(answer % study.design.n_answered, np.int16, "n_answered"),
        participant=model * study.slopes.shape[1] + study.person[model, unit, answer],
        correct=study.correct[model, unit, answer],
    )


def names(design: Design) -> list[str]:
    """Names of the networks."""
    digits = len(str(design.n_models - 1))
    return [f"network-{number:0{digits}d}" for number in range(design.n_models)]


def _keys(study: Study) -> pd.DataFrame:
    n_models, n_units = study.design.n_models, study.design.n_units
    # categories make every grouping of these frames several times as fast as text does
    models = pd.Categorical.from_codes(  # pyright: ignore[reportCallIssue]
        np.repeat(np.arange(n_models), n_units),
        names(study.design),  # pyright: ignore[reportArgumentType]
    )
    alike = {}
    for name in ("layer", NATURAL):
        codes = np.zeros(len(models), dtype=np.int8)
        alike[name] = pd.Categorical.from_codes(codes, [name])  # pyright: ignore[reportArgumentType, reportCallIssue]
    units = np.tile(np.arange(n_units), n_models)
    return pd.DataFrame({"model": models, "layer": alike["layer"], "unit": units, "condition": alike[NATURAL]})


def _pair(correlation: float, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal numbers (2, *shape) whose two halves have this correlation."""
    pair = draw.standard_normal((2, *shape))
    pair[1] = correlation * pair[0] + np.sqrt(1 - correlation**2) * pair[1]
    return pair
