"""A tiny study in a copy of the repository, for what needs `dvc repro` itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.helpers.rules import ROOT

PACKAGES = ("interpretability", "study", "stages", "tools")
ROSTER = """name,constructor,kwargs,weights,role,series
net,test_resnet,"{""channels"": [8, 8, 16, 16]}",trained,study,net
encoder,test_resnet,"{""channels"": [8, 8, 16, 16]}",trained,similarity,
controls,control:planted,,none,control,
net-permuted,control:permuted,"{""of"": ""net""}",none,control,
"""
SMALL = {
    "images": {"generated": {"n": 200, "size": 32, "n_categories": 4}},
    "models": {"training": {"epochs": 1, "n_validation": 50, "n_encoder": 100}},
    "activations": {"n_extremes": 25, "batch_size": 50, "keep": ["net/*/*"], "windows": ["net/hard85"]},
    "visualisations": {
        "units": ["net/layer1.0.conv2/1", "net/layer3.0.conv2/3"],
        "n_images": 3,
        "n_sets": 2,
        "steps": 4,
        "n_natural": 50,
    },
    "explanations": {"units": ["net/*/5"], "n_known": 3, "n_top": 20},
    "crowd": {"n_images": 40, "n_gold": 5, "n_check": 0, "simulated": {"n_raters": 9}},
    "crowd_simulation": {
        "worlds": ["embedded_like/good"],
        "n_units": 4,
        "n_images": 300,
        "n_draws": 2,
        "budgets": [60, 180],
        "raters": [1, 3],
        "latent_budgets": [90],
    },
    "tasks": {"n_tasks": 5, "n_explanations": 3, "conditions": ["natural", "hard85"], "one_sided": ["net"]},
    "scores": {"backends": ["encoder", "oracle", "null"]},
    "human": {"simulated": {"n_units": 12, "n_responses": 10, "n_trials": 12}},
    "calibration": {"fraction": 0.3, "allow_few": True, "n_bootstrap": 20},
    "ceiling": {"n_simulations": 20},
    "sensitivity": {
        "models": ["net"],
        "n_units": 10,
        "n_tasks": [3],
        "n_explanations": [1],
        "slopes": [1.0],
        "map_models": ["net"],
        "map_images": 60,
    },
    "label_free": {"models": ["net", "controls", "net-permuted"], "n_images": 100, "n_range": 50, "n_top": 5},
    "stats": {"n_bootstrap": 100},
    "report": {"n_exemplars": 1},
}


def changed(params, changes):
    for key, value in changes.items():
        if isinstance(value, dict):
            changed(params[key], value)
        else:
            params[key] = value


def _keep_time(source: Path, copy: Path) -> None:
    """By the time and size of its source numba knows what it compiled of it."""
    known = source.stat()
    os.utime(copy, ns=(known.st_atime_ns, known.st_mtime_ns))


def _share_compiled(source: Path, target: Path) -> None:
    """What numba compiled of the same code in one place, for the other: to compile it all again takes longer than a tiny study.

    Other processes of the tests may be at work in both. Numba renames what is whole, and an index that is there already is
    let alone: it names what lies beside it.
    """
    for package in PACKAGES:
        for place in (source / package).rglob("__pycache__"):
            there = target / place.relative_to(source)
            for index in place.glob("*.nbi"):
                if not there.parent.is_dir() or (there / index.name).exists():
                    continue
                there.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    for compiled in (*place.glob(f"{index.stem}.*.nbc"), index):
                        taken = there / f"{compiled.name}.{os.getpid()}"
                        shutil.copyfile(compiled, taken)
                        taken.rename(there / compiled.name)


class Study:
    """A copy of the repository in a folder of its own, with a tiny study or the one of params.yaml."""

    def __init__(self, folder: Path, *, tiny: bool = True, seed: int = 0) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for name in listed:
            if (ROOT / name).is_file() and not name.startswith(("results/", "reports/figures/")) and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
                _keep_time(ROOT / name, folder / name)
        _share_compiled(ROOT, folder)
        yaml = YAML()
        params = yaml.load(ROOT / "params.yaml")
        changed(params, {**(SMALL if tiny else {}), "seed": seed})
        yaml.dump(params, folder / "params.yaml")
        if tiny:
            (folder / "data/external/models/synthetic.csv").write_text(ROSTER)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "start")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)

    def environment(self, workers: int) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        store = str(self.folder / "data/store")
        # the copy is the test's own: what its stages compile stays there for those after them
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PATH": path, "MIS_STORE": store, "MIS_WORKERS": str(workers), "MIS_DEVICE": "cpu"}

    def repro(self, *words: str, workers: int = 1) -> subprocess.CompletedProcess[str]:
        """One worker is the stage itself; each of several imports torch anew, in every stage."""
        command = [sys.executable, "-m", "dvc", "repro", *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(workers), capture_output=True, text=True)
        _share_compiled(self.folder, ROOT)
        return done

    def repro_killed_in(self, stage: str, *, after: float, workers: int) -> None:
        """Start `dvc repro` and SIGKILL the process of one stage as soon as it has stored some work, at the latest `after`
        seconds from its start.
        """
        command = [sys.executable, "-m", "dvc", "repro"]
        with open(self.folder.parent / "killed.log", "w") as log:
            dvc = subprocess.Popen(command, cwd=self.folder, env=self.environment(workers), stdout=log, stderr=log)
            deadline = time.monotonic() + 240
            while (found := self.process_of(stage)) is None:
                assert dvc.poll() is None, f"dvc ended before {stage} ran: {Path(log.name).read_text()}"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            began, stored = time.monotonic(), self.n_stored()
            while time.monotonic() - began < after and self.n_stored() == stored:
                time.sleep(0.02)
            os.kill(found, signal.SIGKILL)
            assert dvc.wait(timeout=60) != 0

    def n_stored(self) -> int:
        """Finished files in the work store."""
        return len(list((self.folder / "data/store").rglob("*.json")))

    def process_of(self, stage: str) -> int | None:
        """The python process of a stage of this study (not the shell around it, and no worker)."""
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"-m", f"stages.{stage}".encode()] and (entry / "cwd").resolve() == self.folder:
                    return int(entry.name)
            except (OSError, IndexError):
                continue
        return None

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def recorded(self) -> dict[str, Any]:
        """What DVC has recorded of each stage, the digests of its outputs among it."""
        return YAML(typ="safe").load(self.lock())["stages"]

    def forget(self, stages: Iterable[str]) -> None:
        """Remove what these stages wrote, the work that any keeps between runs, and what DVC knows of commands that ran."""
        recorded = self.recorded()
        for out in (self.folder / out["path"] for stage in stages for out in recorded.pop(stage)["outs"]):
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        YAML(typ="safe").dump({"schema": "2.0", "stages": recorded}, self.folder / "dvc.lock")
        for place in (".dvc/cache/runs", "data/store"):
            shutil.rmtree(self.folder / place)
