"""A server of the experiment that is killed again and again while people answer: does anything acknowledged get lost?

    python -m benchmarks.experiment_kills [--kills 20] [--people 50] [--pause 0.2]

The server is killed with SIGKILL at moments drawn at random and started again; meanwhile simulated participants answer and repeat
what was not acknowledged under the same key, as the page does. Then every acknowledged answer is looked up in the database by its
session, trial and key. Killing a process cannot show what a loss of power does: that hangs on PRAGMA synchronous. It shows the
order in which the server commits and acknowledges, and so that the look-up can fail, a second row is of a server that
acknowledges 5 ms before it commits.

server        study: the server as it is; early: it acknowledges 5 ms before it commits
kills, seconds          how often it was killed, and how long it all took
acknowledged, lost, doubled   answers; doubled: more than one to a trial, or to a question of the main part, of a session
restart_median, restart_worst  seconds from the start of the process to its first answer
machine_load  load average of the machine in the minute before: what others did there
integrity     what PRAGMA integrity_check says in the end
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.experiment_folders import prepared
from benchmarks.harness import report
from experiment.rehearsal.http import Client
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import HONEST, Participant
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.walking import Chooser
from experiment.study_folder import PRACTICE, Folder
from interpretability.randomness import generator
from study.errors import StudyError

EARLY_MS = 5
SERVERS = {"study": (), "early": ("--early-ms", str(EARLY_MS))}
BETWEEN = (0.05, 0.4)  # seconds from an answer of a new process to its end, drawn evenly
_PATIENCE = 30.0


@dataclass
class Crowd:
    """Participants in a thread of their own. What they know as acknowledged: (session, trial, key)."""

    port: int
    keys: Keys
    people: int
    pause: float
    chooser_of: list[Chooser] = field(default_factory=list)
    lost_sessions: int = 0
    problems: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def acknowledged(self) -> set[tuple[str, int, str]]:
        return {
            (chooser.walked.session, answer.trial, answer.key)
            for chooser in list(self.chooser_of)
            for answer in list(chooser.walked.answers)
        }

    @contextlib.contextmanager
    def answering(self, *, may_lose_sessions: bool) -> Generator[None]:
        """They answer while the block runs; what went wrong among them is raised at its end."""
        thread = threading.Thread(target=lambda: asyncio.run(self._all(may_lose_sessions)), name="people")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self.problems:
            raise self.problems[0]

    async def _all(self, may_lose_sessions: bool) -> None:
        tasks = [asyncio.create_task(self._one(may_lose_sessions)) for _ in range(self.people)]
        while not self._over.is_set():
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        self.problems += [end for end in ends if not isinstance(end, asyncio.CancelledError | None)]

    async def _one(self, may_lose_sessions: bool) -> None:
        """One person after the other."""
        while True:
            number = next(self._numbers)
            person = Participant(0, number, HONEST, 6.0, 0.05, 10.0, 30.0, 0, False)
            client = Client(HOST, self.port, patience=_PATIENCE)
            chooser = Chooser(client, self.keys, f"simulated-{number}", 30.0, pause=self.pause, person=person)
            self.chooser_of.append(chooser)
            try:
                if not await chooser.start():
                    raise StudyError("The folder of the test has too few questions: a participant was turned away")
                await chooser.run()
            except StudyError:
                # a server that acknowledges too early forgets whole sessions
                if not may_lose_sessions:
                    raise
                self.lost_sessions += 1
            finally:
                await client.close()


@dataclass(frozen=True)
class Found:
    """What a series of kills did; columns as the module says."""

    kills: int
    seconds: float
    acknowledged: int
    lost: int
    doubled: int
    restarts: list[float]
    integrity: str


def killed(
    run: Path,
    log: Path,
    *,
    server: str,
    kills: int,
    people: int,
    pause: float,
    enough: Callable[[int], bool] = lambda lost: False,
) -> Found:
    """Kill the server of a prepared run `kills` times, or until `enough(answers lost so far)`."""
    draw = generator(0, "kills", server)
    process = ServerProcess(run, log, command=("-m", "benchmarks.experiment_server"), options=SERVERS[server])
    keys = Keys(Folder.read(run / "questions"))
    crowd = Crowd(process.port, keys, people, pause)
    database, begun, done, restarts = run / "answers.sqlite", time.perf_counter(), 0, []
    with process, crowd.answering(may_lose_sessions=server == "early"):
        lost = 0
        while done < kills and not enough(lost):
            time.sleep(draw.uniform(*BETWEEN))
            process.kill()
            done += 1
            lost = len(crowd.acknowledged() - rows(database)[0])  # nobody writes now
            restarts.append(process.start())
    seconds = time.perf_counter() - begun
    known, doubled, integrity = rows(database)
    acknowledged = crowd.acknowledged()
    return Found(done, seconds, len(acknowledged), len(acknowledged - known), doubled, restarts, integrity)


def rows(database: Path) -> tuple[set[tuple[str, int, str]], int, str]:
    """Answers in the database as (session, trial, key), how many are one too many, and whether the database is whole."""
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT session, trial, key, kind, question FROM answer").fetchall()
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    trials = [row[:2] for row in found]
    questions = [(row[0], row[4]) for row in found if row[3] != PRACTICE]
    doubled = sum(len(each) - len(set(each)) for each in (trials, questions))
    return {row[:3] for row in found}, doubled, integrity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, default in (("kills", int, 20), ("people", int, 50), ("pause", float, 0.2)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    args = parser.parse_args()
    table, busy = [], os.getloadavg()[0]
    for server in SERVERS:
        with tempfile.TemporaryDirectory() as name:
            run = prepared(Path(name))
            found = killed(
                run, Path(name) / "log", server=server, kills=args.kills, people=args.people, pause=args.pause
            )
        table.append(
            {
                "server": server,
                "people": args.people,
                "pause": args.pause,
                "kills": found.kills,
                "seconds": found.seconds,
                "acknowledged": found.acknowledged,
                "lost": found.lost,
                "doubled": found.doubled,
                "restart_median": np.median(found.restarts),
                "restart_worst": max(found.restarts),
                "machine_load": busy,
                "integrity": found.integrity,
            }
        )
    report("experiment_kills", "A server killed while simulated participants answer", table)


if __name__ == "__main__":
    main()
