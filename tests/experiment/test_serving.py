"""The server as a program: its messages, its log, its pages and its headers."""

from __future__ import annotations

import gzip
import logging
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import pytest

from experiment import serving, showing, web
from experiment.__main__ import COMMANDS
from experiment.assets import Asset
from experiment.errors import Refused
from experiment.run import Run
from experiment.server import create_app
from experiment.serving import Background
from study.errors import StudyError
from tests.experiment.clients import Client, prepared
from tests.helpers.programs import needs
from tests.helpers.rules import ROOT

PAGES = {
    name: Asset(body, gzip.compress(body), media)
    for name, body, media in (
        ("index.html", b"<!doctype html><title>page</title>", "text/html; charset=utf-8"),
        ("notices.html", b"<!doctype html><title>notices</title>", "text/html; charset=utf-8"),
        ("researcher.html", b"<!doctype html><title>researcher</title>", "text/html; charset=utf-8"),
        ("app.js", b"const a = 1;" * 50, "text/javascript; charset=utf-8"),
        ("favicon.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml; charset=utf-8"),
    )
}


def started(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "experiment", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, **options
    )


def test_a_folder_that_is_not_there_ends_in_one_message(tmp_path):
    done = started("serve", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "nowhere: no such folder. `python -m experiment prepare" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_folder_ends_in_one_message(tmp_path):
    path = prepared(tmp_path)
    (path / "questions/units.json").write_text("{}")
    done = started("serve", str(path))
    assert done.returncode == 1
    assert "units.json is not the file that study.json describes" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_than_one_process_is_refused(tmp_path):
    done = started("serve", str(prepared(tmp_path)), "--workers", "2")
    assert done.returncode == 1
    assert "--workers is 2; it must be 1: one process writes the answers" in done.stderr


def test_every_command_has_help():
    done = started("--help")
    assert done.returncode == 0
    assert [name for name in COMMANDS if name not in done.stdout] == []
    assert started("fly").returncode == 2


def test_a_port_that_is_taken_is_named():
    with closing(serving.bound("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(StudyError, match=rf"--host 127\.0\.0\.1 --port {port} cannot be listened on"):
            serving.bound("127.0.0.1", port)
    for host, port, words in (
        ("nowhere.invalid", 0, "Name an address of this machine"),
        ("127.0.0.1", 70000, "ports go from 0 to 65535"),
    ):
        with pytest.raises(StudyError, match=words):
            serving.bound(host, port)


@needs("npm packages")
def test_a_served_run_says_where_it_is_and_ends_quietly(tmp_path):
    path = prepared(tmp_path, people=True)
    with subprocess.Popen(
        [sys.executable, "-m", "experiment", "serve", str(path), "--port", "0", "--log"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(3)]
            address = told[1].split()[1].rstrip("/")
            client = Client(address, None)
            assert client.call("GET", "/?PROLIFIC_PID=R_123&x=1").status == 200
            assert client.call("GET", "/api/state?PROLIFIC_PID=R_123").status == 200
            assert client.call("GET", "/p/0123456789abcdef0123456789abcdef").status == 401
            assert client.call("GET", "/researcher").status == 200
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    token = (path / "keys/researcher.token").read_text().strip()
    assert told[2].split()[1] == f"{address}/researcher#{token}"
    assert (process.returncode, "Stopped." in out) == (0, True)
    lines = re.findall(r"stages\.experiment\.access  (.*)", err)
    assert lines == ["GET / 200", "GET /api/state 200", "GET /p/... 401", "GET /researcher 200"]
    assert "consent.md is still the template" in err
    assert not [word for word in ("R_123", "PROLIFIC", "0123456789abcdef", token) if word in err]


def test_the_log_has_no_queries_cookies_or_names_of_pictures(tmp_path, caplog):
    path = prepared(tmp_path)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("stages").propagate = True
    web.access.setLevel(logging.DEBUG)
    try:
        with Background(run := Run(path)) as server:
            client = Client.of(server.address, run)
            client.call("GET", "/api/state?PROLIFIC_PID=R_123&STUDY_ID=S_1#part")
            client.start("R_123", "prolific")
            picture = client.get("/api/trial/0").json["top"]["src"]
            client.get(picture + "?R_123")
            client.call("GET", "/%0d%0aINJECTED%20line/" + "x" * 500)
            client.finish(run, comment="a secret comment")
    finally:
        logging.getLogger("stages").propagate = False
        web.access.setLevel(logging.NOTSET)
    said = caplog.text
    assert "GET /api/state 200" in said
    assert "GET /p/... 200" in said
    secrets = ["R_123", "S_1", "PROLIFIC", client.cookie, client.cookie[:10], picture, picture[3:13], "secret comment"]
    assert not [word for word in secrets if word in said]
    assert not [line for line in said.splitlines() if line.startswith("INJECTED")]


def test_without_being_asked_requests_are_not_logged(tmp_path, caplog):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        Client.of(server.address, run).get("/api/state?PROLIFIC_PID=R_123")
    assert "GET" not in caplog.text


def test_pages_come_from_memory_with_gzip_where_it_is_understood(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path), assets=PAGES) as server:
        client = Client.of(server.address, run)
        for address, name in {
            "/": "index.html",
            "/notices": "notices.html",
            "/researcher": "researcher.html",
            "/static/app.js": "app.js",
            "/favicon.ico": "favicon.svg",
            "/favicon.svg": "favicon.svg",
        }.items():
            plain = client.call("GET", address, headers={"Accept-Encoding": "identity"})
            packed = client.call("GET", address, headers={"Accept-Encoding": "gzip, br"})
            assert (plain.status, plain.body) == (200, PAGES[name].body)
            assert plain.headers["content-type"] == PAGES[name].media_type
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == PAGES[name].body
            assert packed.headers["vary"] == "accept-encoding"
        for address in ("/static/index.html", "/static/researcher.html", "/static/app.js/", "/static/%2e%2e/server.py"):
            assert client.get(address).status == 404


def test_every_reply_has_the_headers_also_errors(tmp_path):
    path = prepared(tmp_path)
    with Background(run := Run(path), assets=PAGES) as server:
        client = Client.of(server.address, run)
        replies = [
            client.get("/"),
            client.get("/api/state"),
            client.get("/nothing"),
            client.get("/p/x"),
            client.call("PUT", "/api/state"),
            client.post("/api/session", b"x"),
            client.post("/api/session", b" " * 20000),
        ]
    assert [reply.status for reply in replies] == [200, 200, 404, 401, 405, 422, 413]
    for reply in replies:
        assert {name: reply.headers[name] for name in web.HEADERS} == web.HEADERS
        assert "server" not in reply.headers
        if reply.status >= 400:
            assert {"error", "message"} <= reply.json.keys()


def test_a_fault_of_ours_is_told_without_its_words(tmp_path, monkeypatch, caplog):
    path = prepared(tmp_path)
    with Background(run := Run(path)) as server:
        client = Client.of(server.address, run)
        client.start()
        monkeypatch.setattr(showing, "trial", lambda *_: 1 / 0)
        reply = client.get("/api/trial/0")
        monkeypatch.undo()
        assert client.get("/api/trial/0").status == 200
    assert (reply.status, reply.json["error"]) == (500, "failure")
    assert reply.headers["content-security-policy"] == web.POLICY
    assert "division" not in reply.body.decode()
    assert "ZeroDivisionError" in caplog.text


def test_connections_stay_open_while_people_think():
    config = serving._config(None)
    assert (config.timeout_keep_alive, config.workers, config.access_log) == (75, 1, False)


def test_an_acknowledgement_may_come_early_for_the_kill_test_alone(tmp_path):
    path = prepared(tmp_path)
    with Run(path) as run:
        create_app(run)
        assert run.early_seconds is None
        create_app(run, early_ms=5)
        assert run.early_seconds == 0.005


def test_idle_sockets_do_not_stop_the_end(tmp_path):
    path = prepared(tmp_path)
    with Background(Run(path)) as server:
        host, port = server.address.removeprefix("http://").split(":")
        idle = socket.create_connection((host, int(port)))
        urllib.request.urlopen(server.address + "/api/state", timeout=5).read()
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    idle.close()


def test_refusals_carry_what_pages_need():
    error = Refused(409, "not now", "words", {"stage": "end"}, {"retry-after": "3"})
    assert str(error) == "words"
    reply = web.told_refused(None, error)
    assert (reply.status_code, reply.headers["retry-after"], reply.headers["cache-control"]) == (409, "3", "no-store")
