"""Nothing that the server sends before an answer tells the answer, or what the pictures are."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from experiment import plan as planning
from experiment.run import Run
from experiment.serving import Background
from experiment.study_folder import CATCH, MAIN
from tests.experiment.clients import Client, Reply, prepared

COMMON = {"date", "content-length", "content-type", "cache-control", "set-cookie"}
PICTURE = {"src", "bytes", "sha256", "width", "height"}


def walked(path, n_clients=2):
    """Clients that fetched everything they could on their way, and the run."""
    with Background(run := Run(path)) as server:
        clients = [Client.of(server.address, run) for _ in range(n_clients)]
        for client in clients:
            client.get("/api/state")
            client.start()
            while client.state["stage"] not in ("comment", "end"):
                if client.state["stage"] == "ready":
                    fetch(client, client.state["first"])
                    client.post("/api/ready", {})
                    continue
                fetch(client, client.trial)
                if run.folder.pages:
                    client.rate()
                else:
                    client.answer(run)
        return clients, run


def fetch(client, first):
    """The open trial, those after it, and all their pictures."""
    for trial in range(first, first + 3):
        reply = client.get(f"/api/trial/{trial}")
        if reply.status == 200:
            for picture in pictures(reply.json):
                assert client.get(picture["src"]).status == 200


def pictures(told):
    if "pictures" in told:
        return told["pictures"]
    return [*told["left"], told["top"], told["bottom"], *told["right"]]


def words(reply: Reply) -> str:
    """A reply as text, headers included, without digests of pictures, which anybody computes from the pictures."""
    head = json.dumps(reply.headers)
    if reply.headers.get("content-type") != "application/json":
        return head
    return head + re.sub(r'"sha256":"[0-9a-f]{64}"', "", reply.body.decode())


def named(names, said):
    """Names that stand there by themselves: within the random digits of an address such as c0001 stands now and then."""
    return names & set(re.findall(r"[0-9a-z]+", said))


@pytest.mark.parametrize("feedback", ["all", "practice"])
def test_no_reply_names_units_answers_or_files(tmp_path, feedback):
    path = prepared(tmp_path, settings={"feedback": feedback})
    clients, run = walked(path)
    folder = run.folder
    names = {file.split("/")[1].split(".")[0] for file in folder.pictures}
    names |= set(folder.questions) | {each.session for each in folder.sessions}
    secret = {
        "resnet",
        "layer0",
        "layer9",
        "conv",
        "easiest",
        "hardest",
        "natural",
        "unit",
        "group",
        'answer"',
        "class_",
    }
    secret |= {"correct", "obvious", "catch", "images/", ".jpg", "manifest", "listed", "token", "rank", 'mis"'}
    for client in clients:
        for path, reply in client.seen:
            said = words(reply)
            assert not [word for word in secret if word in said], (path, said)
            assert not named(names, said), (path, said)
            assert not re.search(r'"right":(?!true|false|null|\[)', said)


def test_the_same_words_would_be_seen():
    told = Reply(200, {"content-type": "application/json"}, b'{"file":"images/0011223344556677.jpg"}')
    assert named({"0011223344556677"}, words(told))
    assert named({"c0001"}, '{"trial":"c0001"}')
    assert not named({"c0001"}, '{"src":"/p/4ac0001bd5f04c2e8e7b6f0a9d3c1e55"}')


def test_trials_have_only_their_pictures_and_places(tmp_path):
    clients, _ = walked(prepared(tmp_path), 1)
    told = [reply.json for path, reply in clients[0].seen if path.startswith("/api/trial/") and reply.status == 200]
    assert len(told) > 30
    for each in told:
        assert each.keys() == {"trial", "kind", "number", "of", "left", "right", "top", "bottom"}
        assert each["kind"] in ("practice", "main")  # catch trials are like others
        assert all(picture.keys() == PICTURE for picture in pictures(each))
        assert (len(each["left"]), len(each["right"])) == (9, 9)


def test_headers_are_the_same_whatever_is_shown(tmp_path):
    clients, _ = walked(prepared(tmp_path), 1)
    for path, reply in clients[0].seen:
        assert not {"etag", "last-modified", "server", "content-disposition"} & reply.headers.keys()
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        kept = "private, max-age=86400, immutable" if path.startswith("/p/") else "no-store"
        assert reply.headers["cache-control"] == kept
    shown = {json.dumps(sorted(reply.headers)) for path, reply in clients[0].seen if path.startswith("/p/")}
    assert len(shown) == 1


def test_a_picture_has_another_address_in_each_session(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        names = []
        for _ in range(2):
            client = Client.of(server.address, run)
            client.start()
            own = client.own(run)
            names.append({run.pictures.told(own.secret, file)["src"] for file in run.folder.pictures})
            picture = client.get("/api/trial/0").json["top"]
            assert picture["src"] in names[-1]
            assert re.fullmatch(r"/p/[0-9a-f]{32}", picture["src"])
    assert len(names[0]) == len(names[1]) == len(run.folder.pictures)
    assert not names[0] & names[1]


def test_cookies_are_random_and_kept_as_digests_alone(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        clients = [Client.of(server.address, run) for _ in range(3)]
        for client in clients:
            header = client.begin().headers["set-cookie"]
            assert re.fullmatch(
                r"session-[0-9a-f]{8}=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax", header
            ), header
        secure = Client.of(server.address, run)
        reply = secure.call(
            "POST",
            "/api/session",
            {"platform": "direct", "screen": {"width": 1, "height": 1}},
            {"X-Forwarded-Proto": "https"},
        )
        assert reply.headers["set-cookie"].endswith("; Secure")
    kept = b"".join(file.read_bytes() for file in path.glob("answers.sqlite*"))
    assert len({client.cookie for client in clients}) == 3
    assert not [client for client in clients if client.cookie.encode() in kept]


def test_places_of_catch_trials_and_of_right_answers_tell_nothing(tmp_path):
    path = prepared(tmp_path, n_units=40, n_tasks=3, size=20, n_sessions=6, responses=30)
    with Run(path) as run:
        plans = []
        for number in range(1, 201):
            listed = run.folder.sessions[number % 6]
            plans.append(planning.draw(run.folder, run.settings, listed.experiment, listed.questions, number))
    kinds = np.array([[run.folder.questions[name].kind == CATCH for name in plan.main] for plan in plans])
    upper = np.array([[run.folder.questions[name].answer == "top" for name in plan.main] for plan in plans])
    assert kinds.shape == (200, 25)
    # 5 of 25 are catch trials, at every place: 200 draws of 0.2 have a standard deviation of 0.028
    assert np.abs(kinds.mean(axis=0) - 0.2).max() < 4.5 * 0.0283
    assert np.abs(upper[:, 0].mean() - upper.mean()) < 0.2
    assert {run.folder.questions[name].kind for name in plans[0].main} == {MAIN, CATCH}


def test_rating_pages_tell_texts_and_pictures_alone(tmp_path):
    path = prepared(tmp_path, "ratings")
    clients, run = walked(path, 1)
    secret = {file.split("/")[1].split(".")[0] for file in run.folder.pictures} | {"class_", "gold", "factors", "label"}
    for path, reply in clients[0].seen:
        assert not [word for word in secret if word in words(reply)], path
    told = [reply.json for path, reply in clients[0].seen if path.startswith("/api/trial/") and reply.status == 200]
    assert all(each.keys() == {"trial", "kind", "number", "of", "text", "pictures"} for each in told)
    assert {picture.keys() == PICTURE for each in told for picture in each["pictures"]} == {True}
