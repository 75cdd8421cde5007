"""Made-up participants in a real browser: they read the page, press its keys and click its buttons, and nothing else counts.

A page says by attributes what it shows, for those who cannot see it: its stage, its trial, and whether buttons work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from experiment.rehearsal.chromium import Tab
from experiment.rehearsal.keys_of_folder import Keys, Trial
from experiment.rehearsal.participants import Participant, Rater
from experiment.rehearsal.walking import Answered, Walked
from study.errors import StudyError

PATIENCE = 60.0  # seconds until something must have changed
_LOOK = 0.02
_SEEN = """(() => {
    const {stage, trial, ready} = document.documentElement.dataset;
    const has = css => document.querySelector(css) !== null;
    return {stage, trial: Number(trial), ready: ready === "1", agree: has("[data-agree]"),
            on: has("[data-continue]:not([disabled])"), code: document.querySelector("[data-code]")?.textContent ?? null};
})()"""
Act = Callable[[Trial, str], None]  # what to do about a trial that is shown in this stage


def chooser(tab: Tab, address: str, keys: Keys, person: Participant, name: str, reading: float) -> Walked:
    """A whole session of tasks of two alternatives, by keyboard. reading: real seconds for the instructions."""
    walked = Walked(name)

    def act(shown: Trial, stage: str) -> None:
        question = keys.question(shown)
        press = person.press(question, keys.margin(question), _block(walked, shown) if stage == "practice" else 0)
        button = keys.button(shown, question, press)
        tab.press(f"Digit{button + 1}")
        right = keys.right(shown, question, button)
        walked.answers.append(Answered(shown["trial"], "", question.kind, question.name, button, right))

    return _visit(tab, address, walked, act, reading)


def ticker(
    tab: Tab,
    address: str,
    keys: Keys,
    rater: Rater,
    present: Mapping[tuple[str, str], bool],
    reading: float,
) -> Walked:
    """A whole session of rating pages, by mouse."""
    walked = Walked(rater.name)

    def act(shown: Trial, _stage: str) -> None:
        page, files = keys.page(shown)
        picked = rater.picks(page.page, [present[page.text, file] for file in files])
        for place in picked:
            tab.click(f'[data-picture="{place}"]')
        if not picked:
            tab.click("[data-none]")
        tab.click("[data-send]")
        walked.ratings[page.page] = sorted(page.pictures.index(files[place]) for place in picked)

    return _visit(tab, address, walked, act, reading)


def _block(walked: Walked, shown: Trial) -> int:
    """The practice block, from 1, of a trial."""
    return 1 + sum(answer.trial < shown["trial"] - shown["number"] + 1 for answer in walked.answers) // shown["of"]


def _visit(tab: Tab, address: str, walked: Walked, act: Act, reading: float) -> Walked:
    """Open the page and do what it asks until the last one. Raises StudyError where it stands still or has errors."""
    tab.open(f"{address}/?PROLIFIC_PID={walked.name}")
    done, changed, before = -1, time.monotonic(), None
    while True:
        seen: dict[str, Any] = tab.run(_SEEN)
        if seen != before:
            before, changed = seen, time.monotonic()
        if seen["stage"] == "end":
            break
        if time.monotonic() - changed > PATIENCE:
            raise StudyError(
                f"The page has stood still for {PATIENCE:g} s at {json.dumps(seen)}; its console says {tab.problems[:3]}"
            )
        if seen["agree"]:
            tab.click("[data-agree]")
        elif seen["on"]:
            if seen["stage"] == "instructions":
                tab.rest(reading)
            tab.click("[data-continue]")
        elif seen["ready"] and seen["trial"] != done:
            done = seen["trial"]
            act(tab.run(f"fetch('/api/trial/{done}').then(reply => reply.json())"), seen["stage"])
        tab.rest(_LOOK)
    state = tab.run("fetch('/api/state').then(reply => reply.json())")
    walked.session, walked.outcome, walked.code = state["session"], state["outcome"], state["code"]
    if tab.problems:
        raise StudyError(f"The console of the page says: {tab.problems[0]}")
    return walked
