"""The experiment in a real Chromium: the whole path by keyboard, and what becomes of it when something is lost on the way."""

from __future__ import annotations

import json
import time

from experiment import recorded
from experiment.commands.prepare import prepare
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.process import ServerProcess
from experiment.rehearsal.walk import Walk
from experiment.study_folder import Folder
from tests.experiment.pages import (
    BUTTONS,
    FIRST_MAIN,
    N_MAIN,
    N_PRACTICE,
    QUICK,
    SETTINGS,
    heavier,
    other_hosts,
    right_button,
    served,
    two_alternative,
)
from tests.helpers.programs import needs

pytestmark = needs("Chromium", "npm packages")
BACK = 3.0  # seconds until the right trial is there again


def silent(tab, run):
    """Nothing went wrong in this tab, and it asked nobody else for anything."""
    assert tab.problems == []
    assert tab.failures == []
    assert [each for each in tab.responses if each.status >= 400] == []
    assert other_hosts(tab.requests, run.address) == []


def rows(run):
    """Trials with an answer, in their order; each has one."""
    answers = run.recorded().answers
    assert not answers.duplicated(["session", "trial"]).any()
    return answers["trial"].to_list()


def test_the_whole_path_by_keyboard(run, tab, profile):
    walk = run.walk(tab)
    seen = []
    while (scene := walk.settled())["stage"] != "end":
        seen.append((scene["stage"], scene["trial"]))
        walk.step()
    practice = [("practice", trial) for trial in range(N_PRACTICE)]
    main = [("main", FIRST_MAIN + trial) for trial in range(N_MAIN)]
    assert seen == [("consent", None), ("instructions", None), *practice, ("ready", None), *main, ("comment", None)]
    silent(tab, run)
    # what one address gives is asked for once; the walk itself looks into /api/trial
    once = {path: n for path, n in run.net.asked.items() if path.startswith(("/p/", "/static/"))}
    assert len(once) > 100
    assert set(once.values()) == {1}
    [cookie] = profile.cookies()
    assert cookie["name"].startswith("session-")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    found = run.recorded()
    [session] = found.sessions.itertuples()
    assert session.outcome == "complete"
    assert tab.run("document.querySelector('[data-code]').textContent") == session.code
    assert rows(run) == [trial for _, trial in practice + main]
    assert found.answers["correct"].all()
    assert (found.answers["rt"] > 0).all()


def test_policy_and_headers_of_every_reply(run, tab):
    walk = run.walk(tab)
    walk.until("practice", 1)
    kinds = {each.url.removeprefix(run.address).split("/")[1] for each in tab.responses}
    assert kinds == {"", "static", "api", "p", "favicon.svg"}
    for each in tab.responses:
        policy = each.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "data:" not in policy
        assert each.headers["referrer-policy"] == "no-referrer"
        assert each.headers["x-content-type-options"] == "nosniff"
        assert "server" not in each.headers
        assert not {"etag", "last-modified"} & each.headers.keys() or "/static/" in each.url
    # the policy is at work: what it forbids does not happen, and is noticed
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))")
    assert tab.run("window.hit") is None
    assert any("Content Security Policy" in each for each in tab.problems)


def test_feedback_is_given_in_practice_alone_where_wanted(tmp_path, questions, tab):
    with served(tmp_path / "run", questions, feedback="practice", **SETTINGS) as run:
        walk = run.walk(tab)
        walk.until("practice")
        tab.press(f"Digit{run.right(walk.shown(0)) + 1}")
        words = tab.wait(
            "document.querySelector('main [data-continue]') && document.querySelector('[data-feedback]').textContent"
        )
        assert words.startswith("✓ Right")
        walk.until("main")
        walk.choose = lambda shown: 5 - run.right(shown)  # wrong, and nobody says so
        walk.until("comment")
        silent(tab, run)
        main = run.recorded().answers.query("kind != 'practice'")
        assert len(main) == N_MAIN
        assert not main["correct"].any()


def test_feedback_is_given_in_all_trials_by_default(run, tab):
    walk = run.walk(tab)
    walk.until("main")
    shown = walk.shown(FIRST_MAIN)
    tab.press(f"Digit{5 - run.right(shown) + 1}")
    words = tab.wait(
        "document.querySelector('main [data-continue]') && document.querySelector('[data-feedback]').textContent"
    )
    assert words.startswith("✗ Not right")


