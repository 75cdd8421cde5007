"""The browser of units in a real browser: filter, sort, open a unit, go back; nothing leaves the file, nothing goes wrong."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from stages import report
from study.report.figures import base
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.report_fixture import KEY, N_TASKS, NETWORKS, build

pytestmark = needs("Chromium")
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>'
EVIL = "\"><img src=x onerror=window.hit=1></script><script>window.hit=2</script><a href='javascript:window.hit=3'>'"


def built(folder: Path, **options) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "render", lambda *_, **__: EMPTY)
        patch.setattr(base, "to_pdf", lambda *_: b"%PDF")
        report.main(build(folder, **options))
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return built(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def tab():
    with Browser() as tab:
        yield tab


@pytest.fixture
def browser(tab):
    """The tab; whatever a test did, the browser reported no problem and asked for nothing but the file."""
    tab.problems.clear()
    tab.requests.clear()
    yield tab
    assert tab.problems == []
    asked = {address.split("#")[0] for address in tab.requests if not address.startswith("data:")}
    assert len(asked - {"about:blank"}) == 1
    assert all(address.endswith("/report.html") for address in asked - {"about:blank"})


@pytest.fixture(scope="module")
def lead(page):
    """Units under the leading similarity, most understandable first."""
    table = pd.read_parquet(page.parent / "mis/units.parquet")
    return table[table["backend"] == "encoder"].sort_values("mis", ascending=False, ignore_index=True)


def click(browser, words):
    """Press the button or follow the link with these words."""
    found = "[...document.querySelectorAll('#browser button, #browser a')].find(e => e.textContent.startsWith(%r))"
    browser.run(f"({found % words}).click()")
    browser.settle()


def choose(browser, label, value):
    """Set the field with this label as a person would."""
    browser.run(
        "(() => {const field = [...document.querySelectorAll('#browser label')]"
        f".find(e => e.textContent.startsWith({label!r})).querySelector('input, select');"
        f"field.value = {value!r}; field.dispatchEvent(new Event(field.matches('select') ? 'change' : 'input'));}})()"
    )
    browser.settle()


def links(browser):
    """Addresses of the units shown, in order."""
    return browser.run(
        "[...document.querySelectorAll('#browser li a[data-row], #browser tbody a[data-row]')]"
        ".map(a => new URLSearchParams(a.hash.slice(7)).get('unit'))"
    )


def status(browser):
    return browser.run("document.querySelector('#browser [role=status]').textContent")


def heading(browser):
    return browser.run("document.querySelector('#browser h3')?.textContent ?? ''")


def addresses(rows):
    return ["/".join(map(str, key)) for key in rows[KEY].itertuples(index=False, name=None)]


def test_it_begins_with_the_easiest_units_that_have_pictures(browser, page, lead):
    browser.open(page)
    shown = links(browser)
    assert len(shown) == 12
    assert shown[0] == addresses(lead)[0]
    order = addresses(lead)
    assert [order.index(each) for each in shown] == sorted(order.index(each) for each in shown)
    # sheets are drawn: a thumbnail has a background and a size
    assert browser.run("document.querySelector('#browser .t').getBoundingClientRect().width") > 20
    assert browser.run("getComputedStyle(document.querySelector('#browser .t')).backgroundImage").startswith(
        'url("data:'
    )
    assert browser.run("document.getElementById('strips')") is None


def test_filters_meet(browser, page, lead):
    browser.open(page)
    click(browser, "Table")
    choose(browser, "Network", "vit")
    choose(browser, "Type", "LayerNorm")
    choose(browser, "MIS from", "0.7")
    wanted = lead[(lead["model"] == "vit") & (lead["layer_type"] == "LayerNorm") & (lead["mis"] >= 0.69995)]
    assert 0 < len(wanted) < 50
    assert links(browser) == addresses(wanted)
    assert status(browser).startswith(f"{len(wanted)} of {len(lead)} units found")


def test_search_finds_names_numbers_and_labels(browser, page, lead):
    browser.open(page)
    click(browser, "Table")
    choose(browser, "Search", "resnet B.NORM 7")
    assert links(browser) == ["resnet/b.norm/7/natural"]
    choose(browser, "Search", "scene 3")  # labels of pictures; the table has no layer of such a name
    assert len(links(browser)) > 10
    choose(browser, "Search", "nothing is called so")
    assert status(browser).startswith("0 of")


def test_headings_of_the_table_sort(browser, page, lead):
    browser.open(page)
    click(browser, "Table")
    click(browser, "MIS")
    assert links(browser) == addresses(lead.iloc[::-1].head(50))
    assert browser.run("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    click(browser, "Next")
    assert links(browser) == addresses(lead.iloc[::-1].iloc[50:100])
    click(browser, "HIS")
    best = browser.run("[...document.querySelectorAll('#browser tbody tr')].map(r => r.cells[6].textContent)")
    assert best == sorted(best, reverse=True)


def test_a_unit_opens_and_back_returns(browser, page, lead):
    browser.open(page, "#units?model=resnet&view=table")
    before = links(browser)
    browser.run("document.querySelectorAll('#browser tbody a')[2].click()")
    browser.settle()
    model, layer, unit, _ = before[2].split("/")
    assert heading(browser) == f"{layer} unit {unit}"
    row = lead[(lead["model"] == model) & (lead["layer"] == layer) & (lead["unit"] == int(unit))].iloc[0]
    text = browser.run("document.querySelector('#browser .facts').textContent")
    assert f"{row['mis']:.3f}" in text
    cells = browser.run("[...document.querySelectorAll('#browser .tasks tbody tr')].map(r => r.textContent)")
    assert len(cells) == N_TASKS
    assert sum("✓ right" in cell for cell in cells) == round(row["accuracy"] * N_TASKS)
    assert browser.run("document.activeElement === document.querySelector('#browser h3')")
    browser.run("history.back()")
    browser.settle()
    assert heading(browser) == ""
    assert links(browser) == before
    assert browser.run("new URLSearchParams(document.activeElement.hash.slice(7)).get('unit')") == before[2]
    browser.run("history.forward()")
    browser.settle()
    assert heading(browser) == f"{layer} unit {unit}"


def test_probabilities_are_those_of_the_margins(browser, page):
    unit = "convnext/a.conv/4/natural"
    browser.open(page, f"#units?unit={unit}")
    table = pd.read_parquet(page.parent / "scores/encoder.parquet").set_index(KEY)
    margins = table.loc[("convnext", "a.conv", 4, "natural"), "margins"]
    rows = browser.run("[...document.querySelectorAll('#browser .tasks tbody tr')].map(r => r.textContent)")
    for margin, row in zip(margins, rows, strict=True):
        # the fixture's slope is 6.25; a margin is kept to a 32,767th of the largest
        shown = float(re.search(r" (\d\.\d{3})", row)[1])
        assert shown == pytest.approx(1 / (1 + math.exp(-6.25 * margin)), abs=1e-3)
        assert ("✓ right" if margin > 0 else "✗ wrong") in row


def test_a_link_opens_its_unit_and_a_wrong_one_says_so(browser, page):
    browser.open(page, "#units?unit=mixer%2Fc.mlp%2F5%2Fnatural")
    assert heading(browser) == "c.mlp unit 5"
    click(browser, "Next unit")
    assert heading(browser) not in ("", "c.mlp unit 5")
    browser.run("location.hash = '#units?unit=no/such/1/natural'")
    browser.settle()
    assert "No unit listed here is called no/such/1/natural" in status(browser)


def test_a_link_to_a_list_scrolls_there_and_a_click_in_it_does_not(browser, page):
    top = "Math.round(document.getElementById('units').getBoundingClientRect().top)"
    browser.open(page, "#units?sort=mis")
    browser.settle()
    assert -5 < browser.run(top) < 100
    browser.open(page)
    browser.run("window.scrollTo({top: 0, behavior: 'instant'})")
    click(browser, "Hardest")
    assert browser.run("location.hash") == "#units?sort=mis"
    assert browser.run(top) > 900


def test_missed_units_are_one_click_away(browser, page):
    browser.open(page)
    residuals = pd.read_csv(page.parent / "tables/residuals.csv")
    for words, side in (("Overestimated", "over"), ("Underestimated", "under")):
        click(browser, words)
        assert links(browser) == addresses(residuals[residuals["side"] == side].sort_values("rank"))
        pressed = "[...document.querySelectorAll('#browser [aria-pressed=true]')].map(e => e.textContent)"
        assert words in browser.run(pressed)
    assert "simulated observers" in status(browser)


def test_other_places_of_the_page_leave_the_browser_as_it_is(browser, page):
    browser.open(page, "#units?model=vit")
    before = links(browser)
    browser.run("location.hash = '#summary'")
    browser.settle()
    assert links(browser) == before
    browser.open(page, "#methods")
    assert len(links(browser)) == 12


@pytest.mark.parametrize("place", ["", "#units?view=table", "#units?unit=vit/stem.conv/3/natural"])
def test_nothing_is_wider_than_a_phone(browser, page, place):
    browser.open(page, place, width=390, height=844)
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") == 390


def test_names_and_labels_from_data_do_nothing(browser, tmp_path):
    networks, layers = ("plain", EVIL.replace("/", "|")), ((EVIL, "Conv"), ("b.norm", "LayerNorm"))
    page = built(
        tmp_path, networks=networks, layers=layers, label=EVIL, title=EVIL, rejected=[(EVIL, EVIL)], prefix=EVIL
    )
    browser.open(page)
    first = links(browser)[0]
    browser.run("document.querySelector('#browser .card a').click()")
    browser.settle()
    assert heading(browser) != ""
    click(browser, "← Back")
    click(browser, "Table")
    choose(browser, "Search", "<img")
    assert len(links(browser)) > 0
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelectorAll('#browser img, #browser script').length") == 0
    assert browser.run("[...document.links].every(a => a.protocol === 'file:')")
    # a unit of a network and layer with such names has a link that opens it
    evil = next(each for each in [first, *links(browser)] if "onerror" in each)
    browser.open(
        page, f"#units?unit={evil.replace('%', '%25').replace('&', '%26').replace('#', '%23').replace('+', '%2B')}"
    )
    assert heading(browser) != ""
    assert browser.run("window.hit") is None


def test_a_script_that_is_not_the_page_s_own_does_not_run(browser, page):
    browser.open(page)
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 4'}))"
    )
    browser.settle()
    assert browser.run("window.hit") is None
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()


def test_without_a_script_the_page_still_shows_units(page):
    with Browser(javascript=False) as browser:
        browser.open(page)
        text = browser.send("DOM.getOuterHTML", nodeId=browser.send("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
        assert browser.problems == []
    assert text.count('<div class="strip"') == 8 * len(NETWORKS)
    assert "Searching and sorting need JavaScript" in text
    assert '<div id="browser"></div>' in text


def texts_of(browser):
    """Summaries of the texts of the open unit."""
    return browser.run("[...document.querySelectorAll('#browser details summary')].map(e => e.textContent)")


def test_units_with_texts_are_one_click_away_and_found_by_network_and_words(browser, page):
    browser.open(page)
    click(browser, "Texts")
    scores = "[...document.querySelectorAll('#browser .says')].map(e => e.textContent)"
    shown = [float(words.split("ρ ")[1].replace("−", "-")) for words in browser.run(scores)]
    assert len(shown) == 12
    assert shown == sorted(shown, reverse=True)
    assert status(browser).startswith("16 of 432 units found, 16 of them with pictures")
    choose(browser, "Network", "vit")
    assert {unit.split("/")[0] for unit in links(browser)} == {"vit"}
    assert len(links(browser)) == 4
    choose(browser, "Order", "mis")
    assert len(links(browser)) == 4
    choose(browser, "Network", "")
    click(browser, "Easiest")
    choose(browser, "Search", "star house")  # words of a text, and of no label or layer
    assert status(browser).startswith("16 of 432")


def test_a_unit_shows_its_texts_with_scores_scatter_and_ratings(browser, page):
    unit = ("vit", "a.conv", 5)
    browser.open(page, f"#units?unit={'/'.join(map(str, unit))}/natural")
    rows = browser.run(
        "[...document.querySelectorAll('#browser .said tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    heads = browser.run("[...document.querySelectorAll('#browser .said thead th')].map(c => c.textContent)")
    scores = ["automatic", "of other units", "top pictures alone", "from ratings", "guide alone", "known", "ratings"]
    assert heads == ["text", "method", *scores]
    crowd = pd.read_parquet(page.parent / "crowd/scores.parquet").query("raters == 'kept' and estimator == 'latent'")
    crowd = crowd.set_index(["model", "layer", "unit", "method"])
    by_method = {row[1]: row for row in rows}
    assert set(by_method) == {"best", "invert", "le_label", "other"}
    for method in ("best", "other"):
        ours = crowd.loc[(*unit, method)]
        ends = [f"{value:.3f}".replace("-", "−") for value in ours[["rho", "low", "high"]]]
        assert by_method[method][5] == f"{ends[0]} ({ends[1]} to {ends[2]})"
    assert by_method["invert"][5] == "–"
    assert len(texts_of(browser)) == 4
    # the first text is open: marks of a scatter, rated pictures with what raters said
    marks = "document.querySelectorAll('#browser details[open] svg.scatter circle').length"
    assert browser.run(marks) == 200
    label = browser.run("document.querySelector('#browser details[open] svg').getAttribute('aria-label')")
    assert re.fullmatch(r"What “scene star” predicts \(0 to 1\) against what the unit does \(.*\), 200 pictures", label)
    said = browser.run("[...document.querySelectorAll('#browser details[open] .rated li')].map(e => e.textContent)")
    assert len(said) == 24
    assert all(re.fullmatch(r"[0-3] of 3P \d+ %", words) for words in said)
    assert "24 of 30 rated pictures" in browser.run("document.querySelector('#browser details[open]').textContent")
    note = browser.run("document.querySelector('#browser .said').closest('.scroll').nextElementSibling.textContent")
    assert "by the known factors of the scenes" in note
    assert "Scores from ratings: calibrated under the model." in note


@pytest.mark.parametrize(("width", "height"), [(390, 844), (768, 1024), (1440, 900)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_a_unit_fit_every_screen_and_stay_readable(browser, page, width, height, scheme):
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.send("Emulation.setEmulatedMedia", features=feature)
    browser.open(page, "#units?unit=vit/a.conv/5/natural", width=width, height=height)
    browser.run("document.querySelectorAll('#browser details').forEach(each => each.open = true)")
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") == width
    # nothing of a text sticks out of the column, other than what scrolls
    inside = (
        "[...document.querySelectorAll('#browser .text *')].every(e => {const box = e.getBoundingClientRect();"
        "return box.width === 0 || (box.left >= -1 && box.right <= innerWidth + 1);})"
    )
    assert browser.run(inside)
    colours = browser.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert colours == ["rgb(255, 255, 255)", "rgb(27, 36, 48)"]
    browser.send("Emulation.setEmulatedMedia", features=[])


def test_a_study_without_texts_offers_none(browser, tmp_path):
    page = built(tmp_path, texts=False)
    browser.open(page)
    assert "Texts" not in browser.run("[...document.querySelectorAll('#browser button')].map(e => e.textContent)")
    assert browser.run("document.querySelectorAll('#browser .says').length") == 0
    browser.run("document.querySelector('#browser .card a').click()")
    browser.settle()
    assert browser.run("document.querySelectorAll('#browser .said, #browser details').length") == 0
