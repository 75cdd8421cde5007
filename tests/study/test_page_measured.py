"""The page measured in a browser: axe-core, widths, elements, silence, without a script, on paper, fair sides, addresses."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from scipy import stats

from stages import report
from study.report.figures import base
from study.report.page.sections import LEADS
from tests.helpers.axe import violations
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.report_fixture import build

pytestmark = needs("Chromium")
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>'
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


def built(folder: Path, **options) -> Path:
    """A page whose figures that lead are drawn, and no others, as each takes half a second."""
    drawn = base.render

    def render(spec, *rest, **how):
        return drawn(spec, *rest, **how) if spec.name in DRAWN else EMPTY

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "render", render)
        patch.setattr(base, "render_files", lambda *_: (EMPTY, b"%PDF"))
        report.main(build(folder, **options))
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return built(tmp_path_factory.mktemp("page"), made=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One network of a folder of pictures, which nobody was asked about."""
    return built(tmp_path_factory.mktemp("small"), human=False, networks=("resnet",))


@pytest.fixture(scope="module")
def opened():
    with Browser() as tab:
        yield tab


@pytest.fixture
def tab(opened):
    """A tab; whatever a test did, it stayed silent: no message of the console, and nothing asked for but the file."""
    opened.problems.clear()
    opened.requests.clear()
    opened.media()
    yield opened
    assert opened.problems == []
    asked = {address.split("#")[0] for address in opened.requests if not address.startswith("data:")} - {"about:blank"}
    assert len(asked) == 1
    assert all(address.endswith("/report.html") for address in asked)


def in_both_schemes(tab):
    """What axe-core finds in the light, and of colours in the dark: nothing else of a page hangs on them."""
    found = {}
    for scheme, rules in (("light", None), ("dark", ["color-contrast", "link-in-text-block"])):
        tab.media(prefers_color_scheme=scheme)
        tab.settle()
        tab.run("Promise.all(document.getAnimations().map(each => each.finished)).then(() => 0)")
        found[scheme] = violations(tab, rules)
    return {scheme: each for scheme, each in found.items() if each}


# --------------------------------------------------------------------------- axe-core


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", ["page", "small"])
def test_axe_finds_nothing_in_the_study(tab, kind, size, request):
    tab.open(request.getfixturevalue(kind), width=size[0], height=size[1])
    tab.settle()
    assert in_both_schemes(tab) == {}
    if kind == "page":
        answer(tab, "#hero")
        assert in_both_schemes(tab) == {}


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_axe_finds_nothing_where_everything_is_open(tab, page, size):
    tab.open(page, width=size[0], height=size[1])
    open_all(tab)
    # two of everything that comes in dozens, so that it takes seconds and not minutes
    tab.run(
        "document.querySelectorAll('tbody tr:nth-child(n + 3), .pairs > :nth-child(n + 5)').forEach(each => each.remove())"
    )
    assert in_both_schemes(tab) == {}


@needs("npm packages")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_axe_finds_nothing_on_the_page_of_a_unit(tab, page, size):
    tab.open(page, UNIT, width=size[0], height=size[1])
    tab.settle()
    tab.run("document.querySelectorAll('#unit details').forEach(each => each.open = true)")
    assert in_both_schemes(tab) == {}


def answer(tab, where):
    """Choose A in the task of this place."""
    tab.run(f"document.querySelector('{where} button.q').click()")
    tab.settle()


def open_all(tab):
    tab.run(f"{OPEN_ALL}.click()")
    tab.settle()
    assert tab.run("document.querySelectorAll('#study .part template').length") == 0
    assert tab.run("[...document.querySelectorAll('#study .part details')].every(each => each.open)")


# --------------------------------------------------------------------------- widths


def sideways(tab):
    """Widths at which the page, or anything in it that does not scroll by itself, goes beyond the window."""
    found = {}
    for width in WIDTHS:
        tab.window(width, 900)
        tab.settle()
        wide = tab.run("Math.max(document.documentElement.scrollWidth, innerWidth)")
        if wide != width:
            found[width] = (wide, tab.run(BEYOND % width))
    return found


