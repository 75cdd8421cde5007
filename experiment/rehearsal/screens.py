"""Pictures of the pages: what figures 8 and 20 to 23 of IMI and figure 13 of the crowd paper show, and those of the guide.

Departure: IMI's figures 22 and 23 show practice in the synthetic condition; here it is practice of the questions that there are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from experiment.assets import Assets
from experiment.commands.prepare import prepare
from experiment.people import read_token
from experiment.rehearsal.keys_of_folder import Keys, Trial
from experiment.rehearsal.participants import Press
from experiment.rehearsal.walk import Walk
from experiment.run import Run
from experiment.serving import Background

if TYPE_CHECKING:
    from experiment.rehearsal.chromium import Chromium, Tab

WIDTH, HEIGHT = 1280, 720
WAIT = 0.05  # seconds before buttons work
TICKED = (2, 4, 8)
# practice trials answered right, and one more before it is answered and after a wrong answer
RIGHT = ("imi_21_practice_1", "imi_21_practice_2", "imi_22_practice_1", "imi_22_practice_2")
BEFORE, WRONG = "imi_23_practice_before", "imi_23_practice_wrong"


class Screens:
    """Writes what a tab shows, a PNG each, into a folder; `paths` are those written so far."""

    def __init__(self, tab: Tab, out: Path) -> None:
        self.tab, self._out = tab, out
        self.paths: list[Path] = []

    def take(self, name: str, *, whole: bool = False) -> None:
        """What is visible now, or the whole page."""
        self.tab.settle()
        self.paths.append(self._out / f"{name}.png")
        self.tab.screenshot(self.paths[-1], whole=whole)


def of_trials(chromium: Chromium, questions: Path, out: Path) -> list[Path]:
    """Walk through a session of the questions in that exported folder, and picture it: overview, instructions, practice with
    feedback, a trial before and after its answer, and the end. The answers are in no run that stays."""
    with _open(chromium, questions, out, {"wait_seconds": WAIT}) as (run, address, screens):
        keys = Keys(run.folder)

        def right(shown: Trial) -> int:
            return keys.button(shown, keys.question(shown), Press(True, 3, 0.0))

        walk = Walk(screens.tab, right)
        screens.tab.open(address, width=WIDTH, height=HEIGHT)
        walk.until("consent")
        screens.take("imi_20_overview", whole=True)
        walk.until("instructions")
        screens.take("instructions", whole=True)
        walk.until("practice")
        for name in RIGHT:
            _answered(walk, screens, name)
        walk.settled()
        screens.take(BEFORE)
        _answered(walk, screens, WRONG, wrong=True)
        walk.until("main")
        walk.settled()
        screens.take("trial")
        _answered(walk, screens, "imi_08_trial")
        walk.until("end")
        screens.take("end")
        return screens.paths


def of_ratings(chromium: Chromium, pages: Path, out: Path) -> list[Path]:
    """Picture the first rating page of that exported folder, with two pictures ticked."""
    with _open(chromium, pages, out, {}) as (_, address, screens):
        walk = Walk(screens.tab, lambda _: TICKED)
        screens.tab.open(address, width=WIDTH, height=HEIGHT)
        walk.until("rating")
        for place in TICKED:
            walk.push(f"[data-picture='{place}']", "Space")
        screens.take("crowd_13_rating")
        return screens.paths


def of_researcher(chromium: Chromium, run: Path, out: Path) -> list[Path]:
    """Picture the page for researchers of a run that nobody serves now."""
    out.mkdir(parents=True, exist_ok=True)
    with chromium.profile() as profile, Background(Run(run), assets=Assets.load()) as server:
        screens = Screens(profile.tab(), out)
        token = read_token(run / "keys/researcher.token")
        screens.tab.open(f"{server.address}/researcher#{token}", width=WIDTH, height=HEIGHT)
        screens.tab.wait("!document.getElementById('sheet').hidden")
        screens.take("researcher")
        return screens.paths


def _answered(walk: Walk, screens: Screens, name: str, *, wrong: bool = False) -> None:
    """Answer the trial on the screen, picture the feedback, and go on."""
    trial = walk.settled()["trial"]
    button = walk.choose(walk.shown(trial))
    assert isinstance(button, int)
    walk.feedback(_other(button) if wrong else button)
    screens.take(name)
    walk.step()


def _other(button: int) -> int:
    """The button of the other query with the same confidence."""
    return (button + 3) % 6


@contextmanager
def _open(
    chromium: Chromium, questions: Path, out: Path, settings: dict[str, float]
) -> Generator[tuple[Run, str, Screens]]:
    """A simulated run of these questions that is served and thrown away afterwards, its address, and a tab to picture."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, chromium.profile() as profile:
        prepare(Path(folder) / "run", questions, simulated=True, settings=settings)
        with Background(run := Run(Path(folder) / "run"), assets=Assets.load()) as server:
            yield run, server.address, Screens(profile.tab(), out)
