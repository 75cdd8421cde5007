"""Jobs on a Ray cluster of two machines: results and failures as on one machine, also when one of the two is lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from types import SimpleNamespace

import pytest

from interpretability.errors import InputError
from study.environment import ONE_THREAD, SWITCHES, Environment
from study.errors import ChangedInput, StudyError
from study.extraction.results import NOTES
from study.workers import device, placement
from study.workers import ray as cluster
from study.workers.device import Failure
from study.workers.jobs import devices
from study.workers.ray import RAY, _device, _home, version
from tests.helpers.programs import need
from tests.helpers.rules import ROOT
from tests.study.test_workers import run_jobs

NAMES = [f"job {i}" for i in range(8)]
MEMORY = 80 * 2**20  # of the object store of a machine, about the least that Ray takes
# a lost machine is noticed after five seconds instead of twenty; less, and a busy one would count as lost
CHECKS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 10}


@pytest.fixture(scope="module")
def machines():
    """A cluster whose head runs no jobs, with two machines of one CPU each."""
    need("Ray")
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "object_store_memory": MEMORY,
                "_system_config": CHECKS,
            },
        )
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def two_machines(machines, monkeypatch):
    """Jobs of this test run on a cluster that is whole again."""
    while len(machines.worker_nodes) < 2:
        machines.add_node(num_cpus=1, object_store_memory=MEMORY)
    machines.wait_for_nodes()
    monkeypatch.setenv("MIS_EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", machines.address)
    monkeypatch.delenv("MIS_WORKERS")
    return machines


def lose(machines, number=None):
    """Kill the machine whose main process has this number, or any."""
    for node in list(machines.worker_nodes):
        if number in (None, node.all_processes["raylet"][0].process.pid):
            machines.remove_node(node, allow_graceful=False)
            return
    pytest.fail(f"no machine has the process {number}")


def where(number):
    time.sleep(0.2)
    threads = {os.environ[name] for name in ONE_THREAD}
    return (
        number * number,
        os.getpid(),
        os.getcwd(),
        threads,
        device.device(),
        Environment.read().executor,
        placement.workers_here(),
    )


def some_fail(job):
    number, folder = job
    if number == 1:
        raise StudyError("its file is missing")
    if number == 3:
        raise ZeroDivisionError("number\n  three")
    if number == 5:
        with open(folder / "5", "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(job):
    number, folder = job
    with open(folder / f"{number}", "a") as file:
        file.write(f"{os.getppid()}\n")
    time.sleep(1.5)
    return number


def alone(folder):
    """Whether no other job was under way."""
    mark = folder / f"{os.getpid()}.{time.monotonic_ns()}"
    mark.touch()
    time.sleep(0.3)
    count = len(list(folder.iterdir()))
    mark.unlink()
    return count == 1


def disk_is_full(number):
    raise OSError(28, "No space left on device", f"/store/{number}")


def pictures_changed(number):
    raise ChangedInput(f"picture {number} is another one")


def waits(folder):
    try:
        (folder / "begun").touch()
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        (folder / "told").touch()
        raise


def test_jobs_run_on_both_machines_as_they_would_here(two_machines, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert devices() == ["cpu"] * 2
    found = dict(run_jobs(where, list(range(8)), NAMES, probe=True))
    assert {place: result[0] for place, result in found.items()} == {i: i * i for i in range(8)}
    processes = {result[1] for result in found.values()}
    assert os.getpid() not in processes
    assert len(processes) == 2
    assert {(result[2], *result[3], *result[4:]) for result in found.values()} == {
        (os.getcwd(), "1", "cpu", "local", 1)
    }


def test_failures_have_the_same_words_and_a_dying_worker_costs_its_job_alone(two_machines, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "_RETRIES", 1)
    found = dict(run_jobs(some_fail, [(i, tmp_path) for i in range(8)], NAMES))
    died = found.pop(5)
    assert found == {
        0: 0,
        1: Failure("its file is missing"),
        2: 2,
        3: Failure("ZeroDivisionError: number three"),
        4: 4,
        6: 6,
        7: 7,
    }
    assert "its worker process or machine was lost again and again" in died.reason
    assert (tmp_path / "5").read_text() == "xx", "it was tried as often as allowed"


def test_jobs_of_a_lost_machine_run_on_the_other(two_machines, tmp_path):
    def lose_one_at_work():
        while not (begun := [path.read_text() for path in tmp_path.iterdir() if path.stat().st_size]):
            time.sleep(0.05)
        lose(two_machines, int(begun[0]))

    thread = threading.Thread(target=lose_one_at_work)
    thread.start()
    found = dict(run_jobs(slow, [(i, tmp_path) for i in range(4)], NAMES))
    thread.join()
    assert found == {i: i for i in range(4)}
    begun = [path.read_text().split() for path in tmp_path.iterdir()]
    assert max(len(each) for each in begun) == 2, "a job was under way on the lost machine"


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [(disk_is_full, OSError, "No space left"), (pictures_changed, ChangedInput, "picture")],
)
def test_what_is_no_property_of_a_job_ends_the_stage(two_machines, function, error, words):
    with pytest.raises(error, match=words) as caught:
        list(run_jobs(function, list(range(8)), NAMES))
    if error is OSError:
        assert caught.value.errno == 28
        assert caught.value.filename.startswith("/store/")


def test_jobs_at_the_same_time_are_bounded(two_machines, monkeypatch, tmp_path):
    assert not all(dict(run_jobs(alone, [tmp_path] * 4, NAMES)).values())
    monkeypatch.setenv("MIS_WORKERS", "1")
    assert devices() == ["cpu"]
    assert dict(run_jobs(alone, [tmp_path] * 4, NAMES)) == dict.fromkeys(range(4), True)


def test_an_ended_stage_tells_its_jobs(two_machines, tmp_path):
    jobs = run_jobs(waits, [tmp_path], NAMES)

    def interrupt():
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit it as ignored
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            next(jobs)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert (tmp_path / "told").exists()


def test_a_job_that_needs_a_gpu_gets_one_where_the_cluster_has_one(two_machines, monkeypatch):
    monkeypatch.setenv("MIS_DEVICE", "cuda")
    with pytest.raises(InputError, match="MIS_DEVICE is cuda, but no machine of the Ray cluster has a GPU"):
        devices()
    machine = two_machines.add_node(num_cpus=1, num_gpus=1, object_store_memory=MEMORY)
    two_machines.wait_for_nodes()
    try:
        assert devices() == ["cuda"]
        found = dict(run_jobs(where, [0, 1], NAMES))
        assert {result[4] for result in found.values()} == {"cuda:0"}
        assert len({result[1] for result in found.values()}) == 1, "its process is kept for the next job"
    finally:
        two_machines.remove_node(machine)


@pytest.mark.parametrize(("visible", "name"), [(None, "cuda:5"), ("", "cuda:5"), ("3,5,7", "cuda:1")])
def test_a_gpu_is_counted_among_those_that_its_process_sees(monkeypatch, visible, name):
    need("Ray")
    import ray

    given = SimpleNamespace(get_accelerator_ids=lambda: {"GPU": ["5"]})
    monkeypatch.setattr(ray, "get_runtime_context", lambda: given)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _device("GPU") == name
    assert _device("CPU") == "cpu"


def leave(given):
    """A job that keeps something for the next, in a process that soon counts as idle; tells what it found kept."""
    folder, seconds = given
    found = sorted(path.name for path in folder.iterdir())
    cluster._idle._seconds = seconds
    device._on_move[:] = [(folder / f"dropped by {os.getpid()}").touch]
    return os.getpid(), found


def test_a_process_without_jobs_drops_what_they_have_left(two_machines, tmp_path):
    between = [found for _, (_, found) in run_jobs(leave, [(tmp_path, 60.0)] * 4, NAMES)]
    assert between == [[]] * 4, "nothing is dropped between jobs"
    [*_, (_, (process, _))] = run_jobs(leave, [(tmp_path, 0.1)] * 2, NAMES)
    dropped, until = tmp_path / f"dropped by {process}", time.monotonic() + 30
    while not dropped.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert dropped.exists()


def test_a_machine_that_does_not_see_the_folders_is_named(two_machines, monkeypatch, tmp_path):
    usual = _home

    @contextlib.contextmanager
    def elsewhere():
        with usual() as home:
            yield home | {"marks": [*home["marks"], str(tmp_path / "store" / "mark")]}

    monkeypatch.setattr(cluster, "_home", elsewhere)
    with pytest.raises(InputError, match=r"does not see the folder .*/store of this study. All machines must share"):
        list(run_jobs(where, [0], NAMES))


def test_locks_that_do_not_reach_other_machines_are_told(two_machines, monkeypatch):
    """A mark that nobody has locked looks to a machine as one whose lock its file system does not know of."""
    monkeypatch.setattr(cluster.fcntl, "flock", lambda *_: None)
    with pytest.raises(StudyError, match=r"is granted a lock in .* that the stage on .* holds"):
        list(run_jobs(where, [3], NAMES))


def test_folders_without_locks_are_told_before_any_job(monkeypatch, tmp_path):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cluster.fcntl, "flock", refused)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=r"cannot be locked \(No locks available\).*nolock"), _home():
        pass


def switches(_):
    return {name: os.environ.get(name) for name in SWITCHES}


def test_portable_kernels_travel_with_jobs(two_machines, monkeypatch):
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)
    assert dict(run_jobs(switches, [0, 0], NAMES)) == {0: SWITCHES, 1: SWITCHES}


def test_a_machine_with_other_packages_is_named(two_machines, monkeypatch):
    usual = version
    monkeypatch.setattr(cluster, "version", lambda name: "0.1" if name == "torch" else usual(name))
    with pytest.raises(InputError, match=r"of the Ray cluster has torch \S+ instead of 0\.1; .*requirements\.lock"):
        list(run_jobs(where, [0], NAMES))


def test_a_stage_runs_from_the_command_line(two_machines, tmp_path):
    """Functions of an entry point live in __main__, which a worker must find under that name."""
    module = tmp_path / "entry.py"
    module.write_text(
        "from dataclasses import dataclass\nfrom study.workers.jobs import run_jobs\n"
        "@dataclass\nclass Job:\n    number: int\n    name: str = 'a'\n    size: float = 1\n"
        "    def run(self):\n        return Job(2 * self.number)\n"
        "if __name__ == '__main__':\n    print([r.number for _, r in run_jobs([Job(4)])])\n"
    )
    path = os.pathsep.join([str(ROOT), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "entry"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[8]\n", done.stderr


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_study_that_loses_a_machine_gives_the_same_bytes(two_machines, drawn_study, monkeypatch, tmp_path):
    names = ("one", "two", "three", "four")
    drawn_study.params(activations__keep=["two/middle/*"])
    drawn_study.roster(
        *({"name": name, "kwargs": json.dumps({"width": 6 + place})} for place, name in enumerate(names)),
        {"name": "shuffled", "constructor": "control:permuted", "kwargs": '{"of": "three"}', "role": "control"},
    )
    drawn_study.run_models()
    store = tmp_path / "shared store"
    monkeypatch.setenv("MIS_STORE", str(store))

    def lose_one():
        while not list(store.rglob("*.lock")):
            time.sleep(0.02)
        lose(two_machines)

    thread = threading.Thread(target=lose_one)
    thread.start()
    found = contents(drawn_study.run_activations("on a cluster"))
    thread.join()
    monkeypatch.setenv("MIS_EXECUTOR", "local")
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "store of one machine"))
    assert found == contents(drawn_study.run_activations("here"))
    extremes = {f"{name}.safetensors" for name in (*names, "shuffled")}
    assert set(found) == {*extremes, "kept/two.parquet", "layers.parquet", "nearest.parquet", *NOTES}


def test_the_command_that_installs_ray_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["cluster"] == [RAY]
    assert not [name for name in project["dependencies"] if name.startswith("ray")]
    assert "all-extras" not in (ROOT / "Makefile").read_text()
    assert "\nray==" not in (ROOT / "requirements.lock").read_text()


def test_another_executor_is_refused(monkeypatch):
    monkeypatch.setenv("MIS_EXECUTOR", "slurm")
    with pytest.raises(InputError, match="MIS_EXECUTOR is 'slurm', allowed: local, ray"):
        list(run_jobs(where, [0], NAMES))


def test_ray_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setenv("MIS_EXECUTOR", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"the package ray is not installed here.*pip install 'ray>="):
        list(run_jobs(where, [0], NAMES))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "RAY_ADDRESS names no cluster"),
        ("ray://head:10001", "must itself run on a machine of the cluster"),
        ("head", "no connection to the Ray cluster at RAY_ADDRESS=head"),
        ("127.0.0.1:1", "no connection to the Ray cluster at RAY_ADDRESS=127.0.0.1:1"),
    ],
)
def test_a_wrong_address_is_told(monkeypatch, address, words):
    need("Ray")
    import ray

    ray.shutdown()
    monkeypatch.setenv("MIS_EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=words):
        list(run_jobs(where, [0], NAMES))


def test_local_jobs_do_not_import_ray():
    code = (
        "import sys; from study.workers.jobs import KindJob, run_jobs; list(run_jobs([KindJob()])); "
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
