"""The researcher's part of the server: who gets in, what leaves the server, and the page in a real browser."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import threading
from types import SimpleNamespace

import pytest

from experiment import researcher, web
from experiment.answers import Judged, table_of
from experiment.errors import Refused
from experiment.people import read_token
from experiment.run import Run
from experiment.serving import Background
from study.files.tables import write_csv
from tests.experiment import folders
from tests.experiment.clients import Reply
from tests.experiment.filled_runs import filled_run
from tests.helpers.axe import violations
from tests.helpers.programs import needs

NAME = {"cookie": ""}  # of the run that is being served
COMMENT = '<img src=x onerror="window.hit = 1"> & <b>bold</b>'


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A simulated run of 12 sessions of 20 units, the third with a comment that looks like HTML."""
    folder = tmp_path_factory.mktemp("researcher")
    folders.two_alternative(folder / "exported", n_units=20, n_tasks=2, size=10, n_sessions=12, responses=6)
    changes = {3: {"comment": COMMENT}, 4: {"caught": 2}}
    return filled_run(folder / "run", folder / "exported", lambda _: 0.8, changes=changes), folder / "run"


@pytest.fixture
def run(filled):
    with Run(filled[1]) as run:
        NAME["cookie"] = f"researcher-{run.mark}"
        yield run


@pytest.fixture
def address(run):
    with Background(run) as server:
        yield server.address


@pytest.fixture
def token(filled):
    return read_token(filled[1] / "keys/researcher.token")


