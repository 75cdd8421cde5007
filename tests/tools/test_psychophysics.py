"""A study with people, there and back: export from a tiny study, fabricated answers (simulated, and said to be), analysis."""

import filecmp
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.schema import KEY
from study.files.tables import read_parquet
from study.people import asking, questions
from tests.helpers import tiny_study
from tests.helpers.asked import ANNOTATED, export, make_study, manifest, row_of, rows
from tools import psychophysics


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def exported(study, tmp_path_factory):
    return export(study, tmp_path_factory.mktemp("out") / "asked")


def test_groups_hold_the_extremes_among_units_that_nobody_answered(study, exported):
    units = pd.DataFrame(rows(exported, "units"))
    assert units["group"].value_counts().to_dict() == {"easiest": 3, "hardest": 3, "random": 2}
    assert not set(units[KEY].itertuples(index=False, name=None)) & set(ANNOTATED)
    scores = read_parquet(study / "data/scores/oracle.parquet").query("model == 'net'")
    mean = 1 / (1 + np.exp(-5 * np.stack(scores["margins"])))
    scores = scores.assign(mis=mean.mean(axis=1)).merge(
        pd.DataFrame(ANNOTATED, columns=KEY), how="left", indicator=True
    )
    left = scores[scores["_merge"] == "left_only"].merge(units[[*KEY, "group"]], on=KEY, how="left")
    others = left[left["group"].isna()]["mis"]
    assert left[left["group"] == "easiest"]["mis"].min() > others.max()
    assert left[left["group"] == "hardest"]["mis"].max() < others.min()
    facts = manifest(exported)["networks"][0]
    assert (facts["n_annotated"], facts["n_candidates"]) == (4, len(left))
    easiest = units[units["group"] == "easiest"]["mis"].mean()
    groups = manifest(exported)["experiments"][0]["groups"]
    assert groups[0]["chosen_by"] == pytest.approx(easiest, abs=1e-5)
    assert groups[0]["expected"] < easiest, "luck of the tasks is taken out"


def test_questions_show_the_tasks_of_the_study(study, exported):
    table = read_parquet(study / "data/tasks/net.parquet", KEY)
    built = np.load(study / "data/tasks/net.npy")
    k = tiny_study.N_EXPLANATIONS
    image = row_of(exported)
    for unit in rows(exported, "units"):
        place = table.index[(table[KEY] == [unit[name] for name in KEY]).all(axis=1)][0]
        assert [task["task"] for task in unit["tasks"]] == list(range(tiny_study.N_TASKS))
        for task in unit["tasks"]:
            images = built[place, task["task"]]
            assert sorted(image[file] for file in task["right"]) == sorted(images[:k])
            assert sorted(image[file] for file in task["left"]) == sorted(images[k : 2 * k])
            wrong = {"top": "bottom", "bottom": "top"}[task["answer"]]
            assert (image[task[task["answer"]]], image[task[wrong]]) == (images[-2], images[-1])
        assert sum(task["answer"] == "top" for task in unit["tasks"]) == tiny_study.N_TASKS / 2


def test_what_a_participant_gets_tells_nothing(exported):
    shown = rows(exported, "questions")
    assert all(set(each) == {"question", "left", "right", "top", "bottom"} for each in shown)
    of_group = {task["question"]: unit["group"] for unit in rows(exported, "units") for task in unit["tasks"]}
    assert [each["question"] for each in shown] == sorted(of_group)
    order = [of_group[each["question"]] for each in shown]
    assert sum(a != b for a, b in itertools.pairwise(order)) > 10, "groups are not in blocks"


def test_sessions_ask_every_unit_as_often_as_wanted_and_nobody_twice(exported):
    unit_of = {task["question"]: place for place, unit in enumerate(rows(exported, "units")) for task in unit["tasks"]}
    sessions = [[unit_of[question] for question in each["questions"]] for each in rows(exported, "sessions")]
    assert np.bincount(np.concatenate(sessions)).tolist() == [6] * 8
    assert all(len(set(each)) == len(each) <= 5 for each in sessions)


