"""Worker processes: results by job, failures that stay with their job, and no worker that outlives its stage."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import pytest

from interpretability.errors import InputError
from study.errors import StudyError
from study.workers import device, jobs, processes
from study.workers.device import Failure, guarded
from study.workers.idle import Idle
from study.workers.jobs import _kind_in_cluster, devices, kind_of_workers, run_all, run_all_or_stop
from tests.helpers.rules import ROOT

NAMES = [f"job {i}" for i in range(6)]


@dataclass(frozen=True)
class Call:
    """A job that calls a function of this file."""

    function: Callable[[Any], Any]
    argument: Any
    name: str = "job"
    size: float = 1.0

    def run(self):
        return self.function(self.argument)


def calls(function, arguments, names):
    return [Call(function, argument, name) for argument, name in zip(arguments, names, strict=False)]


def run_jobs(function, arguments, names, **options):
    return jobs.run_jobs(calls(function, arguments, names), **options)


def slower_first(number):
    time.sleep(0.05 * (5 - number))  # so that the last job ends first
    return number * number, os.getpid(), device.device()


def odd_ones_fail(number):
    if number == 1:
        raise StudyError("its file is missing")
    if number == 3:
        raise ZeroDivisionError("number\n  three")
    return number


def third_dies(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return number


def dies_once(path):
    """Job 1 dies, and leaves a file by which it knows itself when it runs again."""
    number = int(path.name)
    if number == 1 and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def disk_is_full(number):
    raise OSError(28, "No space left on device", f"/store/{number}")


def one_dies_beside_a_long_one(path):
    with open(path, "a") as file:
        file.write("x")
    if path.name == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5 * (path.name == "0"))


class Counted:
    """A job that counts how often it is sent to a worker."""

    sent = 0

    def __reduce__(self):
        Counted.sent += 1
        return Counted, ()


def short(job):
    time.sleep(0.01)


def half_written(path):
    """Job 0 meets a full disk while job 1 is writing."""
    if path.name == "0":
        while not path.with_name("part").exists():
            time.sleep(0.02)
        raise OSError(28, "No space left on device", f"/store/{path.name}")
    path.with_name("part").touch()
    try:
        time.sleep(60)
    finally:
        path.with_name("part").unlink()


def sleep_long(path):
    with open(f"{path}.{os.getpid()}", "w"):
        time.sleep(60)


def collected(function, count, monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", str(count))
    return dict(run_jobs(function, list(range(6)), NAMES))


@pytest.mark.parametrize("count", [1, 2])
def test_results_belong_to_their_jobs_whatever_the_number_of_workers(monkeypatch, count):
    found = collected(slower_first, count, monkeypatch)
    assert {place: result[0] for place, result in found.items()} == {i: i * i for i in range(6)}
    processes = {result[1] for result in found.values()}
    assert len(processes) == count
    assert (os.getpid() in processes) == (count == 1)
    assert {result[2] for result in found.values()} == {"cpu"}


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_raises_is_a_failure_and_the_others_go_on(monkeypatch, count):
    found = collected(odd_ones_fail, count, monkeypatch)
    assert found == {
        0: 0,
        1: Failure("its file is missing"),
        2: 2,
        3: Failure("ZeroDivisionError: number three"),
        4: 4,
        5: 5,
    }


@pytest.mark.parametrize("count", [2, 3])
def test_a_job_whose_worker_dies_is_a_failure_and_the_others_go_on(monkeypatch, count):
    found = collected(third_dies, count, monkeypatch)
    assert "died, also while nothing else ran" in found[2].reason
    assert {place: result for place, result in found.items() if place != 2} == {0: 0, 1: 1, 3: 3, 4: 4, 5: 5}


def test_a_job_that_only_lacked_memory_beside_others_succeeds_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("MIS_WORKERS", "2")
    found = dict(run_jobs(dies_once, [tmp_path / str(i) for i in range(4)], NAMES))
    assert found == {i: i for i in range(4)}
    assert (tmp_path / "1").exists()


def test_results_come_in_the_order_of_the_jobs_and_are_told_as_they_end(monkeypatch, caplog):
    monkeypatch.setenv("MIS_WORKERS", "2")
    log, ended = logging.getLogger("of a test"), []
    with caplog.at_level(logging.INFO, "of a test"):
        results = run_all(
            calls(odd_ones_fail, range(6), NAMES), "numbers", log, each=lambda job, _: ended.append(job.name)
        )
    assert [result if isinstance(result, int) else "failed" for result in results] == [0, "failed", 2, "failed", 4, 5]
    assert sorted(ended) == NAMES
    assert "numbers: 6 of 6" in caplog.messages[-1]
    assert run_all([], "numbers", log) == []


def test_the_first_failure_may_end_the_stage():
    log = logging.getLogger("of a test")
    with pytest.raises(StudyError, match=r"^numbers, job 1: its file is missing$"):
        run_all_or_stop(calls(odd_ones_fail, range(6), NAMES), "numbers", log)
    assert run_all_or_stop(calls(abs, [-1, -2], NAMES), "numbers", log) == [1, 2]


def test_the_other_workers_do_not_notice_a_dead_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MIS_WORKERS", "2")
    found = dict(run_jobs(one_dies_beside_a_long_one, [tmp_path / str(i) for i in range(6)], NAMES))
    assert isinstance(found.pop(1), Failure)
    assert found == dict.fromkeys([0, 2, 3, 4, 5])
    begun = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert begun == {"1": "xx", **dict.fromkeys("02345", "x")}, "the one that died ran twice, every other once"


def test_a_worker_that_dies_between_two_jobs_is_replaced(monkeypatch):
    asked = []

    class Pool(processes.ProcessPoolExecutor):
        def submit(self, *arguments):
            asked.append(arguments)
            if len(asked) == 3:
                raise BrokenProcessPool
            return super().submit(*arguments)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    monkeypatch.setenv("MIS_WORKERS", "2")
    assert dict(run_jobs(short, list(range(6)), NAMES)) == dict.fromkeys(range(6))
    assert len(asked) == 7


def test_jobs_do_not_pile_up_in_memory(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(Counted, "sent", 0)
    ahead = [Counted.sent - done for done, _ in enumerate(run_jobs(short, [Counted()] * 60, ["job"] * 60))]
    assert len(ahead) == Counted.sent == 60
    assert max(ahead) <= 4, "two at work, and the next two"


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_stops_all_jobs(monkeypatch, count):
    with pytest.raises(OSError, match="No space left") as caught:
        collected(disk_is_full, count, monkeypatch)
    assert caught.value.errno == 28
    assert caught.value.filename.startswith("/store/")


def test_a_full_disk_ends_long_jobs_at_once_and_they_clean_up(monkeypatch, tmp_path):
    monkeypatch.setenv("MIS_WORKERS", "2")
    start = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        list(run_jobs(half_written, [tmp_path / "0", tmp_path / "1"], NAMES))
    assert time.monotonic() - start < 20
    assert not list(tmp_path.iterdir())


def test_a_gpu_has_a_process_of_its_own_even_if_it_is_the_only_one(monkeypatch):
    monkeypatch.setattr(jobs, "local_devices", lambda **_: ["cuda:0"])
    found = dict(run_jobs(slower_first, [5, 5], NAMES[:2], probe=True))
    assert {result[2] for result in found.values()} == {"cuda:0"}
    assert os.getpid() not in {result[1] for result in found.values()}
    assert device.device() == "cpu"


def test_no_jobs_start_nothing(monkeypatch):
    monkeypatch.setattr(jobs, "devices", lambda: pytest.fail("asked for devices"))
    assert list(run_jobs(odd_ones_fail, [], [])) == []


def test_short_jobs_after_a_probe_run_here(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    found = dict(run_jobs(slower_first, [5, 4, 5], NAMES[:3], probe=True))
    assert {result[1] for result in found.values()} == {os.getpid()}
    assert [found[i][0] for i in range(3)] == [25, 16, 25]


def test_long_jobs_after_a_probe_run_on_workers(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(jobs, "_WORTH_WORKERS", 0.0)
    found = dict(run_jobs(slower_first, [4, 3, 2], NAMES[:3], probe=True))
    assert {found[0][1], found[1][1]} == {os.getpid()}, "the second tells, for the first may have been warming up"
    assert found[2][1] != os.getpid()
    assert [found[i][0] for i in range(3)] == [16, 9, 4]


def test_a_job_that_is_long_beyond_warming_up_tells_by_itself(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(jobs, "_WORTH_WORKERS", 0.0)
    monkeypatch.setattr(jobs, "_MOST_WARM_UP", 0.0)
    found = dict(run_jobs(slower_first, [4, 3, 2], NAMES[:3], probe=True))
    assert found[0][1] == os.getpid()
    assert os.getpid() not in {found[1][1], found[2][1]}


def test_two_jobs_that_both_warmed_up_need_no_worker(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(jobs, "_WORTH_WORKERS", 0.0)
    assert {result[1] for _, result in run_jobs(slower_first, [4, 3], NAMES[:2], probe=True)} == {os.getpid()}


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5", " 2", "²"])
def test_a_wrong_number_of_workers_is_refused(monkeypatch, count):
    monkeypatch.setenv("MIS_WORKERS", count)
    with pytest.raises(InputError, match=f"MIS_WORKERS is '{count}', it must be a whole number of at least 1"):
        devices()


def test_a_wrong_device_is_refused(monkeypatch):
    monkeypatch.setenv("MIS_DEVICE", "gpu")
    with pytest.raises(InputError, match="MIS_DEVICE is 'gpu', allowed: auto, cpu, cuda"):
        devices()


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="MIS_DEVICE is cuda, but torch sees no GPU; set MIS_DEVICE=cpu"):
        devices()


def test_every_gpu_is_a_worker_unless_fewer_are_wanted(monkeypatch):
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.delenv("MIS_WORKERS")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices() == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setenv("MIS_WORKERS", "2")
    assert devices() == ["cuda:0", "cuda:1"]


def test_jobs_without_use_for_a_gpu_take_the_cores(monkeypatch):
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    used = []

    def on_workers(jobs, indices, devices):
        used.append(devices)
        return iter([(index, jobs[index].run()) for index in indices])

    monkeypatch.setattr(jobs, "on_workers", on_workers)
    assert dict(run_jobs(abs, [-1, -2], NAMES[:2])) == {0: 1, 1: 2}
    assert dict(run_jobs(abs, [-1, -2], NAMES[:2], on_cpu=True)) == {0: 1, 1: 2}
    assert used == [["cuda:0"], ["cpu", "cpu"]]


class Gpu:
    """torch.cuda with a GPU that answers, or answers no more."""

    def __init__(self, monkeypatch, *, broken=False):
        import torch

        self.broken, self.freed, self.at = broken, 0, []
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.empty_cache)
        monkeypatch.setattr(torch.cuda, "device", self.current)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(device, "_device", "cuda:0")

    def synchronize(self, device):
        assert device == "cuda:0"
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def empty_cache(self):
        assert self.at == ["cuda:0"], "of a thread that is new"
        self.freed += 1

    @contextlib.contextmanager
    def current(self, name):
        self.at.append(name)
        yield
        self.at.pop()


def failing(job):
    raise job


def test_a_worker_whose_gpu_answers_no_more_ends(monkeypatch):
    def end(status):
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", end)
    gpu = Gpu(monkeypatch)
    assert guarded(failing, ValueError("its own fault")) == Failure("ValueError: its own fault")
    gpu.broken = True
    assert guarded(failing, StudyError("wrong layer")) == Failure("wrong layer"), "has nothing to do with it"
    with pytest.raises(SystemExit):
        guarded(failing, RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_process_that_moves_to_another_gpu_leaves_nothing_behind(monkeypatch):
    gpu, dropped = Gpu(monkeypatch), []
    monkeypatch.setattr(device, "_on_move", [lambda: dropped.append(device.device())])
    monkeypatch.setattr(device, "exact", lambda name: None)
    monkeypatch.setattr(device, "keep_memory", lambda: None)
    monkeypatch.setattr(device, "_beside", None)
    device.start("cuda:0")
    assert (dropped, gpu.freed) == ([], 0)
    device.start("cuda:1")
    assert (dropped, gpu.freed) == (["cuda:0"], 1)


def test_an_idle_process_gives_the_memory_of_its_machine_back(tmp_path):
    """In a process of its own, whose C library was told to keep what is freed."""
    script = tmp_path / "idle.py"
    script.write_text(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from study.workers import device\n"
        "def held():\n"
        "    return 4096 * int(Path('/proc/self/statm').read_text().split()[1]) / 2**20\n"
        "device.start('cpu')\n"
        "before = held()\n"
        "kept = [np.ones(2**16) for _ in range(400)]\n"
        "device.when_moved(kept.clear)\n"
        "full = held()\n"
        "device.release()\n"
        "print(full - before, held() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    full, left = map(float, done.stdout.split())
    assert full > 190
    assert left < 20


def test_what_an_idle_process_does_is_never_beside_a_job():
    done, under_way, go_on = threading.Event(), threading.Event(), threading.Event()

    def action():
        under_way.set()
        assert go_on.wait(10)
        done.set()

    idle = Idle(0.01, action)
    with idle.job():
        assert not under_way.wait(0.1), "it has a job"
    assert under_way.wait(10)
    began = threading.Event()

    def next_job():
        with idle.job():
            began.set()

    job = threading.Thread(target=next_job)
    job.start()
    assert not began.wait(0.05), "waits for the action"
    go_on.set()
    job.join(10)
    assert began.is_set()
    assert done.is_set()


def test_a_process_whose_next_job_has_begun_is_not_idle():
    acted = []
    idle = Idle(60.0, lambda: acted.append(1))
    with idle.job():
        pass
    with idle.job():
        idle._act(1)  # a timer that was not stopped in time
        assert not acted
    idle._act(2)
    assert acted == [1]
    assert idle._timer is not None
    idle._timer.cancel()


def test_a_cluster_is_asked_what_gpu_it_has(monkeypatch):
    monkeypatch.setattr(jobs, "devices", lambda: ["cuda", "cuda"])
    monkeypatch.setattr(jobs, "run_jobs", lambda jobs: iter([(0, "NVIDIA Some")]))
    assert kind_of_workers() == "NVIDIA Some"
    _kind_in_cluster.cache_clear()
    monkeypatch.setattr(jobs, "run_jobs", lambda jobs: iter([(0, Failure("no driver"))]))
    with pytest.raises(InputError, match="a worker of the cluster cannot tell its GPU: no driver"):
        kind_of_workers()


def test_without_settings_every_usable_core_is_a_worker(monkeypatch):
    monkeypatch.delenv("MIS_WORKERS")
    assert devices() == ["cpu"] * len(os.sched_getaffinity(0))
    monkeypatch.setenv("MIS_WORKERS", "")
    assert devices() == ["cpu"] * len(os.sched_getaffinity(0))


def waited(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def stage_with_two_workers(folder):
    """A stage in a process group of its own whose two jobs sleep, and the processes of its workers."""
    script = (
        "import signal\nfrom study.command import run\n"
        "from tests.study.test_workers import run_jobs, sleep_long\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests in the background inherit it as ignored
        f"    run(lambda: list(run_jobs(sleep_long, [{str(folder / 'job')!r}] * 2, ['a', 'b'])))\n"
    )
    (folder / "stage.py").write_text(script)
    settings = {**os.environ, "MIS_WORKERS": "2", "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen(
        [sys.executable, folder / "stage.py"],
        env=settings,
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert waited(lambda: len(list(folder.glob("job.*"))) == 2, 30), "both workers have begun"
        processes = [int(path.suffix[1:]) for path in folder.glob("job.*")]
        assert stage.pid not in processes
        yield stage, processes
    finally:
        stage.kill()
        stage.wait()
        for process in filter(alive, [int(path.suffix[1:]) for path in folder.glob("job.*")]):
            os.kill(process, signal.SIGKILL)


def test_workers_end_when_their_stage_is_killed(tmp_path):
    with stage_with_two_workers(tmp_path) as (stage, processes):
        stage.kill()
        assert waited(lambda: not any(alive(process) for process in processes), 10), "no worker outlives its stage"


def test_an_interruption_ends_stage_and_workers_with_one_message(tmp_path):
    with stage_with_two_workers(tmp_path) as (stage, processes):
        os.killpg(stage.pid, signal.SIGINT)
        _, text = stage.communicate(timeout=20)
        assert not any(alive(process) for process in processes)
    assert stage.returncode == 1
    assert text.strip() == "Interrupted. Finished jobs are in the store; run the same command again to go on."
