"""The gallery in a real browser: found, sorted, scrolled, moved through by keys, without a script and with hostile names."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.axe import violations
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.report_fixture import BACKENDS, KEY, N_EXPLANATIONS, NETWORKS
from tests.helpers.shown_page import EVIL, page_of

pytestmark = needs("Chromium")
TWINS = 12  # units of a.conv of resnet that a.norm repeats
SCREENS = [(1440, 900), (768, 1024), (390, 844)]


def with_twins(folder: Path) -> None:
    """Units of a layer repeat the tasks of those of another."""
    table = pd.read_parquet(folder / "tasks/resnet.parquet")
    tasks = np.load(folder / "tasks/resnet.npy")
    tasks[table["layer"] == "a.norm"] = tasks[table["layer"] == "a.conv"]
    np.save(folder / "tasks/resnet.npy", tasks)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("list"), with_twins)


@pytest.fixture(scope="module")
def lead(page):
    """Units under the leading similarity, most understandable first."""
    table = pd.read_parquet(page.parent / "mis/units.parquet")
    return table[table["backend"] == BACKENDS[0]].sort_values("mis", ascending=False, ignore_index=True)


def addresses(rows):
    return ["/".join(map(str, key)) for key in rows[KEY].itertuples(index=False, name=None)]


def click(browser, words):
    found = "[...document.querySelectorAll('#units button, #units a')].find(e => e.textContent.trim().startsWith(%r))"
    browser.run(f"({found % words}).click()")
    browser.settle()


def choose(browser, label, value):
    """Set the field with this label as a person would; the further ones open first."""
    if browser.run("document.getElementById('further').hidden"):
        click(browser, "More filters")
    browser.run(
        "(() => {const field = [...document.querySelectorAll('#browser label')]"
        f".find(e => e.textContent.startsWith({label!r})).querySelector('input, select');"
        f"field.value = {value!r}; field.dispatchEvent(new Event(field.matches('select') ? 'change' : 'input'));}})()"
    )
    browser.settle()


def search(browser, words):
    browser.run(
        f"(() => {{const box = document.querySelector('.find input'); box.value = {words!r};"
        "box.dispatchEvent(new Event('input'));})()"
    )
    browser.settle()


def links(browser):
    """Addresses of the units in the document, in order."""
    return browser.run(
        "[...document.querySelectorAll('#units a[data-row]')].map(a => new URLSearchParams(a.hash.slice(7)).get('unit'))"
    )


def texts(browser, css):
    return browser.run(f"[...document.querySelectorAll({css!r})].map(e => e.textContent)")


def status(browser):
    return texts(browser, "#units-status")[0]


def pressed(browser):
    return texts(browser, "#browser [aria-pressed=true]")


def focused(browser):
    return browser.run("new URLSearchParams(document.activeElement.hash?.slice(7) ?? '').get('unit')")


def without_repeats(units):
    """Units in this order, of two that have the same pictures the first alone."""
    seen, kept = set(), []
    for unit in units:
        model, layer, number, _ = unit.split("/")
        pair = ("a", number) if model == "resnet" and layer in ("a.conv", "a.norm") else unit
        if pair not in seen:
            seen.add(pair)
            kept.append(unit)
    return kept


# ---------------------------------------------------------------- what is shown


def test_it_begins_with_the_units_that_stand_there_without_a_script(browser, page, lead):
    browser.open(page)
    shown = links(browser)
    with Browser(javascript=False) as bare:
        bare.open(page)
        root = bare.send("DOM.getDocument")["root"]["nodeId"]
        text = bare.send("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        assert bare.problems == []
        assert bare.send("DOM.querySelector", nodeId=root, selector=".foot > p[hidden]")["nodeId"], "keys do nothing"
    cards = text[text.index('id="cards"') : text.index('class="foot"')]
    static = [part.split('"')[0] for part in cards.split('href="#units?unit=')[1:]]
    assert [each.replace("%2F", "/") for each in static] == shown
    assert len(shown) == 12
    assert len(without_repeats(shown)) == 12
    assert {unit.split("/")[0] for unit in shown[:4]} == set(NETWORKS)
    assert f"{len(lead)} units, {len(lead) - TWINS} different ones" in text
    assert "Searching and sorting need JavaScript" in text
    # both say the same of the first card, apart from what only the script draws
    first = browser.run("document.querySelector('.card .body').innerText.split('\\n').filter(Boolean)")
    for line in first[:4]:
        assert line.split("±")[0].strip() in cards
    # sheets are drawn: a thumbnail has a background and a size
    assert browser.run("document.querySelector('.card .t').getBoundingClientRect().width") > 20
    assert browser.run("getComputedStyle(document.querySelector('.card .t')).backgroundImage").startswith('url("data:')


def test_a_card_says_its_score_place_answers_and_the_same_pictures(browser, page, lead):
    browser.open(page, "#units?layer=a.conv&model=resnet")
    own = lead[(lead["model"] == "resnet") & (lead["layer"] == "a.conv") & (lead["unit"] == 3)].iloc[0]
    of_model = lead[lead["model"] == "resnet"]
    below = math.floor(100 * (of_model["mis"] < own["mis"]).sum() / (len(of_model) - 1))
    said = f"easier than {min(below, 99)} %" if below >= 50 else f"harder than {min(100 - below, 99)} %"
    human = pd.read_parquet(page.parent / "human/units.parquet").set_index(KEY)["his"]
    card = "document.querySelector('#units a[href*=\"a.conv%2F3%2F\"]').closest('.card')"
    lines = browser.run(f"{card}.querySelector('.body').innerText.split('\\n').filter(Boolean)")
    right = round(30 * human.loc[tuple(own[KEY])]) if tuple(own[KEY]) in human.index else None
    answers = (
        f"machine right in {round(20 * own['accuracy'])} of 20 tasks"
        if right is None
        else (f"simulated observers right in {right} of 30")
    )
    assert f"{own['mis']:.3f}" in lines[0]
    assert f"± {own['mis_se']:.3f}" in "".join(lines[:2])
    lines = [line.strip() for line in lines]
    assert browser.run(f"{card}.querySelector('.who').textContent") == "a.conv · 3"
    at = lines.index(f"resnet, {said}")
    assert lines[at : at + 3] == [f"resnet, {said}", answers, "Same pictures: a.norm · 3"]
    labels = browser.run(f"[...{card}.querySelectorAll('.nine')].map(e => e.getAttribute('aria-label'))")
    assert [label.split(":")[0] for label in labels] == ["Least exciting", "Most exciting"]
    assert browser.run(f"{card}.querySelectorAll('.t').length") == 2 * N_EXPLANATIONS


def test_orders_and_lists_are_one_press_away(browser, page, lead):
    browser.open(page)
    assert pressed(browser) == ["Telling", "All networks"]
    for words, order in (("Easiest", lead), ("Hardest", lead.iloc[::-1])):
        click(browser, words)
        assert links(browser)[:12] == without_repeats(addresses(order))[:12]
        assert words in pressed(browser)
    click(browser, "Missed by MIS")
    residuals = pd.read_csv(page.parent / "tables/residuals.csv")
    residuals = residuals[residuals["backend"] == BACKENDS[0]]
    z = dict(zip(addresses(residuals), residuals["z"].abs().round(2), strict=True))
    shown = [z[unit] for unit in links(browser)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == max(z.values())
    assert len(shown) == 12
    assert "MIS lies furthest from the share of right answers of simulated observers" in status(browser)
    for side in ("over", "under"):  # addresses of older pages
        browser.open(page, f"#units?list={side}&page=2")
        rows = residuals[residuals["side"] == side].sort_values("rank")
        assert links(browser) == without_repeats(addresses(rows))[:12]
    click(browser, "vit")
    assert {unit.split("/")[0] for unit in links(browser)} <= {"vit"}


def test_units_with_texts_stand_in_the_order_of_their_scores(browser, page):
    browser.open(page)
    click(browser, "Texts")
    shown = [float(words.split()[1].replace("−", "-")) for words in texts(browser, ".says")]
    assert len(shown) == 12
    assert shown == sorted(shown, reverse=True)
    assert status(browser).startswith("16 units")
    click(browser, "vit")
    assert len(links(browser)) == 4
    click(browser, "All networks")
    search(browser, "star house")  # words of a text, and of no label or layer
    assert status(browser).startswith("16 units")


# ---------------------------------------------------------------- found


def test_filters_meet(browser, page, lead):
    browser.open(page, "#units?view=table")
    click(browser, "vit")
    choose(browser, "Type", "LayerNorm")
    choose(browser, "MIS from", "0.7")
    choose(browser, "Order", "-mis")
    wanted = lead[(lead["model"] == "vit") & (lead["layer_type"] == "LayerNorm") & (lead["mis"] >= 0.69995)]
    assert 0 < len(wanted) < 20
    assert links(browser) == addresses(wanted)
    assert status(browser).startswith(f"{len(wanted)} units")
    assert "More filters (2)" in texts(browser, "#browser button")


def test_search_finds_names_numbers_and_labels(browser, page, lead):
    browser.open(page, "#units?view=table")
    search(browser, "resnet B.NORM 7")
    assert links(browser) == ["resnet/b.norm/7/natural"]
    search(browser, "scene 3")  # labels of pictures; the table has no layer of such a name
    assert len(links(browser)) > 10
    search(browser, "nothing is called so")
    assert status(browser) == "No unit fits."
    assert links(browser) == []


def test_typing_replaces_the_address_and_everything_else_adds_one(browser, page):
    browser.open(page)
    before = browser.run("history.length")
    search(browser, "conv")
    search(browser, "a.conv")
    assert browser.run("history.length") == before
    click(browser, "Hardest")
    assert browser.run("history.length") == before + 1
    assert browser.run("location.hash") == "#units?q=a.conv&sort=mis"
    browser.run("history.back()")
    browser.settle()
    assert browser.run("document.querySelector('.find input').value") == "a.conv"
    assert "Telling" in pressed(browser)


def test_the_table_has_every_unit_and_its_headings_sort(browser, page, lead):
    browser.open(page, "#units?view=table&sort=-mis")
    assert links(browser) == addresses(lead.head(20))
    assert browser.run("document.querySelector('[role=table]').getAttribute('aria-rowcount')") == str(len(lead) + 1)
    click(browser, "MIS")
    assert links(browser) == addresses(lead.iloc[::-1].head(20))
    assert browser.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    click(browser, "HIS")
    best = browser.run("[...document.querySelectorAll('.rows [role=row]')].map(r => r.children[6].textContent)")
    assert best == sorted(best, reverse=True)
    assert best[0] != "–"


# ---------------------------------------------------------------- scrolled


@pytest.mark.parametrize(("place", "role"), [("#units?sort=-mis", "listitem"), ("#units?sort=-mis&view=table", "row")])
def test_of_a_long_list_only_what_can_be_seen_is_in_the_document(browser, page, lead, place, role):
    browser.open(page, place)
    order = addresses(lead) if "table" in place else without_repeats(addresses(lead))
    click(browser, f"Show all {len(order)}")
    assert focused(browser) == order[20 if "table" in place else 12]
    at = "Number(document.elementFromPoint(innerWidth / 3, innerHeight / 2).closest('[data-at]')?.dataset.at ?? -1)"
    passed = []
    for _ in range(40):
        shown, places = (
            links(browser),
            browser.run("[...document.querySelectorAll('[data-at]')].map(e => +e.dataset.at)"),
        )
        assert [order[index] for index in places] == shown
        assert places == sorted(places)
        assert len(shown) <= 100
        passed.append(browser.run(at))
        browser.run("scrollBy({top: innerHeight, behavior: 'instant'})")
        browser.settle()
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if browser.run("document.querySelector('.end').getBoundingClientRect().top < innerHeight / 2"):
            break
    known = [index for index in passed if index >= 0]
    assert known == sorted(known)
    assert len(known) > 4
    assert order[-1] in links(browser)
    click(browser, "Show the first ones")
    assert links(browser) == order[: 20 if "table" in place else 12]
    assert focused(browser) == order[0]


def test_a_card_far_down_has_the_focus_again_after_its_unit(browser, page, lead):
    browser.open(page, "#units?sort=-mis")
    order = without_repeats(addresses(lead))
    click(browser, f"Show all {len(order)}")
    browser.run("scrollTo({top: document.body.scrollHeight / 2, behavior: 'instant'})")
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    unit = links(browser)[10]
    browser.run("document.querySelectorAll('#units a[data-row]')[10].click()")
    browser.settle()
    assert browser.run("document.getElementById('study').hidden")
    browser.press("Escape")
    browser.settle()
    assert focused(browser) == unit
    box = browser.run("JSON.stringify(document.activeElement.closest('li').getBoundingClientRect())")
    assert -1 <= pd.io.json.ujson_loads(box)["top"] < 900
    # a link opened alone: its card is far down, and all are shown to come back to it
    browser.open(page, f"#units?sort=-mis&unit={unit}")
    browser.press("Escape")
    browser.settle()
    assert focused(browser) == unit


def test_a_unit_whose_card_is_that_of_its_twin_returns_there(browser, page):
    browser.open(page, "#units?unit=resnet/a.norm/5/natural")
    browser.press("Escape")
    browser.settle()
    assert focused(browser) in ("resnet/a.conv/5/natural", "resnet/a.norm/5/natural")


# ---------------------------------------------------------------- keys


def test_arrows_go_from_card_to_card_and_enter_opens(browser, page, lead):
    browser.open(page, "#units?sort=-mis", width=1440, height=900)
    order = without_repeats(addresses(lead))
    browser.run("document.querySelector('#units a[data-row]').focus()")
    for key, at in (("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowUp", 0), ("ArrowUp", 0)):
        browser.press(key)
        assert focused(browser) == order[at], key
    for _ in range(4):
        browser.press("ArrowDown")  # behind the first twelve
    assert focused(browser) == order[16]
    browser.press("Enter")
    browser.settle()
    assert browser.run("new URLSearchParams(location.hash.slice(7)).get('unit')") == order[16]


def test_a_slash_searches_unless_keys_are_switched_off(browser, page, lead):
    browser.open(page)
    slash = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true, cancelable: true}))"
    assert not browser.run(slash), "the key is not typed, too"
    assert browser.run("document.activeElement === document.querySelector('.find input')")
    assert browser.run("document.activeElement.value") == ""
    browser.press("ArrowDown")
    assert focused(browser) == links(browser)[0]
    click(browser, "Shortcuts on")
    assert "Shortcuts off" in texts(browser, "#units button")
    browser.run("document.activeElement.blur()")
    assert browser.run(slash)
    assert not browser.run("document.activeElement === document.querySelector('.find input')")
    browser.open(page)
    assert "Shortcuts off" in texts(browser, "#units button"), "the choice is kept where the browser can"
    click(browser, "Shortcuts off")


# ---------------------------------------------------------------- its place on the page


def test_a_link_to_a_list_scrolls_there_and_a_click_in_it_does_not(browser, page):
    top = "Math.round(document.getElementById('units').getBoundingClientRect().top)"
    browser.open(page, "#units?sort=mis", width=1440, height=900)
    browser.settle()
    assert -5 < browser.run(top) < 100
    browser.open(page)
    browser.run("scrollTo({top: 0, behavior: 'instant'})")
    before = browser.run(top)
    assert before > 300
    click(browser, "Hardest")
    assert browser.run("location.hash") == "#units?sort=mis"
    assert browser.run(top) == before


def test_other_places_of_the_page_leave_the_list_as_it_is(browser, page):
    browser.open(page, "#units?model=vit")
    before = links(browser)
    browser.run("location.hash = '#methods'")
    browser.settle()
    assert links(browser) == before
    browser.open(page, "#methods")
    assert len(links(browser)) == 12
    # from a unit to another place of the page
    browser.open(page, "#units?unit=vit/stem.conv/3/natural")
    browser.run("location.hash = '#methods'")
    browser.settle()
    assert browser.run("document.getElementById('unit').hidden && !document.getElementById('study').hidden")
    assert len(links(browser)) == 12


@pytest.mark.parametrize(("width", "height"), [*SCREENS, (320, 640)])
def test_nothing_of_the_gallery_is_wider_than_the_screen(browser, page, width, height):
    for place in ("#units", "#units?view=table&type=Conv"):
        browser.open(page, place, width=width, height=height)
        browser.settle()
        assert browser.run("document.getElementById('units').getBoundingClientRect().right") <= width
        assert (
            browser.run("document.getElementById('units').scrollWidth - document.getElementById('units').clientWidth")
            <= 16
        )
        lefts = browser.run(
            "[...document.querySelectorAll('.card')].map(e => e.getBoundingClientRect()).map(r => [r.left, r.right])"
        )
        assert all(left >= 0 and right <= width for left, right in lefts)
        heights = browser.run("[...new Set([...document.querySelectorAll('[data-at]')].map(e => e.offsetHeight))]")
        assert len(heights) == 1


@needs("npm packages")
@pytest.mark.parametrize("place", ["#units", "#units?view=table&from=.6", "#units?list=texts"])
def test_axe_finds_nothing_in_the_gallery(browser, page, place):
    for scheme, (width, height) in (("light", SCREENS[0]), ("dark", SCREENS[2])):
        browser.media(scheme=scheme)
        browser.open(page, place, width=width, height=height)
        found = [
            (rule, [node for node in nodes if "unit" in str(node) or "card" in str(node)])
            for rule, nodes in violations(browser)
        ]
        assert [each for each in found if each[1]] == []


# ---------------------------------------------------------------- other studies


def test_one_network_has_no_choice_of_networks_and_thirty_have_a_field(browser, tmp_path):
    layers = (("a.conv", "Conv"), ("a.norm", "BatchNorm"))
    page = page_of(tmp_path / "one", networks=("alone",), layers=layers, human=False)
    browser.open(page)
    assert pressed(browser) == ["Telling"]
    assert status(browser) == "24 units."
    assert "Missed by MIS" not in texts(browser, "#browser button")
    names = tuple(f"network-{i:02d}" for i in range(30))
    page = page_of(tmp_path / "thirty", networks=names, layers=layers, human=False, units_a_layer=2)
    browser.requests.clear()
    browser.open(page)
    offered = browser.run("[...document.querySelector('#browser select').options].map(o => o.textContent)")
    assert offered[0] == "all 30"
    assert sorted(offered[1:]) == list(names)
    browser.run(
        "(() => {const field = document.querySelector('#browser select'); field.value = 'network-07';"
        "field.dispatchEvent(new Event('change'));})()"
    )
    browser.settle()
    assert {unit.split("/")[0] for unit in links(browser)} == {"network-07"}
    assert status(browser) == "4 units."


def test_without_pictures_the_table_is_all_there_is(browser, tmp_path):
    browser.open(page_of(tmp_path, show_images=False, human=False))
    assert len(links(browser)) == 20
    assert browser.run("document.querySelectorAll('.card').length") == 0
    click(browser, "More filters")
    assert not [words for words in texts(browser, "#browser label") if words.startswith("Show as")]


def test_names_and_labels_from_data_do_nothing(browser, tmp_path):
    networks, layers = ("plain", EVIL.replace("/", "|")), ((EVIL, "Conv"), ("b.norm", "LayerNorm"))
    page = page_of(
        tmp_path, networks=networks, layers=layers, label=EVIL, title=EVIL, rejected=[(EVIL, EVIL)], prefix=EVIL
    )
    browser.open(page)
    assert any("onerror" in unit for unit in links(browser))
    choose(browser, "Show as", "table")
    search(browser, "<img")
    assert len(links(browser)) > 0
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelectorAll('#units img, #units script').length") == 0
    assert browser.run("[...document.links].every(a => a.protocol === 'file:')")


def test_a_script_that_is_not_the_page_s_own_does_not_run(browser, page):
    browser.open(page)
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 4'}))"
    )
    browser.settle()
    assert browser.run("window.hit") is None
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()
