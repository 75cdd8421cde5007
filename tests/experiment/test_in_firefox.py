"""The experiment in Debian's Firefox: the whole path by keyboard, a reload, two kinds of page, and a silent policy."""

from __future__ import annotations

import json

import pytest

from tests.experiment import folders
from tests.experiment.pages import BUTTONS, FIRST_MAIN, N_MAIN, N_PRACTICE, other_hosts, served
from tests.helpers.firefox import Firefox
from tests.helpers.programs import needs

pytestmark = needs("Firefox", "npm packages")


@pytest.fixture(scope="module")
def firefox():
    with Firefox() as firefox:
        yield firefox


@pytest.fixture
def tab(firefox):
    """Another tab. Cookies of the servers before stay: a server knows its own."""
    firefox.anew()
    return firefox


def silent(tab, run):
    """Nothing went wrong, and nobody else was asked for anything."""
    tab.run("0")  # what happened before has been told by then
    assert tab.problems == []
    assert len(tab.statuses) > 10
    assert [each for each in tab.statuses if each[1] not in (200, 304)] == []
    assert other_hosts(tab.requests, run.address) == []


def test_the_whole_path_by_keyboard(run, tab):
    walk = run.walk(tab)
    seen = []
    while (scene := walk.settled())["stage"] != "end":
        seen.append((scene["stage"], scene["trial"]))
        walk.step()
    practice = [("practice", trial) for trial in range(N_PRACTICE)]
    main = [("main", FIRST_MAIN + trial) for trial in range(N_MAIN)]
    assert seen == [("consent", None), ("instructions", None), *practice, ("ready", None), *main, ("comment", None)]
    silent(tab, run)
    once = {path: n for path, n in run.net.asked.items() if path.startswith(("/p/", "/static/"))}
    assert len(once) > 100
    assert set(once.values()) == {1}
    found = run.recorded()
    [session] = found.sessions.itertuples()
    assert session.outcome == "complete"
    assert tab.run("document.querySelector('[data-code]').textContent") == session.code
    assert found.answers["trial"].to_list() == [trial for _, trial in practice + main]
    assert found.answers["correct"].all()


def test_what_the_policy_forbids_is_noticed(run, tab):
    run.walk(tab)
    assert tab.problems == []
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))")
    assert tab.run("window.hit === undefined")
    tab.run("new Promise(done => setTimeout(done, 200))")
    assert any("Content-Security-Policy" in each for each in tab.problems)


def test_reload_and_the_way_back_go_on_at_the_open_trial(run, tab):
    here = f"document.documentElement?.dataset.trial === '{FIRST_MAIN + 1}' && {BUTTONS}"
    walk = run.walk(tab)
    walk.until("main", FIRST_MAIN + 1)
    tab.reload()
    tab.wait(here, 3)
    tab.open(run.address + "/notices")
    tab.history(-1)
    tab.wait(here, 3)
    walk.until("end")
    assert len(run.recorded().answers) == N_PRACTICE + N_MAIN
    silent(tab, run)


def test_damaged_pictures_are_asked_for_again(run, tab):
    run.net.every = 10
    walk = run.walk(tab)
    while (scene := walk.settled())["stage"] != "end":
        if scene["trial"] is not None:
            complete = tab.run(
                "[...document.querySelectorAll('main .trial img')].map(e => e.complete && e.naturalWidth)"
            )
            assert len(complete) == 20
            assert all(complete)
        walk.step()
    assert len(run.net.damaged) >= 10
    asked = {path: n for path, n in run.net.asked.items() if path.startswith("/p/")}
    assert {path for path, n in asked.items() if n > 1} == set(run.net.damaged)


def test_rating_pages_by_keyboard(tmp_path, tab):
    pages = folders.ratings(tmp_path / "pages", side=224)
    with served(tmp_path / "run", pages, pages_a_session=3) as run:
        walk = run.walk(tab)
        walk.until("end")
        found = run.recorded()
        picked = [(json.loads(row.picked), row.nothing) for row in found.pages.itertuples()]
        assert picked == [([0, 4], 0), ([0, 4], 0), ([], 1)]
        silent(tab, run)
