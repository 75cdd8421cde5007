"""Hands of a participant: through the pages of the experiment by keyboard alone, in any browser that runs, waits and presses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from study.errors import StudyError

STOPS = 60  # presses of Tab until something must have had the focus
PATIENCE = 30.0  # seconds for a page to follow
END = "end"
# what the page says of itself; `go` where a button that leads on waits to be pressed
SCENE = """(() => { const {stage, trial, ready, narrow} = document.documentElement?.dataset ?? {};
return {stage: stage ?? "", trial: trial === undefined ? null : +trial, ready: ready === "1", narrow: narrow === "1",
go: Boolean(document.querySelector("main [data-continue]:enabled, main [data-agree]:enabled"))}; })()"""


class Hands(Protocol):
    """A tab of some browser."""

    def run(self, script: str, /) -> Any:
        """Value of a JavaScript expression in the page."""
        ...

    def wait(self, condition: str, /, seconds: float = ...) -> Any:
        """First value of an expression that is true."""
        ...

    def press(self, code: str, /, *, shift: bool = ...) -> None:
        """Press and release a key."""
        ...


# Button 0 to 5 for a trial with two queries, or (positions to tick, none of them) for a rating page: what was shown, as
# the server describes it.
Choice = int | Sequence[int]
Chooser = Callable[[Mapping[str, Any]], Choice]


class Walk:
    """One participant in one tab, whose `choose` says what to press: a button from 0 to 5 of a trial, or the positions of
    the pictures to tick on a rating page, none for "none of them", or the one place to pick on a picking page. What is shown
    comes as `/api/trial` describes it."""

    def __init__(self, hands: Hands, choose: Chooser) -> None:
        self.hands = hands
        self.choose = choose

    def scene(self) -> dict[str, Any]:
        """`stage`, `trial` (None outside trials), whether its buttons are `ready`, and whether there is a button to `go` on."""
        return self.hands.run(SCENE)

    def until(self, stage: str, trial: int | None = None) -> None:
        """Walk up to a stage, and there to a trial, without doing anything in it.

        Errors: StudyError where the session ends before.
        """
        while not (self._there(scene := self.settled(), stage, trial)):
            if scene["stage"] == END:
                raise StudyError(f"The session ended before {stage} {'' if trial is None else trial}.")
            self.step()

    @staticmethod
    def _there(scene: Mapping[str, Any], stage: str, trial: int | None) -> bool:
        return scene["stage"] == stage and (trial is None or scene["trial"] == trial)

    def settled(self) -> dict[str, Any]:
        """The scene as soon as something can be done in it: a trial whose buttons work, or a button to press."""
        return self.hands.wait(f"(s => (s.stage === {json.dumps(END)} || s.ready || s.go) && s)({SCENE})", PATIENCE)

    def step(self) -> None:
        """Do what the present page wants and wait for what follows."""
        scene = self.settled()
        if scene["ready"]:
            self.answer()
        elif scene["go"]:
            self.push("[data-continue], [data-agree]")
            self.hands.wait(f"(s => {_other(scene)} || !s.go)({SCENE})", PATIENCE)

    def answer(self) -> Any:
        """Answer the trial or the rating page on the screen, and go on after its feedback; returns what was chosen."""
        scene = self.settled()
        shown = self.shown(scene["trial"])
        choice = self.choose(shown)
        if isinstance(choice, int):
            self.hands.press(f"Digit{choice + 1}")
            after = self.hands.wait(f"(s => (s.go || {_other(scene)}) && s)({SCENE})", PATIENCE)
            if after["go"] and (after["stage"], after["trial"]) == (scene["stage"], scene["trial"]):
                self.push("[data-continue]")
        else:
            for box in [f"[data-picture='{place}']" for place in choice] or ["[data-none]"]:
                self.tick(box)
            self.push("[data-send]")
        self.hands.wait(f"(s => {_other(scene)})({SCENE})", PATIENCE)
        return choice

    def feedback(self, button: int) -> None:
        """Press a button of the trial on the screen, and stop where its feedback waits for the way on."""
        self.settled()
        self.hands.press(f"Digit{button + 1}")
        self.hands.wait(f"({SCENE}).go", PATIENCE)

    def shown(self, trial: int) -> dict[str, Any]:
        """What the server says of a trial that this session may see now."""
        return self.hands.run(f"fetch('/api/trial/{trial}').then(answer => answer.json())")

    def reach(self, css: str) -> int:
        """Press Tab until an element of this selector has the focus; how often that took."""
        for stop in range(STOPS):
            if self.hands.run(f"Boolean(document.activeElement?.matches({json.dumps(css)}))"):
                return stop
            self.hands.press("Tab")
        raise StudyError(f"{STOPS} presses of Tab never reached {css}.")

    def tick(self, css: str) -> None:
        """Tick a box by keyboard; one of several that exclude each other by arrows, which move among them."""
        if not self.hands.run(f"document.querySelector({json.dumps(css)}).type === 'radio'"):
            return self.push(css, "Space")
        self.push("[type=radio]", "Space")
        for _ in range(STOPS):
            if self.hands.run(f"document.querySelector({json.dumps(css)}).checked"):
                return None
            self.hands.press("ArrowRight")
        raise StudyError(f"{STOPS} presses of an arrow never reached {css}.")

    def push(self, css: str, code: str = "Enter") -> None:
        """Press what this selector selects, by keyboard."""
        self.reach(css)
        self.hands.press(code)


def _other(before: Mapping[str, Any]) -> str:
    """Whether scene `s` is of another stage or trial than before, as JavaScript."""
    return f"s.stage !== {json.dumps(before['stage'])} || s.trial !== {json.dumps(before['trial'])}"