def call(address, method, path, body=None, cookie=None, **headers):
    """One request. A body that is no bytes goes as JSON."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    sent = {"Content-Type": "application/json"} | headers
    if cookie:
        sent["Cookie"] = f"{NAME['cookie']}={cookie}"
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, sent)
    reply = connection.getresponse()
    found = Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    connection.close()
    return found


def login(address, token):
    return call(address, "POST", "/api/researcher/login", {"token": token})


def cookie_of(reply):
    name, _, cookie = reply.headers["set-cookie"].split(";")[0].partition("=")
    assert name == NAME["cookie"]
    return cookie


PRIVATE = ("/api/researcher/overview", "/researcher/answers/questions.csv", "/researcher/answers/none.csv")


def test_without_the_cookie_nothing_is_shown(address):
    for path in PRIVATE:
        for cookie in (None, "wrong", "ä" * 5, ""):
            sent = None if cookie is None else cookie.encode("utf-8").decode("latin-1")
            reply = call(address, "GET", path, cookie=sent)
            assert (reply.status, reply.json["error"]) == (401, "not logged in")
    state = call(address, "GET", "/api/researcher/state")
    assert (state.status, state.json) == (200, {"logged_in": False})


def test_the_token_opens_and_the_cookie_is_for_this_server_and_scripts_cannot_read_it(filled, address, token):
    reply = login(address, token)
    assert (reply.status, reply.json) == (200, {"logged_in": True})
    flags = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    cookie = cookie_of(reply)
    assert len(cookie) >= 43
    assert token not in cookie
    assert call(address, "GET", "/api/researcher/state", cookie=cookie).json == {"logged_in": True}
    shown = call(address, "GET", "/api/researcher/overview", cookie=cookie)
    assert shown.status == 200
    assert shown.headers["cache-control"] == "no-store"
    assert shown.json["counts"]["accepted"] == Judged.of(filled[0]).verdicts["accepted"].sum() > 6
    assert shown.json["source"] == "simulated"


def test_wrong_tokens_are_refused_and_slowed_down_but_never_lock_the_researcher_out(address, token):
    words = [token[:-1], token + "0", token.upper() + "x", "x" * 64, "é"]
    assert [login(address, word).status for word in words] == [401] * 5
    statuses = [login(address, f"guess {number}") for number in range(20)]
    slowed = [reply for reply in statuses if reply.status == 429]
    assert len(slowed) >= 10
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in slowed)
    assert {reply.status for reply in statuses} == {401, 429}
    assert not any("set-cookie" in reply.headers for reply in statuses)
    assert login(address, token).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({}, {}, 422),
        ({"token": 7}, {}, 422),
        ({"token": "x" * 300}, {}, 422),
        ({"token": "x", "more": 1}, {}, 422),
        (b"token", {}, 422),
        (b"x" * 20_000, {}, 413),
        ({"token": "x"}, {"Content-Type": "text/plain"}, 415),
        ({"token": "x"}, {"Origin": "http://elsewhere.example"}, 403),
    ],
)
def test_what_is_no_login_is_refused(address, body, headers, status):
    reply = call(address, "POST", "/api/researcher/login", body, **headers)
    assert reply.status == status
    assert "set-cookie" not in reply.headers


def test_logged_out_is_out(address, token):
    one, other = (cookie_of(login(address, token)) for _ in range(2))
    assert call(address, "POST", "/api/researcher/logout", {}, cookie=one).status == 200
    assert call(address, "GET", PRIVATE[0], cookie=one).status == 401
    assert call(address, "GET", PRIVATE[0], cookie=other).status == 200


def test_the_token_is_in_no_reply_header_log_or_address(address, token, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger=web.access.name)
    replies = [login(address, token), login(address, token[:-1])]
    cookie = cookie_of(replies[0])
    paths = ["/api/researcher/state", *PRIVATE, "/researcher", "/", "/api/state"]
    replies += [call(address, "GET", path, cookie=cookie) for path in paths]
    replies += [call(address, "POST", "/api/researcher/login", token.encode())]
    replies += [call(address, "POST", "/api/researcher/login", {token: token})]
    replies += [call(address, "POST", "/api/researcher/logout", {}, cookie=cookie)]
    told = [text for reply in replies for text in (reply.body.decode(), *reply.headers.values())]
    assert not [text for text in told if token in text]
    written = [record.getMessage() for record in caplog.records]
    assert any("/api/researcher/login" in line for line in written)
    assert not [line for line in written if token in line or cookie in line]
    after = [reply for reply in replies[1:] if cookie in reply.body.decode() or cookie in str(reply.headers)]
    assert after == []


def test_answers_are_those_of_the_command_and_name_nobody(filled, address, token, tmp_path):
    recorded, _ = filled
    cookie = cookie_of(login(address, token))
    for form in ("questions", "table", "imi"):
        reply = call(address, "GET", f"/researcher/answers/{form}.csv", cookie=cookie)
        write_csv(tmp_path / "answers.csv", table_of(recorded, form))
        assert reply.body == (tmp_path / "answers.csv").read_bytes()
        assert reply.headers["content-disposition"] == f'attachment; filename="simulated-{form}.csv"'
        assert reply.headers["content-type"] == "text/csv; charset=utf-8"
        assert b"simulated" in reply.body
        assert b"prolific" not in reply.body
    other = call(address, "GET", "/researcher/answers/ratings.csv", cookie=cookie)
    assert (other.status, other.json["error"]) == (409, "not in this form")
    for path in ("none", "..%2Fkeys%2Fresearcher", "questions.csv%00"):
        assert call(address, "GET", f"/researcher/answers/{path}.csv", cookie=cookie).status == 404


def test_the_overview_is_data_of_sessions_without_names(filled, address, token):
    recorded, _ = filled
    reply = call(address, "GET", PRIVATE[0], cookie=cookie_of(login(address, token)))
    assert reply.headers["content-type"] == "application/json"
    assert {"number": 3, "text": COMMENT} in reply.json["comments"]["newest"]
    text = reply.body.decode()
    for column in ("person", "code", "session"):
        for value in recorded.sessions[column].dropna():
            assert f'"{value}"' not in text
    assert "prolific" not in text
    assert [each["form"] for each in reply.json["downloads"]] == ["questions", "table", "imi", "codes"]


def test_looks_are_shared_and_do_not_stop_the_server(address, token, monkeypatch):
    looked, begun, go_on = [], threading.Event(), threading.Event()

    def look(path, now):
        looked.append(path)
        begun.set()
        assert go_on.wait(20)
        return {"number": len(looked)}

    monkeypatch.setattr(researcher, "_look", look)
    cookie, shown = cookie_of(login(address, token)), []
    askers = [
        threading.Thread(target=lambda: shown.append(call(address, "GET", PRIVATE[0], cookie=cookie).json))
        for _ in range(3)
    ]
    for asker in askers:
        asker.start()
    assert begun.wait(20)
    # while it looks, everybody else is answered
    assert call(address, "GET", "/api/state").status == 200
    go_on.set()
    for asker in askers:
        asker.join()
    assert shown == [{"number": 1}] * 3
    assert len(looked) == 1


def test_cookies_and_overviews_grow_old(filled, monkeypatch):
    """With a clock of the test's own."""
    clock = [0.0]
    run = SimpleNamespace(path=filled[1], mark="1a", now=lambda: 5.0)
    monkeypatch.setattr(researcher, "_look", lambda path, now: {"looks": now, "at": clock[0]})
    desk = researcher.Desk(run, lambda: clock[0])
    desk._cookies[researcher._digest("mine")] = researcher.LASTS
    request = SimpleNamespace(cookies={"researcher-1a": "mine"})
    overview = desk.only_researcher(desk.overview)

    def at(seconds):
        clock[0] = seconds
        return json.loads(asyncio.run(overview(request)).body)["at"]

    assert [at(seconds) for seconds in (0.0, researcher.FRESH - 0.1, researcher.FRESH)] == [0, 0, researcher.FRESH]
    clock[0] = researcher.LASTS
    with pytest.raises(Refused, match="Log in") as refused:
        asyncio.run(overview(request))
    assert refused.value.status == 401


