"""The first screen in a real browser: nothing tells the answer before the reader's, nothing moves, everything fits."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from study.report.page import play
from tests.helpers.programs import needs
from tests.helpers.shown_page import page_of

pytestmark = needs("Chromium")
WIDTHS = (320, 360, 390, 768, 1024, 1440, 1920)
# what stands where, to the pixel
PLACES = """
  ['h1', '#hero', '#hero .play', '#spread', '.four', '#units-title'].map((css) => {
    const box = document.querySelector(css).getBoundingClientRect();
    return [box.x, box.y + scrollY, box.width, box.height].map(Math.round);
  })
"""
QUERIES = "document.querySelectorAll('#hero .q')"


# what the reader can see and hear of the task before an answer, and after it
BEFORE = """
  (() => {
    const hero = document.getElementById("hero"), all = (css) => [...hero.querySelectorAll(css)];
    return {
      titles: all(".ask [title]").length, yes: all(".yes").length, bar: all(".sure i").length, done: hero.className,
      sure: hero.querySelector(".sure").innerText.replace(/\\s+/g, " "),
      verdict: hero.querySelector("[role=status]").textContent, buttons: all(".q").map((button) => button.outerHTML),
    };
  })()
"""
AFTER = """
  (() => {
    const hero = document.getElementById("hero"), queries = [...hero.querySelectorAll(".q")];
    return {
      verdict: hero.querySelector("[role=status]").innerText, tally: hero.querySelector(".tally").textContent,
      yes: queries.findIndex((button) => button.classList.contains("yes")), sure: hero.querySelector(".sure").innerText,
      names: queries.map((button) => button.getAttribute("aria-label")), focus: document.activeElement.textContent,
    };
  })()
"""
PICTURES = """
  [...document.querySelectorAll("#hero .q .t")].map((t) =>
    [t.className, t.style.getPropertyValue("--x"), t.style.getPropertyValue("--y")])
"""
MARKS = """
  [...document.querySelectorAll("#spread .here:not([hidden])")].map((mark) => {
    const row = mark.closest("[data-net]"), area = mark.parentElement;
    return [row.dataset.net, mark.style.getPropertyValue("--at"), mark.textContent,
      mark.getBoundingClientRect().x + mark.offsetWidth / 2, area.getBoundingClientRect().x, area.clientWidth];
  })
"""
SIZES = """
  [...document.querySelectorAll(".bar, h1, #limits, #hero, #spread, .four")]
    .flatMap((box) => [box, ...box.querySelectorAll("*")])
    .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((each) => parseFloat(getComputedStyle(each).fontSize))
"""
COLOURS = """
  ["body", "#hero", "h1 span", "#spread path"].map((css) => {
    const { backgroundColor, color, fill } = getComputedStyle(document.querySelector(css));
    return [backgroundColor, color, fill];
  })
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("first"))


@pytest.fixture
def opened(tab, page):
    """The tab with the page just opened; whatever a test did, the browser reported no problem and asked for the file alone."""
    tab.problems.clear()
    tab.requests.clear()
    tab.open(page, width=1440, height=900)
    yield tab
    assert tab.problems == []
    assert {address for address in tab.requests if not address.startswith("data:")} <= {"about:blank", page.as_uri()}


@pytest.fixture(scope="module")
def data(page):
    block = re.search(
        r'<script id="unit-data" type="application/json">(.*?)</script>', page.read_text(), flags=re.DOTALL
    )
    assert block
    return json.loads(block[1])


@pytest.fixture(scope="module")
def turns(data):
    """What is asked in turn: key of the unit, task, side of the answer, whether the machine is right."""
    margins = np.frombuffer(base64.b64decode(data["margins"]), dtype="<i2").reshape(len(data["unit"]), -1)
    layers = np.repeat([value for value, _ in data["layer"]], [length for _, length in data["layer"]])
    conditions = np.repeat([value for value, _ in data["condition"]], [length for _, length in data["condition"]])
    found = []
    for row, task in data["play"]:
        index, name = data["layers"][layers[row]][:2]
        key = f"{data['models'][index]}/{name}/{data['unit'][row]}/{data['conditions'][conditions[row]]}"
        found.append((key, task, play.side(key, task), bool(margins[row, task] > 0)))
    return found