@pytest.mark.parametrize("place", ["", UNIT])
def test_nothing_scrolls_sideways_before_and_after_an_answer(tab, page, place):
    tab.open(page, place, width=320, height=900)
    tab.settle()
    assert sideways(tab) == {}
    answer(tab, "#unit" if place else "#hero")
    assert sideways(tab) == {}
    tab.open(page, place, width=320, height=900)  # a window that was narrow from the start
    answer(tab, "#unit" if place else "#hero")
    assert tab.run("document.documentElement.scrollWidth") == 320


def test_nothing_scrolls_sideways_where_everything_is_open(tab, page):
    tab.open(page, width=320, height=900)
    open_all(tab)
    assert sideways(tab) == {}


def test_tables_keep_their_first_column_and_say_that_there_is_more(tab, page):
    tab.open(page, "#figure-models_by_p5", width=390, height=844)
    tab.settle()
    table = "document.querySelector('#ranking .beside')"
    left = f"{table}.querySelector('tbody th').getBoundingClientRect().left"
    before = tab.run(left)
    assert tab.run(f"{table}.hasAttribute('data-more')")
    assert tab.run(f"getComputedStyle({table}, '::after').opacity") == "1"
    tab.run(f"{table}.firstElementChild.scrollLeft = 60")
    tab.settle()
    assert tab.run(left) == pytest.approx(before, abs=1)
    assert tab.run(f"{table}.hasAttribute('data-more')")
    tab.run(f"{table}.firstElementChild.scrollLeft = 1e5")
    tab.settle()
    assert tab.run(left) == pytest.approx(before, abs=1)
    assert not tab.run(f"{table}.hasAttribute('data-more')")
    # no table of at most 40 rows scrolls up and down, and all can be reached by key
    open_all(tab)
    inside = "[...document.querySelectorAll('#study .beside > .scroll')]"
    assert tab.run(f"{inside}.length") > 20
    assert tab.run(f"{inside}.every(box => box.tabIndex === 0 && box.getAttribute('aria-label'))")
    short = "box.querySelectorAll('tbody tr').length <= 40"
    assert tab.run(f"{inside}.filter(box => {short}).every(box => box.scrollHeight <= box.clientHeight + 1)")


# --------------------------------------------------------------------------- what lies closed


def test_the_start_is_light_and_opens_piece_by_piece(tab, page):
    tab.open(page, width=1440, height=900)
    tab.settle()
    n = tab.run("document.querySelectorAll('*').length")
    assert n <= MOST_ELEMENTS
    # a figure that leads is there; the tables of its question are not, until its line is opened
    assert tab.run("document.querySelectorAll('#ranking svg.figure').length") == 1
    assert tab.run("document.querySelectorAll('#results table').length") == 0
    tab.run("document.querySelector('#ranking .held > summary').click()")
    tab.wait("document.querySelectorAll('#ranking table').length")
    assert tab.run("document.querySelectorAll('#layers table').length") == 0
    open_all(tab)
    assert tab.run(f"{OPEN_ALL}.textContent") == "Close everything"
    tab.run(f"{OPEN_ALL}.click()")
    assert tab.run("[...document.querySelectorAll('#study .part details')].some(each => each.open)") is False
    assert tab.run(f"{OPEN_ALL}.textContent") == "Open everything"


def test_a_link_leads_into_what_is_closed(tab, page):
    shown = "document.getElementById('figure-models_by_p5')?.getBoundingClientRect().top"
    tab.open(page, "#figure-models_by_p5", width=1440, height=900)
    tab.settle()
    assert -5 <= tab.run(shown) < 900
    tab.open(page, width=1440, height=900)
    assert tab.run(shown) is None
    tab.run("location.hash = '#papers'")
    tab.run("document.querySelector('#papers .held > summary').click()")
    tab.wait("document.querySelector('#papers a[href=\"#figure-layer_types\"]')")
    tab.run("document.querySelector('#papers a[href=\"#figure-layer_types\"]').click()")
    tab.wait("document.getElementById('figure-layer_types')?.getBoundingClientRect().top >= -5")
    assert tab.run("document.querySelector('#layers .held').open")
    # followed again after the line was closed, though the address stays
    tab.run("document.querySelector('#layers .held').open = false")
    tab.run("document.querySelector('#papers a[href=\"#figure-layer_types\"]').click()")
    assert tab.run("document.querySelector('#layers .held').open")
    # from the page of a unit too
    tab.open(page, UNIT, width=1440, height=900)
    tab.settle()
    tab.run("location.hash = '#departures'")
    tab.wait("document.getElementById('departures').open")
    assert tab.run("document.getElementById('unit').hidden")
    # a place that is nowhere is no error
    tab.run("location.hash = '#no%such'")
    tab.run("location.hash = '#nowhere'")
    tab.settle()


