"""Runs that are served to a real browser, by a server that counts what it is asked for and may damage pictures on the way."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from experiment import recorded, serving
from experiment.assets import Assets
from experiment.commands.prepare import prepare
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import Press
from experiment.rehearsal.walk import Walk
from experiment.run import Run
from experiment.server import create_app
from tests.experiment import folders

# as short as a session may be: one block of five, five main and two catch trials
QUICK = {"wait_seconds": 0.05, "catch_trials": 2, "checks.min_seconds": 0.0, "checks.min_instruction_seconds": 0.0}
SETTINGS = {name.replace(".", "__"): value for name, value in QUICK.items()}  # the same for `served`
N_PRACTICE, N_MAIN = 5, 7
FIRST_MAIN = 15  # three blocks of practice come before
BUTTONS = 'document.documentElement?.dataset.ready === "1"'


class Net:
    """Around the application. `asked` counts requests by path; of the pictures that are asked for the first time, each
    `every`-th is damaged in turn: cut with its connection, shorter than it was, changed in the middle."""

    def __init__(self, app):
        self._app = app
        self.every = 0
        self.asked: Counter[str] = Counter()
        self.damaged: dict[str, str] = {}
        self._pictures = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"]
        self.asked[path] += 1
        if path.startswith("/p/") and self.asked[path] == 1 and self.every:
            self._pictures += 1
            if self._pictures % self.every == 0:
                kind = ("cut", "short", "changed")[self._pictures // self.every % 3]
                self.damaged[path] = kind
                return await self._app(scope, receive, _Damage(kind, send))
        return await self._app(scope, receive, send)


class _Damage:
    """Sends half of a body, or all of it with one byte changed."""

    def __init__(self, kind, send):
        self._kind, self._send, self._start = kind, send, None

    async def __call__(self, message):
        if message["type"] == "http.response.start":
            self._start = message
            return
        body = bytearray(message["body"])
        middle = len(body) // 2
        if self._kind == "changed":
            body[middle] ^= 1
        else:
            del body[middle:]
        start = self._start
        if self._kind == "short":
            heads = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            start = {**start, "headers": [*heads, (b"content-length", str(len(body)).encode())]}
        await self._send(start)
        # a body that ends before the length that was promised: the server closes the connection
        await self._send({**message, "body": bytes(body), "more_body": self._kind == "cut"})


@dataclass(frozen=True)
class Served:
    """A run while it is served."""

    address: str
    path: Path
    net: Net
    keys: Keys

    def walk(self, hands, **options) -> Walk:
        """A participant who knows all answers, in a tab that opens the first page."""
        hands.open(self.address + "/", **options)
        walk = Walk(hands, self.right)
        walk.settled()
        return walk

    def right(self, shown):
        """The right button; or the first picture of a page, and on every third page none."""
        if "pictures" in shown:
            return [] if shown["number"] % 3 == 0 else [0, 4]
        return right_button(self.keys, shown)

    def recorded(self):
        """What was kept, read as everybody else reads it."""
        return recorded.read(self.path)


def right_button(keys: Keys, shown) -> int:
    """The surest right button of a trial."""
    return keys.button(shown, keys.question(shown), Press(True, 3, 0.0))


@contextmanager
def served(folder: Path, questions: Path, *, simulated: bool = False, **settings) -> Iterator[Served]:
    """Prepare a run in `folder` and serve it; settings are those of settings.yaml, with __ for a dot."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    prepare(folder, questions, simulated=simulated, settings=named)
    nets: list[Net] = []

    def counting(run: Run, **options) -> Net:
        nets.append(Net(create_app(run, **options)))
        return nets[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "create_app", counting)
        with serving.Background(run := Run(folder), assets=Assets.load()) as server:
            yield Served(server.address, folder, nets[0], Keys(run.folder))


def two_alternative(folder: Path, **options) -> Path:
    """Questions for a few sessions, of many pictures as large as they are exported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "_POOL", 600)
        return folders.two_alternative(
            folder, **{"n_units": 20, "n_sessions": 8, "responses": 4, "side": 224} | options
        )


def heavier(folder: Path, size: int) -> Path:
    """Make every picture of a folder a file of `size` bytes: what follows the end of a JPEG is not looked at."""
    rows = list(csv.DictReader((folder / "images.csv").open()))
    for row in rows:
        path = folder / row["file"]
        path.write_bytes(path.read_bytes().ljust(size, b" "))
        row |= {"bytes": str(size), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folders.write_study(folder, json.loads((folder / "study.json").read_text()))


def other_hosts(requests, address: str) -> list[str]:
    """Addresses beside the server's own."""
    host = urlsplit(address).netloc
    return [each for each in requests if urlsplit(each).netloc != host and not each.startswith(("data:", "about:"))]