def answer(tab, which):
    tab.run(f"{QUERIES}[{which}].click()")


def test_before_the_answer_nothing_tells_it(opened, turns):
    said = opened.run(BEFORE)
    assert (said["titles"], said["yes"], said["bar"], said["done"]) == (0, 0, 0, "task")
    assert said["sure"].strip() == "machine: A ? % ? % B"
    assert said["verdict"] == "Choose A or B. Then the machine’s answer shows."
    # both queries are alike but for letter, label and place in the sheet
    alike = [
        re.sub(r"--x: ?\d+; ?--y: ?\d+;?| s\d+|Picture [AB](, [\w ]+)?|>[AB]<", "", button)
        for button in said["buttons"]
    ]
    assert alike[0] == alike[1]
    assert {side for _, _, side, _ in turns} == {0, 1}


@pytest.mark.parametrize("right", [True, False])
def test_the_machine_answers_after_the_reader(opened, turns, data, right):
    _, _, side, solved = turns[0]
    answer(opened, side if right else 1 - side)
    said = opened.run(AFTER)
    assert said["yes"] == side
    assert ("✓ You right" if right else "✗ You wrong") in said["verdict"]
    assert ("✓ Machine right" if solved else "✗ Machine wrong") in said["verdict"]
    assert re.search(r"\d+ of \d+ answers of simulated observers to this unit are right", said["verdict"])
    assert said["tally"] == f"So far: you {int(right)} of 1, machine {int(solved)}"
    assert said["focus"] == "Next task →"
    assert said["names"][side].endswith("excites it more")
    assert said["names"][1 - side].endswith("excites it less")
    shares = [int(share) for share in re.findall(r"(\d+) %", said["sure"])]
    assert abs(sum(shares) - 100) <= 1
    assert (shares[side] > 50) == solved
    # a second answer is none
    answer(opened, 1 - side if right else side)
    assert opened.run("document.querySelector('#hero .tally').textContent") == said["tally"]


def test_the_picture_marked_is_the_one_that_excites_the_unit_more(opened, turns, data):
    for (row, task), (_, _, side, _) in zip(data["play"][:4], turns, strict=False):
        answer(opened, 0)
        shown = opened.run(PICTURES)[side]
        exciting = data["pictures"][str(row)]["queries"][2 * task]
        sheet, place = divmod(exciting, data["perSheet"])
        y, x = divmod(place, data["sheetColumns"])
        assert shown == [f"t s{sheet}", str(x), str(y)]
        opened.run("document.querySelector('#hero .verdict .btn').click()")


def test_keys_answer_while_the_task_has_the_focus(opened, turns):
    opened.press("KeyB")
    assert opened.run("document.getElementById('hero').className") == "task"
    opened.run(f"{QUERIES}[0].focus()")
    opened.press("KeyB")
    assert opened.run("document.querySelector('#hero .tally').textContent").startswith(
        f"So far: you {turns[0][2]} of 1"
    )
    # Enter on the button that has the focus asks the next one, whose first picture then has it
    opened.press("Enter")
    assert opened.run("document.activeElement === document.querySelector('#hero .q')")
    assert turns[1][0].split("/")[0] in opened.run("document.querySelector('#hero .unit-name').textContent")


def test_tasks_come_in_turn_and_the_tally_begins_anew(opened, turns):
    seen = []
    for _ in turns:
        seen.append(opened.run("document.querySelector('#hero .unit-name a').getAttribute('href')"))
        answer(opened, 0)
        opened.run("document.querySelector('#hero .verdict .btn').click()")
    machine = sum(solved for *_, solved in turns)
    assert [f"unit={key.replace('/', '%2F')}" in link for (key, *_), link in zip(turns, seen, strict=True)] == [
        True
    ] * len(turns)
    assert machine < len(turns)
    assert opened.run("document.querySelector('#hero .unit-name a').getAttribute('href')") == seen[0]
    assert opened.run("document.querySelector('#hero .tally')") is None
    answer(opened, 0)
    assert opened.run("document.querySelector('#hero .tally').textContent").startswith(
        f"So far: you {int(turns[0][2] == 0)} of 1"
    )


