"""Made-up participants walk through an experiment over HTTP: the requests that a page makes, in its order.

What they do hangs on the states that the server tells, as what the page does.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from experiment.rehearsal.http import Client, Reply
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import LEAVES, ONE_ROW, Participant, Picker, Rater
from study.errors import StudyError

PLATFORM = "prolific"  # so that rehearsals take the way of people with names of a platform
_AWAY = 86400.0  # seconds after which somebody who left without a word looks in again: the session is over
_BETWEEN, _PAGE = 1.0, 5.0  # seconds from a press to the next trial, and for a page to read


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that the server has acknowledged."""

    trial: int
    key: str
    kind: str
    question: str
    button: int
    right: bool


@dataclass
class Walked:
    """What became of a participant, as the participant knows it.

    outcome, code  those of the server's last state
    seconds  from the start to the last answer; None where the server's own clock counts
    """

    name: str
    session: str = ""
    answers: list[Answered] = field(default_factory=list)
    ratings: dict[int, list[int]] = field(default_factory=dict)  # page: positions in it, from 0, of the pictures ticked
    instruction_seconds: float | None = None
    seconds: float | None = None
    outcome: str = ""
    code: str | None = None
    n_pictures: int = 0  # that were fetched and compared


@dataclass
class Walker:
    """One participant on the way.

    name      at the platform
    pause     real seconds before each answer
    pictures  whether all pictures are fetched and compared with their digests
    clock     seconds since the start that the server is told; None: the server's own clock counts
    """

    client: Client
    keys: Keys
    name: str
    reading: float
    pause: float = 0.0
    pictures: bool = False
    clock: float | None = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    walked: Walked = field(init=False)

    def __post_init__(self) -> None:
        self.walked = Walked(self.name)

    async def start(self) -> bool:
        """Ask for a session and agree, by which one knows what it asks; False where nobody is needed now."""
        screen = {"width": 1280, "height": 720}
        reply = await self._post("session", {"platform": PLATFORM, "person": self.name, "screen": screen})
        self.state = reply.json() if reply.status == HTTPStatus.OK else {}
        if "session" not in self.state:
            return False
        self.walked.session = self.client.headers["X-Session"] = self.state["session"]
        if self.state["stage"] == "consent":
            await self._consent()
        return "session" in self.state

    async def run(self) -> Walked:
        """Go on until the end. Raises StudyError where the server knows no session any more."""
        while self.state["stage"] != "end":
            await self.advance()
        await self.client.close()
        self.walked.outcome, self.walked.code = self.state["outcome"], self.state["code"]
        return self.walked

    async def come(self) -> bool:
        """Ask for a session and go on until its end; False where there is none."""
        return await self.start() and bool(await self.run())

    async def advance(self) -> None:
        """Do what the state asks for."""
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "consent": self._consent,
            "instructions": self._instructions,
            "ready": self._ready,
            "comment": self._comment,
        }
        await steps.get(self.state["stage"], self.trial)()

    async def trial(self) -> None:
        """Answer the trial at hand, or leave."""
        raise NotImplementedError

    async def shown(self) -> dict[str, Any]:
        """The trial at hand, with its pictures where they are wanted."""
        if "trial" not in self.state:
            raise StudyError(f"{self.name} came back to a server that knows no session: stage {self.state['stage']}")
        number = self.state["trial"]["trial"]
        shown = self._right(await self.client.get(f"/api/trial/{number}")).json()
        if self.pictures:
            await self.fetch(shown)
        return shown

    async def fetch(self, shown: Mapping[str, Any]) -> None:
        """Get all pictures of a trial and compare them with what was announced."""
        pictures = shown.get("pictures") or [*shown["left"], shown["top"], shown["bottom"], *shown["right"]]
        for picture in pictures:
            body = self._right(await self.client.get(picture["src"])).body
            if len(body) != picture["bytes"] or hashlib.sha256(body).hexdigest() != picture["sha256"]:
                raise StudyError(f"The server sent other bytes for {picture['src']} than it announced")
            self.walked.n_pictures += 1

    def passes(self, seconds: float) -> None:
        """Let simulated time pass."""
        if self.clock is not None:
            self.clock += seconds

    async def step(self, name: str, content: Mapping[str, Any]) -> bool:
        """One request that leads to another state. False where the server says that something else is due: then nothing was
        taken, and the state says what."""
        reply = await self._post(name, content)
        if reply.status == HTTPStatus.CONFLICT and "state" in (told := reply.json()):
            self.state = told["state"]
            return False
        self.state = self._right(reply).json()["state"]
        return True

    async def looks_in(self) -> None:
        """Be away for long, and ask how things stand."""
        self.passes(_AWAY)
        self._tell_time()
        self.state = self._right(await self.client.get("/api/state")).json()

    async def _consent(self) -> None:
        self.passes(_PAGE)
        await self.step("consent", {"agreed": True})

    async def _instructions(self) -> None:
        self.passes(self.reading)
        await self.step("instructions", {"seconds": self.reading})
        self.walked.instruction_seconds = self.reading

    async def _ready(self) -> None:
        self.passes(_PAGE)
        await self.step("ready", {})

    async def _comment(self) -> None:
        self.passes(_PAGE)
        await self.step("comment", {"text": f"Simulated: {self.name}, <b>not bold</b> & =1+1"})

    async def _post(self, name: str, content: Mapping[str, Any]) -> Reply:
        self._tell_time()
        return await self.client.post(f"/api/{name}", content)

    def _tell_time(self) -> None:
        if self.clock is not None:
            self.client.headers["X-Clock"] = f"{self.clock:.3f}"

    def _right(self, reply: Reply) -> Reply:
        if reply.status != HTTPStatus.OK:
            raise StudyError(
                f"{self.name} (session {self.walked.session}, stage {self.state.get('stage')}) got status {reply.status}: "
                f"{reply.body[:300].decode(errors='replace')}"
            )
        return reply


