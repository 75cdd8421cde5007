"""When eight GPUs end the full study, over the earliest that they could: the code of the study, on a simulated clock.

    python -m benchmarks.schedule [--workers 8] [--draws 40]

Passes are those of study.extraction.grouping for the roster on GPUs. They are handed out by the loops that hand them out in
a study, of worker processes (`local`) and of a Ray cluster (`ray`), in which processes, tasks and waiting are replaced by a
clock. A network takes the seconds of benchmarks.throughput (float16, long networks compiled) times an error, log-normal
with the spread of that prediction; a pass at least what decoding its pictures takes, and half a minute to begin.

The earliest end is the larger of two: all work over the speed of all workers, and the longest network. Cases: times as
predicted; within their error; one worker at .7 of the others' speed; a node of a cluster that is lost for good, whose pass
Ray puts behind those that it was already given; and a worker process that is killed, whose pass runs again when all others
are done. Both losses come at a random moment, and a pass goes on where it was saved, every 300 seconds. `roster order` is
what it would be if passes were not ordered.

Writes  schedule.csv: mean and largest ratio over draws. Aim: at most 1.1, but for `roster order` and the killed process
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import math
import pickle
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import card_hours, throughput
from benchmarks.harness import report
from benchmarks.measured_rates import table
from benchmarks.throughput import COMPILED, ROOT
from interpretability.randomness import generator
from interpretability.tasks import rules
from study.environment import Environment
from study.extraction import grouping
from study.extraction.grouping import NetworkCost
from study.extraction.job import Extraction, ExtractionParams
from study.files.tables import read_csv
from study.networks.roster import RosterRow, read_roster
from study.params.reading import load
from study.workers import jobs as local
from study.workers import processes, ray

SEED = 0
CARD, FORM = "H200", "float16, compiled"
IMAGES, MEMORY = 1_281_167, 141e9
SAVED = 300.0  # seconds between saved states
STARTED = 30.0  # seconds in which a pass loads its networks
SLOW = 0.7
CORES = 16  # beside a GPU
N_TASKS, K, BATCH = 20, 9, 256


@dataclass(frozen=True)
class SimulatedPass:
    """A job that takes these seconds of a worker of speed 1."""

    name: str
    seconds: float
    size: float = 1.0

    def run(self) -> str:
        return self.name


@dataclass(frozen=True)
class Case:
    """What happens: speeds of workers, spread of errors, and the share of the time after which worker 0 is lost, if it is."""

    name: str
    executor: str = "local"
    spread: bool = True
    slow: bool = False
    lost: bool = False
    ordered: bool = True


CASES = (
    Case("times as predicted", spread=False),
    Case("times as predicted within their error"),
    Case("times as predicted within their error", "ray"),
    Case("one worker at .7 of the speed", slow=True),
    Case("one worker at .7 of the speed", "ray", slow=True),
    Case("a node is lost for good", "ray", lost=True),
    Case("a worker process is killed", lost=True),
    Case("roster order", ordered=False),
)


class Clock:
    """Simulated time of workers with these speeds, of which the first is lost at the given time."""

    def __init__(self, speeds: Sequence[float], lost_at: float) -> None:
        self.now, self.speeds, self.lost_at = 0.0, speeds, lost_at
        self._done: dict[str, float] = {}  # seconds of a pass that lie in a saved state

    def end(self, job: SimulatedPass, worker: int) -> tuple[float, bool]:
        """When a job that begins now ends, and whether it is lost then with its worker."""
        needed = (STARTED + job.seconds - self._done.get(job.name, 0.0)) / self.speeds[worker]
        if worker != 0 or not self.now < self.lost_at < self.now + needed:
            return self.now + needed, False
        ran = max(0.0, self.lost_at - self.now - STARTED)
        self._done[job.name] = self._done.get(job.name, 0.0) + math.floor(ran / SAVED) * SAVED * self.speeds[worker]
        return self.lost_at, True


class _Future:
    def __init__(self, name: str, ends: float, lost: bool) -> None:
        self._name, self.ends, self._lost = name, ends, lost

    def result(self) -> str:
        if self._lost:
            raise BrokenProcessPool
        return self._name


class _Pool:
    """A worker process: one job at a time."""

    def __init__(self, clock: Clock, n: int, context: object, begin: object, args: tuple[str, Any, int]) -> None:
        self._clock, self._worker = clock, int(args[0].partition(":")[2])

    def submit(self, call: object, job: SimulatedPass) -> _Future:
        ends, lost = self._clock.end(job, self._worker)
        return _Future(job.name, ends, lost)

    def shutdown(self, **_: object) -> None:
        """Nothing is to be ended."""


@contextlib.contextmanager
def local_workers(clock: Clock) -> Generator[None]:
    """Worker processes of one machine, on a simulated clock."""

    def wait(running: Iterable[_Future], return_when: object) -> SimpleNamespace:
        first = min(running, key=lambda future: future.ends)
        clock.now = first.ends
        return SimpleNamespace(done={first})

    names = [f"cuda:{worker}" for worker in range(len(clock.speeds))]
    with (
        mock.patch.object(processes, "ProcessPoolExecutor", partial(_Pool, clock)),
        mock.patch.object(processes, "wait", wait),
        mock.patch.object(local, "local_devices", return_value=names),
    ):
        yield


class _Cluster:
    """What the study asks of Ray: tasks begin in the order in which they were given; those that are lost go behind the others."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._free = clock, list(range(len(clock.speeds)))
        self._queue: list[tuple[int, SimulatedPass]] = []
        self._running: list[tuple[float, int, int, SimulatedPass, bool]] = []
        self._ended: dict[int, str] = {}
        self._given = 0
        names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError", "LocalRayletDiedError")
        self.exceptions = SimpleNamespace(**{name: type(name, (Exception,), {}) for name in names})

    def cluster_resources(self) -> dict[str, float]:
        return {"GPU": float(len(self._free) + len(self._running))}

    def remote(self, **_: object) -> Callable[[object], SimpleNamespace]:
        return lambda task: SimpleNamespace(remote=self._give)

    def _give(self, job: bytes, need: str, home: object) -> int:
        self._given += 1
        self._queue.append((self._given, pickle.loads(job)))
        self._begin()
        return self._given

    def _begin(self) -> None:
        while self._free and self._queue:
            worker, (ref, job) = self._free.pop(0), self._queue.pop(0)
            ends, lost = self._clock.end(job, worker)
            heapq.heappush(self._running, (ends, ref, worker, job, lost))

    def wait(self, refs: Sequence[int], **_: object) -> tuple[list[int], list[int]]:
        while not (done := [ref for ref in refs if ref in self._ended]):
            ends, ref, worker, job, lost = heapq.heappop(self._running)
            self._clock.now = ends
            if lost:
                self._queue.append((ref, job))
            else:
                self._ended[ref] = job.name
                self._free.append(worker)
            self._begin()
        return done, [ref for ref in refs if ref not in done]

    def get(self, ref: int) -> bytes:
        return pickle.dumps(("done", self._ended[ref]))


