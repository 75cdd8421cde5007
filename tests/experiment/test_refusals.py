"""Requests that are refused, and that none of them writes anything."""

from __future__ import annotations

import json
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from experiment import recorded
from experiment.limits import Bucket, Limits, Rate
from experiment.run import Run
from experiment.serving import Background
from tests.experiment.clients import SCREEN, Client, prepared


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("refusals"), responses=60)


@pytest.fixture(scope="module")
def served(path):
    with Background(Run(path)) as server:
        yield server


@pytest.fixture
def client(served):
    client = Client.of(served.address, served.run)
    client.start()
    return client


def rows(path):
    """Everything that the database holds."""
    with closing(sqlite3.connect(recorded.database(path))) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in ("session", "answer", "page", "event")
        }


def body(client, **changes):
    return {"trial": client.trial, "key": client.key(), "button": 1, "rt": 900.0} | changes


def test_the_same_request_again_counts_once(client, path):
    sent = body(client)
    first, again = (client.post("/api/answer", sent) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.json["right"] == again.json["right"]
    assert "again" not in first.json
    assert again.json["again"] is True
    changed = client.post("/api/answer", sent | {"button": 5})  # the key says that it is the same one
    assert changed.json["again"] is True
    found = [row for row in rows(path)["answer"] if row[0] == client.session]
    assert [(row[1], row[7]) for row in found] == [(0, 1)]


def test_the_same_request_many_times_at_once_counts_once(client, path):
    sent = body(client)
    with ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda _: client.post("/api/answer", sent), range(12)))
    assert [each.status for each in replies] == [200] * 12
    assert sum("again" not in each.json for each in replies) == 1
    assert len({each.json["right"] for each in replies}) == 1
    assert len([row for row in rows(path)["answer"] if row[0] == client.session]) == 1


def test_of_many_tabs_at_once_one_counts(client, path):
    sent = [body(client, button=number % 6) for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda each: client.post("/api/answer", each), sent))
    assert sorted(each.status for each in replies) == [200] + [409] * 11
    (first,) = [each for each, reply in zip(sent, replies, strict=True) if reply.status == 200]
    kept = [row for row in rows(path)["answer"] if row[0] == client.session]
    assert [(row[2], row[7]) for row in kept] == [(first["key"], first["button"])]
    assert {reply.json["error"] for reply in replies if reply.status == 409} == {"answered"}


def test_another_key_for_an_answered_trial_is_a_conflict(client, path):
    client.post("/api/answer", body(client))
    before = rows(path)
    reply = client.post("/api/answer", body(client, trial=0))
    assert (reply.status, reply.json["error"], reply.json["state"]["trial"]["trial"]) == (409, "answered", 1)
    assert rows(path) == before


@pytest.mark.parametrize("trial", [1, 4, 5, 15, 24, 25, 100000])
def test_a_trial_that_is_not_open_is_a_conflict(client, path, trial):
    before = rows(path)
    reply = client.post("/api/answer", body(client, trial=trial))
    assert (reply.status, reply.json["error"], reply.json["state"]["stage"]) == (409, "not now", "practice")
    assert rows(path) == before


@pytest.mark.parametrize("action", ["ready", "comment"])
def test_steps_out_of_order_are_a_conflict(client, path, action):
    before = rows(path)
    reply = client.post(f"/api/{action}", {"text": "x"} if action == "comment" else {})
    assert (reply.status, reply.json["error"]) == (409, "not now")
    assert rows(path) == before


def test_steps_sent_again_change_nothing(client, path):
    before = rows(path)
    assert client.post("/api/consent", {"agreed": True}).json["again"] is True
    assert client.post("/api/consent", {"agreed": False}).json["again"] is True
    assert client.post("/api/instructions", {"seconds": 1.0}).json["again"] is True
    assert rows(path) == before


WRITES = [
    ("consent", {"agreed": True}),
    ("instructions", {"seconds": 1.0}),
    ("ready", {}),
    ("answer", {"trial": 0, "key": "k" * 16, "button": 0, "rt": 1.0}),
    ("rating", {"trial": 0, "key": "k" * 16, "picked": [1], "none": False, "seconds": 1.0}),
    ("comment", {"text": "x"}),
    ("leave", {}),
    ("alive", {}),
]


@pytest.mark.parametrize(("action", "sent"), WRITES)
def test_without_a_session_nothing_is_written(served, path, action, sent):
    before = rows(path)
    for cookie in (None, "x", "ü" * 4, "a" * 43):
        stranger = Client.of(served.address, served.run)
        stranger.session = "abcdefghijkl"
        headers = {} if cookie is None else {"Cookie": f"{stranger.name}={cookie}".encode().decode("latin-1")}
        reply = stranger.post(f"/api/{action}", sent, headers)
        assert (reply.status, reply.json["state"]["stage"]) == (401, "none")
    assert rows(path) == before


