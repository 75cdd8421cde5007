"""Answers of a run as tables, and what the study makes of them: participants of known share of right answers, there and back."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sqlite3

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from experiment import recorded, verdicts
from experiment.answers import FORMS, table_of, text_of
from experiment.commands import answers as command
from experiment.commands.prepare import prepare
from interpretability.randomness import generator
from interpretability.schema import KEY
from stages import human
from study.errors import StudyError
from study.files.tables import read_csv, read_parquet, write_parquet
from study.people import analysing, questions
from study.people.answers_from_imi import COLUMNS
from tests.experiment import folders
from tests.experiment.filled_runs import filled_run
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

N_UNITS, N_SESSIONS = 84, 63
# sessions that do not count, and why
REFUSED = {
    3: {"caught": 3},
    10: {"row": 0},
    17: {"read": 9.5},
    24: {"failed": 3},
    31: {"ended": 1_800_000_000.0 + 40 * 31 + 2600},
    38: {"returned": 1, "person": f"{37:032x}"},
    45: {"outcome": "left", "n": 12},
}


def share(question):
    """Known share of right answers to the questions of a unit, 0.5 to 1."""
    return 0.5 + 0.5 * generator(1, "share", question.unit[1], question.unit[2]).random()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """As many units, sessions and answers as in IMI: 84, 63 and 30 a unit."""
    folder = tmp_path_factory.mktemp("asked") / "questions"
    sizes = {"n_units": N_UNITS, "n_tasks": 20, "size": 40, "n_sessions": N_SESSIONS, "responses": 30}
    return folders.two_alternative(folder, **sizes)


@pytest.fixture(scope="module")
def run(asked, tmp_path_factory):
    return filled_run(tmp_path_factory.mktemp("run") / "run", asked, share, changes=REFUSED)


@pytest.fixture(scope="module")
def all_right(asked, tmp_path_factory):
    """Nobody is refused."""
    return filled_run(tmp_path_factory.mktemp("run") / "run", asked, share)


def stage(folder, source, text, roster="name,constructor\nresnet,resnet50\n", **changes):
    """Every file that the stage `human` makes of a table of answers, by its name."""
    (folder / "external").mkdir(parents=True)
    (folder / "external/answers.csv").write_text(text)
    layers = [("resnet", f"layer{number}.conv", unit, "natural") for number in range(3) for unit in range(200)]
    write_parquet(folder / "tasks/resnet.parquet", pd.DataFrame(layers, columns=KEY))
    (folder / "roster.csv").write_text(roster)
    (folder / "names.csv").write_text("imi,name,weights\nresnet50,,\n")
    params = {"human__imi__responses": ["answers.csv"], "human__table__file": "answers.csv", **changes}
    tiny_study.write_params(folder / "params.yaml", ROOT, human__source=source, images__source="folder", **params)
    places = {"params": "params.yaml", "external": "external", "tasks": "tasks", "roster": "roster.csv"}
    places |= {"names": "names.csv", "out": "human", "images": "images"}
    human.main([f"--{name}={folder / place}" for name, place in places.items()])
    out = folder / "human"
    return {path.stem: read_parquet(path) if path.suffix == ".parquet" else read_csv(path) for path in out.iterdir()}


def inside(units, folder):
    """Share of units whose known share of right answers lies in the 95 % interval of their HIS."""
    known = {question.unit: share(question) for question in folder.questions.values() if question.kind == "main"}
    right = (units["his"] * units["n_responses"]).round()
    low, high = proportion_confint(right, units["n_responses"], method="wilson")
    p = np.array([known[tuple(key)] for key in units[KEY].to_numpy()])
    return float(((low <= p) & (p <= high)).mean())


def test_the_record_of_63_sessions_has_its_columns_and_is_read_back_without_a_difference(all_right, tmp_path):
    table = table_of(all_right, "imi")
    assert list(table.columns) == [*COLUMNS, "source"]
    # a practice block of 5, 40 questions and 5 catch trials each
    assert len(table) == 63 * 50
    found = stage(tmp_path, "imi", text_of(all_right, "imi"))
    assert found["unmatched"].empty
    assert found["exclusions"].empty
    assert (found["verdicts"]["n_agree"] == 63).all()
    assert len(found["verdicts"]) == 7
    assert found["crosstab"]["status"].tolist() == ["agree"]
    assert len(found["responses"]) == 63 * 40
    assert set(found["units"]["n_responses"]) == {30}
    assert set(found["units"]["layer"]) == {"layer0.conv", "layer1.conv", "layer2.conv"}
    for name in ("responses", "units", "crosstab", "verdicts", "checks"):
        assert set(found[name]["source"]) == {"simulated"}, name
    assert not found["responses"]["own_tasks"].any()
    assert found["truth"].empty


def test_verdicts_on_refused_sessions_agree_too(run, tmp_path):
    found = stage(tmp_path, "imi", text_of(run, "imi"))
    verdict = found["verdicts"].set_index("check")
    # the session that was left is not in the record
    assert (verdict["n_sessions"] == 62).all()
    assert (verdict["n_agree"] == 62).all()
    counted = found["exclusions"].set_index("reason")["n_responses"].to_dict()
    reasons = [
        "catch_trials",
        "demo_trials",
        "instruction_time",
        "multi_participation",
        "row_variability",
        "total_response_time",
    ]
    assert counted == dict.fromkeys(reasons, 40)
    assert len(found["responses"]) == 56 * 40


@pytest.mark.parametrize("form", ["imi", "table"])
def test_his_of_known_shares_lies_in_its_interval(run, all_right, form, tmp_path):
    for number, record in enumerate((run, all_right)):
        units = stage(tmp_path / str(number), form, text_of(record, form))["units"]
        assert len(units) == N_UNITS
        assert set(units["source"]) == {"simulated"}
        # 84 units: below 0.9 is 3 standard deviations from 0.95
        assert inside(units, record.folder) >= 0.9


def test_all_forms_give_the_same_his(run, tmp_path):
    columns = [*KEY, "n_responses", "his"]
    by_record = stage(tmp_path / "imi", "imi", text_of(run, "imi"))["units"][columns]
    by_table = stage(tmp_path / "table", "table", text_of(run, "table"))["units"][columns]
    pd.testing.assert_frame_equal(by_record, by_table)
    path = tmp_path / "answers.csv"
    path.write_text(text_of(run, "questions"))
    answers, simulated = questions.read_responses(path, questions.read_key(run.folder.path))
    assert simulated
    his = answers.groupby(KEY)["correct"].agg(["size", "mean"]).reset_index()
    pd.testing.assert_frame_equal(his.set_axis(columns, axis=1), by_record, check_dtype=False)


def test_questions_are_analysed_and_said_to_be_simulated(run, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(text_of(run, "questions"))
    found = analysing.analyse(path, run.folder.path, n_bootstrap=100)
    assert found.source == "simulated"
    assert set(found.answers["source"]) == {"simulated"}
    assert len(found.answers) == 56 * 40


def test_answers_that_do_not_count_come_with_a_mark(run, tmp_path):
    every = table_of(run, "table", every=True)
    assert len(every) == 62 * 40 + 12
    assert every["accepted"].sum() == 56 * 40
    plain = stage(tmp_path / "plain", "table", text_of(run, "table"))
    kept = stage(tmp_path / "kept", "table", text_of(run, "table", every=True), human__table__keep=["accepted=1"])
    pd.testing.assert_frame_equal(plain["responses"], kept["responses"])


def test_answers_of_people_are_not_called_simulated(asked, tmp_path):
    record = filled_run(tmp_path / "run", asked, share, simulated=False)
    for form in ("imi", "table"):
        found = stage(tmp_path / form, form, text_of(record, form))
        assert set(found["units"]["source"]) == {form}


def test_tables_hold_nothing_that_names_a_person(run):
    for form, every in (("questions", True), ("table", True), ("imi", False)):
        text = text_of(run, form, every=every)
        for word in ("secret", "CODE", "token", "prolific", "direct"):
            assert word not in text


def test_the_same_database_gives_the_same_bytes_in_the_order_of_arrival(run):
    again = recorded.read(run.folder.path.parent)
    for form in ("questions", "table", "imi"):
        assert text_of(run, form) == text_of(again, form)
    number = table_of(run, "imi")["task_number"]
    assert number.is_monotonic_increasing
    table = table_of(run, "imi")
    assert (table.groupby("task_id")["trial_index"].diff().dropna() == 1).all()


def test_rows_of_the_record_by_hand(run):
    table = table_of(run, "imi")
    session = table[table["task_number"] == 24]  # three blocks of practice before the right one
    assert len(session) == 4 * 5 + 45
    assert session["is_demo"].tolist() == ["True"] * 20 + ["False"] * 45
    assert session["demo_trials_result"].unique().tolist() == ["False"]
    assert session["demo_trials_details"].unique().tolist() == ["{'n_demo_trials_blocks': 4}"]
    assert session["corrected_trial_index"].tolist() == [""] * 20 + [str(place) for place in range(45)]
    assert session["passed_checks"].unique().tolist() == ["False"]
    given = run.answers[run.answers["session"] == f"{24:012d}"].reset_index(drop=True)
    for place in (0, 30):
        row, answer = session.iloc[place], given.iloc[place]
        question = run.folder.questions[answer["question"]]
        assert row["button_pressed"] == answer["button"]
        assert row["switched_queries"] == str(question.answer == "top")
        assert row["choice"] == ("b" if answer["correct"] else "a")
        assert float(row["rt"]) == answer["rt"]
        assert row["time_elapsed"] == round(1000 * (answer["received"] - 1_800_000_000.0 - 40 * 24))
    catch = session[session["catch_trial"] == "True"]
    assert len(catch) == 5
    for name, value in (("batch", -1), ("model", "catch/manual"), ("mode", "catch_trial"), ("layer", "layer9_conv")):
        assert catch[name].unique().tolist() == [value]
    practice = session.head(20)
    assert (practice[["batch", "channel", "layer", "mode", "model"]] == "").all().all()
    main = session[(session["catch_trial"] == "False") & (session["is_demo"] == "False")]
    unit = run.folder.questions[given.loc[given["kind"] == "main", "question"].iloc[0]].unit
    assert main.iloc[0][["layer", "channel", "model", "mode"]].tolist() == [
        unit[1].replace(".", "_"),
        unit[2],
        "resnet",
        "natural",
    ]


OTHER = {
    "resnet_natural_k3": ("resnet", "natural"),
    "resnet_mixed": ("resnet", "mixed"),
    "resnet_hard95_natural": ("resnet", "hard95"),
    "resnet_optimized": ("resnet", "synthetic"),
    "resnet_hard95_optimized": ("resnet", "hard95_synthetic"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run of five experiments; one of them shows three explanations."""
    place = tmp_path_factory.mktemp("mixed")
    folder = folders.two_alternative(place / "questions", experiments=OTHER)
    path = folder / "study.json"
    study = json.loads(path.read_text())
    for each in study["experiments"]:
        each["n_explanations"] = 3 if each["experiment"].endswith("_k3") else 9
    study.pop("files")
    study.pop("schema")
    path.unlink()
    folders.write_study(folder, study)
    changes = {number: {"ended": 1_800_000_000.0 + 1500} for number in range(1, 21)}
    return filled_run(place / "run", folder, share, changes=changes, settings={"checks.min_row": 0})


