"""Whole jobs on worker processes: one a visible GPU, or one a CPU core, each with one thread.

The number of workers never changes a result: a job is done by one worker from start to end, and results are
collected by job, not by order of arrival.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from stages.errors import ChangedInput, StudyError
from stages.pipeline.log import logger

log = logger("workers")
_device = "cpu"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # options of glibc's mallopt
_STOPPING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_DIED = "its worker process died, also while nothing else ran: most likely it needs more memory than there is"
_WORTH_WORKERS = 8.0  # seconds of work below which starting processes, which import torch, costs more than it saves


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error; `reason` is one line."""

    reason: str


def devices() -> list[str]:
    """One device name a worker, from MIS_DEVICE (auto, cpu, cuda) and MIS_WORKERS.

    The default is every visible GPU, else every core that this process may use.
    """
    wanted = os.environ.get("MIS_DEVICE", "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise StudyError(f"MIS_DEVICE is {wanted!r}, allowed: auto, cpu, cuda")
    count = os.environ.get("MIS_WORKERS", "")
    if count and not (count.isdecimal() and int(count) > 0):
        raise StudyError(f"MIS_WORKERS is {count!r}, it must be a whole number of at least 1")
    if wanted == "cuda" or (wanted == "auto" and os.path.exists("/dev/nvidiactl")):
        import torch  # costs seconds to import, so only where a GPU may be

        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if gpus:
            return gpus[: int(count)] if count else gpus
        if wanted == "cuda":
            raise StudyError("MIS_DEVICE is cuda, but torch sees no GPU; set MIS_DEVICE=cpu or check the driver")
    return ["cpu"] * (int(count) if count else len(os.sched_getaffinity(0)))


def device() -> str:
    """Device of this worker process."""
    return _device


def run_jobs(
    function: Callable[[Any], Any], jobs: Sequence[Any], names: Sequence[str], *, probe: bool = False
) -> Iterator[tuple[int, Any]]:
    """Yield (place of the job, its result or a Failure) as jobs end.

    With `probe`, for jobs of about equal length: the first runs here, and if the rest would take less time than
    starting workers does, so does the rest.

    `function` is a top-level function; a job is anything that pickles. An error inside a job becomes a Failure and
    the others go on; a full disk or changed pictures end them all. Where a worker dies (killed, out of memory), the jobs
    then in flight run again one by one, with the memory of the machine to themselves; one whose worker then dies is a
    Failure, and the others go on.
    """
    if not jobs:
        return
    workers = devices()
    first = 0
    if probe and workers[0] == "cpu" and len(jobs) > 1:
        _start("cpu", None)
        start = time.monotonic()
        yield 0, guarded(function, jobs[0])
        first = 1
        if (time.monotonic() - start) * (len(jobs) - 1) < _WORTH_WORKERS:
            workers = workers[:1]
    if len(workers) == 1 or len(jobs) == 1:
        _start(workers[0], None)
        for i in range(first, len(jobs)):
            yield i, guarded(function, jobs[i])
        return
    waiting = list(range(first, len(jobs)))
    while waiting:
        used = workers[: len(waiting)]
        for place, result in _on_workers(function, jobs, waiting, used):
            waiting.remove(place)
            yield place, result
        # what is left was under way or queued when a worker died: jobs begin in their order
        for place in waiting[: len(used)]:
            log.warning("a worker process died, most likely for want of memory; %s runs again alone", names[place])
            alone = dict(_on_workers(function, jobs, [place], used[:1]))
            waiting.remove(place)
            yield place, alone.get(place, Failure(_DIED))


def _on_workers(
    function: Callable[[Any], Any], jobs: Sequence[Any], places: list[int], used: list[str]
) -> Iterator[tuple[int, Any]]:
    """Results of some jobs on new worker processes, one a device name; when a worker dies, only of those that were done."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    for name in used:
        queue.put(name)
    with ProcessPoolExecutor(len(used), context, _start_from, (queue, os.getpid())) as pool:
        futures = {pool.submit(guarded, function, jobs[place]): place for place in places}
        try:
            for future in as_completed(futures):
                with contextlib.suppress(BrokenProcessPool):  # of jobs that were not done when a worker died
                    yield futures[future], future.result()
        except BaseException:
            # an interruption does not wait for jobs that have not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def guarded(function: Callable[[Any], Any], job: Any) -> Any:
    """Result of a job, or a Failure; what is no property of the job (see `run_jobs`) is raised."""
    try:
        return function(job)
    except Exception as error:
        if isinstance(error, ChangedInput) or (isinstance(error, OSError) and error.errno in _STOPPING):
            raise  # other pictures, or a full or broken disk, are no property of this job: stop the stage
        text = " ".join(str(error).split())
        return Failure(text if isinstance(error, StudyError) else f"{type(error).__name__}: {text}")


def _start_from(queue: Any, parent: int) -> None:
    _start(queue.get(), parent)


def _keep_memory() -> None:
    """Let the C library keep freed memory instead of handing it back to the system after every layer of a network.

    Each layer of a CPU forward pass takes and frees hundreds of megabytes; fresh pages must be zeroed by the kernel,
    which took about as long as the arithmetic. Only glibc offers this; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _start(name: str, parent: int | None) -> None:
    global _device
    _device = name
    _keep_memory()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker when the stage is killed, so that no second writer outlives it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
