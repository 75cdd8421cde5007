"""The whole chain on a tiny study: `dvc repro` in a copy of the repository, killed, resumed and repeated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.copied_study import Study

AT_WORK = (
    *("images", "models", "activations", "visualisations", "tasks", "scores@encoder", "scores@oracle", "scores@null"),
    *("explanation_kinds", "label_free", "sensitivity"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc to find the process of a stage")
    made = Study(tmp_path_factory.mktemp("study") / "copy")
    done = made.repro()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_every_result_is_there(study):
    tables = {path.stem for path in (study.folder / "results/tables").glob("*.csv")}
    assert {"models", "layers", "agreement", "noise_ceiling", "controls", "network_tests", "failures"} <= tables
    metrics = json.loads((study.folder / "results/metrics.json").read_text())
    assert 0 < len(metrics) <= 25
    assert 0.3 < metrics["mis_mean"] < 1
    conditions = pd.read_csv(study.folder / "results/tables/conditions.csv")
    assert set(zip(conditions["model"], conditions["condition"], strict=True)) == {
        ("net", "natural"),
        ("net", "hard85"),
        ("net", "one_sided"),
    }
    # nobody is asked one-sided tasks
    asked = conditions["condition"] != "one_sided"
    assert (conditions["n_annotated"] == 12 * asked).all()
    assert set(pd.read_parquet(study.folder / "data/human/units.parquet")["condition"]) == {"natural", "hard85"}
    difficulty = pd.read_csv(study.folder / "results/tables/difficulty.csv")
    assert set(difficulty["condition"]) == {"hard85"}
    models = pd.read_csv(study.folder / "results/tables/models.csv")
    assert set(models["model"]) == {"net-step0", "net", "controls", "net-permuted"}
    page = (study.folder / "reports/report.html").read_text()
    assert "simulated" in page
    assert "data:image/webp;base64," in page
    assert page.count('class="t s0"') > 3, "pictures are cut from a sheet"


def test_nothing_runs_twice(study):
    before = study.lock()
    done = study.repro()
    # what DVC does not see is looked at in every run
    assert [line for line in done.stdout.splitlines() if "unning stage" in line] == ["Running stage 'inputs':"]
    assert study.lock() == before


def test_a_change_of_statistics_reaches_no_network(study):
    dry = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--dry", "--force", "--downstream", "calibration"],
        cwd=study.folder,
        env=study.environment(1),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "stages.stats" in dry
    assert not any(f"stages.{name} " in dry for name in ("images", "models", "activations", "tasks", "scores"))


def test_killed_and_resumed_with_other_workers_gives_the_same_bytes(study):
    """Of all stages that keep work between runs or have workers, and those between them. What follows from their bytes does not
    run again, so that these must be the same; that it gives the same bytes twice is a test of each.
    """
    expected = study.recorded()
    study.forget(AT_WORK)
    study.repro_killed_in("models", after=4, workers=1)
    study.repro_killed_in("activations", after=3, workers=2)
    study.repro_killed_in("scores", after=1.5, workers=1)
    leftovers = list((study.folder / "data").rglob("*.parquet")) + list((study.folder / "data/store").rglob("*.json"))
    assert leftovers, "finished work survives a kill"
    done = study.repro(workers=2)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
    assert {"inputs", "scores@null", "sensitivity", "label_free"} <= ran <= {"inputs", *AT_WORK}
    assert study.recorded() == expected
