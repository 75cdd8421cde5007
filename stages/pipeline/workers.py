"""Whole jobs on worker processes: one a visible GPU, or one a CPU core, each with one thread; or on a Ray cluster.

The number of workers, and where they run, never changes a result: a job is done by one worker from start to end, and
results are collected by job, not by order of arrival.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from stages.errors import ChangedInput, StudyError
from stages.pipeline.log import logger

log = logger("workers")
_device = "cpu"
_beside: int | None = None  # workers on this machine, where a cluster says so
_busy = False  # whether this worker process is at a job
_on_move: list[Callable[[], object]] = []  # what gives back the memory of a device that this process leaves
_STOP = signal.SIGUSR1
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # options of glibc's mallopt
_STOPPING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_DIED = (
    "its worker process died, also while nothing else ran: most likely it needs more memory than there is, or its GPU broke "
    "(the log says so)"
)
_LOST = object()  # result of a job whose worker died
_WORTH_WORKERS = 8.0  # seconds of work below which starting processes, which import torch, costs more than it saves
_GRACE = 5.0  # seconds in which a worker that is told to end may remove what it has half written


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error; `reason` is one line."""

    reason: str


def executor() -> str:
    """Where jobs run, from MIS_EXECUTOR: `local`, on processes of this machine, or `ray`, on a cluster."""
    name = os.environ.get("MIS_EXECUTOR") or "local"
    if name not in ("local", "ray"):
        raise StudyError(f"MIS_EXECUTOR is {name!r}, allowed: local, ray")
    return name


def wanted() -> tuple[str, int | None]:
    """Kind of device from MIS_DEVICE (auto, cpu, cuda), and number of workers from MIS_WORKERS (None: not set)."""
    kind = os.environ.get("MIS_DEVICE") or "auto"
    if kind not in ("auto", "cpu", "cuda"):
        raise StudyError(f"MIS_DEVICE is {kind!r}, allowed: auto, cpu, cuda")
    count = os.environ.get("MIS_WORKERS", "")
    if count and not (count.isdecimal() and int(count) > 0):
        raise StudyError(f"MIS_WORKERS is {count!r}, it must be a whole number of at least 1")
    return kind, int(count) if count else None


def devices() -> list[str]:
    """One device name a worker: of this machine as cpu or cuda:0, of a cluster as cpu or cuda.

    The default is every visible GPU, else every core that this process may use.
    """
    if executor() == "ray":
        from stages.pipeline import cluster

        return cluster.devices()
    return _local_devices()


def _local_devices(*, on_cpu: bool = False) -> list[str]:
    kind, count = wanted()
    if on_cpu:
        kind = "cpu"
    if kind == "cuda" or (kind == "auto" and os.path.exists("/dev/nvidiactl")):
        import torch  # costs seconds to import, so only where a GPU may be

        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if gpus:
            return gpus[:count]
        if kind == "cuda":
            raise StudyError("MIS_DEVICE is cuda, but torch sees no GPU; set MIS_DEVICE=cpu or check the driver")
    return ["cpu"] * (count or len(os.sched_getaffinity(0)))


def device() -> str:
    """Device of this worker process."""
    return _device


def device_kind(name: str) -> str:
    """What kind of device this is, whose bits results have: cpu, or the model of a GPU."""
    if name.startswith("cpu"):
        return "cpu"
    import torch

    return torch.cuda.get_device_name(name)


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


def workers_here() -> int:
    """Workers that share the memory of this machine."""
    return _beside or len(_local_devices())


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
    if executor() == "ray":
        from stages.pipeline import cluster

        yield from cluster.run_jobs(function, jobs, names, on_cpu=on_cpu)
        return
    workers = _local_devices(on_cpu=on_cpu)
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
    for place, result in _on_workers(function, jobs, range(first, len(jobs)), workers[: len(jobs) - first]):
        if result is _LOST:
            log.warning(
                "the worker process of %s died, most likely for want of memory; it runs again alone", names[place]
            )
            died.append(place)
        else:
            yield place, result
    for place in sorted(died):
        for _, result in _on_workers(function, jobs, [place], workers[:1]):
            yield place, Failure(_DIED) if result is _LOST else result


