"""Two hundred simulated participants at once: how long the server takes for answers and pictures, and what it needs.

    python -m benchmarks.experiment_load [--people 200] [--seconds 20]

Two loads. `paced`: everybody fetches the 20 pictures of a trial every 6 s and answers it. `at once`: everybody answers without
a pause, and nothing else. Each is put on the study's server, which lets answers that wait share a commit, and on one that commits
every answer by itself; both acknowledge after the commit and have synchronous = FULL. Clients run on the same cores.

answers, answers_a_second   acknowledged ones
answer_p50, answer_p99, answer_max, picture_p99   milliseconds from the request to its whole reply
pictures_a_second, picture_mb   pictures, and megabytes of all files
failures      requests with another reply than 200
rows_missing  acknowledged answers that the database lacks afterwards
machine_load  load average of the machine in the minute before: what others did there
server_mb, server_cpu   resident memory in megabytes, and seconds of processor time of the server while the load was on
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import numpy as np

from benchmarks.experiment_folders import prepared
from benchmarks.experiment_kills import rows
from benchmarks.harness import report
from experiment.rehearsal.http import Client, Reply
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import HONEST, Participant
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.walking import Answered, Chooser
from experiment.study_folder import MAIN, Folder
from study.errors import StudyError

EVERY = 6.0  # seconds from a trial to the next one, in the paced load
AT_ONCE_SECONDS = 8.0
LONG = 500  # trials of a session, so that none ends during the load without pauses
PICTURES, SIDE = 900, 200
SERVERS: dict[str, tuple[str, ...]] = {"shared commits": (), "a commit an answer": ("--alone",)}


@dataclass
class Times:
    """Seconds of replies by kind, and how many were no 200."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: int = 0
    on: bool = False


@dataclass
class Timed(Client):
    """A client whose replies are timed while the load is on."""

    times: Times = field(default_factory=Times)

    async def request(self, method: str, path: str, body: bytes = b"") -> Reply:
        begun = time.perf_counter()
        reply = await super().request(method, path, body)
        if self.times.on:
            self.times.seconds[path.split("/")[1] if path.startswith("/p/") else path].append(
                time.perf_counter() - begun
            )
            self.times.failures += reply.status != HTTPStatus.OK
        return reply


async def paced(chooser: Chooser, start: float, end: float, share: float) -> None:
    """A trial with its pictures every EVERY seconds; `share` from 0 to 1 says when within that time."""
    due = start + EVERY * share
    while due < end:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        await chooser.trial()
        due += EVERY


async def at_once(chooser: Chooser, start: float, end: float, share: float) -> None:
    """Answers alone, one after the other, any button."""
    await asyncio.sleep(start - time.monotonic())
    while time.monotonic() < end:
        trial, key = chooser.state["trial"]["trial"], secrets.token_hex(16)
        if await chooser.step("answer", {"trial": trial, "key": key, "button": trial % 6, "rt": 1000.0}):
            chooser.walked.answers.append(Answered(trial, key, MAIN, "", trial % 6, False))


LOADS = {"paced": paced, "at once": at_once}


async def in_main_part(port: int, keys: Keys, number: int, times: Times) -> Chooser:
    """Somebody who has consent, instructions and practice behind them; who fails practice sends another one."""
    while True:
        person = Participant(0, number, HONEST, 6.0, 0.0, 10.0, 30.0, 0, False)
        client = Timed(HOST, port, times=times)
        chooser = Chooser(client, keys, f"simulated-{number}", 30.0, pictures=True, person=person)
        if not await chooser.start():
            raise StudyError("The folder of the benchmark has too few questions: a participant was turned away")
        chooser.pictures = False
        while chooser.state["stage"] not in ("main", "end"):
            await chooser.advance()
        if chooser.state["stage"] == "main":
            chooser.pictures = True
            return chooser
        number += 1_000_000


async def loaded(load: str, process: ServerProcess, keys: Keys, people: int, seconds: float) -> dict[str, object]:
    """Figures of one load on one server."""
    times = Times()
    crowd = await asyncio.gather(*(in_main_part(process.port, keys, number, times) for number in range(people)))
    before = {answer.key for chooser in crowd for answer in chooser.walked.answers}
    cpu, times.on = processor_seconds(process.pid), True
    start = time.monotonic() + 0.5
    await asyncio.gather(
        *(LOADS[load](chooser, start, start + seconds, place / people) for place, chooser in enumerate(crowd))
    )
    passed, times.on = time.monotonic() - start, False
    used = processor_seconds(process.pid) - cpu
    for chooser in crowd:
        await chooser.client.close()
    known = {answer.key for chooser in crowd for answer in chooser.walked.answers}
    answers, pictures = np.array(times.seconds["/api/answer"]), np.array(times.seconds["p"])
    return {
        "answers": len(known - before),
        "answers_a_second": len(known - before) / passed,
        "answer_p50": 1000 * np.quantile(answers, 0.5),
        "answer_p99": 1000 * np.quantile(answers, 0.99),
        "answer_max": 1000 * answers.max(),
        "pictures_a_second": len(pictures) / passed,
        "picture_p99": 1000 * np.quantile(pictures, 0.99) if len(pictures) else np.nan,
        "failures": times.failures,
        "rows_missing": len(known - {key for _, _, key in rows(process.run / "answers.sqlite")[0]}),
        "server_mb": resident(process.pid) / 1e6,
        "server_cpu": used,
    }


def processor_seconds(pid: int) -> float:
    """Of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes in memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    table, busy = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        for load in LOADS:
            for server, options in SERVERS.items():
                folder = Path(name) / f"{load} {server}"
                run = prepared(folder, trials=LONG, pictures=PICTURES, side=SIDE)
                read = Folder.read(run / "questions")
                keys = Keys(read, dict.fromkeys(read.questions, 1.0))
                command = ("-m", "benchmarks.experiment_server")
                with ServerProcess(run, folder / "log", command=command, options=options) as process:
                    seconds = args.seconds if load == "paced" else AT_ONCE_SECONDS
                    found = asyncio.run(loaded(load, process, keys, args.people, seconds))
                megabytes = sum(picture.bytes for picture in read.pictures.values()) / 1e6
                table.append({"load": load, "server": server, "people": args.people, "seconds": seconds, **found})
                table[-1] |= {"picture_mb": megabytes, "machine_load": busy}
    report("experiment_load", f"{args.people} simulated participants on one server", table)


if __name__ == "__main__":
    main()
