"""Whole jobs on worker processes: one a visible GPU, or one a CPU core, each with one thread.

The number of workers never changes a result: a job is done by one worker from start to end, and results are
collected by job, not by order of arrival.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from stages.errors import StudyError

_device = "cpu"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # options of glibc's mallopt
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
    the others go on. A worker that dies (killed, out of memory) is a StudyError that names the jobs then in flight.
    """
    if not jobs:
        return
    workers = devices()
    first = 0
    if probe and workers[0] == "cpu" and len(jobs) > 1:
        _start("cpu", None)
        start = time.monotonic()
        yield 0, _guarded(function, jobs[0])
        first = 1
        if (time.monotonic() - start) * (len(jobs) - 1) < _WORTH_WORKERS:
            workers = workers[:1]
    if len(workers) == 1 or len(jobs) == 1:
        _start(workers[0], None)
        for i in range(first, len(jobs)):
            yield i, _guarded(function, jobs[i])
        return
    names_left = {i: names[i] for i in range(first, len(jobs))}
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    used = workers[: len(jobs) - first]
    for name in used:
        queue.put(name)
    with ProcessPoolExecutor(len(used), context, _start_from, (queue, os.getpid())) as pool:
        futures = {pool.submit(_guarded, function, jobs[i]): i for i in range(first, len(jobs))}
        try:
            for future in as_completed(futures):
                result = future.result()
                del names_left[futures[future]]
                yield futures[future], result
        except BrokenProcessPool:
            waiting = ", ".join(list(names_left.values())[: len(used)])
            raise StudyError(
                f"a worker process died, most likely for want of memory, while these waited or ran: {waiting}, ... "
                "Finished jobs are in the store. Run the same command again with fewer workers (MIS_WORKERS=1)."
            ) from None
        except BaseException:
            # an interruption does not wait for jobs that have not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _guarded(function: Callable[[Any], Any], job: Any) -> Any:
    try:
        return function(job)
    except OSError:
        raise  # a full disk or a lost folder is no property of this job: stop the stage
    except Exception as error:
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
