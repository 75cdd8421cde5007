"""The page measured in a browser: axe-core, widths, elements, silence, without a script, on paper, fair sides, addresses."""

from __future__ import annotations

import base64
import re

import pytest
from scipy import stats

from study.report.page.sections import LEADS
from tests.helpers.axe import violations
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.shown_page import page_of

pytestmark = needs("Chromium")
DRAWN = {name for names in LEADS.values() for name in names[:1]}
WIDTHS = (320, 360, 390, 768, 1024, 1440, 1920)
SIZES = ((1440, 900), (390, 844))
MOST_ELEMENTS = 3000
UNIT = "#units?unit=vit/a.conv/5/natural"  # has texts, and images were made for it
# what goes beyond a width, other than what scrolls by itself
BEYOND = (
    "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .skip, svg')).filter(e => {"
    "const {right, width} = e.getBoundingClientRect(); return width > 0 && right > %d + 1;})"
    ".map(e => `${e.tagName} ${e.className} ${e.id}`).slice(0, 3)"
)
OPEN_ALL = "document.getElementById('open-all')"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("page"), drawn=DRAWN, made=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One network of a folder of pictures, which nobody was asked about."""
    return page_of(tmp_path_factory.mktemp("small"), drawn=DRAWN, human=False, networks=("resnet",))


def in_both_schemes(browser):
    """What axe-core finds in the light, and of colours in the dark: nothing else of a page hangs on them."""
    found = {}
    for scheme, rules in (("light", None), ("dark", ["color-contrast", "link-in-text-block"])):
        browser.media(prefers_color_scheme=scheme)
        browser.settle()
        browser.run("Promise.all(document.getAnimations().map(each => each.finished)).then(() => 0)")
        found[scheme] = violations(browser, rules)
    return {scheme: each for scheme, each in found.items() if each}


# --------------------------------------------------------------------------- axe-core


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", ["page", "small"])
def test_axe_finds_nothing_in_the_study(browser, kind, size, request):
    browser.open(request.getfixturevalue(kind), width=size[0], height=size[1])
    browser.settle()
    assert in_both_schemes(browser) == {}
    if kind == "page":
        answer(browser, "#hero")
        assert in_both_schemes(browser) == {}


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_axe_finds_nothing_where_everything_is_open(browser, page, size):
    browser.open(page, width=size[0], height=size[1])
    open_all(browser)
    # two of everything that comes in dozens, so that it takes seconds and not minutes
    browser.run(
        "document.querySelectorAll('tbody tr:nth-child(n + 3), .pairs > :nth-child(n + 5)').forEach(each => each.remove())"
    )
    assert in_both_schemes(browser) == {}


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_axe_finds_nothing_on_the_page_of_a_unit(browser, page, size):
    browser.open(page, UNIT, width=size[0], height=size[1])
    browser.settle()
    browser.run("document.querySelectorAll('#unit details').forEach(each => each.open = true)")
    assert in_both_schemes(browser) == {}


def answer(browser, where):
    """Choose A in the task of this place."""
    browser.run(f"document.querySelector('{where} button.q').click()")
    browser.settle()


def open_all(browser):
    browser.run(f"{OPEN_ALL}.click()")
    browser.settle()
    assert browser.run("document.querySelectorAll('#study .part template').length") == 0
    assert browser.run("[...document.querySelectorAll('#study .part details')].every(each => each.open)")


# --------------------------------------------------------------------------- widths


def sideways(browser):
    """Widths at which the page, or anything in it that does not scroll by itself, goes beyond the window."""
    found = {}
    for width in WIDTHS:
        browser.window(width, 900)
        browser.settle()
        wide = browser.run("Math.max(document.documentElement.scrollWidth, innerWidth)")
        if wide != width:
            found[width] = (wide, browser.run(BEYOND % width))
    return found


@pytest.mark.parametrize("place", ["", UNIT])
def test_nothing_scrolls_sideways_before_and_after_an_answer(browser, page, place):
    browser.open(page, place, width=320, height=900)
    browser.settle()
    assert sideways(browser) == {}
    answer(browser, "#unit" if place else "#hero")
    assert sideways(browser) == {}
    browser.open(page, place, width=320, height=900)  # a window that was narrow from the start
    answer(browser, "#unit" if place else "#hero")
    assert browser.run("document.documentElement.scrollWidth") == 320


def test_nothing_scrolls_sideways_where_everything_is_open(browser, page):
    browser.open(page, width=320, height=900)
    open_all(browser)
    assert sideways(browser) == {}


def test_tables_keep_their_first_column_and_say_that_there_is_more(browser, page):
    browser.open(page, "#figure-models_by_p5", width=390, height=844)
    browser.settle()
    table = "document.querySelector('#ranking .beside')"
    left = f"{table}.querySelector('tbody th').getBoundingClientRect().left"
    before = browser.run(left)
    assert browser.run(f"{table}.hasAttribute('data-more')")
    assert browser.run(f"getComputedStyle({table}, '::after').opacity") == "1"
    browser.run(f"{table}.firstElementChild.scrollLeft = 60")
    browser.settle()
    assert browser.run(left) == pytest.approx(before, abs=1)
    assert browser.run(f"{table}.hasAttribute('data-more')")
    browser.run(f"{table}.firstElementChild.scrollLeft = 1e5")
    browser.settle()
    assert browser.run(left) == pytest.approx(before, abs=1)
    assert not browser.run(f"{table}.hasAttribute('data-more')")
    # no table of at most 40 rows scrolls up and down, and all can be reached by key
    open_all(browser)
    inside = "[...document.querySelectorAll('#study .beside > .scroll')]"
    assert browser.run(f"{inside}.length") > 20
    assert browser.run(f"{inside}.every(box => box.tabIndex === 0 && box.getAttribute('aria-label'))")
    short = "box.querySelectorAll('tbody tr').length <= 40"
    assert browser.run(f"{inside}.filter(box => {short}).every(box => box.scrollHeight <= box.clientHeight + 1)")


# --------------------------------------------------------------------------- what lies closed


def test_the_start_is_light_and_opens_piece_by_piece(browser, page):
    browser.open(page, width=1440, height=900)
    browser.settle()
    n = browser.run("document.querySelectorAll('*').length")
    assert n <= MOST_ELEMENTS
    # a figure that leads is there; the tables of its question are not, until its line is opened
    assert browser.run("document.querySelectorAll('#ranking svg.figure').length") == 1
    assert browser.run("document.querySelectorAll('#results table').length") == 0
    browser.run("document.querySelector('#ranking .held > summary').click()")
    browser.wait("document.querySelectorAll('#ranking table').length")
    assert browser.run("document.querySelectorAll('#layers table').length") == 0
    open_all(browser)
    assert browser.run(f"{OPEN_ALL}.textContent") == "Close everything"
    browser.run(f"{OPEN_ALL}.click()")
    assert browser.run("[...document.querySelectorAll('#study .part details')].some(each => each.open)") is False
    assert browser.run(f"{OPEN_ALL}.textContent") == "Open everything"


def test_a_link_leads_into_what_is_closed(browser, page):
    shown = "document.getElementById('figure-models_by_p5')?.getBoundingClientRect().top"
    browser.open(page, "#figure-models_by_p5", width=1440, height=900)
    browser.settle()
    assert -5 <= browser.run(shown) < 900
    browser.open(page, width=1440, height=900)
    assert browser.run(shown) is None
    browser.run("location.hash = '#papers'")
    browser.run("document.querySelector('#papers .held > summary').click()")
    browser.wait("document.querySelector('#papers a[href=\"#figure-layer_types\"]')")
    browser.run("document.querySelector('#papers a[href=\"#figure-layer_types\"]').click()")
    browser.wait("document.getElementById('figure-layer_types')?.getBoundingClientRect().top >= -5")
    assert browser.run("document.querySelector('#layers .held').open")
    # followed again after the line was closed, though the address stays
    browser.run("document.querySelector('#layers .held').open = false")
    browser.run("document.querySelector('#papers a[href=\"#figure-layer_types\"]').click()")
    assert browser.run("document.querySelector('#layers .held').open")
    # from the page of a unit too
    browser.open(page, UNIT, width=1440, height=900)
    browser.settle()
    browser.run("location.hash = '#departures'")
    browser.wait("document.getElementById('departures').open")
    assert browser.run("document.getElementById('unit').hidden")
    # a place that is nowhere is no error
    browser.run("location.hash = '#no%such'")
    browser.run("location.hash = '#nowhere'")
    browser.settle()


# --------------------------------------------------------------------------- without a script, and on paper


def test_without_a_script_the_first_screen_stands(page):
    with Browser(javascript=False) as browser:
        browser.open(page, width=1440, height=900)
        root = browser.send("DOM.getDocument")["root"]["nodeId"]

        def box(selector):
            node = browser.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
            return browser.send("DOM.getBoxModel", nodeId=node)["model"]["border"]

        for selector in ("h1", "#limits summary", "#hero .nine", "#hero .q", "#spread .plot", ".four"):
            corners = box(selector)
            assert 0 <= min(corners[1::2]) < max(corners[1::2]) <= 900, selector
            assert 0 <= min(corners[::2]) < max(corners[::2]) <= 1440, selector
        cards = browser.send("DOM.querySelectorAll", nodeId=root, selector="#units .card")["nodeIds"]
        assert len(cards) == 12
        assert box("#ranking .answer")[1] > box("#units")[1]
        assert browser.problems == []


def test_paper_holds_answers_and_no_tools(browser, page):
    browser.media()
    browser.open(page, width=718, height=1000)  # as wide as A4 without its margins
    open_all(browser)
    answers = browser.run("[...document.querySelectorAll('.answer')].map(each => each.innerText)")
    browser.send("Emulation.setEmulatedMedia", media="print", features=[])
    browser.settle()
    text = browser.run("document.body.innerText")
    assert len(answers) > 12
    assert all(words in text for words in answers)
    for tool in ("Open everything", "Close everything", "Another unit", "Easiest\n", "Shortcuts"):
        assert tool not in text
    # nothing runs off the sheet
    assert browser.run((BEYOND % 718).replace(".scroll, ", "")) == []
    # black on white, whatever the screen prefers
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    browser.send("Emulation.setEmulatedMedia", media="", features=[])


def test_paper_holds_nothing_that_is_closed(browser, page):
    browser.open(page, width=718, height=1000)
    browser.run("document.querySelector('#ranking .held > summary').click()")
    browser.settle()
    browser.send("Emulation.setEmulatedMedia", media="print", features=[])
    browser.settle()
    visible = "[...document.querySelectorAll(%r)].filter(e => e.getBoundingClientRect().height > 0).length"
    assert browser.run(visible % "#ranking table") >= 3
    assert browser.run(visible % "#layers summary") == 0
    browser.send("Emulation.setEmulatedMedia", media="", features=[])


def test_it_prints(browser, small):
    browser.open(small)
    paper = browser.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(paper))) > 2


# --------------------------------------------------------------------------- fair sides, addresses


def test_the_right_query_stands_on_either_side_equally_often(browser, page):
    browser.open(page)
    sides = browser.run(
        "(() => {const page = pageOf(JSON.parse(document.getElementById('unit-data').textContent));"
        "const {side} = taskOf(page, factsOf(page));"
        "return Array.from({length: page.N}, (_, row) => Array.from({length: page.T}, (_, task) => side(row, task)))})()"
    )
    flat = [side for row in sides for side in row]
    assert len(flat) > 5000
    assert set(flat) == {0, 1}
    # the sides are the same in every run; a fair hash fails this bound once in ten thousand studies
    assert stats.binomtest(sum(flat), len(flat)).pvalue > 1e-4
    by_task = [sum(row[task] for row in sides) for task in range(len(sides[0]))]
    assert min(stats.binomtest(n, len(sides)).pvalue for n in by_task) > 1e-4 / len(by_task)


def test_the_address_opens_the_same_unit_in_a_new_tab(browser, page):
    browser.open(page, width=1440, height=900)
    browser.settle()
    browser.run("document.querySelector('#units .card a').click()")
    browser.settle()
    shown = "[location.hash, document.querySelector('#unit h1').textContent, document.querySelectorAll('#unit .nine').length]"
    before = browser.run(shown)
    assert before[0].startswith("#units?unit=")
    with Browser() as other:
        other.open(page, before[0], width=1440, height=900)
        other.settle()
        assert other.run(shown) == before
        assert other.run("document.getElementById('study').hidden")
        assert other.problems == []
