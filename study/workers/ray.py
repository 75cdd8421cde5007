"""The same whole jobs as tasks of a Ray cluster, whose machines share the folder of the repository and the work store.

Ray places jobs, starts worker processes and runs jobs of lost ones again; results go through the shared folders, as on
one machine. Ray is an optional package, imported only where MIS_EXECUTOR is `ray`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import multiprocessing.spawn
import pickle
import platform
import signal
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

from interpretability.errors import InputError
from study.environment import COMPUTING, Environment, is_portable, set_unless_given, variables_of_worker
from study.errors import StudyError
from study.log import logger
from study.workers import device
from study.workers.device import Failure, Job
from study.workers.idle import Idle

log = logger("cluster")

RAY = "ray>=2.60,<3"  # as in pyproject.toml
_RETRIES = 3  # of a job whose process or machine is lost
_AHEAD = 2  # jobs handed out for each one that can run: the next begins at once, and memory holds few of them
_PATIENCE = 30.0  # seconds without a finished job after which an empty cluster is reported
_GRACE = 5.0  # seconds in which an interrupted job may remove what it has half written
_IDLE = 10.0  # seconds without a job after which a process gives its memory back; the next job comes at once, if there is one
_DIED = "its worker process or machine was lost again and again: most likely it needs more memory than there is"


def _connected() -> Any:
    """The module `ray`, connected to the cluster at RAY_ADDRESS."""
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise StudyError(
            "MIS_EXECUTOR is ray, but the package ray is not installed here. Install it on every machine of the cluster, "
            f"in the environment of the study: pip install '{RAY}'"
        ) from None
    if ray.is_initialized():
        return ray
    address = Environment.read().ray_address
    if not address:
        raise StudyError(
            "MIS_EXECUTOR is ray, but RAY_ADDRESS names no cluster. Set it to HOST:PORT of the head node, or to auto on a "
            "machine of the cluster; `ray start --head` starts one. Workers of this machine alone need no Ray: "
            "MIS_EXECUTOR=local"
        )
    if "://" in address:
        raise StudyError(
            f"RAY_ADDRESS is {address}, but the study must itself run on a machine of the cluster, because it reads what "
            "workers wrote. Give the address of the head node as HOST:PORT, usually port 6379"
        )
    if address != "auto":
        _reach(address)
    # read when Ray starts: without a limit a job that needs too much memory would be tried again for ever
    set_unless_given({"RAY_task_oom_retries": str(_RETRIES), "RAY_USAGE_STATS_ENABLED": "0"})
    try:
        ray.init(address=address, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RaySystemError) as error:
        raise _no_cluster(address, error) from None
    return ray


def _reach(address: str) -> None:
    """Raise StudyError if nothing listens at the address; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> StudyError:
    reason = " ".join(str(error).split())
    return StudyError(
        f"no connection to the Ray cluster at RAY_ADDRESS={address}: {reason}. `ray status` on its head node shows whether "
        "it runs; its versions of Ray and of Python must be those of this environment"
    )


def _need(ray: Any) -> str:
    """What a job occupies, GPU or CPU, from MIS_DEVICE and what the cluster has."""
    kind = Environment.read().device
    gpus = ray.cluster_resources().get("GPU", 0)
    if kind == "cuda" and gpus < 1:
        raise StudyError(
            "MIS_DEVICE is cuda, but no machine of the Ray cluster has a GPU; set MIS_DEVICE=cpu, or add machines with "
            "`ray start --num-gpus`"
        )
    return "GPU" if kind != "cpu" and gpus >= 1 else "CPU"


def _slots(ray: Any, need: str) -> int:
    """Jobs that can run at the same time: as many as the cluster has GPUs or CPUs now, at most MIS_WORKERS."""
    there = int(ray.cluster_resources().get(need, 0))
    count = Environment.read().workers
    return there if count is None else min(there, count)


def devices() -> list[str]:
    """`cuda` or `cpu` once for each job that can run at the same time."""
    ray = _connected()
    need = _need(ray)
    return ["cuda" if need == "GPU" else "cpu"] * max(1, _slots(ray, need))


