"""The library as a package: what the wheel holds and says, and that it works from another place than the checkout."""

import email
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.helpers.rules import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USES = """
import json, sys
import interpretability as it
import numpy as np

home = it.__file__
draw = np.random.default_rng(0)
units = it.score_units(draw.standard_normal((60, 5)), draw.standard_normal((60, 4)), n_tasks=3, n_explanations=2)
import doctest
finder, failed = doctest.DocTestFinder(recurse=False), 0
for name in ("score_units", "unit_scores", "rank_images", "human_scores", "task_margins", "fit_slope"):
    for test in finder.find(getattr(it, name), name):
        failed += doctest.DocTestRunner(verbose=False).run(test).failed
others = [name for name in ("torch", "study", "stages", "tools") if name in sys.modules]
print(json.dumps([home, len(units), units["mis"].between(0, 1).all().item(), failed, others]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the files under version control, without network: by the setuptools that is here."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "interpretability", "study", "stages", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in listed:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    there = subprocess.run(
        ["git", "ls-files", "interpretability"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert held == set(there.stdout.split())


def test_the_wheel_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as opened:
        [name] = [name for name in opened.namelist() if name.endswith("METADATA")]
        said = email.message_from_string(opened.read(name).decode())
    assert said["Name"] == PROJECT["name"]
    assert said["Requires-Python"] == PROJECT["requires-python"]
    needs = [line.split(";")[0].strip() for line in said.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(need.split(">")[0] for need in needs) == ["numba", "numpy", "pandas", "scipy"]
    assert {"networks", "similarities", "statistics", "study"} <= set(said.get_all("Provides-Extra"))


def test_the_package_works_away_from_the_checkout(wheel, tmp_path):
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(target)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(target)!r})\n{USES}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home, *rest = json.loads(done.stdout.splitlines()[-1])
    assert Path(home).is_relative_to(target)
    assert rest == [5, True, 0, []]
