"""The picture of a task at the top of the README: what it draws, and that its numbers are those of the tables."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.errors import StudyError
from study.files.tables import read_csv, read_json, write_csv
from tests.helpers import report_fixture
from tests.helpers.rules import ROOT
from tools import task_picture
from tools.pictures.task import SIDE, Told, draw_task

COMMITTED = ROOT / "docs/images/task.webp"
TOLD = Told(
    model="m", layer="l", unit=3, task=2, n_tasks=20, similarity="encoder", mis=0.9, mis_se=0.01, p=0.75,
    observers="people", answers=30, right=27,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    report_fixture.build(folder)
    return folder


def draw(study, *more):
    options = ["--tables", study / "tables", "--provenance", study / "provenance.json", "--data", study]
    task_picture.main([*map(str, options), "--out", str(study / "task.webp"), *more])
    return task_picture.described(study / "task.webp")


def points(tables, lead):
    rows = read_csv(tables / "unit_points.csv", text=["model", "layer", "condition"])
    return rows[(rows["backend"] == lead) & (rows["condition"] == "natural")]


def test_numbers_are_those_of_the_study(study):
    told = draw(study)
    rows = points(study / "tables", told.similarity)
    rank = rows["mis"].rank(method="first")
    row = rows[(rows["model"] == told.model) & (rows["layer"] == told.layer) & (rows["unit"] == told.unit)]
    assert abs(rank[row.index[0]] - 1 - 0.9 * (len(rows) - 1)) <= 1
    assert row["mis"].iloc[0] == pytest.approx(told.mis, abs=1e-5)
    assert told.right == pytest.approx(told.answers * row["his"].iloc[0])
    units = pd.read_parquet(study / "mis/units.parquet")
    unit = units[
        (units[["model", "layer", "unit", "condition"]] == [told.model, told.layer, told.unit, "natural"]).all(axis=1)
        & (units["backend"] == told.similarity)
    ]
    assert unit["mis_se"].iloc[0] == pytest.approx(told.mis_se)


def test_the_task_is_the_median_one(study):
    told = draw(study)
    name = f"{told.model}/{told.layer}/{told.unit}"
    params = read_json(study / "provenance.json")["params"]
    every = [task_picture.tell(params, study / "tables", study, name, task) for task in range(1, told.n_tasks + 1)]
    shares = [each.p for each in every]
    assert told.p == sorted(shares)[(len(shares) - 1) // 2] == shares[told.task - 1]
    assert np.mean(shares) == pytest.approx(told.mis, abs=0.02)  # the fabricated score has a little noise of its own


def test_the_same_bytes_again(study):
    draw(study)
    first = (study / "task.webp").read_bytes()
    draw(study)
    assert (study / "task.webp").read_bytes() == first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--unit", "resnet"], "MODEL/LAYER/UNIT"),
        (["--unit", "resnet/a.conv/100000"], "no scored unit"),
        (["--unit", "resnet/a.conv/1", "--task", "21"], "tasks 1 to 20"),
    ],
)
def test_what_is_not_there_is_told(study, more, message):
    with pytest.raises(StudyError, match=message):
        draw(study, *more)


def test_without_answers_a_unit_must_be_named(study):
    params = read_json(study / "provenance.json")["params"]
    table = read_csv(study / "tables/unit_points.csv", text=["model", "layer", "condition"])
    empty = study / "empty"
    write_csv(empty / "unit_points.csv", table.head(0))
    with pytest.raises(StudyError, match="name one: --unit"):
        task_picture.tell(params, empty, study)
    assert task_picture.tell(params, empty, study, "resnet/a.conv/1").answers == 0


def test_the_exciting_query_is_the_one_marked():
    black, white = Image.new("RGB", (SIDE, SIDE), "black"), Image.new("RGB", (SIDE, SIDE), "white")
    told = [dataclasses.replace(TOLD, task=task) for task in range(1, 21)]
    assert 4 <= sum(each.right_is_b for each in told) <= 16
    for each in told:
        drawn = np.asarray(draw_task([*[Image.new("RGB", (SIDE, SIDE), "#888")] * 18, black, white], each).convert("L"))
        columns = np.flatnonzero((drawn == 0).sum(axis=0) > SIDE * 0.9)
        at_right = columns.mean() > drawn.shape[1] / 2
        assert at_right == each.right_is_b


def test_the_committed_picture_tells_what_the_table_says():
    """Whoever records another study draws the picture again: python -m tools.task_picture."""
    told = task_picture.described(COMMITTED)
    rows = points(ROOT / "results/tables", told.similarity)
    row = rows[(rows["model"] == told.model) & (rows["layer"] == told.layer) & (rows["unit"] == told.unit)].iloc[0]
    assert f"{told.mis:.6g}" == f"{row['mis']:.6g}"
    assert (told.answers, told.right) == (row["n_responses"], round(row["n_responses"] * row["his"]))


def test_the_readme_says_the_same():
    told = task_picture.described(COMMITTED)
    (alternative,) = re.findall(r"!\[([^]]*)\]\(docs/images/task\.webp\)", (ROOT / "README.md").read_text())
    for said in (
        f"{told.mis:.2f}",
        f"{told.right} of {told.answers} {told.observers}",
        f"{told.p:.0%}".replace("%", " %"),
    ):
        assert said in " ".join(alternative.split())
