"""Worker processes: results by job, failures that stay with their job, and no worker that outlives its stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from stages.errors import StudyError
from stages.pipeline import workers
from stages.pipeline.workers import Failure, devices, run_jobs
from tests.rules import ROOT

NAMES = [f"job {i}" for i in range(6)]


def slower_first(number):
    time.sleep(0.05 * (5 - number))  # so that the last job ends first
    return number * number, os.getpid(), workers.device()


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
        0: 0, 1: Failure("its file is missing"), 2: 2, 3: Failure("ZeroDivisionError: number three"), 4: 4, 5: 5
    }  # fmt: skip


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


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_stops_all_jobs(monkeypatch, count):
    with pytest.raises(OSError, match="No space left") as caught:
        collected(disk_is_full, count, monkeypatch)
    assert caught.value.errno == 28
    assert caught.value.filename.startswith("/store/")


def test_no_jobs_start_nothing(monkeypatch):
    monkeypatch.setattr(workers, "devices", lambda: pytest.fail("asked for devices"))
    assert list(run_jobs(odd_ones_fail, [], [])) == []


def test_short_jobs_after_a_probe_run_here(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    found = dict(run_jobs(slower_first, [5, 4, 5], NAMES[:3], probe=True))
    assert {result[1] for result in found.values()} == {os.getpid()}
    assert [found[i][0] for i in range(3)] == [25, 16, 25]


def test_long_jobs_after_a_probe_run_on_workers(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(workers, "_WORTH_WORKERS", 0.0)
    found = dict(run_jobs(slower_first, [4, 3, 2], NAMES[:3], probe=True))
    assert found[0][1] == os.getpid()
    assert os.getpid() not in {found[1][1], found[2][1]}
    assert [found[i][0] for i in range(3)] == [16, 9, 4]


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5", " 2", "²"])
def test_a_wrong_number_of_workers_is_refused(monkeypatch, count):
    monkeypatch.setenv("MIS_WORKERS", count)
    with pytest.raises(StudyError, match=f"MIS_WORKERS is '{count}', it must be a whole number of at least 1"):
        devices()


def test_a_wrong_device_is_refused(monkeypatch):
    monkeypatch.setenv("MIS_DEVICE", "gpu")
    with pytest.raises(StudyError, match="MIS_DEVICE is 'gpu', allowed: auto, cpu, cuda"):
        devices()


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(StudyError, match="MIS_DEVICE is cuda, but torch sees no GPU; set MIS_DEVICE=cpu"):
        devices()


def test_every_gpu_is_a_worker_unless_fewer_are_wanted(monkeypatch):
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.delenv("MIS_WORKERS")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices() == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setenv("MIS_WORKERS", "2")
    assert devices() == ["cuda:0", "cuda:1"]


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


def test_workers_end_when_their_stage_is_killed(tmp_path):
    script = (
        "from stages.pipeline.workers import run_jobs\nfrom tests.test_workers import sleep_long\n"
        f"if __name__ == '__main__':\n    list(run_jobs(sleep_long, [{str(tmp_path / 'job')!r}] * 2, ['a', 'b']))\n"
    )
    (tmp_path / "stage.py").write_text(script)
    settings = {**os.environ, "MIS_WORKERS": "2", "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen([sys.executable, tmp_path / "stage.py"], env=settings, cwd=ROOT)
    try:
        assert waited(lambda: len(list(tmp_path.glob("job.*"))) == 2, 30), "both workers have begun"
    finally:
        stage.kill()
        stage.wait()
    processes = [int(path.suffix[1:]) for path in tmp_path.glob("job.*")]
    assert stage.pid not in processes
    try:
        assert waited(lambda: not any(alive(process) for process in processes), 10), "no worker outlives its stage"
    finally:
        for process in filter(alive, processes):
            os.kill(process, signal.SIGKILL)
