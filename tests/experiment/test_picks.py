"""Pages on which one thing is picked: what is refused, what people of known skill are found to have, and the answers' tables."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from experiment import picks
from experiment.answers import table_of, text_of
from experiment.commands.prepare import prepare
from experiment.overview import overview
from experiment.recorded import read
from experiment.rehearsal.bare_server import BARE
from experiment.rehearsal.participants import Picker
from experiment.rehearsal.picking import rehearse
from experiment.run import Run
from experiment.serving import Background
from experiment.study_folder import Folder
from interpretability.statistics import binomial_interval
from interpretability.synthetic.observers import pick, pick_probability
from study.errors import StudyError
from tests.experiment import folders
from tests.experiment.clients import Client

KINDS = ["localize", "name"]


@pytest.fixture(scope="module", params=KINDS)
def rehearsed(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    folder = folders.picking(place / "pages", request.param, n_units=6, raters=12)
    return request.param, place, rehearse(folder, place, BARE)


def test_people_of_known_skill_are_found_again(rehearsed):
    _, place, found = rehearsed
    assert found.n_other == 0
    assert abs(found.z) < 4
    assert all(each.outcome == "complete" for each in found.walked)
    recorded = read(place / "run")
    assert recorded.pages["page"].value_counts().unique().tolist() == [12]
    units = found.units
    assert len(units) == 6
    spread = np.sqrt(units["expected"] * (1 - units["expected"]) / units["n_answers"])
    assert (abs(units["right"] - units["expected"]) < 4.5 * spread + 1e-9).all()
    assert ((units["low"] <= units["right"]) & (units["right"] <= units["high"])).all()
    assert units["expected"].max() - units["expected"].min() > 0.2, "units differ in what is known of them"


def test_answers_are_in_the_tables_with_their_kind(rehearsed):
    kind, place, found = rehearsed
    recorded = read(place / "run")
    table = table_of(recorded, "table")
    assert (table["condition"] == kind).all()
    assert (table["source"] == "simulated").all()
    assert ((table["choice"] == table["answer"]) == table["correct"].astype(bool)).all()
    assert len(table) == len(recorded.pages)
    assert (place / "answers/table.csv").read_text() == text_of(recorded, "table")
    assert (place / "answers/units.csv").read_text() == text_of(recorded, "units")
    for unit, own in table.groupby(["model", "layer", "unit", "condition"], sort=False):
        row = found.units.set_index(["model", "layer", "unit", "condition"]).loc[unit]
        if kind == "name":
            assert row["chance"] == pytest.approx(1 / 4)
        else:
            peak = own.groupby("task")["answer"].first()
            met = [
                np.mean([choice == peak[other] for other in peak.index if other != task])
                for task, choice in zip(own["task"], own["choice"], strict=True)
            ]
            assert row["chance"] == pytest.approx(np.mean(met))
        assert row["score"] == pytest.approx((row["right"] - row["chance"]) / (1 - row["chance"]))
    with pytest.raises(StudyError, match=f"a run of {kind} pages has one experiment"):
        table_of(recorded, "table", every=True)
    with pytest.raises(StudyError, match="ask for table or units or codes"):
        table_of(recorded, "imi")


def test_the_researcher_sees_how_far_it_is(rehearsed):
    kind, place, _ = rehearsed
    recorded = read(place / "run")
    shown = overview(recorded, float(recorded.sessions["seen"].max()))
    assert shown["kind"] == kind
    assert shown["picks"]["pages"]["answered"] == shown["picks"]["pages"]["wanted"]
    assert shown["picks"]["sessions_to_come"] == 0
    assert shown["picks"]["right"] == pytest.approx(picks.answers(recorded)["correct"].mean())
    json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_the_things_must_be_picked_and_no_page_is_told_the_answer(tmp_path, kind):
    prepare(tmp_path / "run", folders.picking(tmp_path / "pages", kind), simulated=True)
    with Background(Run(tmp_path / "run")) as server:
        client = Client.of(server.address, server.run)
        screen = {"width": 1280, "height": 720}
        state = client.call("POST", "/api/session", {"platform": "direct", "person": None, "screen": screen}).json
        client.session = state["session"]
        assert state["script"] == "picking"
        for path, body in (("consent", {"agreed": True}), ("instructions", {"seconds": 20.0})):
            state = client.call("POST", f"/api/{path}", body).json["state"]
        assert state["stage"] == "rating"
        shown = client.call("GET", "/api/trial/0").json
        assert "answer" not in json.dumps(shown)
        assert (shown["side"], len(shown["texts"])) == ((4, 0) if kind == "localize" else (0, 4))
        assert len(shown["pictures"]) == (10 if kind == "localize" else 9)
        n, things = (16, "cells") if kind == "localize" else (4, "texts")
        given = {"trial": 0, "key": "k" * 16, "seconds": 3.0}
        for picked, none in (([n], False), ([0, 1], False), ([], True)):
            reply = client.call("POST", "/api/rating", given | {"picked": picked, "none": none})
            assert reply.status == 422
            assert things in reply.json["message"]
        reply = client.call("POST", "/api/rating", given | {"picked": [n - 1], "none": False})
        assert reply.status == 200
        assert "answer" not in reply.body.decode()
    table = picks.answers(read(tmp_path / "run"))
    assert table["choice"].tolist() == [n - 1]


def changed(folder, **changes):
    rows = json.loads((folder / "pages.json").read_text())["pages"]
    rows[1] |= changes
    folders.write_rows(folder / "pages.json", "pages", rows)
    return folders.write_study(folder, json.loads((folder / "study.json").read_text()))


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("localize", {"page": 1}, "has page 1 twice"),
        ("localize", {"side": 0}, "must have side of 2 or more, and no texts, on page 2"),
        ("localize", {"texts": ["a", "b"]}, "must have side of 2 or more, and no texts, on page 2"),
        ("localize", {"answer": 16}, "has answer 16 on page 2; allowed are 0 to 15"),
        ("name", {"side": 4}, "must have 2 texts or more, and side 0, on page 2"),
        ("name", {"texts": ["a", "a"]}, "shows a text or picture twice on page 2"),
        ("name", {"texts": ["a"]}, "must have 2 texts or more, and side 0, on page 2"),
        ("name", {"answer": 4}, "has answer 4 on page 2; allowed are 0 to 3"),
        ("name", {"answer": -1}, "not as the export writes it"),
    ],
)
def test_pages_that_cannot_be_asked_are_refused(tmp_path, kind, changes, told):
    folder = changed(folders.picking(tmp_path / "pages", kind), **changes)
    with pytest.raises(StudyError, match=told):
        Folder.read(folder)


def test_a_unit_of_one_picture_has_no_chance_and_an_unanswered_one_no_numbers(tmp_path):
    prepare(tmp_path / "run", folders.picking(tmp_path / "pages", n_units=2, n_queries=1), simulated=True)
    units = picks.units(read(tmp_path / "run"))
    assert units["n_answers"].tolist() == [0, 0]
    assert units[["right", "low", "chance", "score"]].isna().all(axis=None)


def test_picks_are_right_as_often_as_they_shall_be():
    draw = np.random.default_rng(0)
    for n, skill, lapse in ((16, 0.3, 0.1), (4, 0.0, 0.5), (4, 1.0, 0.0)):
        found = [pick(2, n, skill, lapse, draw) for _ in range(5_000)]
        share = np.mean(np.array(found) == 2)
        p = pick_probability(n, skill, lapse)
        assert share == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 5_000) + 1e-12)
        assert set(found) <= set(range(n))
        others = pd.Series(found)[lambda rows: rows != 2].value_counts()
        assert others.empty or (len(others) == n - 1 and others.max() < 1.5 * others.min())


def test_intervals_of_shares_cover():
    draw = np.random.default_rng(1)
    for p, n in ((0.06, 60), (0.5, 20), (0.95, 60)):
        low, high = binomial_interval(draw.binomial(n, p, 4000), n, 0.95)
        assert np.mean((low <= p) & (p <= high)) > 0.92
    low, high = binomial_interval([0, 5, 0], [5, 5, 0], 0.95)
    assert (low[0], high[1]) == (0, 1)
    assert 0.3 < high[0] < 0.6
    assert np.isnan([low[2], high[2]]).all()


def test_people_pick_the_same_whenever_they_are_asked(tmp_path):
    folder = Folder.read(folders.picking(tmp_path / "pages", n_units=8, n_queries=4))
    one = Picker(0, "somebody", 0.05, 9.0)
    first = [one.pick(page) for page in folder.pages.values()]
    assert first == [one.pick(page) for page in folder.pages.values()]
    assert len(set(first)) > 4
