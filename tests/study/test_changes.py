"""What a run changed against the committed metrics: numbers by hand, and silence where there is nothing to compare with."""

import json
import subprocess

import pytest

from study.report import changes

BEFORE = {"gone": 1.0, "low": 0.5, "mis": 0.75, "n": 200, "null": None, "same": 3, "zero": 0.0}
AFTER = {"low": 0.25, "mis": 0.7125, "n": 210, "new": 5, "null": 0.1, "same": 3, "zero": 0.02}


def git(folder, *words):
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    (folder / "results").mkdir()
    git(folder, "init", "-q")
    (folder / "results/metrics.json").write_text(json.dumps(BEFORE))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    (folder / "results/metrics.json").write_text(json.dumps(AFTER))  # what is committed counts, not what lies there
    return folder


def test_numbers_that_differ_stand_with_their_differences_the_largest_first(repository):
    lines = changes.told(repository / "results/metrics.json", AFTER).splitlines()
    assert lines[0].startswith("Changed against the last commit (")
    assert [line.split() for line in lines[1:8]] == [
        ["null", "none", "->", "0.1"],
        ["zero", "0", "->", "0.02", "+0.02"],
        ["low", "0.5", "->", "0.25", "-0.25", "(-50.0%)"],
        ["mis", "0.75", "->", "0.7125", "-0.0375", "(-5.0%)"],
        ["n", "200", "->", "210", "+10", "(+5.0%)"],
        ["no", "longer", "there:", "gone"],
        ["new:", "new"],
    ]
    assert [line.split(":")[0] for line in lines[8:]] == ["To keep it", "To go back", "To keep both"]


def test_no_more_than_ten_numbers_are_shown_and_the_rest_counted(repository):
    many = {f"m{i:02d}": float(i + 1) for i in range(13)}
    (repository / "results/many.json").write_text(json.dumps(many))
    git(repository, "add", "results/many.json")
    git(repository, "commit", "-qm", "many")
    shown = changes.told(repository / "results/many.json", {name: value + 1 for name, value in many.items()})
    names = [line.split()[0] for line in shown.splitlines() if "->" in line]
    assert names == [f"m{i:02d}" for i in range(10)]  # one more is most to the smallest
    assert "and 3 more: dvc metrics diff" in shown


def test_no_change_is_one_line(repository):
    told = changes.told(repository / "results/metrics.json", dict(BEFORE))
    assert told.startswith("Nothing changed against the last commit")
    assert "\n" not in told


def test_without_anything_committed_nothing_is_said(repository, tmp_path, monkeypatch, capfd):
    (tmp_path / "metrics.json").write_text("{}")
    assert changes.told(tmp_path / "metrics.json", AFTER) == ""  # outside git
    assert changes.told(repository / "results/other.json", AFTER) == ""  # not in the commit
    git(tmp_path, "init", "-q")
    assert changes.told(tmp_path / "metrics.json", AFTER) == ""  # no commit
    monkeypatch.setenv("PATH", str(tmp_path))
    assert changes.told(repository / "results/metrics.json", AFTER) == ""  # no git
    assert capfd.readouterr() == ("", "")