@pytest.mark.parametrize(("action", "sent"), WRITES)
def test_a_page_of_another_session_writes_nothing(served, client, path, action, sent):
    other = Client.of(served.address, served.run)
    other.start()
    before = rows(path)
    for name in (other.session, "", "'; --"):
        reply = client.post(f"/api/{action}", sent, {"X-Session": name})
        word, status = ("another session", 409) if name else ("invalid", 422)
        assert (reply.status, reply.json["error"]) == (status, word)
    assert rows(path) == before


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        ("answer", {"button": 6}),
        ("answer", {"button": -1}),
        ("answer", {"button": "1"}),
        ("answer", {"button": 1.0}),
        ("answer", {"button": True}),
        ("answer", {"trial": -1}),
        ("answer", {"trial": "0"}),
        ("answer", {"trial": 10**30}),
        ("answer", {"rt": -0.5}),
        ("answer", {"rt": None}),
        ("answer", {"rt": 1e300}),
        ("answer", {"key": "short"}),
        ("answer", {"key": "x" * 65}),
        ("answer", {"key": "../../etc/passwd-1"}),
        ("answer", {"key": "k" * 16 + "\n"}),
        ("answer", {"correct": True}),
    ],
)
def test_bodies_that_say_something_else_are_refused(client, path, action, sent):
    before = rows(path)
    reply = client.post(f"/api/{action}", body(client) | sent)
    assert (reply.status, reply.json["error"]) == (422, "invalid")
    (name,) = sent
    assert name in reply.json["message"]
    assert rows(path) == before


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"trial":0,"key":"kkkkkkkkkkkkkkkk","button":0,"rt":NaN}',
        b'{"trial":0,"key":"kkkkkkkkkkkkkkkk","button":0,"rt":Infinity}',
        b"\xff\xfe{}",
        b"[" * 5000,
    ],
)
def test_what_is_no_object_is_refused(client, path, raw):
    before = rows(path)
    assert client.post("/api/answer", raw).status == 422
    assert rows(path) == before


def test_who_comes_is_checked(served, path):
    before = rows(path)
    for sent in (
        {"platform": "facebook", "person": None, "screen": SCREEN},
        {"platform": "direct", "person": "", "screen": SCREEN},
        {"platform": "direct", "person": "x" * 101, "screen": SCREEN},
        {"platform": "direct", "person": "two words", "screen": SCREEN},
        {"platform": "direct", "person": "a\u0000b", "screen": SCREEN},
        {"platform": "direct", "person": 7, "screen": SCREEN},
        {"platform": "direct", "person": None, "screen": {"width": -1, "height": 2}},
        {"platform": "direct", "person": None, "screen": {"width": 1, "height": 2, "depth": 3}},
        {"platform": "direct", "person": None},
    ):
        client = Client.of(served.address, served.run)
        assert client.post("/api/session", sent).status == 422, sent
        assert client.cookie is None
    assert rows(path) == before


def test_a_comment_may_have_lines_and_no_control_characters(served):
    client = Client.of(served.address, served.run)
    client.start()
    client.finish(served.run, comment="two\r\nlines\tand ü 🙂")
    with closing(sqlite3.connect(recorded.database(served.run.path))) as connection:
        kept = connection.execute("SELECT comment FROM session WHERE session = ?", (client.session,)).fetchone()
    assert kept == ("two\r\nlines\tand ü 🙂",)
    for text in ("x" * 4001, "a\u0000", "\u001b[31m", None, 3):
        assert client.post("/api/comment", {"text": text}).status == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_media_types_are_refused(client, path, kind):
    before = rows(path)
    assert client.post("/api/answer", body(client), {"Content-Type": kind}).status == 415
    assert rows(path) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "//"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(client, path, headers):
    before = rows(path)
    assert client.post("/api/answer", body(client), headers).status == 403
    assert client.post("/api/session", {"platform": "direct", "screen": SCREEN}, headers).status == 403
    assert rows(path) == before


