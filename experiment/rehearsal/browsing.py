"""Made-up participants in a real browser: whole sessions by keyboard, through the very pages that people meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiment.rehearsal.chromium import Tab
from experiment.rehearsal.keys_of_folder import Keys, Trial
from experiment.rehearsal.participants import Participant, Rater
from experiment.rehearsal.walk import Choice, Walk
from experiment.rehearsal.walking import Answered, Walked
from study.errors import StudyError


class Visit:
    """A session in one tab, from `opened` to `done`. reading: real seconds for the instructions."""

    def __init__(self, tab: Tab, keys: Keys, name: str, reading: float) -> None:
        self.walked = Walked(name)
        self._tab, self._keys, self._reading = tab, keys, reading
        self._walk = Walk(tab, self.choose)

    def opened(self, address: str) -> None:
        """Come from a platform and agree; on return the session knows what it asks."""
        self._tab.open(f"{address}/?PROLIFIC_PID={self.walked.name}")
        self._walk.until("instructions")

    def done(self) -> Walked:
        """Do all that the pages ask. Raises StudyError where they stand still or the browser's console has errors."""
        self._tab.rest(self._reading)
        self._walk.until("end")
        state: dict[str, Any] = self._tab.run("fetch('/api/state').then(reply => reply.json())")
        self.walked.session, self.walked.outcome, self.walked.code = (
            state[name] for name in ("session", "outcome", "code")
        )
        if self._tab.problems:
            raise StudyError(f"The console of the page says: {self._tab.problems[0]}")
        return self.walked

    def choose(self, shown: Trial) -> Choice:
        """What this person presses."""
        raise NotImplementedError


class ChoosingVisit(Visit):
    """A session of tasks of two alternatives."""

    def __init__(self, tab: Tab, keys: Keys, name: str, reading: float, person: Participant) -> None:
        super().__init__(tab, keys, name, reading)
        self._person = person

    def choose(self, shown: Trial) -> Choice:
        question = self._keys.question(shown)
        block = 1 + shown["trial"] // shown["of"] if shown["kind"] == "practice" else 0
        press = self._person.press(question, self._keys.margin(question), block)
        button = self._keys.button(shown, question, press)
        right = self._keys.right(shown, question, button)
        self.walked.answers.append(Answered(shown["trial"], "", question.kind, question.name, button, right))
        return button


class TickingVisit(Visit):
    """A session of rating pages."""

    def __init__(
        self, tab: Tab, keys: Keys, reading: float, rater: Rater, present: Mapping[tuple[str, str], bool]
    ) -> None:
        super().__init__(tab, keys, rater.name, reading)
        self._rater, self._present = rater, present

    def choose(self, shown: Trial) -> Choice:
        page, files = self._keys.page(shown)
        picked = self._rater.picks(page.page, [self._present[page.text, file] for file in files])
        self.walked.ratings[page.page] = sorted(page.pictures.index(files[place]) for place in picked)
        return picked