def test_who_fails_all_practice_is_told_and_gets_a_code(run, tab):
    walk = run.walk(tab)
    walk.choose = lambda shown: 5 - run.right(shown)
    while walk.settled()["stage"] != "end":
        walk.step()
    [session] = run.recorded().sessions.itertuples()
    assert session.outcome == "practice"
    assert rows(run) == list(range(15))
    assert tab.run("document.querySelector('[data-code]').textContent") == session.code
    silent(tab, run)


def test_trials_start_complete_though_every_tenth_picture_comes_damaged(run, tab):
    run.net.every = 10
    walk = run.walk(tab)
    while (scene := walk.settled())["stage"] != "end":
        if scene["trial"] is not None:
            pictures = tab.run(
                "[...document.querySelectorAll('main .trial img')]"
                ".map(e => [e.complete, e.naturalWidth, new URL(e.src).pathname])"
            )
            assert len(pictures) == 20
            shown = walk.shown(scene["trial"])
            told = {
                each["src"]: each["width"] for each in [*shown["left"], shown["top"], shown["bottom"], *shown["right"]]
            }
            assert {src: width for _, width, src in pictures} == told
            assert all(complete for complete, _, _ in pictures)
        walk.step()
    damaged = run.net.damaged
    assert len(damaged) >= 10
    assert set(damaged.values()) == {"cut", "short", "changed"}
    asked = {path: n for path, n in run.net.asked.items() if path.startswith("/p/")}
    assert {path for path, n in asked.items() if n > 1} == set(damaged)
    assert set(asked.values()) == {1, 2}
    assert rows(run)[-1] == FIRST_MAIN + N_MAIN - 1


def here(tab, stage, trial, seconds=BACK):
    """The right trial is there, with buttons that work, within the time."""
    marks = "document.documentElement?.dataset"  # there is none for a moment while another page comes
    tab.wait(f"{marks}.stage === '{stage}' && {marks}.trial === '{trial}' && {BUTTONS}", seconds)


def test_a_reload_goes_on_at_the_open_trial(run, tab):
    walk = run.walk(tab)
    walk.until("practice", 2)
    for cache in (True, False):
        tab.reload(cache=cache)
        here(tab, "practice", 2)
    walk.until("main", FIRST_MAIN + 1)
    tab.reload()
    here(tab, "main", FIRST_MAIN + 1)
    walk.until("end")
    tab.reload()
    tab.wait("document.querySelector('[data-code]')")
    assert len(rows(run)) == N_PRACTICE + N_MAIN
    silent(tab, run)


def test_another_tab_and_the_way_back_go_on_at_the_open_trial(run, tab, profile):
    walk = run.walk(tab)
    walk.until("main", FIRST_MAIN + 1)
    tab.run("window.left = true")
    tab.open(run.address + "/notices")
    tab.history(-1)
    tab.wait("window.left === undefined && document.documentElement", BACK)  # a page from the cache of pages loads anew
    here(tab, "main", FIRST_MAIN + 1)
    tab.history(1)
    tab.wait("location.pathname === '/notices'")
    tab.close()
    other = profile.tab()
    walk = run.walk(other)
    here(other, "main", FIRST_MAIN + 1)
    walk.until("end")
    assert len(rows(run)) == N_PRACTICE + N_MAIN
    silent(other, run)


def test_a_double_click_and_a_held_key_answer_once(run, tab):
    walk = run.walk(tab)
    walk.until("practice", 0)
    button = run.right(walk.shown(0))
    tab.click(f"[data-button='{button}']", count=2)
    tab.wait("document.querySelector('main [data-continue]')")
    tab.click("main [data-continue]", count=2)
    here(tab, "practice", 1)
    tab.press(f"Digit{run.right(walk.shown(1)) + 1}", repeat=True)
    walk.until("practice", 2)
    assert rows(run) == [0, 1]
    silent(tab, run)


def test_the_same_trial_in_two_tabs_counts_once_and_the_late_one_moves_on(run, tab, profile):
    walk = run.walk(tab)
    walk.until("main", FIRST_MAIN)
    late = profile.tab()
    run.walk(late)
    here(late, "main", FIRST_MAIN)
    walk.answer()
    before = run.recorded().answers
    late.press("Digit1" if before["button"].iloc[-1] != 0 else "Digit2")
    here(late, "main", FIRST_MAIN + 1)
    after = run.recorded().answers
    assert after.equals(before)
    silent(tab, run)