def test_the_record_refuses_what_it_cannot_name(mixed):
    with pytest.raises(StudyError, match=r"resnet_mixed has no name in the 45 columns.* mixed .*--form table"):
        text_of(mixed, "imi", experiments=["resnet_mixed", "resnet_optimized"])
    with pytest.raises(StudyError, match=r"resnet_natural_k3 has no name.*3 explanations a side in place of 9"):
        text_of(mixed, "imi", experiments=["resnet_natural_k3"])
    with pytest.raises(StudyError, match=r"resnet_other: no such experiment in this run; it has resnet_hard95_natural"):
        text_of(mixed, "imi", experiments=["resnet_other"])
    named = [name for name, (_, condition) in OTHER.items() if condition != "mixed" and not name.endswith("_k3")]
    table = table_of(mixed, "imi", experiments=named)
    main = table[(table["is_demo"] == "False") & (table["catch_trial"] == "False")]
    found = main[["model", "mode"]].drop_duplicates().apply(tuple, axis=1)
    assert set(found) == {
        ("resnet_hard95", "natural"),
        ("resnet", "optimized"),
        ("resnet_hard95", "optimized"),
    }


def test_conditions_that_a_record_knows_are_read_back(mixed, tmp_path):
    named = ["resnet_hard95_natural", "resnet_optimized", "resnet_hard95_optimized"]
    found = stage(tmp_path, "imi", text_of(mixed, "imi", experiments=named), human__checks__min_row=0)
    assert set(found["units"]["condition"]) == {"hard95", "synthetic", "hard95_synthetic"}
    assert found["unmatched"].empty


