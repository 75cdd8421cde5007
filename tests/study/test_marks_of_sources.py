"""A column `source` says whether people gave answers or ratings: every reader honours it, and the mark stays with the data."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from interpretability.schema import KEY
from stages import human
from study.crowd.asked import Asked
from study.crowd.ratings import read_ratings
from study.crowd.results import CrowdParams, Folders, write_crowd
from study.errors import StudyError
from study.files import sources
from study.files.tables import read_csv, read_json, read_parquet, write_json, write_parquet
from study.params.reading import load
from study.people import answers_from_imi, questions
from study.people.answers_from_table import read_answers
from study.report.figures.sessions import EXCLUSION_CHECKS
from study.report.page import inputs
from study.tabulating.people import trials_tables
from tests.helpers import explained, imi_folder, report_fixture, tiny_study
from tests.helpers.rules import ROOT

MIXED = r"row 2 is of people and row 3 is simulated \(1 of 4 rows are\)"


def answers(**columns):
    usual = {"model": "net", "layer": "conv", "unit": [0, 0, 1, 1], "participant": ["p", "q", "p", "q"], "correct": 1}
    return pd.DataFrame(usual | columns)


def written(folder, frame):
    path = folder / "answers.csv"
    frame.to_csv(path, index=False)
    return path


def read(path, keep=()):
    return read_answers(path, "", [], keep, [])["source"].unique().tolist()


@pytest.mark.parametrize(
    ("cells", "source"),
    [
        ({}, "people"),
        ({"source": ""}, "people"),
        ({"source": ["people", "", " people ", ""]}, "people"),
        ({"source": "simulated"}, "simulated"),
        ({"source": " simulated "}, "simulated"),
    ],
)
def test_a_table_is_of_people_unless_it_says_that_it_is_simulated(cells, source, tmp_path):
    assert read(written(tmp_path, answers(**cells))) == [source]


def test_another_word_is_refused_with_its_row(tmp_path):
    path = written(tmp_path, answers(source=["people", "", "mturk", "people"]))
    with pytest.raises(StudyError, match=r"row 4: source is 'mturk', it must be people, simulated or empty.*rename"):
        read(path)


def test_a_mixed_table_is_refused_unless_its_rows_are_chosen(tmp_path):
    path = written(tmp_path, answers(source=["people", "simulated", "people", ""]))
    with pytest.raises(StudyError, match=MIXED + r".*human.table.keep source=people"):
        read(path)
    assert read(path, ["source=people"]) == ["people"]
    assert read(path, ["source=simulated"]) == ["simulated"]


def test_tables_of_both_kinds_are_refused():
    found = {"a.csv": "people", "b.csv": "simulated"}
    with pytest.raises(StudyError, match=r"a.csv is of people and b.csv is simulated; .* Leave one out"):
        sources.one_source(found, "Leave one out")
    assert sources.one_source({}, "") == "people"
    assert sources.one_source({"a": "simulated", "b": "simulated"}, "") == "simulated"


@pytest.fixture(scope="module")
def record():
    return imi_folder.experiment("resnet50_natural", "resnet50", seed=1)


def test_the_record_has_one_source(record, tmp_path, caplog):
    imi_folder.write(tmp_path, record)
    assert set(answers_from_imi.read_responses(tmp_path, ["responses_main.csv"])["source"]) == {"people"}
    caplog.clear()
    record.assign(source="simulated").to_csv(tmp_path / "made.csv", index=False)
    assert set(answers_from_imi.read_responses(tmp_path, ["made.csv"])["source"]) == {"simulated"}
    assert "all are simulated, nobody gave these answers" in caplog.text
    assert "columns in another order" not in caplog.text
    half = record.assign(source=np.where(np.arange(len(record)) < 9, "people", "simulated"))
    half.to_csv(tmp_path / "half.csv", index=False)
    with pytest.raises(StudyError, match=r"half.csv: row 2 is of people and row 11 is simulated.*Make two tables"):
        answers_from_imi.read_responses(tmp_path, ["half.csv"])
    more = record.assign(task_id=record["task_id"].str.replace("natural-", "natural-9"), source="simulated")
    more.to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(StudyError, match=r"responses_main.csv is of people and more.csv is simulated.*imi.responses"):
        answers_from_imi.read_responses(tmp_path, ["responses_main.csv", "more.csv"])


def test_networks_of_the_roster_stand_for_themselves_unless_the_names_say_otherwise(tmp_path):
    """own: no row in the names; taken: the names give that id to nobody yet, so it is the record's network."""
    rows = [imi_folder.experiment(f"{name}_natural", name, seed=seed) for seed, name in enumerate(("own", "taken"))]
    folder = imi_folder.write(tmp_path / "external", *rows).parent
    units = [("net", layer.replace("_", "."), unit, "natural") for layer in imi_folder.LAYERS for unit in range(252)]
    (tmp_path / "tasks").mkdir()
    for name in ("own", "taken"):
        pd.DataFrame(units, columns=KEY).assign(model=name).to_parquet(tmp_path / f"tasks/{name}.parquet")
    (tmp_path / "roster.csv").write_text("name,constructor\nown,resnet50\ntaken,resnet50\n")
    (tmp_path / "names.csv").write_text("imi,name,weights\ntaken,,\n")
    params = {"human__source": "imi", "human__imi__responses": ["responses_main.csv"], "images__source": "folder"}
    tiny_study.write_params(tmp_path / "params.yaml", ROOT, **params)
    places = ("tasks", "images", "roster.csv", "names.csv", "params.yaml", "human")
    options = [f"--{place.split('.')[0]}={tmp_path / place}" for place in places if place != "human"]
    human.main([*options, f"--external={folder}", f"--out={tmp_path / 'human'}"])
    unmatched = read_csv(tmp_path / "human/unmatched.csv")
    assert set(unmatched["imi_model"]) == {"taken"}
    assert set(unmatched["reason"]) == {"no such network in the roster"}
    found = read_parquet(tmp_path / "human/units.parquet")
    assert set(found.loc[found["model"] == "own", "layer"]) == {layer.replace("_", ".") for layer in imi_folder.LAYERS}