def _on_workers(
    function: Callable[[Any], Any], jobs: Sequence[Any], places: Iterable[int], used: list[str]
) -> Iterator[tuple[int, Any]]:
    """Results of the jobs at `places` on new worker processes, one a device name; _LOST for one whose worker died.

    A pool of one process for each device, with one job at a time: so the job of a dead worker is known and the other
    workers do not notice, and no more jobs are in memory as bytes than there are workers.
    """
    context = multiprocessing.get_context("spawn")
    ended, end = context.Pipe(duplex=False)  # workers wait for the other end to close: by us, or by our death

    def pool(seat: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, start, (used[seat], ended, os.getpid()))

    pools = [pool(seat) for seat in range(len(used))]
    waiting = iter(places)
    running: dict[Future[Any], tuple[int, int]] = {}

    def hand_out(seat: int) -> None:
        for place in waiting:
            try:
                future = pools[seat].submit(_at_work, function, jobs[place])
            except BrokenProcessPool:  # the worker died between two jobs
                pools[seat].shutdown()
                pools[seat] = pool(seat)
                future = pools[seat].submit(_at_work, function, jobs[place])
            running[future] = seat, place
            break

    try:
        for seat in range(len(used)):
            hand_out(seat)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seat, place = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    result = _LOST
                    pools[seat].shutdown()
                    pools[seat] = pool(seat)
                hand_out(seat)
                yield place, result
    except BaseException:
        end.close()  # an error or interruption does not wait for hours of work that has begun
        raise
    finally:
        for each in pools:
            each.shutdown(cancel_futures=True)
        end.close()
        ended.close()


def guarded(function: Callable[[Any], Any], job: Any) -> Any:
    """Result of a job, or a Failure; what is no property of the job (see `run_jobs`) is raised."""
    try:
        return function(job)
    except Exception as error:
        if isinstance(error, ChangedInput) or (isinstance(error, OSError) and error.errno in _STOPPING):
            raise  # other pictures, or a full or broken disk, are no property of this job: stop the stage
        if _device.startswith("cuda") and not isinstance(error, StudyError):
            _end_if_broken(error)
        text = " ".join(str(error).split())
        return Failure(text if isinstance(error, StudyError) else f"{type(error).__name__}: {text}")


def _end_if_broken(error: Exception) -> None:
    """End this worker if its GPU answers no more, as after an illegal access: every later job would fail too."""
    import torch

    try:
        torch.cuda.synchronize(_device)
    except RuntimeError as broken:
        log.error("%s answers no more (%s, then %s); this worker ends and is replaced", _device, error, broken)
        os._exit(1)


def when_moved(action: Callable[[], object]) -> None:
    """Call `action` whenever this process becomes a worker on another device, to drop what it keeps on the old one."""
    _on_move.append(action)


def free_device() -> None:
    """Give memory that is not in use back to the GPU, for other processes."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _keep_memory() -> None:
    """Let the C library keep freed memory instead of handing it back to the system after every layer of a network.

    Each layer of a CPU forward pass takes and frees hundreds of megabytes; fresh pages must be zeroed by the kernel,
    which took about as long as the arithmetic. Only glibc offers this; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def start(name: str, ended: Connection | None = None, parent: int = 0, beside: int | None = None) -> None:
    """Make this process a worker on a device, one of `beside` on its machine.

    One with a `parent` ends when the other end of `ended` closes.
    """
    global _device, _beside
    if _device.startswith("cuda") and name != _device:
        for action in _on_move:
            action()
        free_device()
    _device, _beside = name, beside
    _keep_memory()
    if name.startswith("cuda"):
        exact(name)
    if ended is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the stage as well, and that tells its workers
        signal.signal(_STOP, _give_up)
        threading.Thread(target=_end_with, args=(ended, parent), daemon=True).start()


def exact(name: str) -> None:
    """Make float32 mean float32 on this GPU, and equal inputs give equal bits: torch's defaults allow neither."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(name)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _at_work(function: Callable[[Any], Any], job: Any) -> Any:
    global _busy
    _busy = True
    try:
        return guarded(function, job)
    finally:
        _busy = False


def _give_up(*_: object) -> None:
    if _busy:
        raise KeyboardInterrupt


def _end_with(ended: Connection, parent: int) -> None:
    """End this worker with its stage: at once if that was killed, so that no second writer outlives it."""
    with contextlib.suppress(OSError):
        ended.poll(None)
    signal.pthread_kill(threading.main_thread().ident or 0, _STOP)  # a job that is under way removes what it half wrote
    deadline = time.monotonic() + _GRACE
    while os.getppid() == parent and time.monotonic() < deadline:
        time.sleep(0.05)
    os._exit(1)
