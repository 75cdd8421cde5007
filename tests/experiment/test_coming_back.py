"""Servers that start again, people who come again, and people who stay silent."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing

import pytest

from experiment import recorded
from experiment.run import Run
from experiment.serving import Background
from experiment.settings import GRACE
from study.errors import StudyError
from tests.experiment.clients import Client, prepared


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def held(run):
    """What a server holds of its sessions and dealers, without locks and buckets."""
    left_out = {"lock", "calls", "fetches", "names", "course", "dealt"}
    sessions = {
        token: {
            field.name: getattr(session, field.name)
            for field in dataclasses.fields(session)
            if field.name not in left_out
        }
        | {"plan": session.course.plan}
        | {"dealt": session.dealt and (session.dealt.name, session.dealt.listed, sorted(session.dealt.items))}
        for token, session in run.by_token.items()
    }
    people = {person: [each.session for each in sessions] for person, sessions in run.by_person.items()}
    return sessions, people, sorted(run.running), run.dealers.remaining(), run.dealers.open


def test_a_server_that_starts_again_holds_the_same(tmp_path):
    settings = {"checks.min_row": 0, "checks.min_seconds": 0, "checks.min_instruction_seconds": 0}
    path = prepared(tmp_path, settings=settings, responses=6)
    with Background(run := Run(path)) as server:
        clients = [Client.of(server.address, run) for _ in range(8)]
        for number, client in enumerate(clients[:7]):
            client.start(f"R_{number}", "prolific")
        clients[7].begin("R_0", "prolific")  # was here before
        clients[0].finish(run)
        for _ in range(7):
            clients[1].answer(run, right=False)
        while clients[2].state["stage"] != "ready":
            clients[2].answer(run)
        for client in clients[3:5]:
            client.finish(run, right=False)
        clients[5].post("/api/leave", {})
        before = held(run)
    with Run(path) as again:
        for found, kept in zip(held(again), before, strict=True):
            assert found == kept
        assert again.dealers.deal(9) == run.dealers.deal(9)


def test_a_session_goes_on_where_it_was(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        for _ in range(6):
            client.answer(run)
            if client.state["stage"] == "ready":
                client.post("/api/ready", {})
        sent = {"trial": client.trial, "key": client.key(), "button": 0, "rt": 1.0}
        right = client.post("/api/answer", sent).json["right"]
        where = client.state
        shown = client.get(f"/api/trial/{client.trial}").json
    with Background(run := Run(path)) as server:
        client.address = server.address
        assert client.get("/api/state").json == where
        assert client.get(f"/api/trial/{client.trial}").json == shown  # the same addresses of pictures
        assert client.get(shown["top"]["src"]).status == 200
        again = client.post("/api/answer", sent)
        assert (again.status, again.json["again"], again.json["right"]) == (200, True, right)
        assert client.finish(run)["outcome"] == "complete"
    assert recorded.read(path).answers["trial"].tolist() == [*range(5), *range(15, 25)]


def test_a_cookie_with_a_running_session_gets_it_again(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start("R_1", "prolific")
        first = client.session
        for person in ("R_1", None):
            assert client.begin(person, "prolific").json["session"] == first
        client.finish(run)
        assert client.begin(None).json["session"] == first  # and its end
        assert client.begin("R_2", "prolific").json["session"] != first  # somebody else at the same browser
    assert recorded.read(path).sessions["returned"].tolist() == [0, 0]


def test_two_runs_of_one_host_know_their_cookies_apart(tmp_path):
    paths = [prepared(tmp_path / name) for name in ("one", "other")]
    with Run(paths[0]) as one, Run(paths[1]) as other:
        assert one.mark != other.mark
        mark = one.mark
    with Run(paths[0]) as again:
        assert again.mark == mark


@pytest.mark.parametrize("repeat", ["refuse", "mark"])
def test_a_lost_reply_locks_nobody_out(tmp_path, repeat):
    path = prepared(tmp_path, settings={"repeat": repeat})
    with Background(run := Run(path)) as server:
        lost, client = Client.of(server.address, run), Client.of(server.address, run)
        lost.begin("R_1", "prolific")
        client.begin("R_1", "prolific")  # the same page asks again, without the cookie that it never got
        assert (client.session, client.state["stage"]) == (lost.session, "consent")
        assert lost.post("/api/consent", {"agreed": True}).status == 401
        assert client.post("/api/consent", {"agreed": True}).status == 200
        other = Client.of(server.address, run)
        other.begin("R_1", "prolific")  # from now on it is somebody's
        assert other.session != client.session
    with Run(path) as again:
        assert held(again)[0].keys() == held(run)[0].keys()


@pytest.mark.parametrize(("repeat", "outcome", "stage"), [("refuse", "before", "end"), ("mark", None, "consent")])
def test_who_was_here_before_is_refused_or_marked(tmp_path, repeat, outcome, stage):
    path = prepared(tmp_path, settings={"repeat": repeat})
    with Background(run := Run(path)) as server:
        first, second, other = (Client.of(server.address, run) for _ in range(3))
        first.start("R_1", "prolific")
        first.finish(run)
        second.begin("R_1", "prolific")
        assert (second.state["stage"], second.state.get("outcome"), second.state.get("code")) == (stage, outcome, None)
        other.begin("R_1", "mturk")  # the same word on another platform is another person
        assert other.state["stage"] == "consent"
    found = recorded.read(path).sessions
    assert found["returned"].tolist() == [0, 1, 0]
    assert found["attempt"].tolist() == [1, 2, 1]
    assert found["person"].nunique() == 2
    assert found["outcome"].tolist() == ["complete", outcome, None]
    with closing(sqlite3.connect(recorded.database(path))) as connection:
        assert "R_1" not in "".join(connection.iterdump())


def test_another_key_file_knows_nobody(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        first = Client.of(server.address, run)
        first.begin("R_1", "prolific")
    (path / "keys/person.key").write_text("ab" * 32)
    with Background(run := Run(path)) as server:
        second = Client.of(server.address, run)
        second.begin("R_1", "prolific")
    assert recorded.read(path).sessions["person"].nunique() == 2
    (path / "keys/person.key").write_text("ab")
    with pytest.raises(StudyError, match=r"person\.key holds 1 bytes"):
        Run(path)
    (path / "keys/person.key").unlink()
    with pytest.raises(StudyError, match=r"person\.key: no such file"):
        Run(path)


def test_silence_ends_a_session_and_gives_its_units_back(tmp_path):
    path = prepared(tmp_path, n_units=5, responses=1, n_sessions=1)
    clock = Clock()
    with Background(run := Run(path, clock=clock)) as server:
        silent, other = (Client.of(server.address, run) for _ in range(2))
        silent.start()
        limit = run.settings.checks.max_seconds + GRACE
        clock.now += limit - 1
        assert silent.answer(run).status == 200  # a sign of life
        clock.now += limit
        assert other.begin().status == 409
        clock.now += 1
        other.start()
        reply = silent.post("/api/answer", {"trial": 1, "key": silent.key(), "button": 0, "rt": 1.0})
        assert (reply.status, silent.state["outcome"], silent.state["code"]) == (409, "time", None)
        other.finish(run)
    found = recorded.read(path)
    assert found.sessions["outcome"].tolist() == ["time", "complete"]
    assert len(found.answers[found.answers["session"] == silent.session]) == 1
    assert found.sessions["ended"].tolist()[0] == clock.now


def test_silence_before_consent_is_as_if_nobody_had_come(tmp_path):
    path = prepared(tmp_path)
    clock = Clock()
    with Background(run := Run(path, clock=clock)) as server:
        client = Client.of(server.address, run)
        client.begin("R_1", "prolific")
        first = client.session
        clock.now += run.settings.silence + 1
        assert client.post("/api/consent", {"agreed": True}).json["state"]["stage"] == "none"
        assert client.get("/api/state").json["open"] is True
    with Background(run := Run(path, clock=clock)) as server:
        client.address, client.session = server.address, None
        assert client.get("/api/state").json["stage"] == "none"
        client.start("R_1", "prolific")
        assert client.session != first
        assert client.finish(run)["outcome"] == "complete"
    found = recorded.read(path)
    assert found.sessions["outcome"].tolist() == ["time", "complete"]
    assert found.sessions["person"].isna().tolist() == [True, False]
    assert found.sessions["returned"].tolist() == [0, 0]
    assert found.events.loc[found.events["session"] == first, "name"].tolist() == ["started", "lapsed"]


@pytest.mark.parametrize("sign", ["alive", "state", "trial"])
def test_signs_of_life(tmp_path, sign):
    path = prepared(tmp_path)
    clock = Clock()
    with Background(run := Run(path, clock=clock)) as server:
        client = Client.of(server.address, run)
        client.start()
        for _ in range(3):
            clock.now += run.settings.silence
            if sign == "alive":
                assert client.post("/api/alive", {}).json["state"]["stage"] == "practice"
            else:
                assert client.get("/api/state" if sign == "state" else "/api/trial/0").status == 200
        assert client.get("/api/state").json["stage"] == "practice"
        clock.now += run.settings.silence + 1
        assert client.get("/api/state").json["outcome"] == "time"


def test_a_fast_clock_is_for_simulated_runs(tmp_path):
    clock = Clock()
    with Run(prepared(tmp_path), clock=clock, clock_rate=100) as run:
        start = run.now()
        clock.now += 2
        assert run.now() == start + 200
    people = prepared(tmp_path / "people", people=True)
    with pytest.raises(StudyError, match="simulated runs"):
        Run(people, clock_rate=2)


def test_a_participants_clock_does_not_go_back(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run, clock=0.0)
        client.begin()
        client.clock = 100.0
        client.post("/api/consent", {"agreed": True})
        client.clock = 50.0
        client.post("/api/instructions", {"seconds": 10.0})
    events = recorded.read(path).events
    assert (events["at"] - events["at"][0]).round(3).tolist() == [0, 100, 100]


def test_one_server_a_run(tmp_path):
    path = prepared(tmp_path)
    with Run(path), pytest.raises(StudyError, match="being served by another process"):
        Run(path)
    with Run(path):
        pass
