"""What a run changed against the committed metrics: numbers by hand, and silence where there is nothing to compare with."""

import json
import subprocess

import pytest

from study.report import changes

BEFORE = {"gone": 1.0, "low": 0.5, "mis_mean": 0.75, "n": 200, "null": None, "same": 3, "zero": 0.0}
AFTER = {"low": 0.25, "mis_mean": 0.7125, "n": 210, "new": 5, "null": 0.1, "same": 3, "zero": 0.02}


def git(folder, *words):
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def provenance(folder, leading, images):
    scores, models = {"backends": [leading, "null"]}, {"roster": "rosters/mine.csv"}
    content = {"params": {"scores": scores, "models": models}, "digests": {"images": images}}
    (folder / "results/provenance.json").write_text(json.dumps(content))


def told(repository, metrics=None, name="metrics.json"):
    """What is told of the files as they lie there, of which the metrics are put there first."""
    folder = repository / "results"
    if metrics is not None:
        (folder / name).write_text(json.dumps(metrics))
    return changes.told(folder / name, folder / "provenance.json", folder / "calibration.csv")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    (folder / "results").mkdir()
    git(folder, "init", "-q")
    (folder / "results/metrics.json").write_text(json.dumps(BEFORE))
    provenance(folder, "pixel", "a")
    (folder / "results/calibration.csv").write_text("backend,status\npixel,calibrated\n")
    for name in ("params.yaml", "data/external/models/roster.csv", "rosters/mine.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("committed")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    (folder / "results/metrics.json").write_text(json.dumps(AFTER))  # what is committed counts, not what lies there
    return folder


@pytest.fixture(autouse=True)
def clean(repository):
    yield
    git(repository, "reset", "-q", "--hard")
    git(repository, "clean", "-fdq")


def test_numbers_that_differ_stand_with_their_differences_the_largest_first(repository):
    lines = told(repository, AFTER).splitlines()
    assert lines[0].startswith("Changed against the last commit (")
    assert [line.split() for line in lines[1:8]] == [
        ["null", "none", "->", "0.1"],
        ["zero", "0", "->", "0.02", "+0.02"],
        ["low", "0.5", "->", "0.25", "-0.25", "(-50.0%)"],
        ["mis_mean", "0.75", "->", "0.7125", "-0.0375", "(-5.0%)"],
        ["n", "200", "->", "210", "+10", "(+5.0%)"],
        ["no", "longer", "there:", "gone"],
        ["new:", "new"],
    ]
    assert [line.split(":")[0] for line in lines[8:] if line[0] != " "] == ["To keep it", "To go back", "To keep both"]


def test_the_commands_name_what_a_study_is_and_nothing_else(repository):
    (repository / "private photo.jpg").touch()
    (repository / "data/external/models/my new.csv").touch()
    lines = {line[:12]: line[17:] for line in told(repository, AFTER).splitlines()}
    kept = "params.yaml data/external rosters/mine.csv results"
    assert lines["To keep it: "] == f'git add {kept} && git commit -m "what you changed"'
    back = f"git checkout HEAD -- {kept} && git clean -fdq results && dvc checkout --allow-missing"
    assert lines["To go back: "] == back
    assert lines["To keep both"] == "dvc exp save -n NAME -I results -I 'data/external/models/my new.csv'"


@pytest.mark.parametrize(
    ("leading", "images", "status", "says"),
    [
        ("oracle", "a", "calibrated", "another study: pixel -> oracle; levels"),
        ("oracle", "b", "calibrated", "another study: pixel -> oracle, other pictures; levels"),
        ("pixel", "b", "calibrated", "another study: other pictures; levels"),
        ("pixel", "a", "published", "another study: slope calibrated -> published; levels"),
    ],
)
def test_levels_of_another_measure_are_not_compared(repository, leading, images, status, says):
    provenance(repository, leading, images)
    (repository / "results/calibration.csv").write_text(f"backend,status\n{leading},{status}\n")
    shown = told(repository, AFTER)
    assert shown.splitlines()[1].strip().startswith(says)
    assert "mis_mean" not in shown
    assert "low " in shown


def test_levels_are_not_compared_with_a_study_that_nothing_describes(repository):
    provenance(repository, "pixel", "a")
    (repository / "results/no_such.json").write_text("{}")
    folder = repository / "results"
    (folder / "metrics.json").write_text(json.dumps(AFTER))
    shown = changes.told(folder / "metrics.json", folder / "no_such.json", folder / "calibration.csv")
    assert "cannot be read" in shown
    assert "mis_mean" not in shown


def commit(repository, name, text):
    (repository / "results" / name).write_text(text)
    git(repository, "add", f"results/{name}")
    git(repository, "commit", "-qm", name)


def test_no_more_than_ten_numbers_are_shown_and_the_rest_counted(repository):
    many = {f"m{i:02d}": float(i + 1) for i in range(13)}
    commit(repository, "many.json", json.dumps(many))
    shown = told(repository, {name: value + 1 for name, value in many.items()}, "many.json")
    names = [line.split()[0] for line in shown.splitlines() if "->" in line]
    assert names == [f"m{i:02d}" for i in range(10)]  # one more is most to the smallest
    assert "and 3 more: dvc metrics diff" in shown


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", "<<<<<<< HEAD", "[" * 100_000])
def test_what_is_no_table_of_numbers_is_nothing_to_compare_with(repository, text):
    commit(repository, "broken.json", f"{text} ")
    assert told(repository, AFTER, "broken.json") == ""


def test_values_that_are_no_numbers_are_shown_without_a_difference(repository):
    odd = {"list": [1] * 99, "nested": {"a": 1}, "text": "some\x1b[31m", "true": True, "nan": float("nan")}
    commit(repository, "odd.json", json.dumps(odd))
    shown = told(repository, dict.fromkeys(odd, 2), "odd.json")
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.splitlines() if "->" in line}
    assert sorted(rows) == sorted(odd)
    assert all(row.endswith("->  2") for row in rows.values())
    assert rows["nested"].startswith('{"a": 1}')
    assert "\x1b" not in shown
    assert max(map(len, rows.values())) < 60


def test_no_change_is_one_line(repository):
    shown = told(repository, BEFORE)
    assert shown.startswith("Nothing changed against the last commit")
    assert "\n" not in shown


def test_what_changed_beside_the_headline_numbers_can_be_kept(repository):
    (repository / "params.yaml").write_text("other")
    shown = told(repository, BEFORE)
    assert shown.startswith("No headline number changed against the last commit")
    assert "To go back:" in shown


def test_without_anything_committed_nothing_is_said(repository, tmp_path, monkeypatch, capfd):
    (tmp_path / "results").mkdir()
    assert told(tmp_path, AFTER) == ""  # outside git
    assert told(repository, AFTER, "other.json") == ""  # not in the commit
    git(tmp_path, "init", "-q")
    assert told(tmp_path, AFTER) == ""  # no commit
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(repository, AFTER) == ""  # no git
    monkeypatch.undo()
    assert capfd.readouterr() == ("", "")