def test_pictures_are_whole_and_listed_with_their_digests(study, exported):
    listed = pd.read_csv(exported / "images.csv")
    assert sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*.png")) == sorted(listed["file"])
    for row in listed.head(5).itertuples():
        assert sha256_file(exported / row.file) == row.sha256
        with Image.open(exported / row.file) as picture:
            assert picture.size == (8, 8), "the centre square, never enlarged"
    digests = manifest(exported)["files"]
    assert digests == {
        name: sha256_file(exported / name)
        for name in (*("catch.json", "images.csv", "practice.json", "questions.json", "sessions.json", "units.json"),)
    }


def test_pictures_may_be_whole_or_left_out(study, tmp_path):
    out = export(study, tmp_path / "whole", "--size=0")
    path = sorted((out / "images").iterdir())[0]
    assert Image.open(io.BytesIO(path.read_bytes())).size == (10, 8)
    out = export(study, tmp_path / "none", "--no-pictures")
    assert sorted(path.name for path in out.iterdir()) == [
        *("catch.json", "practice.json", "questions.json", "sessions.json", "study.json", "units.json"),
    ]


def test_same_study_gives_the_same_bytes(study, exported, tmp_path):
    again = export(study, tmp_path / "again")
    names = [path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()]
    assert len(names) > 50
    assert filecmp.cmpfiles(exported, again, names, shallow=False)[1:] == ([], [])
    assert not [path for path in again.parent.iterdir() if path.name.startswith(".")]