def test_analysis_refuses_a_mixed_table(tmp_path):
    shown = pd.DataFrame(
        {"question": ["q1", "q2"], "model": "net", "layer": "conv", "unit": [0, 1], "condition": "natural"}
    )
    key = questions.Key(
        shown.assign(experiment="net_natural", group="easiest", task=0, answer="top"), pd.DataFrame(), 0
    )
    frame = pd.DataFrame({"question": ["q1", "q2"], "participant": "p", "choice": "top"})
    _, simulated = questions.read_responses(written(tmp_path, frame), key)
    assert not simulated
    _, simulated = questions.read_responses(written(tmp_path, frame.assign(source="simulated")), key)
    assert simulated
    path = written(tmp_path, frame.assign(source=["people", "simulated"]))
    with pytest.raises(StudyError, match=r"row 2 is of people and row 3 is simulated.*Make two tables"):
        questions.read_responses(path, key)


# ---- ratings


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A study that asks about texts, and ratings of it."""
    folder = tmp_path_factory.mktemp("rated")
    study = explained.write(folder, n_units=2, n_images=300, n_asked=40, simulated=False)
    return study, Asked.read(study), explained.ratings_of(study, raters=4, each=2)


def test_ratings_have_one_source(rated, tmp_path, caplog):
    _, asked, rows = rated

    def read(**tables):
        for path in tmp_path.iterdir():
            path.unlink()
        for name, table in tables.items():
            table.to_csv(tmp_path / f"{name}.csv", index=False)
        return read_ratings(tmp_path, asked.questions, asked.study).source

    assert read(a=rows) == "people"
    assert read(a=rows.assign(source="")) == "people"
    assert read(a=rows.assign(source="simulated")) == "simulated"
    assert "all are simulated, nobody gave them" in caplog.text
    half = np.where(np.arange(len(rows)) < 3, "", "simulated")
    with pytest.raises(StudyError, match=r"a.csv: row 2 is of people and row 5 is simulated"):
        read(a=rows.assign(source=half))
    with pytest.raises(StudyError, match=r"a.csv is of people and b.csv is simulated.*Leave tables of one kind in"):
        read(a=rows[half == ""], b=rows[half != ""].assign(source="simulated"))
    with pytest.raises(StudyError, match=r"row 3: source is 'robot'"):
        read(a=rows.assign(source=np.where(np.arange(len(rows)) == 1, "robot", "")))


@pytest.mark.parametrize("source", ["people", "simulated"])
def test_the_mark_stays_with_all_that_is_made_of_ratings(rated, source, tmp_path):
    study, _, rows = rated
    (tmp_path / "ratings").mkdir()
    (tmp_path / "out").mkdir()
    rows.assign(source=source).to_csv(tmp_path / "ratings/a.csv", index=False)
    tiny_study.write_params(tmp_path / "params.yaml", ROOT, crowd__source="table", crowd__n_check=0)
    params = load(tmp_path / "params.yaml", CrowdParams)
    write_crowd(Folders(study, tmp_path / "ratings", tmp_path / "out"), params)
    made_up = source == "simulated"
    assert set(read_parquet(tmp_path / "out/ratings.parquet")["source"]) == {source}
    assert set(read_parquet(tmp_path / "out/scores.parquet")["simulated"]) == {made_up}
    assert read_json(tmp_path / "out/run.json")["simulated"] == made_up


# ---- what is said of them


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    return fabricated(tmp_path_factory.mktemp("report"))


def fabricated(folder):
    report_fixture.build(folder)
    return folder


@pytest.mark.parametrize("made_up", [False, True])
def test_the_report_follows_the_data_and_not_the_parameters(made_up, reported):
    """Both studies name tables; only the marks in their rows say what is in them."""
    units = read_parquet(reported / "human/units.parquet")
    write_parquet(reported / "human/units.parquet", units.assign(source="simulated" if made_up else "table"))
    write_json(reported / "crowd/run.json", {"source": "table", "simulated": made_up})
    params = read_json(reported / "provenance.json")["params"]
    params["human"]["source"] = params["crowd"]["source"] = "table"
    names = ("tables", "mis", "human", "calibration", "tasks", "explanations", "crowd")
    study = inputs.load_study(params, *(reported / name for name in names), pd.DataFrame())
    assert study.simulated == study.rated_by_program == made_up
    assert study.people == ("simulated observers" if made_up else "people")
    assert study.rating_people == ("simulated raters" if made_up else "raters")
    caption = exclusion_checks_of(study)
    assert ("simulated" in caption) == made_up


def exclusion_checks_of(study):
    return EXCLUSION_CHECKS.alt(EXCLUSION_CHECKS.series(study), study)


def test_only_answers_to_the_very_tasks_meet_the_margin_of_a_task():
    """Simulated answers that came as a table are simulated, but nothing says that they are to the tasks scored here."""

    draw = np.random.default_rng(4)
    margins = draw.normal(0.5, 1.0, (30, 4))

    class Units:
        def rows(self, models, columns):
            key = {"model": ["net"] * 30, "layer": ["conv"] * 30, "unit": range(30), "condition": ["natural"] * 30}
            lists = pa.chunked_array([pa.array(list(margins), pa.list_(pa.float64(), 4))])
            return pa.table({**{name: list(cells) for name, cells in key.items()}, "margins": lists})

    unit, task = np.repeat(np.arange(30), 20), draw.integers(4, size=600)
    rows = pd.DataFrame({"model": "net", "layer": "conv", "unit": unit, "condition": "natural", "task": task})
    right = draw.random(600) < 1 / (1 + np.exp(-margins[unit, task]))
    rows = rows.assign(participant=[f"p{n}" for n in draw.integers(20, size=600)], correct=right, source="simulated")
    facts = argparse.Namespace(bootstrap=(0, 10, 0.95))
    of = {
        own: set(trials_tables("oracle", Units(), rows.assign(own_tasks=own), facts)["trials"]["margin_of"])
        for own in (False, True)
    }
    assert of == {False: {"unit"}, True: {"task"}}
