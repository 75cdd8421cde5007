"""Pages of ticks that are refused, and raters who come again."""

from __future__ import annotations

import pytest

from experiment import recorded
from experiment.run import Run
from experiment.serving import Background
from tests.experiment.clients import Client, prepared


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"picked": [], "none": False}, "one of the two"),
        ({"picked": [1], "none": True}, "one of the two"),
        ({"picked": [1, 1]}, "twice"),
        ({"picked": [15]}, "15 pictures"),
        ({"picked": [-1]}, "picked"),
        ({"picked": ["1"]}, "picked"),
        ({"picked": [True]}, "picked"),
        ({"picked": "1"}, "picked"),
        ({"picked": list(range(101))}, "picked"),
        ({"seconds": -1.0}, "seconds"),
    ],
)
def test_ticks_must_be_places_or_none(tmp_path, sent, words):
    path = prepared(tmp_path, "ratings")
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        reply = client.post(
            "/api/rating", {"trial": 0, "key": client.key(), "none": False, "seconds": 1.0, "picked": [1]} | sent
        )
        assert (reply.status, reply.json["error"]) == (422, "invalid")
        assert words in reply.json["message"]
    assert len(recorded.read(path).pages) == 0


def test_a_page_counts_once(tmp_path):
    path = prepared(tmp_path, "ratings")
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        sent = {"trial": 0, "key": client.key(), "picked": [1], "none": False, "seconds": 1.0}
        assert [client.post("/api/rating", sent).json.get("again") for _ in range(2)] == [None, True]
        assert client.post("/api/rating", sent | {"key": client.key()}).json["error"] == "answered"
        assert client.post("/api/rating", sent | {"trial": 7}).json["error"] == "not now"
        assert client.post("/api/rating", sent | {"trial": 8}).json["error"] == "not now"
        assert client.post("/api/answer", {"trial": 1, "key": client.key(), "button": 1, "rt": 1.0}).status == 409
    assert len(recorded.read(path).pages) == 1


def test_a_rater_comes_again_and_never_sees_a_page_twice(tmp_path):
    path = prepared(tmp_path, "ratings", settings={"pages_a_session": 3})
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        for expected in (3, 3, 2):
            client.start()
            assert client.state["n_trials"] == expected
            client.finish(run)
            assert client.state["again"] is (expected == 3)  # other pages lack raters, but this one has seen them
        reply = client.begin()
        assert (reply.status, reply.json["state"]["stage"]) == (409, "end")
        assert reply.json["state"]["again"] is False
        named = Client.of(server.address, run)
        named.start("rater1", "mturk")
        named.rate()
        named.post("/api/leave", {})
        elsewhere = Client.of(server.address, run)
        elsewhere.start("rater1", "mturk")
        seen = {each.page for each in named.own(run).given.values()}
        assert not seen & set(elsewhere.own(run).course.plan.pages)
    found = recorded.read(path)
    one = found.sessions["person"][0]
    mine = found.pages[found.pages["session"].isin(found.sessions[found.sessions["person"] == one]["session"])]
    assert sorted(mine["page"]) == list(range(1, 9))
    assert found.sessions["returned"].tolist() == [0, 1, 1, 0, 1]


def test_who_rated_all_pages_is_told_that_it_is_over(tmp_path):
    path = prepared(tmp_path, "ratings", settings={"pages_a_session": 8})
    with Background(run := Run(path)) as server:
        first, later = (Client.of(server.address, run) for _ in range(2))
        first.start("rater1", "mturk")
        first.finish(run)
        reply = later.begin("rater1", "mturk")  # another browser; others are still needed
        assert (reply.status, later.state["stage"], later.state["open"]) == (409, "none", False)
        assert later.get("/api/state").json["open"] is True


def test_pages_of_a_rater_who_left_count(tmp_path):
    path = prepared(tmp_path, "ratings", settings={"pages_a_session": 4})
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        client.rate()
        client.post("/api/leave", {})
        remaining = run.dealers.remaining()["ratings"]
        rated = client.own(run).given[0].page
        assert remaining == {page: 3 - (page == rated) for page in range(1, 9)}
    with Run(path) as again:
        assert again.dealers.remaining()["ratings"] == remaining
