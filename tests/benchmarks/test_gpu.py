"""The frame of the checks that need a GPU: modules that fail or hang cost their own rows alone. Nothing here is timed."""

import csv
import importlib
import math
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu
from benchmarks.on_gpu import a_precision, g_projection
from benchmarks.on_gpu.b_launches import event_waits
from tests.helpers.rules import ROOT

ABOUT = {"card": "a card", "driver": "1", "torch": "2"}
GOOD = """
def checks(device, quick):
    yield "7 filter, ms late", "ms", 0.04, 0.06, True
    yield "rate", "s", 12.5, None, None
"""
REST = "    yield 'last', 'share', 1.0, None, None\n"
MODULES = {
    "a_good": f"SECONDS = 1\n{GOOD}    print('[of a library')\n    print('no end', end='')\n{REST}",
    "b_late": "import time\nSECONDS = 1\ndef checks(device, quick):\n    time.sleep(600)\n    yield\n",
    "c_broken": f"SECONDS = 1\n{GOOD}    raise ValueError('no such kernel')\n",
    "d_empty": "SECONDS = 1\ndef checks(device, quick):\n    return iter(())\n",
    "e_unmet": "SECONDS = 1\ndef checks(device, quick):\n    yield 'x', 'equal', 0.0, 1.0, False\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Modules that end well, hang, break, measure nothing and miss their limit, in place of those of the repository."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    real = gpu.outcome

    def outcome(module, options, limit):
        return real(module.rpartition(".")[2], options, 1.0 if module.endswith("b_late") else limit)

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(gpu, "FOLDER", tmp_path)
    monkeypatch.setattr(gpu, "modules", lambda: dict.fromkeys(MODULES, 1.0))
    monkeypatch.setattr(gpu, "outcome", outcome)
    return tmp_path


def test_a_module_that_fails_costs_its_own_rows_alone(folder, capsys):
    kept = []
    rows = gpu.run([*MODULES], "cpu", False, ABOUT, lambda rows: kept.append(len(rows)))
    told = capsys.readouterr()
    lines = told.out.splitlines()
    good = ["PASS 7 filter, ms late: 0.04 (limit 0.06)", "RATE rate: 12.5 s"]
    assert lines == [
        *good,
        "RATE last: 1 share",
        "FAIL b_late: stopped after 1 s",
        *good,
        "FAIL c_broken: ended with status 1: ValueError: no such kernel",
        "FAIL d_empty: measured nothing",
        "FAIL x: 0 (limit 1)",
    ]
    assert kept == [3, 4, 7, 8, 9], "all so far, after each module"
    assert "    [of a library\n    no end\n" in told.err
    path = folder / "out" / "gpu.csv"
    gpu.write(rows, path)
    written = list(csv.DictReader(path.open()))
    assert [row["verdict"] for row in written] == [line.split()[0] for line in lines]
    assert written[0] | ABOUT == written[0]
    assert (written[0]["measured"], written[0]["limit"], written[1]["limit"]) == ("0.04", "0.06", "")


def test_nothing_starts_once_the_time_is_over(folder, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "ALL", 5.0)
    rows = gpu.run(["a_good"], "cpu", False, ABOUT)
    assert [row.note for row in rows] == ["not started: 5 s are over"]
    monkeypatch.setattr(gpu, "ALL", 100.0)
    rows = gpu.run(["a_good"], "cpu", False, ABOUT, spent=95)
    assert [row.note for row in rows] == ["not started: 100 s are over"]


def test_units_are_told_once():
    def line(value, unit):
        return gpu.Row("m", value, unit, 2.0, math.nan, "RATE", "", **ABOUT).line()

    assert line("8 compiling", "s") == "RATE 8 compiling: 2 s"
    assert line("waits a block", "waits") == "RATE waits a block: 2"
    assert line("images/s first seen", "images/s") == "RATE images/s first seen: 2"
    assert line("images first seen", "images/s") == "RATE images first seen: 2 images/s"


@pytest.fixture
def table(folder, monkeypatch):
    """What calls of the program leave in gpu.csv, by module; there is a GPU as far as the frame sees."""
    found = {"a_good": [["rate", "s", 12.5, None, None]], "e_unmet": [["x", "equal", 0.0, 1.0, False]]}
    monkeypatch.setattr(gpu, "outcome", lambda module, options, limit: (found[module.rpartition(".")[2]], ""))
    monkeypatch.setattr(gpu, "missing", lambda device: "")
    monkeypatch.setattr(gpu, "facts", lambda device: ABOUT)
    monkeypatch.setattr(gpu, "RESULTS", folder / "results")

    def made(*options):
        monkeypatch.setattr(sys, "argv", ["gpu", *options])
        with pytest.raises(SystemExit):
            gpu.main()
        path = folder / "results" / "gpu.csv"
        return [(row["module"], row["value"]) for row in csv.DictReader(path.open())] if path.is_file() else []

    return made


def test_rows_of_other_modules_stay(table, monkeypatch):
    unmet = ("e_unmet", "x")
    assert table("--only", "e_unmet") == [unmet]
    good = ("a_good", "rate")
    assert table("--only", "a_good") == [good, unmet]
    assert table("--only", "a_good") == [good, unmet], "in place of those of before"
    monkeypatch.delitem(MODULES, "e_unmet")
    assert table("--only", "a_good") == [good], "a module that is gone"


def test_the_dry_run_leaves_the_table_alone(table, folder, monkeypatch, capsys):
    assert table("--only", "a_good", "--device", "cpu", "--quick") == []
    assert (folder / "results" / "gpu_dry.csv").is_file()
    monkeypatch.setattr(gpu, "RESULTS", gpu.COMMITTED)
    assert ROOT not in gpu.table_of(quick=True).parents
    assert gpu.table_of(quick=False) == gpu.COMMITTED / "gpu.csv"


def test_the_table_is_laid_where_it_is_wanted_after_each_module(table, folder, monkeypatch):
    left, write = [], gpu.write
    monkeypatch.setattr(
        gpu, "write", lambda rows, path: (write(rows, path), left.append((path.parent.name, len(rows))))
    )
    table("--only", "a_good", "e_unmet", "--copy", str(folder / "out"))
    assert left == [("results", 1), ("out", 1), ("results", 2), ("out", 2)]
    assert (folder / "out" / "gpu.csv").read_bytes() == (folder / "results" / "gpu.csv").read_bytes()
    assert {path.name for path in (folder / "out").iterdir()} == {"gpu.csv"}


def test_the_script_passes_on_where_the_table_is_wanted_and_how_it_ended(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "gpu.sh", tmp_path / "benchmarks")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] || exit 0\necho "$@" offline $HF_HUB_OFFLINE\nexit 3\n')
    python.chmod(0o755)

    def said(**more):
        here = {"PATH": os.environ["PATH"], "PYTHON": str(python), **more}
        done = subprocess.run([tmp_path / "benchmarks" / "gpu.sh", "--quick"], env=here, capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        return re.sub(r"\d+", "N", done.stdout.splitlines()[-1])

    assert said() == "-m benchmarks.gpu --spent N --quick offline N"
    assert said(OUT="a folder") == "-m benchmarks.gpu --spent N --copy a folder --quick offline N"


def test_modules_say_how_long_they_take(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "b.py").write_text("import nothing_like_it\nSECONDS = 12\n")
    (tmp_path / "a.py").write_text("SECONDS = 2.5\n")
    (tmp_path / "g_projection.py").write_text("SECONDS = 1\n")
    assert list(gpu.modules(tmp_path).items()) == [("g_projection", 1.0), ("a", 2.5), ("b", 12.0)]
    (tmp_path / "c.py").write_text("x = 1\n")
    with pytest.raises(SystemExit, match=r"c\.py of benchmarks/on_gpu has no line `SECONDS = NUMBER`"):
        gpu.modules(tmp_path)


def test_all_modules_together_fit_into_the_time():
    asked = gpu.modules()
    assert sum(asked.values()) + gpu.USUALLY * (len(asked) + 1) <= gpu.ALL < 360
    assert [*asked][:2] == ["a_precision", "g_projection"]


def test_a_network_that_fails_costs_its_own_rows_alone(monkeypatch, capsys):
    real = g_projection.measured

    def measured(network, *rest):
        if network == "test_vit":
            raise torch.OutOfMemoryError("no room for it")
        return real(network, *rest)

    monkeypatch.setattr(g_projection, "measured", measured)
    rows = list(g_projection.checks("cpu", True))
    assert [row for row in rows if row[0].startswith("9 test_vit")] == [
        ("9 test_vit, runs to its end", "equal", 0.0, 1.0, False)
    ]
    assert "no room for it" in capsys.readouterr().out
    assert {"9 a, float16 eager", "10 eight cards, float16, compiled"} <= {row[0] for row in rows}


OF_A_CARD = {"12 dists, kernel in use"}  # a kernel that a processor has not


@pytest.mark.parametrize("module", gpu.modules())
def test_every_module_runs_dry(module):
    rows = list(importlib.import_module(f"benchmarks.on_gpu.{module}").checks("cpu", True))
    assert rows
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))
    for value, unit, measured, limit, passed in rows:
        assert math.isfinite(measured), value
        assert re.match(r"\d+ ", value), "it begins with the acceptance value"
        assert (limit is None) == (passed is None), value
        if unit == "equal" and value not in OF_A_CARD:
            assert (measured, limit, passed) == (1, 1, True), value


