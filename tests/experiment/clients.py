"""A browser without pages: requests to a server of the experiment, one cookie, and answers from the key."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiment.commands.prepare import prepare
from experiment.run import Run
from experiment.study_folder import Folder
from tests.experiment import folders

SCREEN = {"width": 1280, "height": 720}


def prepared(tmp: Path, kind: str = "two-alternative", settings: dict[str, Any] | None = None, **options: Any) -> Path:
    """A run folder in `tmp`: of made-up participants unless `people`; other options are those of the folder of questions."""
    people = options.pop("people", False)
    make = folders.ratings if kind == "ratings" else folders.two_alternative
    make(tmp / "exported", **options)
    prepare(tmp / "run", tmp / "exported", simulated=not people, settings=settings)
    return tmp / "run"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One participant. `state` is the last one that came; `seen` is everything that was received, in order."""

    address: str
    folder: Folder
    cookie: str | None = None
    session: str | None = None
    clock: float | None = None
    state: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[str, Reply]] = field(default_factory=list)
    name: str = "session"  # of the cookie
    _count: int = 0

    @classmethod
    def of(cls, address: str, run: Run, **more: Any) -> Client:
        return cls(address, run.folder, name=f"session-{run.mark}", **more)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """One request; a body that is no bytes goes as JSON. A header with the value "" is left out."""
        sent: dict[str, str] = {}
        if self.cookie:
            sent["Cookie"] = f"{self.name}={self.cookie}"
        if self.session and method == "POST":
            sent["X-Session"] = self.session
        if self.clock is not None:
            sent["X-Clock"] = repr(self.clock)
        data = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent |= headers or {}
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        self.seen.append((path, reply))
        if "set-cookie" in reply.headers:
            name, _, self.cookie = reply.headers["set-cookie"].split(";")[0].partition("=")
            assert name == self.name
        return reply

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        """A write, and the state that came back."""
        reply = self.call("POST", path, body, headers)
        if reply.headers.get("content-type") == "application/json" and "state" in reply.json:
            self.state = reply.json["state"]
        return reply

    def begin(self, person: str | None = None, platform: str = "direct") -> Reply:
        """Come, with a session afterwards unless it was refused."""
        reply = self.post("/api/session", {"platform": platform, "person": person, "screen": SCREEN})
        if reply.status == 200:
            self.state = reply.json
            self.session = self.state["session"]
        return reply

    def start(self, person: str | None = None, platform: str = "direct") -> None:
        """Come, agree and read."""
        assert self.begin(person, platform).status == 200
        assert self.post("/api/consent", {"agreed": True}).status == 200
        assert self.post("/api/instructions", {"seconds": 20.0}).status == 200

    def key(self) -> str:
        """A new key of a request."""
        self._count += 1
        return f"{self.session}-{self._count:08d}"

    @property
    def trial(self) -> int:
        return self.state["trial"]["trial"]

    def question(self, run: Run) -> Any:
        """The question of the open trial, which only a server knows."""
        return run.folder.questions[self.own(run).course.name_of(self.trial)]

    def own(self, run: Run) -> Any:
        return next(each for each in run.by_token.values() if each.session == self.session)

    def answer(self, run: Run, right: bool = True, **changes: Any) -> Reply:
        """Answer the open trial, by the key of the server."""
        upper = (self.question(run).answer == "top") == right
        body = {"trial": self.trial, "key": self.key(), "button": 1 if upper else 4, "rt": 2000.5}
        return self.post("/api/answer", body | changes)

    def rate(self, picked: tuple[int, ...] = (0, 3), **changes: Any) -> Reply:
        body = {"trial": self.trial, "key": self.key(), "picked": list(picked), "none": not picked, "seconds": 12.5}
        return self.post("/api/rating", body | changes)

    def finish(self, run: Run, right: bool = True, comment: str = "") -> dict[str, Any]:
        """Go through to the end; the last state."""
        for _ in range(300):
            stage = self.state["stage"]
            if stage == "end":
                return self.state
            if stage == "ready":
                reply = self.post("/api/ready", {})
            elif stage == "comment":
                reply = self.post("/api/comment", {"text": comment})
            elif stage == "rating":
                reply = self.rate()
            else:
                reply = self.answer(run, right)
            assert reply.status == 200, reply.body
        raise AssertionError("no end")
