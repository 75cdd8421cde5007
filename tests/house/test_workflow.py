"""The workflow of GitHub Actions: few rights, pinned actions, the Python of the lock, and commands that exist."""

from __future__ import annotations

import os
import re

import pytest
from ruamel.yaml import YAML

from tests.helpers.rules import ROOT

FILE = ROOT / ".github/workflows/ci.yml"
WORKFLOW = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
JOBS = list(WORKFLOW["jobs"].values())
STEPS = [step for job in JOBS for step in job["steps"]]
MAKEFILE = (ROOT / "Makefile").read_text()
PYTHON = re.search(r"--python-version (\d+\.\d+)", MAKEFILE)[1]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def test_it_runs_on_a_push_to_main_and_on_a_pull_request():
    assert WORKFLOW["on"] == {"push": {"branches": ["main"]}, "pull_request": None}


def test_it_may_read_and_nothing_else():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in JOBS)
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets" not in FILE.read_text()


@pytest.mark.parametrize("used", [step["uses"] for step in STEPS if "uses" in step])
def test_actions_are_pinned_to_a_commit(used):
    assert re.fullmatch(r"actions/\w+@[0-9a-f]{40}", used)
    assert re.search(rf"{re.escape(used)}  # v\d+\.\d+\.\d+$", FILE.read_text(), re.MULTILINE)


def test_it_has_the_python_of_the_lock():
    assert all(job["container"]["image"].startswith(f"python:{PYTHON}-") for job in JOBS)


def test_what_pip_fetched_is_kept_for_the_same_locks():
    (cache,) = (step for step in STEPS if step.get("uses", "").startswith("actions/cache@"))
    assert all(job["env"]["PIP_CACHE_DIR"] == cache["with"]["path"] for job in JOBS)
    assert sorted(re.findall(r"'(requirements[\w-]*\.lock)'", cache["with"]["key"])) == LOCKS
    assert f"-{PYTHON}-" in cache["with"]["key"]


def test_its_commands_exist():
    ran = [line for step in STEPS for line in step.get("run", "").splitlines()]
    assert ran.count(".ci/run") == 1
    assert "make lint" not in ran, ".ci/run does"
    for line in ran:
        program, *words = line.split()
        if program == "make":
            names = [name.replace(".venv/.ready", "$(READY)") for name in words]
            assert all(re.search(rf"^{re.escape(name)}:", MAKEFILE, re.MULTILINE) for name in names), line
        elif program != "git":
            assert os.access(ROOT / program, os.X_OK), line
    script = (ROOT / ".ci/run").read_text()
    assert script.count("make lint") == script.count("make test") == 1


def test_values_of_strangers_reach_no_shell():
    """Titles, names of branches and the like are never put into a command line."""
    assert all("${{" not in step.get("run", "") for step in STEPS)


def test_every_job_ends():
    assert all(0 < job["timeout-minutes"] <= 120 for job in JOBS)