def test_held_out_tasks_did_not_choose_their_unit(study, tmp_path):
    out = export(study, tmp_path / "held", "--held-out", "--tasks=2", "--units=6", "--practice=2", "--no-pictures")
    units = pd.DataFrame(rows(out, "units"))
    assert {tuple(task["task"] for task in tasks) for tasks in units["tasks"]} == {(1, 3)}
    easiest = units[units["group"] == "easiest"]
    assert easiest["even"].is_monotonic_decreasing
    facts = manifest(out)
    assert facts["held_out"] is True
    group = facts["experiments"][0]["groups"][0]
    assert (group["chosen_by"], group["expected"]) == pytest.approx(
        (easiest["even"].mean(), easiest["odd"].mean()), abs=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models=lost"], "--models names lost; studied networks are net, other"),
        (["--models=net-step0"], "studied networks are net, other"),
        (["--backend=lpips"], "--backend is 'lpips'; the study has oracle, null"),
        (["--units=30"], "net has 20 units that nobody answered; groups of 30, 2 and 30 need 62"),
        (["--tasks=7"], "--tasks is 7; allowed are 1 to 6"),
        (["--held-out", "--tasks=4"], "--tasks is 4; allowed are 1 to 3"),
        (["--trials=9"], "--trials is 9; allowed are 1 to 8"),
        (["--explanations=3"], "--explanations is 3; allowed are 1 to 2, those of the study, and 0 for queries alone"),
        (["--conditions=natural,synthetic"], "--conditions names synthetic; net has tasks of natural"),
        (["--practice=12"], "net has 12 units of no group.* 12 practice and 3 catch trials need 15. Ask for fewer"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(study, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export(study, tmp_path / "out", *options)
    assert not list(tmp_path.iterdir())


def test_all_networks_are_asked_about_only_if_they_are_few(study, monkeypatch):
    roster = study / "data/models/roster.csv"
    assert asking.chosen_models([], roster) == ["net", "other"]
    monkeypatch.setattr(asking, "MOST_MODELS", 1)
    with pytest.raises(
        InputError, match="the study has 2 networks, too many to ask about all; name some, as --models net,other"
    ):
        asking.chosen_models([], roster)
    assert asking.chosen_models(["other"], roster) == ["other"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--units", "0"], "--units is 0; it must be at least 1"),
        (["--practice", "-1"], "--practice is -1; it must be at least 0"),
        (["--quality", "80"], "--quality is 80, but --format is png"),
        (["--format", "webp", "--quality", "101"], "--quality is 101; it must be from 1 to 100"),
        (["--conditions", ","], "--conditions is empty"),
    ],
)
def test_wrong_numbers_are_refused(capsys, options, message):
    with pytest.raises(SystemExit):
        psychophysics.main(["export", "--out", "x", *options])
    assert message in capsys.readouterr().err


def test_nothing_is_overwritten_and_nothing_half_made_is_left(study, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(InputError, match="full is there already and holds something"):
        export(study, tmp_path / "full")
    monkeypatch.setattr(questions, "write_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(study, tmp_path / "new", "--no-pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


# --------------------------------------------------------------------------- answers

SHARE = {"easiest": 1.0, "random": 0.75, "hardest": 0.5}  # of right answers, fabricated


def fabricated(folder):
    """Simulated answers to all questions of all sessions: of every four to a unit, SHARE are right."""
    of_question = {
        task["question"]: (place, unit, task)
        for place, unit in enumerate(rows(folder, "units"))
        for task in unit["tasks"]
    }
    given, found = {}, []
    for session in rows(folder, "sessions"):
        for question in session["questions"]:
            place, unit, task = of_question[question]
            given[place] = given.get(place, -1) + 1
            right = given[place] % 4 < 4 * SHARE[unit["group"]]
            choice = task["answer"] if right else {"top": "bottom", "bottom": "top"}[task["answer"]]
            found.append((question, f"simulated-{session['session']}", choice, given[place] % 3 + 1, "simulated"))
    return pd.DataFrame(found, columns=["question", "participant", "choice", "confidence", "source"])


def analyse(folder, answers, out=None):
    psychophysics.main(["analyse", str(answers), "--study", str(folder), *([] if out is None else ["--out", str(out)])])


def test_round_trip_finds_the_shares_that_were_fabricated(study, tmp_path, capsys):
    folder = export(study, tmp_path / "asked", "--responses=8", "--no-pictures")
    fabricated(folder).to_csv(tmp_path / "answers.csv", index=False)
    analyse(folder, tmp_path / "answers.csv", tmp_path / "results")
    table = pd.read_csv(tmp_path / "results/groups.csv").set_index("group")
    assert table["his_mean"].to_dict() == SHARE
    assert (table["source"] == "simulated").all()
    assert table["n_responses"].to_dict() == {"easiest": 24, "random": 16, "hardest": 24}
    expected = {each["group"]: each["expected"] for each in manifest(folder)["experiments"][0]["groups"]}
    assert table["expected"].to_dict() == pytest.approx(expected, abs=1e-5)
    tests = pd.read_csv(tmp_path / "results/tests.csv")
    assert tests[["first", "second", "difference"]].to_numpy().tolist() == [
        ["easiest", "hardest", 0.5],
        ["easiest", "random", 0.25],
        ["hardest", "random", -0.25],
    ]
    printed = capsys.readouterr().out
    assert printed.startswith("Simulated answers: no person gave them.")
    assert (
        "net, natural: 3 of 3 pairs of groups are in the order that their scores said, 0 of them with an interval"
        in printed
    )

    # the same answers as a table for human.source table, which analysis reads as well
    analyse(folder, tmp_path / "results/answers.csv", tmp_path / "again")
    for name in ("groups", "tests", "answers"):
        assert (tmp_path / f"again/{name}.csv").read_text() == (tmp_path / f"results/{name}.csv").read_text()


def test_answers_may_say_right_or_wrong_and_those_to_other_units_are_left_out(exported, tmp_path, caplog, monkeypatch):
    table = fabricated(exported)
    key = questions.read_key(exported)
    table["correct"] = (table["choice"] == table["question"].map(key.questions.set_index("question")["answer"])).astype(
        int
    )
    table.drop(columns=["choice", "source"]).to_csv(tmp_path / "a.csv", index=False)
    found, simulated = questions.read_responses(tmp_path / "a.csv", key)
    assert not simulated
    assert found.groupby("group")["correct"].mean()["easiest"] == 1
    units = found.assign(correct=found["correct"].astype(int))[[*KEY, "participant", "correct"]]
    extra = units.head(1).assign(unit=0, layer="head")  # annotated before, so in no group
    pd.concat([units, extra]).to_csv(tmp_path / "b.csv", index=False)
    heard = []
    monkeypatch.setattr(questions.log, "warning", lambda text, *values: heard.append(text % values))
    assert len(questions.read_responses(tmp_path / "b.csv", key)[0]) == len(units)
    assert heard == [f"b.csv: 1 of {len(units) + 1} answers are to units of no group and are left out"]
    extra.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(InputError, match="none of its 1 answers is to a unit of the exported groups"):
        questions.read_responses(tmp_path / "c.csv", key)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("question", "q999999", "row 3: question is 'q999999', it must be one of questions.json"),
        ("choice", "left", "row 3: choice is 'left', it must be top or bottom"),
        ("confidence", "high", "row 3: confidence is 'high', it must be 1, 2, 3 or empty"),
        ("participant", " ", "row 3: participant is ' ', it must be filled"),
    ],
)
def test_broken_answers_are_named_with_their_row(exported, tmp_path, column, value, message):
    table = fabricated(exported)
    table = table.astype(str)
    table.loc[1, column] = value
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=message):
        analyse(exported, tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "has schema None; this code reads 2"),
        (
            '{"schema": 1}',
            "has schema 1, of a time before.* Analyse its answers with the version of the code that exported it",
        ),
        ('{"schema": 2, "kind": "ratings"}', "describes 'ratings'; only 'two-alternative' answers are analysed here"),
        (
            '{"schema": 2, "kind": "two-alternative", "seed": 0}',
            "study.json lacks files, experiments, n_explanations; take the folder as it was exported",
        ),
        ('{"schema": 1, "schema": 1}', "names 'schema' twice"),
        ('{"schema": 1', "is no JSON: line 1"),
    ],
)
def test_a_description_that_is_not_as_exported_is_refused(tmp_path, content, message):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError, match=message):
        questions.read_key(tmp_path)


