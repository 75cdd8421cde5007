"""Whole sessions over HTTP, and what the database holds afterwards."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing

import pytest

from experiment import recorded
from experiment.answers import text_of
from experiment.run import Run
from experiment.serving import Background
from experiment.study_folder import CATCH, MAIN
from tests.experiment.clients import Client, prepared


@pytest.fixture
def path(tmp_path):
    return prepared(tmp_path)


def test_a_session_from_consent_to_code(path):
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        assert client.get("/api/state").json | {"source": "simulated"} == client.get("/api/state").json
        client.start("R_1", "prolific")
        assert client.state["stage"] == "practice"
        assert client.state["trial"] == {"trial": 0, "number": 1, "of": 5}
        client.answer(run, right=False)
        while client.state["stage"] == "practice":
            client.answer(run)
        assert client.state["first"] == 15
        end = client.finish(run, comment="<script>alert(1)</script>\n'); DROP TABLE answer; --")
    assert (end["outcome"], len(end["code"]), end["link"]) == ("complete", 10, None)
    found = recorded.read(path)
    row = found.sessions.iloc[0]
    assert (row["stage"], row["block"], row["outcome"], row["listed"], row["attempt"]) == (
        "end",
        2,
        "complete",
        "s00001",
        1,
    )
    assert (row["comment"], row["code"]) == ("<script>alert(1)</script>\n'); DROP TABLE answer; --", end["code"])
    assert not {"token", "secret"} & set(found.sessions.columns)
    answers = found.answers
    assert list(answers["kind"].value_counts().sort_index()) == [5, 5, 10]  # catch, main, practice
    assert answers["trial"].tolist() == [*range(10), *range(15, 25)]
    assert answers["block"].tolist()[:10] == [1] * 5 + [2] * 5
    assert answers["position"].tolist() == [*range(1, 6)] * 2 + [*range(1, 11)]
    assert answers["correct"].tolist() == [0] + [1] * 19
    assert set(answers["confidence"]) == {2}
    assert (answers["choice"] == answers["button"].map({1: "top", 4: "bottom"})).all()
    assert found.events["name"].tolist() == ["started", "consent", "instructions", "ready", "complete", "comment"]
    assert found.events["seconds"].dropna().tolist() == [20.0]
    for at, row in answers.iterrows():
        question = found.folder.questions[row["question"]]
        assert (row["choice"] == question.answer) == bool(row["correct"]), at


def test_a_session_of_rating_pages(tmp_path):
    path = prepared(tmp_path, "ratings")
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        told = client.get("/api/trial/0").json
        assert told["text"] == run.folder.pages[client.own(run).course.plan.pages[0]].text
        assert len({each["src"] for each in told["pictures"]}) == 15
        assert client.rate((14, 2, 7)).status == 200
        assert client.rate(()).status == 200
        assert client.finish(run)["outcome"] == "complete"
    pages = recorded.read(path).pages
    assert pages["page"].tolist() == json.loads(recorded.read(path).sessions["plan"][0])["pages"]
    assert pages["picked"].tolist()[:3] == ["[2, 7, 14]", "[]", "[0, 3]"]
    assert pages["nothing"].tolist()[:3] == [0, 1, 0]
    assert (pages["seconds"] == 12.5).all()


def test_failed_practice_ends_and_is_paid(path):
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        end = client.finish(run, right=False)
        assert end["outcome"] == "practice"
        assert end["code"]
        assert end["message"].endswith("You are paid all the same.")
    found = recorded.read(path)
    assert len(found.answers) == 15
    assert found.sessions["accepted"].tolist() == [0]


def test_nobody_is_told_of_pay_that_there_is_not(tmp_path):
    path = prepared(tmp_path, settings={"pay.amount": 0.0})
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        end = client.finish(run, right=False)
        assert (end["outcome"], "paid" in end["message"]) == ("practice", False)


def test_refused_consent_forgets_who_it_was(path):
    with Background(run := Run(path)) as server:
        for _ in range(2):
            client = Client.of(server.address, run)
            assert client.begin("R_2", "prolific").status == 200
            client.post("/api/consent", {"agreed": False})
            assert (client.state["stage"], client.state["outcome"], client.state["code"]) == ("end", "left", None)
        assert run.by_person == {}
    found = recorded.read(path)
    assert found.sessions["person"].tolist() == [None, None]
    assert found.sessions["returned"].tolist() == [0, 0]
    assert found.events["name"].tolist() == ["started", "declined"] * 2


def test_leaving_gives_the_session_back(path):
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        needed = run.dealers.remaining()["resnet_natural"]
        client.answer(run)
        client.post("/api/leave", {})
        assert client.state["outcome"] == "left"
        after = run.dealers.remaining()["resnet_natural"]
        assert sum(after.values()) == sum(needed.values()) + 5
        assert client.post("/api/leave", {}).json["again"] is True
        assert client.post("/api/alive", {}).status == 200


@pytest.mark.parametrize(("feedback", "main"), [("all", True), ("practice", None)])
def test_feedback_in_the_main_part_is_a_setting(tmp_path, feedback, main):
    path = prepared(tmp_path, settings={"feedback": feedback})
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        assert client.state["feedback"] == feedback
        assert client.answer(run, right=False).json["right"] is False
        while client.state["stage"] == "practice":
            assert client.answer(run).json["right"] is True
        client.post("/api/ready", {})
        assert client.answer(run).json["right"] is main
        assert client.answer(run, right=False).json["right"] is (None if main is None else False)


def test_a_code_and_a_link_of_the_settings(tmp_path):
    settings = {"complete.code": "C0DE-7", "complete.link": "https://example.org/done?cc={code}", "comment": False}
    path = prepared(tmp_path, settings=settings)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        assert client.state.get("code") is None
        end = client.finish(run)
        assert (end["code"], end["link"]) == ("C0DE-7", "https://example.org/done?cc=C0DE-7")


def test_the_plan_holds_what_the_settings_say(tmp_path):
    path = prepared(tmp_path, settings={"catch_trials": 3, "practice_obvious": 3})
    with Background(run := Run(path)) as server:
        for _ in range(2):
            client = Client.of(server.address, run)
            client.start()
    plans = [json.loads(plan) for plan in recorded.read(path).sessions["plan"]]
    for plan in plans:
        kinds = [run.folder.questions[name].kind for name in plan["main"]]
        assert (kinds.count(MAIN), kinds.count(CATCH)) == (5, 3)
        assert kinds[:5] != [MAIN] * 5  # shuffled; a fixed seed
        for block in plan["practice"]:
            assert sum(run.folder.questions[name].obvious for name in block) == 3
        assert len({tuple(block) for block in plan["practice"]}) == 3
    assert plans[0]["practice"] != plans[1]["practice"]


def test_accepted_sessions_count_and_others_do_not(tmp_path):
    path = prepared(tmp_path, settings={"checks.min_row": 0})
    with Background(run := Run(path)) as server:
        total = sum(run.dealers.remaining()["resnet_natural"].values())
        slow, quick = (Client.of(server.address, run, clock=0.0) for _ in range(2))
        for client, seconds in ((slow, 200.0), (quick, 100.0)):
            client.begin()
            client.clock = 1.0
            client.post("/api/consent", {"agreed": True})
            client.clock = 21.0
            client.post("/api/instructions", {"seconds": 20.0})
            client.clock = seconds
            client.finish(run)
        assert sum(run.dealers.remaining()["resnet_natural"].values()) == total - 5
    found = recorded.read(path)
    assert found.sessions["accepted"].tolist() == [1, 0]
    assert (found.sessions["ended"] - found.sessions["started"]).round(3).tolist() == [200.0, 100.0]


def test_nobody_else_is_needed(tmp_path):
    path = prepared(tmp_path, n_units=5, responses=1, n_sessions=1)
    with Background(run := Run(path)) as server:
        first, second = (Client.of(server.address, run) for _ in range(2))
        first.start()
        assert second.get("/api/state").json["open"] is False
        reply = second.begin()
        assert (reply.status, reply.json["error"], reply.json["state"]["open"]) == (409, "closed", False)
        assert second.cookie is None
        first.post("/api/leave", {})
        assert second.get("/api/state").json["open"] is True
        assert second.begin().status == 200
    assert recorded.read(path).sessions["attempt"].tolist() == [1, 1]


def test_who_only_looks_keeps_nothing_from_others(tmp_path):
    path = prepared(tmp_path, n_units=5, responses=1, n_sessions=1)
    with Background(run := Run(path)) as server:
        needed = run.dealers.remaining()
        looking, slow, quick = (Client.of(server.address, run) for _ in range(3))
        for client in (looking, slow):
            client.begin("R_1" if client is slow else None, "prolific")
            assert (client.state["stage"], client.state["n_trials"]) == ("consent", 10)
        assert run.dealers.remaining() == needed
        quick.start()
        slow.post("/api/consent", {"agreed": True})
        assert (slow.state["stage"], slow.state["open"]) == ("none", False)
        assert "Nobody else is needed" in slow.state["message"]
        assert run.hasher.name("prolific", "R_1") not in run.by_person
        quick.post("/api/leave", {})
        assert slow.get("/api/state").json["open"] is True
        slow.start("R_1", "prolific")  # as if never here
        assert slow.finish(run)["outcome"] == "complete"
    found = recorded.read(path)
    assert found.sessions["outcome"].tolist() == [None, "left", "left", "complete"]
    assert found.sessions["experiment"].tolist() == ["", "", *["resnet_natural"] * 2]
    assert found.sessions["person"].isna().tolist() == [False, True, False, False]
    assert found.sessions["returned"].tolist() == [0] * 4
    assert found.events[found.events["name"] == "closed"]["session"].tolist() == [found.sessions["session"][1]]


def test_a_session_of_the_list_is_dealt_once_and_its_units_go_back_to_need(tmp_path):
    path = prepared(tmp_path, n_units=5, n_sessions=2, responses=2)
    with Background(run := Run(path)) as server:
        for _ in range(3):
            client = Client.of(server.address, run)
            client.start()
            client.post("/api/leave", {})
    assert recorded.read(path).sessions["listed"].tolist() == ["s00001", "s00002", None]


def test_codes_say_who_is_to_be_paid(tmp_path):
    path = prepared(tmp_path, responses=9)
    ends = []
    with Background(run := Run(path)) as server:
        for number, comment in enumerate(("=HYPERLINK(1)", "fine, thanks\nreally", "", "", "")):
            client = Client.of(server.address, run)
            client.start(f"R_{min(number, 3)}", "prolific") if number < 4 else client.begin("R_3", "prolific")
            if number < 3:
                client.finish(run, right=number < 2, comment=comment)
            elif number == 3:
                client.post("/api/leave", {})
            ends.append(client.state)
        Client.of(server.address, run).start()
        text = text_of(recorded.read(path), "codes")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert ",".join(rows[0]) == "number,platform,code,outcome,paid,accepted,reason,minutes,comment,source"
    assert [row["outcome"] for row in rows] == ["complete", "complete", "practice", "left", "before"]
    assert [row["paid"] for row in rows] == ["1", "1", "1", "0", "0"]
    assert [row["code"] for row in rows] == [end["code"] or "" for end in ends]
    assert [row["comment"] for row in rows] == ["'=HYPERLINK(1)", "fine, thanks\nreally", "", "", ""]
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["reason"].split("; ")[0] for row in rows[2:]] == ["demo_trials", "not complete", "not complete"]
    assert {(row["platform"], row["source"], row["accepted"]) for row in rows} == {("prolific", "simulated", "0")}
    assert all(float(row["minutes"]) < 1 for row in rows)
    kept = recorded.read(path).sessions
    assert not any(word in text for word in [*kept["session"], *kept["person"]])


def test_the_tables_refuse_what_no_session_has(path):
    with closing(sqlite3.connect(recorded.database(path))) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO answer VALUES ('x', 1, 'k', 'main', 1, 1, 'q', 7, 'top', 1, 1, 1.0, 1.0)"
        )  # no button 7
