"""What a job is and how it fails, and this process as a worker: its device, and how it ends with its stage."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from interpretability.errors import InputError
from study.errors import ChangedInput, message_of
from study.log import logger

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Argument = TypeVar("Argument")

log = logger("workers")

_device = "cpu"
_beside: int | None = None  # workers on this machine, where a cluster says so
_busy = False  # whether this worker process is at a job
_on_move: list[Callable[[], object]] = []  # what drops what jobs have left in this process
_STOP = signal.SIGUSR1
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # options of glibc's mallopt
_STOPPING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
DIED = (
    "its worker process died, also while nothing else ran: most likely it needs more memory than there is, or its GPU broke "
    "(the log says so)"
)
LOST: Any = object()  # result of a job whose worker died
_GRACE = 5.0  # seconds in which a worker that is told to end may remove what it has half written


class Job(Protocol[Result_co]):
    """What a worker does as a whole: a frozen dataclass at module level, for it must pickle.

    name    in log lines and failures
    size    its share of the progress
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> float: ...

    def run(self) -> Result_co: ...


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error; `reason` is one line."""

    reason: str

    def reason_without(self, name: str) -> str:
        """The reason for a place that names the job already."""
        return self.reason.removeprefix(f"{name}: ")


def device() -> str:
    """Device of this worker process."""
    return _device


def beside() -> int | None:
    """Workers on this machine, where a cluster says so."""
    return _beside


def outcome(job: Job[Result]) -> Result | Failure:
    """Result of a job that runs here, or a Failure."""
    return guarded(lambda job: job.run(), job)


def guarded(function: Callable[[Argument], Result], argument: Argument) -> Result | Failure:
    """Result of a function, or a Failure; what is no property of its argument (a full disk, changed images) is raised."""
    try:
        return function(argument)
    except SystemExit as error:  # of code that is not ours
        return Failure(f"its code ends the program (exit {error.code!r}) where it is run")
    except Exception as error:
        if isinstance(error, ChangedInput) or (isinstance(error, OSError) and error.errno in _STOPPING):
            raise  # other images, or a full or broken disk, are no property of this job: stop the stage
        if _device.startswith("cuda") and not isinstance(error, InputError):
            _end_if_broken(error)
        text = " ".join(message_of(error).split())
        return Failure(text if isinstance(error, InputError) else f"{type(error).__name__}: {text}")


def _end_if_broken(error: Exception) -> None:
    """End this worker if its GPU answers no more, as after an illegal access: every later job would fail too."""
    import torch

    try:
        torch.cuda.synchronize(_device)
    except RuntimeError as broken:
        log.error("%s answers no more (%s, then %s); this worker ends and is replaced", _device, error, broken)
        os._exit(1)


def when_moved(action: Callable[[], object]) -> None:
    """Call `action` whenever this process becomes a worker on another device, or has long had no job, to drop what it keeps."""
    _on_move.append(action)


def release() -> None:
    """Drop what jobs have left for later ones, and give the memory back, which other processes of the machine may need.

    Any thread may call it while no job runs.
    """
    for action in _on_move:
        action()
    if _device.startswith("cuda"):
        import torch

        if torch.cuda.is_initialized():
            with torch.cuda.device(_device):  # a thread begins at the first GPU, where it would take memory of its own
                free_device()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # `keep_memory` has told the C library to keep it
        trim(0)


def free_device() -> None:
    """Give memory that is not in use back to the GPU, for other processes."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def keep_memory() -> None:
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
        release()
    _device, _beside = name, beside
    keep_memory()
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
    if hasattr(torch.backends, "fp32_precision"):  # since torch 2.9, whose newer names outlive the older ones
        cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
        kinds: tuple[Any, ...] = (torch.backends, cudnn, cuda.matmul, cudnn.conv, cudnn.rnn)
        for kind in kinds:
            kind.fp32_precision = "ieee"
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def at_work(job: Job[Result]) -> Result | Failure:
    """`outcome` in a worker process, which may be told meanwhile to give up."""
    global _busy
    _busy = True
    try:
        return outcome(job)
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