def test_five_seconds_without_a_net_lose_nothing(run, tab):
    walk = run.walk(tab)
    walk.until("main", FIRST_MAIN + 1)
    shown = walk.shown(FIRST_MAIN + 1)
    tab.net(offline=True)
    tab.press(f"Digit{run.right(shown) + 1}")
    assert "keeps trying" in tab.wait("document.querySelector('[data-net]').textContent", 5)
    tab.rest(5)
    tab.net()
    back = time.monotonic()
    tab.wait("document.querySelector('main [data-continue]')", BACK)
    walk.push("[data-continue]")
    here(tab, "main", FIRST_MAIN + 2)
    assert time.monotonic() - back < 2 * BACK
    assert tab.run("document.querySelector('[data-net]').textContent") == ""
    assert rows(run)[-1] == FIRST_MAIN + 1
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in tab.failures + tab.problems)


def test_a_replayed_answer_is_the_same_answer(run, tab):
    walk = run.walk(tab)
    walk.until("practice", 1)
    answers = run.recorded().answers
    [row] = answers.itertuples()
    body = {"trial": 0, "key": row.key, "button": 5 - row.button, "rt": 1.0}
    post = (
        "fetch('/api/answer', {method: 'POST', headers: {'Content-Type': 'application/json', 'X-Session': %s},"
        "body: %s}).then(async reply => [reply.status, await reply.json()])"
    )
    status, reply = tab.run(post % (json.dumps(row.session), json.dumps(json.dumps(body))))
    assert (status, reply["again"], reply["right"]) == (200, True, True)
    status, reply = tab.run(post % (json.dumps(row.session), json.dumps(json.dumps(body | {"key": "k" * 32}))))
    assert (status, reply["error"]) == (409, "answered")
    status, reply = tab.run(post % ('"aaaaaaaaaaaa"', json.dumps(json.dumps(body | {"trial": 1, "key": "j" * 32}))))
    assert (status, reply["error"]) == (409, "another session")
    assert run.recorded().answers.equals(answers)


def test_a_server_that_is_killed_and_comes_back(tmp_path, questions, tab):
    path = tmp_path / "run"
    prepare(path, questions, settings=QUICK)
    keys = Keys(Folder.read(path / "questions"))
    walk = Walk(tab, lambda shown: right_button(keys, shown))
    with ServerProcess(path, tmp_path / "log") as server:
        tab.open(server.address + "/")
        for stage, trial in (("practice", 0), ("main", FIRST_MAIN + 1)):
            walk.until(stage, trial)
            button = right_button(keys, walk.shown(trial))
            server.kill()
            tab.press(f"Digit{button + 1}")
            assert "keeps trying" in tab.wait("document.querySelector('[data-net]').textContent", 5)
            server.start()
            tab.wait("document.querySelector('main [data-continue]')", BACK)
            walk.push("[data-continue]")
            here(tab, stage, trial + 1)
        walk.until("end")
    answers = recorded.read(path).answers
    assert answers["trial"].to_list() == [*range(N_PRACTICE), *range(FIRST_MAIN, FIRST_MAIN + N_MAIN)]
    assert answers["correct"].all()


def test_a_slow_net_keeps_nobody_waiting(tmp_path, tab):
    """At 1.6 Mbit/s and 100 ms the first trial of 20 pictures of 29 kB is there 10 s after the page was asked for, though nobody
    read a line before, and 4 s a trial are enough for the next one to be there within 1 s."""
    with served(tmp_path / "run", heavier(two_alternative(tmp_path / "folder"), 29_000), **SETTINGS) as run:
        tab.net(latency=100, bits=1.6e6)
        start = time.monotonic()
        walk = run.walk(tab)
        walk.until("practice", 0)
        first = time.monotonic() - start
        waits = []
        for trial in range(1, 5):
            tab.rest(4)
            tab.press("Digit1")
            tab.wait("document.querySelector('main [data-continue]')")
            start = time.monotonic()
            tab.press("Enter")
            here(tab, "practice", trial, 10)
            waits.append(time.monotonic() - start - QUICK["wait_seconds"])
        print(f"first trial after {first:.1f} s, then {', '.join(f'{wait:.2f}' for wait in waits)} s")
        assert first < 10
        assert max(waits) < 1
        assert {n for path, n in run.net.asked.items() if path.startswith("/p/")} == {1}
        silent(tab, run)
