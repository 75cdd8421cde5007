"""The pages as people meet them in Chromium: what is visible, what keys do, where the focus goes, and what axe-core finds."""

from __future__ import annotations

import json

import pytest

from tests.experiment import folders
from tests.experiment.pages import BUTTONS, SETTINGS, other_hosts, served
from tests.helpers.axe import violations
from tests.helpers.programs import needs

pytestmark = needs("Chromium", "npm packages")
# width, height, and what the system prefers
LOOKS = {
    "1280": (1280, 720, {}),
    "200 %": (640, 450, {}),
    "telephone": (390, 844, {}),
    "forced colours": (1280, 720, {"forced_colors": "active"}),
    "dark": (1280, 720, {"prefers_color_scheme": "dark"}),
}
BOXES = """[...document.querySelectorAll(%r)].map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom])"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return folders.ratings(tmp_path_factory.mktemp("pages") / "folder", side=224)


@pytest.fixture
def rating(tmp_path, pages):
    with served(tmp_path / "run", pages, pages_a_session=4) as run:
        yield run


def silent(tab, run):
    assert tab.problems == []
    assert tab.failures == []
    assert [each for each in tab.responses if each.status >= 400] == []
    assert other_hosts(tab.requests, run.address) == []


# --------------------------------------------------------------------------- axe-core


def in_all_looks(tab):
    """Violations under every look of the page that is shown, by look; and the page is never wider than its window."""
    found = {}
    for name, (width, height, media) in LOOKS.items():
        tab.window(width, height)
        tab.media(**media)
        tab.settle()
        tab.run(
            "Promise.all(document.getAnimations().map(each => each.finished)).then(() => 0)"
        )  # colours on their way
        found[name] = violations(tab)
        assert tab.run("document.documentElement.scrollWidth") <= width, name
    tab.window(1280, 720)
    tab.media()
    return {name: each for name, each in found.items() if each}


def test_axe_notices_what_is_wrong(run, tab):
    run.walk(tab)
    tab.run("document.querySelector('main').append(document.createElement('img'))")
    assert "image-alt" in {name for name, _ in violations(tab)}


def test_axe_finds_nothing_on_the_way_to_the_end(run, tab):
    walk = run.walk(tab)
    seen = {}
    for stage in ("consent", "instructions", "practice"):
        walk.until(stage)
        walk.settled()
        seen[stage] = in_all_looks(tab)
    walk.choose = lambda shown: 5 - run.right(shown)
    tab.press(f"Digit{5 - run.right(walk.shown(0)) + 1}")
    tab.wait("document.querySelector('main [data-continue]')")
    seen["feedback"] = in_all_looks(tab)
    walk.push("[data-continue]")
    walk.until("practice", 4)
    walk.answer()
    walk.settled()  # another round of practice is announced
    seen["another round"] = in_all_looks(tab)
    walk.choose = run.right
    walk.until("ready")
    seen["ready"] = in_all_looks(tab)
    walk.until("main")
    walk.settled()
    seen["main"] = in_all_looks(tab)
    tab.net(offline=True)
    tab.press("Digit1")
    tab.wait("document.querySelector('[data-net]').textContent")
    seen["no net"] = in_all_looks(tab)
    tab.net()
    walk.until("comment")
    seen["comment"] = in_all_looks(tab)
    walk.until("end")
    seen["end"] = in_all_looks(tab)
    assert {stage: each for stage, each in seen.items() if each} == {}


def test_axe_finds_nothing_on_the_other_pages(rating, tab):
    walk = rating.walk(tab)
    seen = {}
    for stage in ("instructions", "rating"):
        walk.until(stage)
        walk.settled()
        seen[stage] = in_all_looks(tab)
    walk.push("[data-picture='3']", "Space")
    seen["ticked"] = in_all_looks(tab)
    tab.open(rating.address + "/notices")
    seen["notices"] = in_all_looks(tab)
    tab.open(rating.address + "/researcher")
    tab.wait("!document.getElementById('login').hidden")
    seen["login"] = in_all_looks(tab)
    token = (rating.path / "keys/researcher.token").read_text().strip()
    tab.open(f"{rating.address}/researcher#{token}")  # pasted into the very tab
    tab.wait("!document.getElementById('sheet').hidden")
    seen["researcher, ratings"] = in_all_looks(tab)
    assert {stage: each for stage, each in seen.items() if each} == {}


def test_axe_finds_nothing_on_the_page_of_the_researcher(run, tab):
    walk = run.walk(tab)
    walk.until("end")
    token = (run.path / "keys/researcher.token").read_text().strip()
    tab.open(f"{run.address}/researcher#{token}")
    tab.wait("!document.getElementById('sheet').hidden")
    assert token not in tab.run("location.href")
    assert in_all_looks(tab) == {}
    assert not any(token in each for each in tab.requests)
    silent(tab, run)


# --------------------------------------------------------------------------- what is visible


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1024, 768)])
def test_a_trial_is_visible_without_scrolling(run, tab, width, height):
    walk = run.walk(tab, width=width, height=height)
    walk.until("practice")
    walk.settled()
    pictures = tab.run(BOXES % "main .trial img")
    buttons = tab.run(BOXES % "[data-button]")
    assert (len(pictures), len(buttons)) == (20, 6)
    for left, top, right, bottom in pictures + buttons:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
    assert min(min(right - left, bottom - top) for left, top, right, bottom in pictures) >= 96
    assert min(min(right - left, bottom - top) for left, top, right, bottom in buttons) >= 44
    assert tab.run("document.documentElement.scrollHeight") <= height
    # feedback makes it no longer either
    walk.hands.press("Digit1")
    tab.wait("document.querySelector('main [data-continue]')")
    assert tab.run("document.documentElement.scrollHeight") <= height
    assert tab.run("document.querySelector('main [data-continue]').getBoundingClientRect().bottom") <= height


@pytest.mark.parametrize(("width", "height"), [(640, 450), (390, 844), (799, 600)])
def test_narrow_windows_stack_and_never_scroll_sideways(run, tab, width, height):
    walk = run.walk(tab, width=width, height=height)
    while (scene := walk.settled())["stage"] != "main":
        assert tab.run("document.documentElement.scrollWidth") <= width, scene
        walk.step()
    boxes = tab.run(BOXES % "main .trial img, [data-button]")
    assert len(boxes) == 26
    assert all(left >= 0 and right <= width for left, _, right, _ in boxes)
    # the upper picture is above the lower one, with its buttons between them
    (_, upper, _, _), (_, lower, _, _) = tab.run(BOXES % "fieldset img")
    tops = [top for _, top, _, _ in tab.run(BOXES % "[data-button]")]
    assert upper < min(tops[:3]) <= max(tops[:3]) < lower < min(tops[3:])
    walk.until("end")


def test_narrow_windows_are_refused_where_wanted_until_they_are_wide(tmp_path, questions, tab):
    with served(tmp_path / "run", questions, narrow="refuse", **SETTINGS) as run:
        tab.open(run.address + "/", width=700, height=800)
        tab.wait("document.documentElement.dataset.narrow === '1'")
        assert "800" in tab.run("document.querySelector('main').innerText")
        assert len(run.recorded().sessions) == 0
        tab.window(900, 800)
        tab.wait("document.querySelector('[data-agree]')")
        silent(tab, run)


# --------------------------------------------------------------------------- keys and focus


def test_keys_work_from_the_end_of_the_wait_and_inside_the_trial_alone(tmp_path, questions, tab):
    with served(tmp_path / "run", questions, **{**SETTINGS, "wait_seconds": 0.8}) as run:
        walk = run.walk(tab)
        walk.until("instructions")
        walk.push("[data-continue]")
        tab.wait("document.documentElement.dataset.trial === '0' && document.querySelector('[data-button]')")
        assert tab.run(f"[...document.querySelectorAll('[data-button]')].every(e => e.disabled) && !({BUTTONS})")
        for code in ("Digit1", "Numpad4"):
            tab.press(code)
        tab.click("[data-button='2']")
        tab.wait(BUTTONS)
        assert len(run.recorded().answers) == 0
        # outside the trial digits are dead, and so are other keys inside it
        tab.run("document.activeElement.blur(), document.querySelector('[data-leave]').focus()")
        for code in ("Digit1", "Digit6", "Numpad2"):
            tab.press(code)
        tab.run("document.querySelector('main h1').focus()")
        for code in ("Digit7", "Digit0", "KeyA", "Space"):
            tab.press(code)
        tab.settle()
        assert len(run.recorded().answers) == 0
        # with the switch off, digits are dead inside it too
        tab.click("[data-keys]")
        tab.run("document.querySelector('main h1').focus()")
        tab.press("Digit1")
        tab.settle()
        assert len(run.recorded().answers) == 0
        tab.click("[data-keys]")
        tab.run("document.querySelector('main h1').focus()")
        tab.press("Numpad5")
        tab.wait("document.querySelector('main [data-continue]')")
        [answer] = run.recorded().answers.itertuples()
        assert (answer.button, answer.choice, answer.confidence) == (4, "bottom", 2)
        assert answer.rt > 800
        silent(tab, run)


def focus(tab):
    """What has the focus, in words."""
    return tab.run(
        "(e => e.ariaLabel || e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim() || e.textContent.trim())"
        "(document.activeElement)"
    )


def test_the_focus_begins_at_the_heading_and_goes_through_the_trial_in_order(run, tab):
    walk = run.walk(tab)
    walk.until("practice")
    walk.settled()
    assert tab.run("document.activeElement.localName") == "h1"
    seen = []
    for _ in range(8):
        tab.press("Tab")
        seen.append(focus(tab))
    buttons = [f"{row} picture, confidence {level} of 3" for row in ("Upper", "Lower") for level in (1, 2, 3)]
    assert seen == [*buttons, "Leave", "Licences"]
    tab.press("Tab", shift=True)
    tab.press("Tab", shift=True)
    assert focus(tab) == buttons[-1]
    # what has the focus shows it
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    tab.press("Enter")
    tab.wait("document.querySelector('main [data-continue]')")
    assert focus(tab) == "Continue"
    [answer] = run.recorded().answers.itertuples()
    assert answer.button == 5


def test_every_page_has_one_heading_that_takes_the_focus(run, tab):
    walk = run.walk(tab)
    while (scene := walk.settled())["stage"] != "end":
        assert tab.run("document.querySelectorAll('h1').length") == 1
        assert tab.run("document.activeElement.matches('h1')"), scene
        walk.step()
    assert tab.run("document.activeElement.matches('h1')")


def test_pictures_are_named_by_their_place_alone(run, tab):
    walk = run.walk(tab)
    walk.until("practice")
    names = tab.run("[...document.querySelectorAll('main .trial img')].map(e => e.alt)")
    sides = [[f"{side}, {number}" for number in range(1, 10)] for side in ("Left", "Right")]
    assert names == [*sides[0], "Upper picture", "Lower picture", *sides[1]]
    assert tab.run("document.documentElement.lang") == "en"


# --------------------------------------------------------------------------- rating pages


def test_rating_pages_by_keyboard(rating, tab):
    walk = rating.walk(tab)
    walk.until("rating", 0)
    walk.settled()
    assert tab.run("document.querySelectorAll('main img').length") == 15
    assert tab.run("document.querySelector('[data-send]').disabled"), "nothing is ticked"
    # none of them excludes the others, and the other way round
    walk.push("[data-picture='2']", "Space")
    walk.push("[data-none]", "Space")
    ticked = "[...document.querySelectorAll('main input:checked')].map(e => e.dataset.picture ?? 'none')"
    assert tab.run(ticked) == ["none"]
    walk.reach("[data-send]")
    for _ in range(16):
        tab.press("Tab", shift=True)
    tab.press("Space")
    assert tab.run(ticked) == ["0"]
    tab.press("Space")
    assert tab.run("document.querySelector('[data-send]').disabled")
    # a text is a text, whatever stands in it
    assert tab.run("document.querySelector('h1').textContent") == walk.shown(0)["text"]
    assert "<b>dots</b> &" in walk.shown(0)["text"]
    assert tab.run("document.querySelectorAll('h1 b').length") == 0
    walk.until("end")
    found = rating.recorded()
    [session] = found.sessions.itertuples()
    assert session.outcome == "complete"
    picked = [(json.loads(row.picked), row.nothing) for row in found.pages.itertuples()]
    assert picked == [([0, 4], 0), ([0, 4], 0), ([], 1), ([0, 4], 0)]
    assert (found.pages["seconds"] > 0).all()
    silent(tab, rating)
