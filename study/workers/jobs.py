"""Whole jobs done by workers, results as they end."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from study.environment import Environment
from study.errors import StudyError
from study.log import logger
from study.workers.device import DIED, LOST, Failure, device, guarded, start
from study.workers.placement import device_kind, local_devices
from study.workers.processes import on_workers

log = logger("workers")


_WORTH_WORKERS = 8.0  # seconds of work below which starting processes, which import torch, costs more than it saves


def devices() -> list[str]:
    """One device name a worker: of this machine as cpu or cuda:0, of a cluster as cpu or cuda.

    The default is every visible GPU, else every core that this process may use.
    """
    if Environment.read().executor == "ray":
        from study.workers import ray

        return ray.devices()
    return local_devices()


def kind_of_workers() -> str:
    """`device_kind` where jobs run."""
    first = devices()[0]
    return _kind_in_cluster() if first == "cuda" else device_kind(first)


@functools.cache
def _kind_in_cluster() -> str:
    """A worker is asked, for the machine of this process may have no GPU."""
    found = next(run_jobs(_kind_here, [None], ["kind of device"]))[1]
    if isinstance(found, Failure):
        raise StudyError(f"a worker of the cluster cannot tell its GPU: {found.reason}")
    return str(found)


def _kind_here(_: None) -> str:
    return device_kind(device())


def run_jobs(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    names: Sequence[str],
    *,
    probe: bool = False,
    on_cpu: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (place of the job, its result or a Failure) as jobs end.

    With `on_cpu`, for jobs that would not use a GPU: one worker a core, whatever devices there are.

    With `probe`, for jobs of about equal length: the first runs here, and if the rest would take less time than
    starting workers does, so does the rest. Nothing runs here where workers have a GPU or belong to a cluster.

    `function` is a top-level function; a job is anything that pickles. An error inside a job becomes a Failure and
    the others go on; a full disk or changed pictures end them all. A worker that dies (killed, out of memory) costs its
    own job and no other. That job runs again when all others are done, with the memory of the machine to itself; if its
    worker dies again, it is a Failure.
    """
    if not jobs:
        return
    if Environment.read().executor == "ray":
        from study.workers import ray

        yield from ray.run_jobs(function, jobs, names, on_cpu=on_cpu)
        return
    workers = local_devices(on_cpu=on_cpu)
    first = 0
    if probe and workers[0] == "cpu" and len(jobs) > 1:
        start("cpu")
        began = time.monotonic()
        yield 0, guarded(function, jobs[0])
        first = 1
        if (time.monotonic() - began) * (len(jobs) - 1) < _WORTH_WORKERS:
            workers = workers[:1]
    if workers[0] == "cpu" and 1 in (len(workers), len(jobs)):
        start("cpu")
        for i in range(first, len(jobs)):
            yield i, guarded(function, jobs[i])
        return
    died = []
    for place, result in on_workers(function, jobs, range(first, len(jobs)), workers[: len(jobs) - first]):
        if result is LOST:
            log.warning(
                "the worker process of %s died, most likely for want of memory; it runs again alone", names[place]
            )
            died.append(place)
        else:
            yield place, result
    for place in sorted(died):
        for _, result in on_workers(function, jobs, [place], workers[:1]):
            yield place, Failure(DIED) if result is LOST else result
