"""Whole jobs done by workers: one loop for all stages, with progress and with results in the order of the jobs."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from study.environment import Environment
from study.errors import StudyError
from study.log import Progress, logger
from study.workers.device import DIED, LOST, Failure, Job, device, outcome, start
from study.workers.placement import device_kind, local_devices
from study.workers.processes import on_workers

Result = TypeVar("Result")

log = logger("workers")

_WORTH_WORKERS = 8.0  # seconds of work below which starting processes, which import torch, costs more than it saves
_MOST_WARM_UP = 20.0  # seconds that loading packages and compiling kernels may take


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
    kind = ask_worker(KindJob())
    if isinstance(kind, Failure):
        raise StudyError(f"a worker of the cluster cannot tell its GPU: {kind.reason}")
    return kind


@dataclass(frozen=True)
class KindJob:
    """What kind of device a worker has."""

    name: str = "kind of device"
    size: float = 1.0

    def run(self) -> str:
        return device_kind(device())


def run_all(
    jobs: Sequence[Job[Result]],
    what: str,
    log: logging.Logger,
    *,
    probe: bool = False,
    on_cpu: bool = False,
    here: bool = False,
    each: Callable[[Any, Result | Failure], object] | None = None,
) -> list[Result | Failure]:
    """Results of all jobs in their order, a Failure for each that ended in an error.

    Progress is shown in `log` as `what`: finished of all, by the size of jobs. `each(job, result)` is called as they end.
    `probe`, `on_cpu` and `here` are those of `run_jobs`.
    """
    progress = Progress(log, sum(job.size for job in jobs), what)
    results: dict[int, Result | Failure] = {}
    for index, result in run_jobs(jobs, probe=probe, on_cpu=on_cpu, here=here):
        results[index] = result
        if each is not None:
            each(jobs[index], result)
        progress.step(jobs[index].size, note=jobs[index].name)
    return [results[index] for index in range(len(jobs))]


def run_all_or_stop(
    jobs: Sequence[Job[Result]],
    what: str,
    log: logging.Logger,
    *,
    probe: bool = False,
    on_cpu: bool = False,
    here: bool = False,
    each: Callable[[Any, Result], object] | None = None,
) -> list[Result]:
    """As `run_all`, but the first job that fails ends the stage with a StudyError."""

    def stop(job: Job[Result], result: Result | Failure) -> None:
        if isinstance(result, Failure):
            raise StudyError(f"{what}, {job.name}: {result.reason}")
        if each is not None:
            each(job, result)

    return cast(list[Result], run_all(jobs, what, log, probe=probe, on_cpu=on_cpu, here=here, each=stop))


class Named(Protocol):
    """A job, or a part of one."""

    @property
    def name(self) -> str: ...


def log_failure(log: logging.Logger, job: Named, result: object) -> None:
    """Tell of a job that failed, as it ends; for `each` of `run_all`."""
    if isinstance(result, Failure):
        log.warning("%s failed: %s", job.name, result.reason_without(job.name))


def ask_worker(job: Job[Result]) -> Result | Failure:
    """What one worker answers, without a line in the log."""
    return next(run_jobs([job]))[1]


def run_jobs(
    jobs: Sequence[Job[Result]], *, probe: bool = False, on_cpu: bool = False, here: bool = False
) -> Iterator[tuple[int, Result | Failure]]:
    """Yield (index of the job, its result or a Failure) as jobs end: the engine of `run_all`.

    With `on_cpu`, for jobs that would not use a GPU: one worker a core, whatever devices there are. With `here`, for short jobs
    that carry much: processes of this machine, also where there is a cluster.

    With `probe`, for jobs of about equal length: the first runs here, and if the rest would take less time than
    starting workers does, so does the rest; else the second tells, for the first may have loaded packages and kernels.
    Nothing runs here where workers have a GPU or belong to a cluster.

    An error inside a job becomes a Failure and the others go on; a full disk or changed images end them all. A worker
    that dies (killed, out of memory) costs its own job and no other. That job runs again when all others are done, with
    the memory of the machine to itself; if its worker dies again, it is a Failure.
    """
    if not jobs:
        return
    if Environment.read().executor == "ray" and not here:
        from study.workers import ray

        yield from ray.run_jobs(jobs, on_cpu=on_cpu)
        return
    workers = local_devices(on_cpu=on_cpu)
    first = 0
    if probe and workers[0] == "cpu" and len(jobs) > 1:
        start("cpu")
        took = 0.0
        for first in (1, 2):
            began = time.monotonic()
            yield first - 1, outcome(jobs[first - 1])
            took = time.monotonic() - began
            if took * (len(jobs) - first) < _WORTH_WORKERS:
                workers = workers[:1]
            if len(workers) == 1 or took > _MOST_WARM_UP:
                break
    if workers[0] == "cpu" and 1 in (len(workers), len(jobs)):
        start("cpu")
        for index in range(first, len(jobs)):
            yield index, outcome(jobs[index])
        return
    died = []
    for index, result in on_workers(jobs, range(first, len(jobs)), workers[: len(jobs) - first]):
        if result is LOST:
            log.warning(
                "the worker process of %s died, most likely for want of memory; it runs again alone", jobs[index].name
            )
            died.append(index)
        else:
            yield index, result
    for index in sorted(died):
        for _, result in on_workers(jobs, [index], workers[:1]):
            yield index, Failure(DIED) if result is LOST else result
