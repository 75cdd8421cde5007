"""Pages on which one thing is picked, as people meet them in Chromium: by keyboard and mouse, and what axe-core finds."""

from __future__ import annotations

import pytest

from experiment import picks
from tests.experiment import folders
from tests.experiment.pages import BUTTONS, served
from tests.experiment.test_pages import in_all_looks, silent
from tests.helpers.programs import needs

pytestmark = needs("Chromium", "npm packages")


@pytest.fixture(params=["localize", "name"])
def picking(request, tmp_path):
    folder = folders.picking(tmp_path / "pages", request.param, n_units=3, side=224)
    with served(tmp_path / "run", folder, pages_a_session=3) as run:
        yield request.param, run


def test_keys_alone_lead_through_it_and_axe_finds_nothing(picking, tab):
    kind, run = picking
    wanted = [6, 15, 0] if kind == "localize" else [2, 3, 0]
    walk = run.walk(tab)
    walk.choose = lambda shown: [wanted[shown["number"] - 1]]
    seen = {}
    for stage in ("consent", "instructions", "rating"):
        walk.until(stage)
        walk.settled()
        seen[stage] = in_all_looks(tab)
    walk.tick("[data-picture='2']")
    assert tab.run("document.querySelector('[data-send]').disabled") is False
    told = tab.run("document.querySelector('[data-feedback]').textContent")
    if kind == "localize":
        assert told == "Row 1, column 3"
        tab.press("ArrowDown")
        assert tab.run("document.querySelector('[data-feedback]').textContent") == "Row 2, column 3"
        tab.press("ArrowUp")
        tab.press("ArrowUp")
        assert tab.run("document.querySelector('[data-feedback]').textContent") == "Row 1, column 3"
    else:
        assert told.startswith("<b>dots</b>"), "words are words, not marks"
    seen["picked"] = in_all_looks(tab)
    walk.until("comment")
    assert not any(seen.values()), seen
    silent(tab, run)
    table = picks.answers(run.recorded())
    assert table["choice"].tolist() == wanted
    loaded = {path for path in run.net.asked if path.startswith("/static/")}
    assert {"/static/picking.js", "/static/picking.css"} <= loaded
    assert "/static/rating.js" not in loaded


def test_a_click_picks_the_thing_that_is_there(picking, tab):
    kind, run = picking
    walk = run.walk(tab)
    walk.until("rating")
    tab.wait(BUTTONS)
    tab.click("[data-picture='3']" if kind == "localize" else ".texts label:nth-child(4)")
    assert tab.run("document.querySelector('[data-picture=\"3\"]').checked")
    if kind == "localize":
        boxes = tab.run(
            "(b => { const p = document.querySelector('.over').getBoundingClientRect();"
            "return [b.left - p.left, b.top - p.top, b.width / p.width, b.height / p.height]; })"
            "(document.querySelector('[data-picture=\"6\"]').getBoundingClientRect())"
        )
        side = tab.run("document.querySelector('.over').clientWidth")
        assert boxes[:2] == pytest.approx([side / 2, side / 4], abs=1.5), "row 2, column 3"
        assert boxes[2:] == pytest.approx([0.25, 0.25], abs=0.005)
    tab.click("[data-send]")
    tab.wait("document.documentElement.dataset.trial === '1'")
    assert picks.answers(run.recorded())["choice"].tolist() == [3]


def test_what_is_sent_before_the_page_has_its_second_frame_is_heard(picking, tab):
    _, run = picking
    walk = run.walk(tab)
    tab.run("window.requestAnimationFrame = (called) => setTimeout(() => called(performance.now()), 1000), 0")
    walk.until("rating")
    walk.tick("[data-picture='0']")
    walk.push("[data-send]")
    tab.wait("document.documentElement.dataset.trial === '1'")
    table = picks.answers(run.recorded())
    assert table["choice"].tolist() == [0]
    assert float(table["rt"].iloc[0]) >= 0