# --------------------------------------------------------------------------- without a script, and on paper


def test_without_a_script_the_first_screen_stands(page):
    with Browser(javascript=False) as tab:
        tab.open(page, width=1440, height=900)
        root = tab.send("DOM.getDocument")["root"]["nodeId"]

        def box(selector):
            node = tab.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
            return tab.send("DOM.getBoxModel", nodeId=node)["model"]["border"]

        for selector in ("h1", "#limits summary", "#hero .nine", "#hero .q", "#spread .plot", ".four"):
            corners = box(selector)
            assert 0 <= min(corners[1::2]) < max(corners[1::2]) <= 900, selector
            assert 0 <= min(corners[::2]) < max(corners[::2]) <= 1440, selector
        cards = tab.send("DOM.querySelectorAll", nodeId=root, selector="#units .card")["nodeIds"]
        assert len(cards) == 12
        assert box("#ranking .answer")[1] > box("#units")[1]
        assert tab.problems == []


def test_paper_holds_answers_and_no_tools(tab, page):
    tab.media()
    tab.open(page, width=718, height=1000)  # as wide as A4 without its margins
    open_all(tab)
    answers = tab.run("[...document.querySelectorAll('.answer')].map(each => each.innerText)")
    tab.send("Emulation.setEmulatedMedia", media="print", features=[])
    tab.settle()
    text = tab.run("document.body.innerText")
    assert len(answers) > 12
    assert all(words in text for words in answers)
    for tool in ("Open everything", "Close everything", "Another unit", "Easiest\n", "Shortcuts"):
        assert tool not in text
    # nothing runs off the sheet
    assert tab.run((BEYOND % 718).replace(".scroll, ", "")) == []
    # black on white, whatever the screen prefers
    assert tab.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    tab.send("Emulation.setEmulatedMedia", media="", features=[])


def test_paper_holds_nothing_that_is_closed(tab, page):
    tab.open(page, width=718, height=1000)
    tab.run("document.querySelector('#ranking .held > summary').click()")
    tab.settle()
    tab.send("Emulation.setEmulatedMedia", media="print", features=[])
    tab.settle()
    visible = "[...document.querySelectorAll(%r)].filter(e => e.getBoundingClientRect().height > 0).length"
    assert tab.run(visible % "#ranking table") >= 3
    assert tab.run(visible % "#layers summary") == 0
    tab.send("Emulation.setEmulatedMedia", media="", features=[])


def test_it_prints(tab, small):
    tab.open(small)
    paper = tab.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(paper))) > 2


# --------------------------------------------------------------------------- fair sides, addresses


def test_the_right_query_stands_on_either_side_equally_often(tab, page):
    tab.open(page)
    sides = tab.run(
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


def test_the_address_opens_the_same_unit_in_a_new_tab(tab, page):
    tab.open(page, width=1440, height=900)
    tab.settle()
    tab.run("document.querySelector('#units .card a').click()")
    tab.settle()
    shown = "[location.hash, document.querySelector('#unit h1').textContent, document.querySelectorAll('#unit .nine').length]"
    before = tab.run(shown)
    assert before[0].startswith("#units?unit=")
    with Browser() as other:
        other.open(page, before[0], width=1440, height=900)
        other.settle()
        assert other.run(shown) == before
        assert other.run("document.getElementById('study').hidden")
        assert other.problems == []