def test_the_dry_run_gives_the_rows_of_a_card():
    rows = gpu.run(["g_projection"], "cpu", True, ABOUT)
    assert {row.verdict for row in rows} == {gpu.DRY}, rows
    values = {row.value for row in rows}
    assert {"10 one card, float16, compiled", "10 eight cards, float16, compiled"} <= values
    for form in ("float32 eager", "tf32 eager", "float16 eager"):
        assert {f"9 a, {form}", f"9 b, {form}", f"9 largest of predicted over measured, {form}"} <= values
        assert f"10 forward passes of 835 networks, {form}" in values
    assert all(row.measured >= 0 for row in rows)


def test_a_cpu_takes_the_dry_run_alone(tmp_path):
    call = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert re.search(r"--device cpu goes with --quick", done.stderr)


@pytest.mark.parametrize(
    ("passed", "nothing_left", "counted"), [(True, True, (0, 0)), (False, True, (1, 0)), (False, False, (0, 1))]
)
def test_waits_for_events_are_counted_by_what_is_left_to_do(passed, nothing_left, counted, monkeypatch):
    waited = []
    stream = SimpleNamespace(query=lambda: nothing_left)
    monkeypatch.setattr(torch.cuda.Event, "query", lambda event: passed)
    monkeypatch.setattr(torch.cuda.Event, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    event = torch.cuda.Event.__new__(torch.cuda.Event)
    with event_waits("cuda:0") as waits:
        event.synchronize()
    assert (waits.idle, waits.busy) == counted
    assert len(waited) == sum(counted)


def test_lists_and_order_are_compared():
    one = torch.arange(100.0)[:, None].repeat(1, 3)
    two = one.clone()
    two[[95, 94], 1] = two[[94, 95], 1]  # across the edge of the top five
    two[:6, 2] = 0  # a tie at the bottom, in which a list may hold any
    rows = {row[0]: row[2:] for row in a_precision.compared("x", one, two, 5, judged=True)}
    assert rows["x, top lists kept, mean"] == (pytest.approx(1 - 0.2 / 3), 0.997, False)
    assert rows["x, top lists kept, 1st percentile"] == (pytest.approx(0.8), 0.97, False)
    assert rows["x, bottom lists kept, mean"] == (1, 0.997, True)
    assert rows["x, order, 1st percentile"] == (pytest.approx(1 - 6 * 2 / (100 * 9999)), 0.999, True)


def test_a_device_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.missing("cpu") == ""
    words = r"torch .* finds no GPU here; the dry run needs none: --quick --device cpu"
    assert re.fullmatch(words, gpu.missing("cuda:0"))
    assert gpu.missing("gpu").startswith("--device is 'gpu'; allowed: cpu, cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert gpu.missing("cuda") == gpu.missing("cuda:1") == ""
    assert gpu.missing("cuda:2").startswith("--device is cuda:2, and GPUs here go up to cuda:1; the dry run")