def run_jobs(jobs: Sequence[Job[Any]], *, on_cpu: bool = False) -> Iterator[tuple[int, Any]]:
    """(index of the job, its result or a Failure) as jobs end."""
    ray = _connected()
    need = "CPU" if on_cpu else _need(ray)
    lost = ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError
    lost += (ray.exceptions.ObjectLostError, ray.exceptions.LocalRayletDiedError)
    # worker processes are kept between jobs, also those with a GPU, which Ray would else start anew for each
    make_task = ray.remote(
        num_cpus=int(need == "CPU"),
        num_gpus=int(need == "GPU"),
        max_retries=_RETRIES,
        max_calls=0,
        runtime_env={"env_vars": _variables(need)},
    )
    task = make_task(_task())
    waiting, running, quiet = iter(range(len(jobs))), {}, False
    content: Any
    with _home() as home:
        try:
            while True:
                count = Environment.read().workers
                most = count if count is not None else _AHEAD * max(1, _slots(ray, need))
                while len(running) < most and (index := next(waiting, None)) is not None:
                    running[task.remote(pickle.dumps(jobs[index]), need, home)] = index
                if not running:
                    return
                done, _ = ray.wait(list(running), timeout=_PATIENCE)
                if not done and not quiet and _slots(ray, need) == 0:
                    quiet = True
                    log.warning("no machine with a %s is left in the cluster: %d jobs wait for one", need, len(running))
                for ref in done:
                    quiet, index = False, running.pop(ref)
                    try:
                        kind, content = pickle.loads(ray.get(ref))
                    except lost as error:
                        # the rest of what Ray says fills a screen
                        log.warning("%s was given up: %s", jobs[index].name, shorten(str(error), 300))
                        kind, content = "done", Failure(_DIED)
                    if kind == "stop":
                        raise content
                    if kind == "unfit":
                        raise StudyError(content)
                    yield index, content
        finally:
            _cancel(ray, list(running))


def _cancel(ray: Any, running: list[Any]) -> None:
    """End jobs that are queued or under way; those that do not stop when told to are killed."""
    for ref in running:
        ray.cancel(ref)
    _, left = ray.wait(running, num_returns=len(running), timeout=_GRACE) if running else ([], [])
    for ref in left:
        ray.cancel(ref, force=True)


def _variables(need: str) -> dict[str, str]:
    """Environment of a worker process: the machine knobs of the study, thread limits, and jobs that stay where they are."""
    # all GPUs of a machine stay visible, so that a kept process can go from one to another
    kept = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
    return variables_of_worker("cuda" if need == "GPU" else "cpu") | kept


@contextlib.contextmanager
def _home() -> Generator[dict[str, Any]]:
    """What a worker needs to know: the folder to work in, marks by which it is known again, versions, the main module.

    The marks are files that exist in the repository and in the store while jobs run, locked by this process.
    """
    folder, store = Path.cwd(), Environment.read().store.absolute()
    with contextlib.ExitStack() as stack:
        marks = []
        for marked in (folder / ".dvc" / "tmp", store):
            marked.mkdir(parents=True, exist_ok=True)
            mark = stack.enter_context(tempfile.NamedTemporaryFile(dir=marked, prefix=".cluster."))
            try:
                fcntl.flock(mark, fcntl.LOCK_EX)
            except OSError as error:
                raise _no_locks(marked, error) from None
            marks.append(mark.name)
        main = multiprocessing.spawn.get_preparation_data("worker")
        yield {
            "folder": str(folder),
            "host": socket.gethostname(),
            "portable": is_portable(),
            "marks": marks,
            "python": platform.python_version(),
            "packages": {name: version(name) for name in COMPUTING},
            "main": {name: value for name, value in main.items() if name.startswith("init_main_")},
        }


def _no_locks(folder: Path, error: OSError) -> StudyError:
    return StudyError(
        f"files in {folder} cannot be locked ({error.strerror}), and without locks two machines of a cluster would write the "
        "same file; mount it with file locks (NFS: without the options nolock and local_lock), or point MIS_STORE to a file "
        "system that has them"
    )


