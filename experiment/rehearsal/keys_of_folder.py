"""The researcher's key to what is shown: questions and pages by the digests of their pictures.

A page is told digests, so that it can compare what it got; made-up participants look them up here. The server tells them no more
than it tells anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiment.rehearsal.participants import Press
from experiment.study_folder import Folder, Page, Question
from study.errors import StudyError

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Keys:
    """The key of a folder; margins by the names of questions, where there are any."""

    folder: Folder
    margins: Mapping[str, float] = field(default_factory=dict)
    _asked: dict[tuple[str, ...], Question | Page] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        every: list[Question | Page] = [*self.folder.questions.values(), *self.folder.pages.values()]
        for each in every:
            files = each.files if isinstance(each, Question) else each.pictures
            if self._asked.setdefault(tuple(sorted(self._digest(file) for file in files)), each) is not each:
                raise StudyError(
                    f"{self.folder.path} asks twice about the same pictures; a rehearsal could not tell which one is meant"
                )

    def _digest(self, file: str) -> str:
        return self.folder.pictures[file].sha256

    def question(self, trial: Trial) -> Question:
        """The question that a trial shows."""
        found = self._asked.get(_digests([*trial["left"], trial["top"], trial["bottom"], *trial["right"]]))
        if not isinstance(found, Question):
            raise StudyError(f"The server shows a trial {trial['trial']} that is no question of {self.folder.path}")
        return found

    def margin(self, question: Question) -> float:
        """Of the question, 0 where none is known."""
        return self.margins.get(question.name, 0.0)

    def button(self, trial: Trial, question: Question, press: Press, *, upper: bool = False) -> int:
        """The button, 0 to 5, that this press is; `upper`: one of the upper row, whatever is right."""
        right = self._digest(question.top if question.answer == "top" else question.bottom)
        top = upper or press.right == (trial["top"]["sha256"] == right)
        return press.confidence - 1 + (0 if top else 3)

    def right(self, trial: Trial, question: Question, button: int) -> bool:
        """Whether the button is a right answer."""
        return self.button(trial, question, Press(True, button % 3 + 1, 0.0)) == button

    def page(self, trial: Trial) -> tuple[Page, list[str]]:
        """The page that a trial shows, and the files of its pictures in the order shown."""
        found = self._asked.get(_digests(trial["pictures"]))
        if not isinstance(found, Page):
            raise StudyError(f"The server shows a trial {trial['trial']} that is no page of {self.folder.path}")
        files = {self._digest(file): file for file in found.pictures}
        return found, [files[picture["sha256"]] for picture in trial["pictures"]]


def _digests(pictures: list[Trial]) -> tuple[str, ...]:
    return tuple(sorted(picture["sha256"] for picture in pictures))