def test_answers_of_a_spreadsheet_are_read_and_refused_by_its_rows(exported, tmp_path):
    table, path = fabricated(exported).astype(str), tmp_path / "a.csv"
    table.to_csv(path, index=False)
    expected = questions.read_responses(path, questions.read_key(exported))[0]
    path.write_bytes(table.to_csv(index=False, sep=";", lineterminator="\r\n;;;;\r\n").encode("utf-16"))
    pd.testing.assert_frame_equal(questions.read_responses(path, questions.read_key(exported))[0], expected)
    table.loc[1, "choice"] = "left"
    table.to_csv(path, index=False, sep=";", lineterminator="\n\n")
    with pytest.raises(InputError, match="row 5: choice is 'left', it must be top or bottom"):
        questions.read_responses(path, questions.read_key(exported))


def test_few_answers_give_what_they_can_and_none_are_refused(exported, tmp_path, capsys):
    table, key = fabricated(exported), questions.read_key(exported).questions.set_index("question")
    table[table["question"].map(key["group"]) == "easiest"].to_csv(tmp_path / "a.csv", index=False)
    analyse(exported, tmp_path / "a.csv", tmp_path / "out")
    assert "net, natural: too few groups with two answered units to compare" in capsys.readouterr().out
    assert (tmp_path / "out/tests.csv").read_text().count("\n") == 1
    table.head(0).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InputError, match=r"b\.csv has no rows"):
        analyse(exported, tmp_path / "b.csv")


def test_missing_columns_and_files_say_what_is_needed(exported, tmp_path):
    pd.DataFrame({"question": ["q000001"], "who": ["a"]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        InputError, match=r"needs the columns question, participant and choice \(or correct\); it has question, who"
    ):
        analyse(exported, tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"study\.json: no such file. `python -m tools\.psychophysics export"):
        analyse(tmp_path, tmp_path / "a.csv")


def test_changed_key_is_refused(study, tmp_path):
    folder = export(study, tmp_path / "asked", "--no-pictures")
    text = (folder / "units.json").read_text()
    (folder / "units.json").write_text(text.replace('"answer": "top"', '"answer": "bottom"', 1))
    with pytest.raises(InputError, match=r"units\.json is missing or not the file that study\.json describes"):
        questions.read_key(folder)