@contextlib.contextmanager
def ray_cluster(clock: Clock) -> Generator[None]:
    """A cluster of Ray, a GPU a node, on a simulated clock."""
    cluster = _Cluster(clock)
    with (
        mock.patch.object(ray, "_connected", return_value=cluster),
        mock.patch.object(ray, "_home", side_effect=lambda: contextlib.nullcontext({})),
        mock.patch.object(ray, "_cancel"),
    ):
        yield


def end_of(passes: Sequence[SimulatedPass], executor: str, clock: Clock) -> float:
    """When the last pass has ended."""
    names = [job.name for job in passes]
    # whatever this machine is set to
    here = replace(Environment.read(), executor="local", device="auto", workers=None)
    with mock.patch.object(Environment, "read", return_value=here):
        if executor == "ray":
            with ray_cluster(clock):
                ended = [str(result) for _, result in ray.run_jobs(passes)]
        else:
            with local_workers(clock):
                ended = [str(result) for _, result in local.run_jobs(passes)]
    if sorted(ended) != sorted(names):
        raise AssertionError(f"{len(ended)} of {len(names)} passes ended")
    return clock.now


def earliest(seconds: NDArray[np.float64], speeds: Sequence[float], lost_at: float, *, stays_away: bool) -> float:
    """When these networks can have ended at the earliest: all workers busy to the end, or the longest network from the start."""
    even = float(seconds.sum()) / sum(speeds)
    if stays_away and lost_at < even:
        even = lost_at + (float(seconds.sum()) - lost_at * sum(speeds)) / (sum(speeds) - speeds[0])
    return max(even, float(seconds.max()) / max(speeds))