@dataclass
class Chooser(Walker):
    """A person who answers tasks of two alternatives."""

    person: Participant = field(kw_only=True)

    async def trial(self) -> None:
        main = self.state["stage"] == "main"
        if main and self.person.kind == LEAVES and self.state["trial"]["number"] > self.person.leaves_at:
            await (self.looks_in() if self.person.closes else self.step("leave", {}))
            return
        shown = await self.shown()
        question = self.keys.question(shown)
        press = self.person.press(question, self.keys.margin(question), 0 if main else self.state["block"])
        upper = main and self.person.kind == ONE_ROW
        button = self.keys.button(shown, question, press, upper=upper)
        await asyncio.sleep(self.pause)
        self.passes(press.seconds + _BETWEEN)
        key = secrets.token_hex(16)  # of the request, in no result
        answer = {"trial": shown["trial"], "key": key, "button": button, "rt": round(press.seconds * 1000, 1)}
        if await self.step("answer", answer):
            right = self.keys.right(shown, question, button)
            self.walked.answers.append(Answered(shown["trial"], key, question.kind, question.name, button, right))
            self.walked.seconds = self.clock


@dataclass
class Ticker(Walker):
    """A person who ticks the pictures that show a text. present: whether a picture (text, file) does."""

    rater: Rater = field(kw_only=True)
    present: Mapping[tuple[str, str], bool] = field(kw_only=True)

    async def trial(self) -> None:
        shown = await self.shown()
        page, files = self.keys.page(shown)
        picked = self.rater.picks(page.page, [self.present[page.text, file] for file in files])
        await asyncio.sleep(self.pause)
        self.passes(self.rater.seconds)
        rating = {"trial": shown["trial"], "key": secrets.token_hex(16), "picked": picked, "none": not picked}
        if await self.step("rating", rating | {"seconds": self.rater.seconds}):
            self.walked.ratings[page.page] = sorted(page.pictures.index(files[place]) for place in picked)


@dataclass
class Choosing(Walker):
    """A person who picks one thing on each page."""

    picker: Picker = field(kw_only=True)

    async def trial(self) -> None:
        shown = await self.shown()
        page, _ = self.keys.page(shown)
        picked = [self.picker.pick(page)]
        await asyncio.sleep(self.pause)
        self.passes(self.picker.seconds)
        rating = {"trial": shown["trial"], "key": secrets.token_hex(16), "picked": picked, "none": False}
        if await self.step("rating", rating | {"seconds": self.picker.seconds}):
            self.walked.ratings[page.page] = picked
