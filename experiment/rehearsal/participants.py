"""Participants that are made up: how each of them answers, how long it takes, and what goes wrong with some.

A person is right with probability lapse / 2 + (1 - lapse) * sigmoid(b * margin): the margin is that of the leading similarity of
the study, b and lapse are the person's own, drawn as for the study's simulated observers. So the true score of every unit is
known, and what comes back can be held against it. All they say is called simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from experiment.study_folder import CATCH, PRACTICE, Page, Question
from interpretability.randomness import generator
from interpretability.synthetic.observers import Population, draw_people, pick, pick_probability

# What goes wrong, and for which share of those who come. Planned is what is expected of their sessions.
HONEST, LEAVES, CARELESS, UNPRACTISED, HASTY, SLOW, ONE_ROW = KINDS = (
    *("honest", "leaves", "careless", "unpractised", "hasty", "slow", "one row"),
)
SHARES = {LEAVES: 0.1, CARELESS: 0.05, UNPRACTISED: 0.04, HASTY: 0.04, SLOW: 0.03, ONE_ROW: 0.04}
_CATCH = 0.99  # of honest people, and of all in practice: the query is among the explanations
_SECONDS = (9.0, 19.0)  # of an honest person's trial, evenly: sessions of 8 to 20 minutes
_HASTY, _SLOW = (1.0, 1.6), (55.0, 70.0)
_READING, _HASTY_READING = (25.0, 90.0), (3.0, 9.0)


@dataclass(frozen=True, slots=True)
class Press:
    """One press of the six buttons: whether it is right, confidence 1 to 3, and seconds since the pictures were shown."""

    right: bool
    confidence: int
    seconds: float


@dataclass(frozen=True)
class Participant:
    """One made-up person.

    number   of arrival, the key of all draws
    kind     of KINDS
    slope, lapse  as in the model above
    pace     seconds a trial;  reading: seconds of the instructions
    leaves_at  main trials after which a person who leaves does; closes: without a word
    """

    seed: int
    number: int
    kind: str
    slope: float
    lapse: float
    pace: float
    reading: float
    leaves_at: int
    closes: bool

    def probability(self, question: Question, margin: float) -> float:
        """Of a right answer to this question."""
        if self.kind == UNPRACTISED and question.kind == PRACTICE:
            return 0.3
        if self.kind == CARELESS and question.kind != PRACTICE:
            return 0.5
        if question.kind == CATCH or question.obvious:
            return _CATCH
        return float(self.lapse / 2 + (1 - self.lapse) * expit(self.slope * margin))

    def press(self, question: Question, margin: float, block: int = 0) -> Press:
        """What the person presses, the same every time; `block` of practice."""
        draw = generator(self.seed, "rehearsal answer", self.number, question.name, block)
        chance, sure, time = draw.random(3)
        p = self.probability(question, margin)
        right = bool(chance < p)
        # surer of what is clear, and of right answers
        confidence = 1 + int(2.999 * np.clip(0.5 * sure + abs(p - 0.5) * (0.9 if right else 0.2), 0, 1))
        return Press(right, confidence, self.pace * (0.7 + 0.6 * float(time)))


def participant(seed: int, number: int, population: Population, n_main: int) -> Participant:
    """The person who comes as number `number`; n_main: main trials of a session."""
    draw = generator(seed, "rehearsal participant", number)
    kind = str(draw.choice(KINDS, p=[1 - sum(SHARES.values()), *SHARES.values()]))
    slopes, lapses = draw_people(1, population, draw)
    pace = float(draw.uniform(*{HASTY: _HASTY, SLOW: _SLOW}.get(kind, _SECONDS)))
    reading = float(draw.uniform(*(_HASTY_READING if kind == HASTY else _READING)))
    leaves_at, closes = int(draw.integers(n_main)), bool(draw.random() < 0.3)
    return Participant(seed, number, kind, float(slopes[0]), float(lapses[0]), pace, reading, leaves_at, closes)


@dataclass(frozen=True)
class Rater:
    """A made-up person who ticks pictures: the shares of wrong yes and wrong no, and seconds a page."""

    seed: int
    name: str
    false_yes: float
    false_no: float
    seconds: float

    def picks(self, page: int, present: list[bool]) -> list[int]:
        """Positions, from 0, of the pictures that this person says show the text; present: whether they do."""
        chance = generator(self.seed, "rehearsal rating", self.name, page).random(len(present))
        yes = np.where(present, 1 - self.false_no, self.false_yes)
        return np.flatnonzero(chance < yes).tolist()


_SKILL = (0.1, 0.9)  # of units, evenly


@dataclass(frozen=True)
class Picker:
    """A made-up person who picks one thing a page: share of guesses, and seconds a page. The skill is the unit's."""

    seed: int
    name: str
    lapse: float
    seconds: float

    def skill(self, page: Page) -> float:
        """Share of right picks of whoever does not guess, the same for all pages of a unit."""
        assert page.pick is not None
        return float(generator(self.seed, "rehearsal skill", *page.pick.unit).uniform(*_SKILL))

    def probability(self, page: Page) -> float:
        """Of a right pick."""
        return pick_probability(page.n_choices, self.skill(page), self.lapse)

    def pick(self, page: Page) -> int:
        """What the person picks, the same every time."""
        assert page.pick is not None
        draw = generator(self.seed, "rehearsal pick", self.name, page.page)
        return pick(page.pick.answer, page.n_choices, self.skill(page), self.lapse, draw)