def test_fewer_explanations_are_a_condition_of_their_own(mixed, tmp_path):
    table = table_of(mixed, "table")
    assert set(table["condition"]) == {"natural_k3", "mixed", "hard95", "synthetic", "hard95_synthetic"}
    units = stage(tmp_path, "table", text_of(mixed, "table"))["units"]
    assert set(units["condition"]) == set(table["condition"])
    # the analysis files them alike, so that its answers can be read as a table, too
    key = questions.read_key(mixed.folder.path)
    assert set(key.questions["condition"]) == set(key.expected["condition"]) == set(table["condition"])


def test_layers_that_would_become_one_are_refused(asked, tmp_path):
    record = filled_run(tmp_path / "run", asked, share)
    question = next(each for each in record.folder.questions.values() if each.kind == "main")
    twin = dataclasses.replace(question, unit=("resnet", "layer1_conv", 5, "natural"), name="q999999")
    folder = dataclasses.replace(record.folder, questions={**record.folder.questions, "q999999": twin})
    with pytest.raises(StudyError, match=r"its layers layer1.conv and layer1_conv have one name there, layer1_conv"):
        text_of(dataclasses.replace(record, folder=folder), "imi")


def test_a_person_who_came_back_counts_once_everywhere(run, tmp_path):
    # session 38 is of the person of session 37, who came before: that one stands
    for form in ("imi", "table"):
        responses = stage(tmp_path / form, form, text_of(run, form))["responses"]
        people = set(responses["participant"])
        assert len(people) == 56
    table = table_of(run, "table")
    assert f"{37:032x}" in set(table["participant"])
    assert f"{38:012d}" not in set(table["session"])