def roster_costs(networks: pd.DataFrame) -> tuple[list[Extraction], list[NetworkCost]]:
    """Networks as the stage sees them before it loads them."""
    params = load(ROOT / "studies/imagenet.yaml", ExtractionParams)
    rows = {row["name"]: row for row in read_roster(throughput.ROSTER).to_dict("records")}
    units = (
        read_csv(ROOT / "data/external/models/imagenet_units.csv")
        .groupby("model")["n_units"]
        .sum()
        .astype(int)
        .to_dict()
    )
    state = partial(grouping.state_bytes, k=rules.needed(N_TASKS, K), batch_size=BATCH, on_device=True)
    nowhere = Path()
    extractions = [
        Extraction(cast(RosterRow, rows[name]), params, nowhere, nowhere, nowhere, nowhere)
        for name in networks["model"]
    ]
    costs = []
    for row in networks.to_dict("records"):
        n_units = units[row["model"]]
        flops, written = int(1e9 * row["gflop"]), int(1e6 * row["mactivations"])
        costs.append(NetworkCost(row["model"], n_units, flops, written, state(n_units)))
    return extractions, costs


def planned(networks: pd.DataFrame, workers: int, *, ordered: bool) -> list[list[int]]:
    """Passes in the order in which they begin."""
    extractions, costs = roster_costs(networks)
    names = [f"cuda:{worker}" for worker in range(workers)]
    with (
        mock.patch.object(grouping, "devices", return_value=names),
        mock.patch.object(grouping, "memory_budget", return_value=MEMORY / 2),
    ):
        most = min(8, math.ceil(len(networks) / workers))
        return grouping.planned_passes(extractions, [False] * len(costs), most, costs if ordered else [])


@cache
def decoding_seconds() -> float:
    """That the cores beside a GPU take to decode and resize all pictures once."""
    speeds = table("loading", "loading").set_index("case")["images_per_cpu_s"]
    return IMAGES / (CORES * float(speeds["fed"]))


def ratio(
    case: Case, passes: Sequence[Sequence[int]], seconds: NDArray[np.float64], spread: float, workers: int, draw: int
) -> float:
    """End over the earliest end, in one draw."""
    draws = generator(SEED, "schedule", case.name, case.executor, draw)
    took = seconds * np.exp(spread * draws.standard_normal(len(seconds))) if case.spread else seconds
    decoding = decoding_seconds()
    speeds = [SLOW if case.slow and worker == workers - 1 else 1.0 for worker in range(workers)]
    lost_at = float(draws.uniform()) * float(took.sum()) / workers if case.lost else math.inf
    simulated = [
        SimulatedPass(str(number), max(decoding, float(took[list(part)].sum()))) for number, part in enumerate(passes)
    ]
    clock = Clock(speeds, lost_at)
    return end_of(simulated, case.executor, clock) / earliest(took, speeds, lost_at, stays_away=case.executor == "ray")


def seconds_of(networks: pd.DataFrame) -> tuple[NDArray[np.float64], float]:
    """Seconds of each network over all images, and the spread of that prediction."""
    precision, card = card_hours.FORMS[FORM][0], throughput.cards()[CARD]
    found = throughput.tables()
    public = throughput.public_constants(found)
    eager, compiled = (throughput.constants_of(form, public)[1] for form in (throughput.EAGER, COMPILED))
    table = found[throughput.FAR, COMPILED]
    return card_hours.passes(networks, IMAGES, card, precision, eager, compiled)[0], throughput.spread(
        table, public[throughput.FAR, COMPILED]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--draws", type=int, default=40)
    args = parser.parse_args()
    networks, rows = throughput.counted(), []
    seconds, spread = seconds_of(networks)
    plans = {ordered: planned(networks, args.workers, ordered=ordered) for ordered in (True, False)}
    for case in CASES:
        passes = plans[case.ordered]
        found = [
            ratio(case, passes, seconds, spread, args.workers, draw) for draw in range(args.draws if case.spread else 1)
        ]
        rows.append(
            {
                "case": case.name,
                "executor": case.executor,
                "workers": args.workers,
                "passes": len(passes),
                "draws": len(found),
                "ratio": float(np.mean(found)),
                "ratio_high": max(found),
            }
        )
    report("schedule", "End over the earliest possible end", rows)


if __name__ == "__main__":
    main()