def test_a_run_that_cannot_be_read_says_why(tmp_path):
    copy = SimpleNamespace(path=tmp_path, mark="1a", now=lambda: 5.0)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/researcher.token").write_text("a" * 64)
    desk = researcher.Desk(copy)
    with pytest.raises(Refused, match=r"study\.json") as refused:
        asyncio.run(desk.overview(SimpleNamespace(cookies={})))
    assert refused.value.status == 503


# --------------------------------------------------------------------------- the page


@pytest.fixture
def shown(run, chromium, token):
    """The page after a login by its address: its tab, and the address of the server."""
    from experiment.assets import Assets

    with Background(run, assets=Assets.load()) as server, chromium.profile() as profile:
        tab = profile.tab()
        tab.open(f"{server.address}/researcher#{token}")
        tab.wait("document.querySelectorAll('#sheet section').length > 6")
        yield tab, server.address


@needs("Chromium", "npm packages")
def test_the_page_shows_the_run_and_forgets_the_token(shown, token):
    tab, address = shown
    assert tab.run("location.href") == f"{address}/researcher"
    assert not [url for url in tab.requests if token in url]
    text = tab.run("document.body.innerText")
    assert "Simulated answers: nobody was asked" in text
    assert COMMENT in text
    assert tab.run("[window.hit, document.querySelectorAll('.comments img, .comments b').length]") == [None, 0]
    assert token not in tab.run("document.documentElement.outerHTML")
    headings = tab.run("[...document.querySelectorAll('h1, #sheet h2')].map(e => e.textContent)")
    assert len(headings) == len(set(headings)) == 10
    assert tab.run(
        "[...document.querySelectorAll('table')].every(t => t.caption && t.tHead.querySelector('th[scope=col]'))"
    )
    assert tab.problems == []


@needs("Chromium", "npm packages")
def test_a_token_is_pasted_and_one_logs_out(shown, token):
    tab, address = shown
    tab.click("#logout")
    tab.wait("!document.getElementById('login').hidden && !document.querySelector('#sheet section')")
    tab.click("#token")
    tab.type(token)
    tab.press("Enter")
    tab.wait("document.querySelectorAll('#sheet section').length > 6")
    assert tab.run("document.getElementById('token').value") == ""
    # the address with the token, opened where the page is already
    tab.click("#logout")
    tab.wait("!document.getElementById('login').hidden")
    tab.run(f"location.hash = '{token}'")
    tab.wait("document.querySelectorAll('#sheet section').length > 6")
    assert tab.run("location.href") == f"{address}/researcher"
    assert tab.problems == []


@needs("Chromium", "npm packages")
def test_the_page_keeps_fresh_quietly_and_keeps_what_is_open(shown):
    tab, _ = shown
    tab.run("document.querySelector('#sheet details').open = true; document.querySelector('#sheet .scroll').focus()")
    tab.run("window.asked = document.querySelector('[data-section=sessions]')")
    tab.wait("document.getElementById('updated').textContent !== ''")
    tab.click("#refresh")
    tab.rest(0.5)
    # nothing changed, so nothing was drawn again
    assert tab.run("window.asked === document.querySelector('[data-section=sessions]')")
    assert tab.run("document.querySelector('#sheet details').open")
    assert tab.run("document.getElementById('trouble').textContent") == ""
    tab.net(offline=True)
    tab.click("#refresh")
    tab.wait("document.getElementById('trouble').textContent.includes('does not answer')")
    tab.net()
    tab.click("#refresh")
    tab.wait("document.getElementById('trouble').textContent === ''")


@needs("Chromium", "npm packages")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(shown, scheme):
    tab, _ = shown
    tab.media(**{"prefers-color-scheme": scheme})
    for width in (1440, 1024, 390):
        tab.window(width, 900)
        assert tab.run("document.documentElement.scrollWidth - innerWidth") <= 0
        assert violations(tab) == []