def test_changed_checks_are_told(run, tmp_path, caplog):
    place = tmp_path / "run"
    prepare(place, run.folder.path, simulated=True)
    with sqlite3.connect(recorded.database(place)) as connection:
        connection.executescript(
            f"ATTACH '{recorded.database(run.folder.path.parent)}' AS old; INSERT INTO session SELECT * FROM old.session;"
            "INSERT INTO answer SELECT * FROM old.answer; INSERT INTO event SELECT * FROM old.event;"
            "UPDATE session SET accepted = 1 WHERE number < 12"
        )
    connection.close()
    text_of(recorded.read(place), "table")
    assert "2 sessions were judged otherwise when they ended: settings.yaml has other checks since then" in caplog.text
    found = verdicts.judged(verdicts.facts(run.sessions, run.answers, run.events), run.settings.checks)
    assert found["accepted"].sum() == 56


def test_the_command_writes_a_file_or_says_why_not(run, tmp_path):
    assert tuple(FORMS) == command.FORMS
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    where = str(run.folder.path.parent)
    out = tmp_path / "answers.csv"
    command.main(parser.parse_args([where, "--form", "questions", "--out", str(out)]))
    assert out.read_text() == text_of(run, "questions")
    with pytest.raises(StudyError, match=r"--form is ratings, but this run asks two-alternative questions"):
        command.main(parser.parse_args([where, "--form", "ratings", "--out", str(tmp_path / "none.csv")]))
    with pytest.raises(StudyError, match=r"--all goes with questions and table"):
        command.main(parser.parse_args([where, "--form", "imi", "--all", "--out", str(tmp_path / "none.csv")]))
    assert not (tmp_path / "none.csv").exists()


def test_a_run_that_nobody_has_come_to_has_headers_alone(run, tmp_path):
    prepare(tmp_path / "run", run.folder.path)
    empty = recorded.read(tmp_path / "run")
    for form, every in (("questions", False), ("table", True), ("imi", False), ("codes", False)):
        assert text_of(empty, form, every=every).count("\n") == 1
        columns = table_of(run, form, every=every).columns
        assert list(table_of(empty, form, every=every).columns) == list(columns)
