"""The frame of the checks that need a GPU: modules that fail or hang cost their own rows alone. Nothing here is timed."""

import csv
import math
import re
import subprocess
import sys

import pytest

from benchmarks import gpu
from tests.helpers.rules import ROOT

ABOUT = {"card": "a card", "driver": "1", "torch": "2"}
GOOD = """
def checks(device, quick):
    yield "7 filter, ms late", "ms", 0.04, 0.06, True
    yield "rate", "GB/s", 12.5, None, None
"""
MODULES = {
    "a_good": f"SECONDS = 1\n{GOOD}",
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
    rows = gpu.run(MODULES, "cpu", False, ABOUT)
    lines = capsys.readouterr().out.splitlines()
    good = ["PASS 7 filter, ms late: 0.04 (limit 0.06)", "RATE rate: 12.5 GB/s"]
    assert lines == [
        *good,
        "FAIL b_late: stopped after 1 s",
        *good,
        "FAIL c_broken: ended with status 1: ValueError: no such kernel",
        "FAIL d_empty: measured nothing",
        "FAIL x: 0 (limit 1)",
    ]
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


def test_modules_say_how_long_they_take(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "b.py").write_text("import nothing_like_it\nSECONDS = 12\n")
    (tmp_path / "a.py").write_text("SECONDS = 2.5\n")
    assert list(gpu.modules(tmp_path).items()) == [("a", 2.5), ("b", 12.0)]
    (tmp_path / "c.py").write_text("x = 1\n")
    with pytest.raises(SystemExit, match=r"c\.py of benchmarks/on_gpu has no line `SECONDS = NUMBER`"):
        gpu.modules(tmp_path)


def test_all_modules_together_fit_into_the_time():
    asked = gpu.modules()
    assert sum(asked.values()) <= 300
    assert math.isclose(gpu.ALL, 345)


def test_the_dry_run_gives_the_rows_of_a_card():
    rows = gpu.run(["g_projection"], "cpu", True, ABOUT)
    assert {row.verdict for row in rows} == {gpu.DRY}, rows
    values = {row.value for row in rows}
    for form in ("float32 eager", "tf32 eager", "float16 eager"):
        assert {f"9 a, {form}", f"9 b, {form}", f"9 largest of predicted over measured, {form}"} <= values
        assert f"10 forward passes of 835 networks, {form}" in values
    assert all(row.measured >= 0 for row in rows)


def test_a_cpu_takes_the_dry_run_alone(tmp_path):
    call = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert re.search(r"--device cpu goes with --quick", done.stderr)
