"""What DVC must not see: the README files that say what belongs into a folder of data."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.helpers.rules import ROOT

READMES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "data/external").rglob("README.md"))


def dvc(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_readmes_of_data_are_no_data():
    assert len(READMES) >= 5
    assert dvc(ROOT, "check-ignore", *READMES).split() == READMES


@pytest.mark.parametrize("file", ["data/external/models/synthetic.csv", "data/external/code/x.py", "README.md"])
def test_all_else_is_seen(file):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "check-ignore", file], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert not done.stdout


def test_a_folder_with_a_readme_alone_is_an_empty_dependency(tmp_path):
    """It is there for the stage; its README may change, another file may not."""
    folder = tmp_path / "data/external/human/units"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("what belongs here")
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    cmd = f"{sys.executable} -c \"import os; open('out', 'w').write(str(os.listdir('data/external/human/units')))\""
    dvc(tmp_path, "init", "--no-scm")
    dvc(tmp_path, "stage", "add", "-q", "-n", "read", "-d", "data/external/human/units", "-o", "out", cmd)
    dvc(tmp_path, "repro", "-q")
    assert (tmp_path / "out").read_text() == "['README.md']"
    (folder / "README.md").write_text("said better")
    assert "up to date" in dvc(tmp_path, "status")
    (folder / "imi.txt").write_text("net/layer/1")
    assert "modified" in dvc(tmp_path, "status")