def _task() -> Callable[[bytes, str, dict[str, Any]], bytes]:
    """The function that a worker process of Ray runs for every job.

    A function inside a function travels as code, so it can say what is wrong where the code of the study cannot be imported.
    """

    def task(payload: bytes, need: str, home: dict[str, Any]) -> bytes:
        import fcntl
        import os
        import pickle
        import platform
        import socket
        import sys
        from importlib.metadata import PackageNotFoundError, version

        def unfit(what: str) -> bytes:
            return pickle.dumps(("unfit", f"machine {socket.gethostname()} of the Ray cluster {what}"))

        if "study.workers.ray" not in sys.modules:
            for mark in home["marks"]:
                if not os.path.isfile(mark):
                    return unfit(
                        f"does not see the folder {os.path.dirname(mark)} of this study. All machines must share the "
                        f"repository at {home['folder']} and the work store (MIS_STORE) at the same paths, for example over "
                        "NFS, and with file locks"
                    )
                with open(mark, "r+") as marked:
                    try:
                        fcntl.flock(marked, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue  # as it must be: the stage holds this lock
                    except OSError as error:
                        told = f"cannot lock files in {os.path.dirname(mark)} ({error.strerror})"
                    else:
                        told = f"is granted a lock in {os.path.dirname(mark)} that the stage on {home['host']} holds"
                return unfit(
                    f"{told}. Its file locks do not reach the other machines, so two of them could write one file: mount the "
                    "folder with locks that all machines share (NFS: without the options nolock and local_lock)"
                )
            here = {}
            for name in home["packages"]:
                try:
                    here[name] = version(name)
                except PackageNotFoundError:
                    here[name] = "none"
            other = [f"{name} {here[name]} instead of {v}" for name, v in home["packages"].items() if here[name] != v]
            if platform.python_version_tuple()[:2] != tuple(home["python"].split(".")[:2]):
                other.insert(0, f"Python {platform.python_version()} instead of {home['python']}")
            if other:
                return unfit(
                    f"has {', '.join(other)}; results would not be the same bytes. Start Ray there from an environment made "
                    "from the same requirements.lock"
                )
            sys.path.insert(0, home["folder"])
            from study.environment import is_portable

            if home["portable"] and not is_portable():
                return unfit(
                    "has no x86-64 processor with AVX2 and FMA, which a portable study needs; results would not be the same bytes"
                )
        os.chdir(home["folder"])
        from study.workers.ray import perform

        return perform(payload, need, home["main"])

    return task


_idle = Idle(
    _IDLE, device.release
)  # Ray keeps processes, and their jobs tables of features and networks for the next ones


def perform(payload: bytes, need: str, main: Mapping[str, Any]) -> bytes:
    """What a job comes to in a worker process of Ray: ("done", result or Failure), or ("stop", what ends the stage)."""
    with _idle.job():
        return _performed(payload, need, main)


def _performed(payload: bytes, need: str, main: Mapping[str, Any]) -> bytes:
    # functions and classes of the entry point are found in __main__, as in a process of multiprocessing
    multiprocessing.spawn.prepare(dict(main))
    # Ray interrupts a job with it; a cluster that was started in the background has inherited it as ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    device.start(_device(need), beside=_beside(need))
    job = pickle.loads(payload)
    try:
        return pickle.dumps(("done", device.outcome(job)))
    except (InputError, OSError) as error:
        return pickle.dumps(("stop", error))
    finally:
        if need == "GPU":  # the process stays, and the next job of this GPU may be another's
            device.free_device()


def _device(need: str) -> str:
    """Device name of the GPU that Ray has given to this task."""
    if need == "CPU":
        return "cpu"
    ray: Any = importlib.import_module("ray")
    number = ray.get_runtime_context().get_accelerator_ids()["GPU"][0]
    visible = Environment.read().visible_gpus
    return f"cuda:{visible.index(number) if visible else number}"


@cache
def _beside(need: str) -> int:
    """Jobs that can run on this machine at the same time."""
    ray: Any = importlib.import_module("ray")
    here = ray.get_runtime_context().get_node_id()
    return next((int(node["Resources"].get(need, 1)) for node in ray.nodes() if node["NodeID"] == here), 1)