def test_our_own_page_is_not(client, served):
    headers = {"Origin": served.address, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/answer", body(client), headers).status == 200


def raw(address, data):
    """The first line of the reply to these bytes, and whether the connection was closed after it."""
    host, port = address.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        received = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # the server does not wait for the end
            connection.sendall(data)
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received.split(b"\r\n")[0].decode()


def head(client, *more):
    lines = [
        "POST /api/answer HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Cookie: {client.name}={client.cookie}",
        f"X-Session: {client.session}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_long_body_is_refused_before_it_came(client, path):
    before = rows(path)
    assert raw(client.address, head(client, "Content-Length: 16385")).split()[1] == "413"
    assert raw(client.address, head(client, f"Content-Length: {10**15}")).split()[1] == "413"
    assert rows(path) == before


def test_a_body_in_chunks_is_counted_as_it_comes(client, path):
    before = rows(path)
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    sent = head(client, "Transfer-Encoding: chunked") + 5 * chunk  # and no end
    assert raw(client.address, sent).split()[1] == "413"
    whole = json.dumps(body(client)).encode()
    padded = whole + b" " * (16384 - len(whole))
    ended = f"{len(padded):x}\r\n".encode() + padded + b"\r\n0\r\n\r\n"
    accepted = head(client, "Transfer-Encoding: chunked", "Connection: close") + ended
    assert raw(client.address, accepted).split()[1] == "200"
    after = rows(path)
    assert len(after["answer"]) == len(before["answer"]) + 1


def test_a_request_that_ends_early_writes_nothing(client, path):
    before = rows(path)
    host, port = client.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head(client, "Content-Length: 500") + b'{"trial": 0')
    connection.close()
    assert client.get("/api/state").json["stage"] == "practice"
    assert rows(path) == before


@pytest.mark.parametrize(
    "address",
    [
        "/p/../../keys/person.key",
        "/p/..%2f..%2fkeys%2fperson.key",
        "/p/%2e%2e/%2e%2e/answers.sqlite",
        "/static/../keys/person.key",
        "/static/..%2f..%2fsettings.py",
        "/static//etc/passwd",
        "/questions/units.json",
        "/images/0000000000000000.jpg",
        "/%00",
        "/api/trial/../../keys",
        "/api/trial/%2e%2e",
        "/api/trial/" + "9" * 5000,
        "/api/trial/-1",
        "/api/trial/0x1",
        "/api/trial/%D9%A1",
        "/api/trial/1e0",
        "/p/" + "0" * 32,
        "/p/images%2f0000000000000000.jpg",
    ],
)
def test_no_path_reaches_the_disk(client, address):
    assert client.get(address).status == 404


def test_a_picture_is_for_its_own_session_and_trials(served, client):
    other = Client.of(served.address, served.run)
    other.start()
    told = client.get("/api/trial/0").json
    assert client.get(told["top"]["src"]).status == 200
    assert other.get(told["top"]["src"]).status == 404
    stranger = Client.of(served.address, served.run)
    assert stranger.get(told["top"]["src"]).status == 401
    assert client.get("/api/trial/3").status == 404
    assert client.get("/api/trial/15").status == 404
    client.answer(served.run)
    shown = [told["top"], told["bottom"], *told["left"], *told["right"]]
    ahead = {
        pic["src"]
        for trial in (1, 2, 3)
        for told in [client.get(f"/api/trial/{trial}").json]
        for pic in [told["top"], told["bottom"], *told["left"], *told["right"]]
    }
    for pic in shown:
        assert client.get(pic["src"]).status == (200 if pic["src"] in ahead else 404)


def test_other_methods_are_refused(client):
    assert client.call("GET", "/api/answer").status == 405
    assert client.call("POST", "/api/state", {}).status == 405
    assert client.call("DELETE", "/api/session").status == 405
    assert client.call("OPTIONS", "/api/answer", headers={"Origin": "https://evil.example"}).status == 405


def test_a_bucket_fills_steadily():
    bucket = Bucket(Rate(2.0, 3.0), 10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) == 0
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_too_many_requests_of_one_session_wait_and_others_do_not(tmp_path):
    path = prepared(tmp_path, people=True)
    limits = Limits(calls=Rate(0.001, 6), pictures=Rate(0.001, 2), new=Rate(0.001, 2))
    with Background(run := Run(path, limits=limits)) as server:
        first, second, third = (Client.of(server.address, run) for _ in range(3))
        first.start()
        before = rows(path)
        replies = [first.post("/api/answer", body(first)) for _ in range(5)]
        assert [each.status for each in replies] == [200, 200, 200, 200, 429]
        assert int(replies[-1].headers["retry-after"]) >= 1
        assert len(rows(path)["answer"]) == len(before["answer"]) + 4
        assert second.begin().status == 200
        assert third.begin().status == 429  # many new ones: together, since they have no cookie yet
        assert third.get("/api/state").status == 200


def test_nobody_begins_many_sessions_by_the_cookie_of_the_last_one(tmp_path):
    path = prepared(tmp_path, people=True)
    limits = Limits(new=Rate(0.001, 3))
    with Background(run := Run(path, limits=limits)) as server:
        client = Client.of(server.address, run)
        replies = [client.begin(f"R_{number}", "prolific").status for number in range(5)]
        assert replies == [200, 200, 200, 429, 429]
        assert client.begin("R_2", "prolific").status == 200  # its own session is no new one
    assert len(rows(path)["session"]) == 3


def test_pictures_have_a_bucket_of_their_own(tmp_path):
    path = prepared(tmp_path, people=True)
    limits = Limits(calls=Rate(0.001, 20), pictures=Rate(0.001, 2), new=Rate(0.001, 2))
    with Background(run := Run(path, limits=limits)) as server:
        client = Client.of(server.address, run)
        client.start()
        pictures = client.get("/api/trial/0").json["left"][:3]
        assert [client.get(each["src"]).status for each in pictures] == [200, 200, 429]
        assert client.get("/api/state").status == 200


def test_a_clock_of_ones_own_is_for_made_up_participants(tmp_path):
    path = prepared(tmp_path, people=True)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.begin()
        before = rows(path)
        assert client.post("/api/consent", {"agreed": True}, {"X-Clock": "5"}).status == 422
        assert rows(path) == before


@pytest.mark.parametrize("clock", ["-1", "nan", "inf", "soon", "1e9", "0x10"])
def test_a_clock_must_be_seconds(client, clock):
    assert client.post("/api/alive", {}, {"X-Clock": clock}).status == 422