def test_the_mark_stands_in_the_row_of_the_network_at_the_score_of_the_unit(opened, turns, data):
    start, _ = data["bins"]
    for (row, _), (key, *_) in zip(data["play"][:5], turns, strict=False):
        [(net, at, words, x, left, width)] = opened.run(MARKS)
        mis = data["mis"][row] / 1e6
        assert data["nets"][int(net)]["name"] == key.split("/")[0]
        assert float(at) == pytest.approx(100 * (mis - start) / (1 - start), abs=0.01)
        assert x == pytest.approx(left + width * float(at) / 100, abs=1)
        assert words == f"{mis:.2f}"
        opened.run("document.querySelector('#hero .verdict .btn').click()")


def test_nothing_moves_when_the_answer_comes(opened):
    before = opened.run(PLACES)
    answer(opened, 0)
    assert opened.run(PLACES) == before


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_beyond_the_window(opened, width):
    opened.window(width, 900)
    opened.settle()
    wide = "document.documentElement.scrollWidth"
    assert opened.run(wide) == width
    answer(opened, 0)
    assert opened.run(wide) == width
    opened.run("document.getElementById('limits').open = true")
    assert opened.run(wide) == width


def test_the_first_screen_holds_the_numbers_and_shows_where_the_units_begin(opened):
    *_, units = opened.run(PLACES)
    assert units[1] <= 780
    opened.window(390, 844)
    opened.settle()
    *_, four, _ = opened.run(PLACES)
    assert four[1] + four[3] <= 844


def test_text_is_never_smaller_than_twelve_pixels(opened):
    for width in (390, 1440):
        opened.window(width, 900)
        opened.settle()
        answer(opened, 0)
        sizes = opened.run(SIZES)
        assert min(sizes) >= 12
        assert len(sizes) > 30


def test_colours_follow_the_dark(opened):
    light = opened.run(COLOURS)
    opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = opened.run(COLOURS)
    opened.send("Emulation.setEmulatedMedia", features=[])
    assert all(one != other for one, other in zip(light, dark, strict=True))
    assert dark[0][0] == "rgb(16, 19, 23)"


def test_without_a_script_the_first_screen_stands_and_keeps_the_answer(tab, page):
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(page, width=1440, height=900)
        words = tab.run("document.getElementById('study').innerText")
        places = tab.run(PLACES)
        told = tab.run("document.querySelectorAll('#hero .yes, #hero button, #hero .ask [title]').length")
        pictures = tab.run("document.querySelectorAll('#hero .t').length")
        marks = tab.run("document.querySelectorAll('#spread .here:not([hidden])').length")
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
    for part in (
        "Units of ",
        "simulated observers",
        "Which picture excites this unit more: A or B?",
        "Score (MIS) of every unit",
    ):
        assert part in words
    assert "Choosing, and the machine’s answer, need JavaScript." in words
    assert re.search(r"mean MIS of [\d,]+ units", words)
    assert (told, pictures, marks) == (0, 20, 1)
    # and the script moves nothing when it comes
    tab.open(page, width=1440, height=900)
    assert tab.run(PLACES) == places


def test_a_study_without_pictures_gives_its_width_to_the_scores(tab, tmp_path):
    page = page_of(tmp_path, human=False, show_images=False, networks=("resnet",))
    tab.problems.clear()
    tab.open(page, width=1440, height=900)
    assert tab.run("document.querySelector('#hero')") is None
    assert tab.run("document.querySelector('#spread').clientWidth") == 1240
    words = tab.run("document.getElementById('study').innerText")
    assert "of the tasks of units of resnet, where guessing solves 50 %" in words
    assert "▼" not in words
    assert "One network, 400 pictures, no human answers, level of scores by convention." in words
    assert tab.run("document.querySelectorAll('.four > div').length") == 4
    assert tab.problems == []
