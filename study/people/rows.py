"""Rows of the files of an experiment: units.json, questions.json, sessions.json, practice.json and catch.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.design import intervention
from interpretability.randomness import generator
from interpretability.schema import NATURAL
from study.people.asking import Asked
from study.people.practising import Drawn
from study.people.questions import CHOICES

BLIND = ("question", "left", "right", "top", "bottom")  # what a participant sees of a question
_UNIT = ["model", "layer", "unit", "condition", "layer_type", "group", "rank", "mis", "even", "odd"]


@dataclass(frozen=True)
class Written:
    """Rows of the files; lists grow experiment by experiment, and questions and sessions are numbered through."""

    units: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    practice: list[dict[str, Any]]
    catch: list[dict[str, Any]]
    sessions: list[dict[str, Any]]

    @classmethod
    def none(cls) -> Written:
        return cls([], [], [], [], [])

    def files(self) -> set[str]:
        """All pictures that are shown."""
        return {
            file
            for question in (*self.questions, *self.practice, *self.catch)
            for file in (*question["left"], *question["right"], question["top"], question["bottom"])
        }

    def add(
        self,
        name: str,
        asked: Asked,
        numbers: NDArray[np.int64],
        seed: int,
        file_of: Callable[[int], str],
        copy_of: Callable[[int], str],
    ) -> None:
        """The rows of one experiment. `numbers`: of the tasks of a unit that people see; `file_of`, `copy_of`: the file of a
        picture, and another one with the same picture, which queries of catch trials show.

        Numbers of questions tell nothing of units and groups: they are dealt at random within the experiment.
        """
        model = str(asked.units["model"].iloc[0])
        of_condition = () if asked.condition == NATURAL else (asked.condition,)
        draw = generator(seed, "psychophysics", "question numbers", model, *of_condition)
        size = len(asked.units), len(numbers)
        number = len(self.questions) + 1 + draw.permutation(size[0] * size[1]).reshape(size)
        units = []
        for place, row in enumerate(asked.units[_UNIT].to_dict("records")):
            tasks = [
                {"question": f"q{number[place, column]:06d}", "task": int(task)}
                | _shown(asked.shown, place, column, file_of, file_of)
                for column, task in enumerate(numbers)
            ]
            units.append({"experiment": name, **_short(row), "tasks": tasks})
        self.units.extend(units)
        blind = [{field: task[field] for field in BLIND} for unit in units for task in unit["tasks"]]
        self.questions.extend(sorted(blind, key=lambda question: question["question"]))
        self.sessions.extend(self._sessions(name, asked.sessions, number))
        self.practice.extend(_drawn(name, asked.practice, "p", len(self.practice), file_of, file_of))
        # a program that compares files must not know a catch trial, nor its answer
        self.catch.extend(_drawn(name, asked.catch, "c", len(self.catch), file_of, copy_of))

    def _sessions(self, name: str, dealt: pd.DataFrame, number: NDArray[np.int64]) -> Iterable[dict[str, Any]]:
        first = len(self.sessions) + 1
        for person, trials in dealt.groupby("person", sort=True):
            asked = zip(trials["unit"], trials["task"], strict=True)
            yield {
                "session": f"s{first + cast(int, person):05d}",
                "experiment": name,
                "questions": [f"q{number[unit, task]:06d}" for unit, task in asked],
            }


def _drawn(
    name: str,
    drawn: Drawn,
    letter: str,
    n_before: int,
    file_of: Callable[[int], str],
    query_of: Callable[[int], str],
) -> Iterable[dict[str, Any]]:
    """Rows of practice.json or catch.json."""
    for place, row in enumerate(drawn.units.to_dict("records")):
        number = f"{letter}{n_before + place + 1:04d}"
        yield {"question": number, "experiment": name, **_short(row)} | _shown(drawn.shown, place, 0, file_of, query_of)


def _shown(
    shown: intervention.Presentation,
    unit: int,
    task: int,
    file_of: Callable[[int], str],
    query_of: Callable[[int], str],
) -> dict[str, Any]:
    return {
        "left": [file_of(image) for image in shown.least[unit, task].tolist()],
        "right": [file_of(image) for image in shown.most[unit, task].tolist()],
        "top": query_of(int(shown.top[unit, task])),
        "bottom": query_of(int(shown.bottom[unit, task])),
        "answer": CHOICES[0 if shown.right_on_top[unit, task] else 1],
    }


def _short(row: dict[Any, Any]) -> dict[str, Any]:
    """Cells of a row with six significant digits."""
    return {str(name): float(f"{cell:.6g}") if isinstance(cell, float) else cell for name, cell in row.items()}
