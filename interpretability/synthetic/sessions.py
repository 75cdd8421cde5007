"""Sessions of simulated people: practice, catch trials, times, rows of buttons, and people who do not care.

They are made up so that the checks of sessions (`interpretability.people.sessions`) have something to look at. Those who care
stay within the bounds of the IMI experiments (appendix A.3), and each of those who do not breaks at least one of them, so that
who counts under these bounds is known; under other bounds other sessions count, as in a record of people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.randomness import generator
from interpretability.synthetic import observers
from interpretability.synthetic.observers import Population

N_CATCH = 5
N_PRESSES = 45  # of the main part; who has fewer tasks of the study is shown others, which are in no table
CARELESS_LAPSE = 0.8  # share of guesses of people who do not care
_BLOCKS = (0.8, 0.16, 0.04)  # of those who care: blocks of practice until one is all right
_ONE_MISSED = 0.1  # share of them who miss one of the catch trials
_SPREAD, _FARTHEST = 0.35, 3.0  # of the logarithm of their times, and how many of it a time is from the median at most
_READING, _READING_SPREAD, _READING_FARTHEST = (
    45.0,
    0.4,
    2.5,
)  # the same of the instructions, with their median in seconds
_OTHER_FAULT = 0.15  # chance of each further fault of somebody who does not care
_FAULTS = ("time", "catch", "row", "instructions", "practice", "returned")


@dataclass(frozen=True)
class Conduct:
    """How sessions go. careless: share of sessions of people who do not care; minutes: median length of the others."""

    careless: float
    minutes: float


def careful_sessions(
    people: list[str], n_trials: NDArray[np.integer], conduct: Conduct, seed: int, name: str
) -> pd.DataFrame:
    """Sessions of people who care, a row each: participant (whose answers they are), participant_id (who that person is, the
    same), demo_blocks, catch_share, seconds, instruction_seconds, n_upper, n_lower, returned. `n_trials`: tasks that each
    answered."""
    draw = generator(seed, "observers", "sessions", name)
    n = len(people)
    upper, presses = _rows(n_trials, draw)
    return pd.DataFrame(
        {
            "participant": people,
            "participant_id": people,
            "demo_blocks": 1 + draw.choice(len(_BLOCKS), size=n, p=_BLOCKS),
            "catch_share": 1 - (draw.random(n) < _ONE_MISSED) / N_CATCH,
            "seconds": _times(60 * conduct.minutes, _SPREAD, _FARTHEST, n, draw),
            "instruction_seconds": _times(_READING, _READING_SPREAD, _READING_FARTHEST, n, draw),
            "n_upper": upper,
            "n_lower": presses - upper,
            "returned": False,
        }
    )


def _rows(n_trials: NDArray[np.integer], draw: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Presses of the upper row and of both: queries are above or below at random, so rows are too, whatever is right."""
    presses = np.maximum(np.asarray(n_trials, dtype=np.int64) + N_CATCH, N_PRESSES)
    return draw.binomial(presses, 0.5), presses


def _times(median: float, spread: float, farthest: float, n: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Log-normal times in seconds, to the millisecond."""
    return np.round(median * np.exp(spread * np.clip(draw.standard_normal(n), -farthest, farthest)), 3)


def n_careless(n_careful: int, conduct: Conduct) -> int:
    """How many people who do not care came beside so many who do."""
    return round(n_careful * conduct.careless / (1 - conduct.careless))


def careless_sessions(
    careful: pd.DataFrame, n_people: int, n_trials: int, conduct: Conduct, seed: int, name: str
) -> pd.DataFrame:
    """Sessions of `n_people` people who do not care, as of `careful_sessions`.

    Each breaks one bound of IMI for certain and others by chance: too quick or too slow, catch trials wrong, one row of buttons,
    instructions not read, too much practice, or here for the second time (participant_id is that of one in `careful`).
    """
    draw = generator(seed, "observers", "careless sessions", name)
    fault = draw.random((n_people, len(_FAULTS))) < _OTHER_FAULT
    fault[np.arange(n_people), draw.integers(len(_FAULTS), size=n_people)] = True
    broken = dict(zip(_FAULTS, fault.T, strict=True))
    digits = len(str(max(n_people - 1, 0)))
    names = [f"{name}-careless-{number:0{digits}d}" for number in range(n_people)]
    facts = careful_sessions(names, np.full(n_people, n_trials), conduct, seed, f"{name}-careless")
    quick = draw.random(n_people) < 0.8
    facts["seconds"] = np.where(
        broken["time"],
        np.round(np.where(quick, draw.uniform(40, 130, n_people), draw.uniform(2600, 6000, n_people)), 3),
        facts["seconds"],
    )
    facts["catch_share"] = np.where(broken["catch"], draw.integers(0, 4, n_people) / N_CATCH, facts["catch_share"])
    presses, rare = (facts["n_upper"] + facts["n_lower"]).to_numpy(), draw.integers(0, 5, n_people)
    upper = np.where(draw.random(n_people) < 0.5, rare, presses - rare)
    facts["n_upper"] = np.where(broken["row"], upper, facts["n_upper"])
    facts["n_lower"] = presses - facts["n_upper"]
    skipped = np.round(draw.uniform(1, 14, n_people), 3)
    facts["instruction_seconds"] = np.where(broken["instructions"], skipped, facts["instruction_seconds"])
    facts["demo_blocks"] = np.where(broken["practice"], draw.integers(4, 8, n_people), facts["demo_blocks"])
    facts["returned"] = broken["returned"]
    before = draw.integers(len(careful), size=n_people) if n_people else np.empty(0, dtype=np.int64)
    facts["participant_id"] = np.where(
        broken["returned"], careful["participant_id"].to_numpy(object)[before], np.array(names, dtype=object)
    )
    return facts


def careless_answers(
    margins: NDArray[np.floating], people: list[str], population: Population, n_trials: int, seed: int, name: str
) -> pd.DataFrame:
    """Answers of people who do not care, columns as of `observers.simulate_responses`: n_trials units each, one task of each.

    They guess CARELESS_LAPSE of the answers, whatever the population's mean share is.
    """
    draw = generator(seed, "observers", "careless answers", name)
    n_units, n_tasks = margins.shape
    unit = [draw.permutation(n_units)[:n_trials] for _ in people]
    design = pd.DataFrame(
        {
            "person": np.repeat(np.arange(len(people)), [len(units) for units in unit]),
            "unit": np.concatenate(unit) if people else np.empty(0, dtype=np.int64),
        }
    )
    design["task"] = narrowed(draw.integers(n_tasks, size=len(design)), np.int16, "tasks")
    slopes, _ = observers.draw_people(len(people), population, draw)
    return observers.answered(margins, design, slopes, np.full(len(people), CARELESS_LAPSE), people, draw, draw)
