"""Kinds of explanation in the gallery: every kind of a unit side by side, with what made images reach."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from interpretability.schema import BELOW, MIXED, NATURAL, SYNTHETIC
from interpretability.tasks.topics import CLUSTERS
from study.files.tables import read_csv, read_parquet, write_csv, write_parquet
from study.report.figures.kinds import kind_words
from study.report.page.kinds import Kinds, Shown
from study.solving.kinds import SHOWN
from tests.helpers.kind_tables import FEWER, KINDS, N_UNITS
from tests.helpers.programs import needs
from tests.helpers.report_fixture import BACKENDS, N_EXPLANATIONS, N_IMAGES, NETWORKS
from tests.helpers.shown_page import page_of

LAYER = "a.conv"
EVIL = "<img src=x onerror=window.hit=1>"
FIRST, SECOND = NETWORKS[:2]


SMALL = {"networks": NETWORKS[:2], "units_a_layer": N_UNITS, "texts": False}


def small(folder, change=None, **options):
    return page_of(folder, change, made=True, **SMALL, **options)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return small(tmp_path_factory.mktemp("kinds"))


def data_of(page):
    found = re.search(r'<script id="unit-data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[1])


def of_unit(frame, model, layer, unit):
    return frame[(frame["model"] == model) & (frame["layer"] == layer) & (frame["unit"] == unit)]


def rows_of(data):
    """Row of each unit by network, layer, number and condition."""
    spread = [np.repeat(*np.array(data[name]).T) for name in ("layer", "condition")]
    layers = [(data["models"][model], layer) for model, layer, *_ in data["layers"]]
    keys = zip(spread[0], data["unit"], spread[1], strict=True)
    return {
        (*layers[layer], unit, data["conditions"][condition]): row for row, (layer, unit, condition) in enumerate(keys)
    }


def test_every_kind_of_a_unit_shows_the_pictures_of_its_first_task(page):
    data = data_of(page)
    row = rows_of(data)[FIRST, LAYER, 0, NATURAL]
    shown = read_parquet(page.parent / "explanation_kinds/shown.parquet")
    own = of_unit(shown, FIRST, LAYER, 0)
    found = data["kinds"]["of"][str(row)]
    wanted = [(NATURAL, -1), (FEWER, -1), (SYNTHETIC, 0), (SYNTHETIC, 1), (MIXED, 0), (MIXED, 1), (CLUSTERS, -1)]
    assert [(data["kinds"]["names"][kind], number) for kind, number, *_ in found] == [
        (kind_words(k), n) for k, n in wanted
    ]
    numbers = read_parquet(page.parent / "images/manifest.parquet")["path"].tolist()
    for (kind, number), (*_, least, most) in zip(wanted, found, strict=True):
        for side, groups in (("min", least), ("max", most)):
            rows = own[(own["kind"] == kind) & (own["seed_set"] == number) & (own["side"] == side)]
            paths = [data["path"][thumb] for group in groups for thumb in group]
            if kind == CLUSTERS:  # topic after topic
                assert [len(group) for group in groups] == [5, 4]
                rows = rows.sort_values(["topic", "position"])
            natural = [numbers[image] for image in rows["image"] if image < N_IMAGES]
            assert [path for path in paths if not path.startswith("made/")] == natural
            assert len(paths) == len(rows)
    made = [data["path"][thumb] for thumb in found[2][-1][0]]
    assert made == [f"made/{FIRST}/{LAYER}/0/max/0/{place}" for place in range(N_EXPLANATIONS)]


def test_scores_statuses_and_values_are_those_of_the_tables(page):
    data = data_of(page)
    kinds, row = data["kinds"], rows_of(data)[FIRST, LAYER, 1, NATURAL]
    table = read_csv(page.parent / "tables/explanation_kinds_units.csv")
    own = of_unit(table, FIRST, LAYER, 1).set_index(["kind", "seed_set"])
    names = {kind_words(kind): kind for kind in KINDS}
    for kind, number, score, error, chosen, *_ in kinds["of"][str(row)]:
        name = names[kinds["names"][kind]]
        assert score / 1e6 == pytest.approx(own.loc[(name, number), "score"], abs=1e-6)
        assert error / 1e6 == pytest.approx(own.loc[(name, number), "se"], abs=1e-6)
        assert chosen / 1e6 == pytest.approx(KINDS[name][1], abs=1e-6)
    reached = read_csv(page.parent / "tables/made_images.csv")
    sides = of_unit(reached, FIRST, LAYER, 1)
    assert [each[:2] for each in kinds["made"][str(row)]] == [[0, 1], [0, 0], [1, 1], [1, 0]]
    for (_, _, status, best, *_), wanted in zip(kinds["made"][str(row)], sides.itertuples(), strict=True):
        assert best == round(100 * wanted.ratio_best)
        assert kinds["statuses"][status] == wanted.status.replace("_", " ")
    assert (sides["status"] == BELOW).sum() == 2
    images = read_parquet(page.parent / "visualisations/images.parquet")
    value = {
        f"made/{r.model}/{r.layer}/{r.unit}/{r.side}/{r.seed_set}/{r.position}": r.value for r in images.itertuples()
    }
    assert len(kinds["values"]) == len(images)
    for thumb, told in kinds["values"].items():
        assert told == pytest.approx(value[data["path"][int(thumb)]], rel=1e-3)


def test_a_unit_with_a_side_out_of_reach_shows_the_other_and_says_so(page):
    data = data_of(page)
    kinds, row = data["kinds"], rows_of(data)[SECOND, LAYER, N_UNITS - 1, NATURAL]
    found = kinds["of"][str(row)]
    assert [(kind, number) for kind, number, *_ in found] == [(kinds["synthetic"], 0), (kinds["synthetic"], 1)]
    for _, _, score, _, _, least, most in found:
        assert score is None
        assert [len(group) for group in least] == [N_EXPLANATIONS]
        assert most == []
    assert {kinds["statuses"][each[2]] for each in kinds["made"][str(row)] if each[1] == 1} == {"unreachable"}


def test_networks_with_attention_are_marked(page):
    assert data_of(page)["kinds"]["outside"] == {"models": [SECOND], "words": "not in IMI"}
    text = page.read_text()
    assert f"{SECOND}: not in IMI" in text
    assert f"{SECOND} (not in IMI)" in text
    assert f"{FIRST} (not in IMI)" not in text


def own_slope(folder):
    """Tasks that made images explain have a slope of their own."""
    row = {
        "backend": BACKENDS[0],
        "condition": SYNTHETIC,
        "slope": 3.5,
        "status": "calibrated",
        "source": "own answers",
    }
    write_csv(
        folder / "tables/made_slopes.csv", pd.DataFrame([row | dict.fromkeys(["answers", "n_units", "reason"], "")])
    )


def one_set(folder):
    """How much scores change between sets of made images is not known."""
    path = folder / "tables/explanation_kinds.csv"
    write_csv(path, read_csv(path).assign(between_sd=np.nan))


def evil_kind(folder):
    path = folder / "explanation_kinds/shown.parquet"
    shown = read_parquet(path)
    write_parquet(path, shown.assign(kind=shown["kind"].replace(CLUSTERS, EVIL)), SHOWN)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """The page of the study with all of these changes."""

    def change(folder):
        for each in (own_slope, one_set, evil_kind):
            each(folder)

    return small(tmp_path_factory.mktemp("changed"), change)


def test_tasks_that_made_images_explain_have_their_own_slope_and_show_these_images(changed):
    data = data_of(changed)
    assert data["slopes"] == {SYNTHETIC: [3.5, "calibrated; from own answers"]}
    row = rows_of(data)[FIRST, LAYER, 0, SYNTHETIC]
    most = [data["path"][thumb] for thumb in data["pictures"][str(row)]["most"]]
    assert most == [f"made/{FIRST}/{LAYER}/0/max/0/{place}" for place in range(N_EXPLANATIONS)]
    assert data["pictures"][str(row)]["full"]["0"][:N_EXPLANATIONS] == data["pictures"][str(row)]["most"]


@pytest.mark.parametrize("spread", [0.017, np.nan])
@needs("Chromium")
def test_errors_with_made_images_hold_the_luck_of_their_set_or_are_said_not_to(page, changed, tab, spread):
    shown = changed if np.isnan(spread) else page
    data = data_of(shown)
    rows = rows_of(data)
    for condition in (NATURAL, SYNTHETIC):
        row = rows[FIRST, LAYER, 1, condition]
        of_tasks = of_unit(read_parquet(shown.parent / "mis/units.parquet"), FIRST, LAYER, 1)
        of_tasks = of_tasks[(of_tasks["condition"] == condition) & (of_tasks["backend"] == BACKENDS[0])][
            "mis_se"
        ].item()
        wanted = of_tasks if condition == NATURAL or np.isnan(spread) else np.sqrt(of_tasks**2 + spread**2)
        assert data["se"][row] / 1e6 == pytest.approx(wanted, abs=1e-6)
        assert (row in data["tasksAlone"]) == (condition == SYNTHETIC and bool(np.isnan(spread)))
    tab.open(shown, f"#units?unit={FIRST}/{LAYER}/1/{SYNTHETIC}")
    said = tab.run("document.querySelector('#unit .big').textContent")
    assert ("and the luck of made images" in said) == (not np.isnan(spread))
    assert ("the luck of made images changes it is not known" in said) == bool(np.isnan(spread))


def test_networks_come_in_turn_as_long_as_their_pictures_keep_the_limit():
    # two networks with two units each, of ten pictures; the second unit of the first shares them with the first
    pictures = {0: range(10), 1: range(10), 2: range(10, 20), 3: range(20, 30)}
    of = {row: [Shown(NATURAL, -1, {"min": [[*own][:5]], "max": [[*own][5:]]})] for row, own in pictures.items()}
    keys = {row: (NETWORKS[row // 2], LAYER, row) for row in of}
    whole = Kinds(of, keys, pd.DataFrame(), pd.DataFrame(), {})
    assert [[*whole.within(most).of] for most in (30, 29, 19, 9)] == [[0, 2, 1, 3], [0, 2, 1], [0, 1], []]
    assert whole.images(3) == set(range(20, 30))


def test_a_page_without_pictures_has_none_of_kinds(tmp_path):
    data = data_of(small(tmp_path, show_images=False))
    assert (data["kinds"]["of"], data["kinds"]["values"], data["path"]) == ({}, {}, [])


def test_a_study_without_made_images_says_what_it_lacks_and_shows_nothing(tmp_path):
    data = data_of(page_of(tmp_path, human=False))
    assert (data["kinds"]["of"], data["kinds"]["made"], data["slopes"]) == ({}, {}, {})
    text = (tmp_path / "report.html").read_text()
    assert "no unit was explained in more than one way (explanation_kinds.units)" in text
    assert "no images were made (visualisations.units)" in text
    assert 'id="kinds"' not in text


@needs("Chromium")
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (768, 1024), (390, 844)])
def test_kinds_stand_side_by_side_on_every_screen(page, tab, width, height):
    tab.problems.clear()
    tab.open(page, "#units?list=kinds&view=table", width=width, height=height)
    assert tab.run("document.getElementById('units-status').textContent").startswith(f"{2 * N_UNITS} units")
    tab.open(page, f"#units?unit={FIRST}/{LAYER}/1/natural", width=width, height=height)
    cards = tab.run("[...document.querySelectorAll('#unit .kinds > li')].map(e => e.textContent)")
    assert [card.partition("− least")[0] for card in cards] == [
        *("natural", "natural, 3 a side", "made images, set 1", "made images, set 2"),
        *("natural and made, set 1", "natural and made, set 2"),
    ]
    # the best image goes beyond nature here, so the side as a whole is not called below it
    assert re.search(r"− not all beyond nature: best [2-9]\.\d\d, weakest \d\.\d\d, ", cards[2])
    assert "+ beats nature: best " in cards[2]
    assert "kept after a shift of 3 px" in cards[2]
    assert "weakest" not in cards[4]
    title = tab.run("document.querySelectorAll('#unit .kinds > li')[2].querySelector('.t').title")
    assert re.fullmatch(rf"made/{FIRST}/{LAYER}/1/min/0/0, value -\d.*", title)
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.problems == []


@needs("Chromium")
def test_a_unit_with_made_images_says_what_it_shows_and_what_its_errors_hold(page, tab):
    tab.open(page, f"#units?unit={FIRST}/{LAYER}/1/{SYNTHETIC}")
    assert tab.run("document.querySelector('#unit h1').textContent").endswith(f"{LAYER} · 1, made images tasks")
    extremes = tab.run("[...document.querySelectorAll('#unit .lower h2')].map(e => e.textContent)")
    assert extremes == [f"Explanations of its first task: {which} exciting" for which in ("least", "most")]
    titles = tab.run("[...document.querySelectorAll('#unit .lower section:last-child .t')].map(e => e.title)")
    assert len(titles) == N_EXPLANATIONS
    assert f"made/{FIRST}/{LAYER}/1/max/0/0" in titles[0]
    assert "and the luck of made images" in tab.run("document.querySelector('#unit .big').textContent")
    links = tab.run("[...document.querySelectorAll('#unit .named a')].map(e => e.textContent)")
    assert "natural" in links
    # kinds are those of the unit, whichever of its tasks is shown
    assert tab.run("document.querySelectorAll('#unit .kinds > li').length") == 6


@needs("Chromium")
def test_words_of_kinds_are_never_markup(changed, tab):
    tab.problems.clear()
    tab.open(changed, f"#units?unit={FIRST}/{LAYER}/0/natural")
    assert EVIL in tab.run("document.querySelector('#unit .kinds').textContent")
    assert tab.run("typeof window.hit") == "undefined"
    assert tab.problems == []
