"""Timings of stages: recorded whatever happens, the latest shown."""

import json

import pytest

from study import timing
from study.report import timings


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "store"))


def test_runs_are_recorded_with_how_they_ended():
    with timing.timed():
        pass
    with pytest.raises(RuntimeError), timing.timed():
        raise RuntimeError
    lines = [json.loads(line) for line in timing.runs_file().read_text().splitlines()]
    assert [line["ended"] for line in lines] == ["done", "stopped"]
    assert lines[0]["peak_mb"] > 0


def test_the_latest_run_of_a_stage_counts():
    runs = [
        {"stage": s, "ended": "done", "wall_s": w, "cpu_s": 1, "peak_mb": 1, "worker_peak_mb": 0}
        for s, w in (("a", 9), ("b", 2), ("a", 3))
    ]
    timing.runs_file().parent.mkdir()
    timing.runs_file().write_text("".join(json.dumps(run) + "\n" for run in runs) + '{"stage": "c", "wa')
    assert [(run["stage"], run["wall_s"]) for run in timings.latest()] == [("b", 2), ("a", 3)]
    assert timings.table().splitlines()[-1].split() == ["sum", "5.0", "2.0"]


def test_nothing_recorded_is_said():
    assert "No runs" in timings.table()


def test_showing_timings_is_no_run(monkeypatch):
    monkeypatch.setattr("sys.argv", ["report.py", "--timing"])
    with timing.timed():
        pass
    assert timings.latest() == []
