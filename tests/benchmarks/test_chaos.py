"""benchmarks/chaos.py tells a pipeline that survives kills from one that does not, on a stand-in of one stage."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import chaos, harness

# the second counts its starts in a file beside its out, so that a kill shows in its bytes
STAGES = {
    "honest": "time.sleep(1.5); Path('out').write_text('1')",
    "counting": (
        "Path('.starts').open('a').write('x'); time.sleep(1.5); Path('out').write_text(Path('.starts').read_text())"
    ),
}

TIMED = """
Path('data/store').mkdir(parents=True, exist_ok=True)
Path('data/store/runs.jsonl').open('a').write('{"stage": "only", "wall_s": 1.5}\\n')
"""


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Call with a name of STAGES: studies of the benchmark are then folders with this one stage."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc to find the process of a stage")

    def make(name):
        class StandIn:
            def __init__(self, folder):
                self.folder = folder
                (folder / "stages").mkdir(parents=True)
                (folder / "stages/only.py").write_text(
                    f"import time\nfrom pathlib import Path\n{STAGES[name]}\n{TIMED}"
                )
                (folder / "dvc.yaml").write_text("stages:\n  only:\n    cmd: python -m stages.only\n    outs: [out]\n")
                for words in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
                    subprocess.run(words, cwd=folder, check=True)

            def environment(self, workers):
                path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
                return {**os.environ, "PATH": path, "PYTHONPATH": ""}

        monkeypatch.setattr(chaos, "Study", StandIn)
        monkeypatch.setattr(chaos, "MOST_KILLS", 1)
        monkeypatch.setattr(chaos, "VICTIMS", ("stage",))
        monkeypatch.setattr(harness, "RESULTS", tmp_path)
        return lambda: pd.read_csv(tmp_path / "chaos.csv").iloc[0]

    return make


def test_a_stage_that_starts_over_gives_the_same_bytes(stand_in):
    row = stand_in("honest")
    chaos.main(["--runs", "1", "--kinds", "kill"])
    assert (row()["where"], row()["strikes"], row()["resumed"], row()["failed"]) == ("stage in only", 1, 1, 0)
    assert row()["equal"] == "yes"


def test_a_stage_that_a_kill_changes_is_found_out(stand_in):
    row = stand_in("counting")
    with pytest.raises(SystemExit, match=r"runs \[1\] differ from the one in peace"):
        chaos.main(["--runs", "1", "--kinds", "kill"])
    assert (row()["equal"], row()["resumed"]) == ("no", 1)
    assert row()["note"].startswith("2 files differ: dvc.lock out")


def test_an_unknown_kind_is_refused(capsys):
    with pytest.raises(SystemExit):
        chaos.main(["--kinds", "kill,flood"])
    assert "--kinds flood is unknown, allowed: kill, store, disk, two, ray" in capsys.readouterr().err
