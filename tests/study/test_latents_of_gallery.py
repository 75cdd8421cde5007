"""Directions in the gallery: latents like units, what they lie near to, and how many have no scores."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from stages import report
from study.files.tables import read_csv, read_parquet, write_csv, write_parquet
from tests.helpers.programs import needs
from tests.helpers.report_fixture import BACKENDS, NETWORKS, build
from tests.helpers.shown_page import drawing_only, page_of

CODE, UNITS = "vit", "resnet"  # the last network of the fixture stands for the first one read by a sparse code
LAYER = "b.conv"
EVIL = "<img src=x onerror=window.hit=1>"


def made(folder, kind="code", drawn=False):
    """The report of a study whose last network is the first one in other directions."""
    arguments = build(folder)
    models = read_csv(folder / "tables/models.csv")
    write_csv(
        folder / "tables/models.csv", models.assign(role=models["role"].mask(models["model"] == CODE, "directions"))
    )
    differences = read_csv(folder / "tables/units_or_directions.csv")
    differences["model"] = differences["model"].replace({f"{UNITS}-rotation": CODE})
    write_csv(folder / "tables/units_or_directions.csv", differences)
    row = {"model": CODE, "layer": LAYER, "kind": kind, "pooling": "max", "sparse": 1}
    write_csv(folder / "activations/directions.csv", pd.DataFrame([row]))
    units = read_parquet(folder / "mis/units.parquet")
    of_code = units[(units["model"] == CODE) & (units["layer"] == LAYER) & (units["backend"] == BACKENDS[0])]
    scored = of_code[["model", "layer", "unit"]].reset_index(drop=True)
    others = pd.DataFrame({"model": CODE, "layer": LAYER, "unit": [90, 91, 92]})
    firing = pd.concat(
        [scored.assign(share=0.0312, status="scored"), others.assign(share=[0.01, 0.02, 0.0], status="too_sparse")]
    )
    firing.loc[firing["share"] == 0, "status"] = "dead"
    write_parquet(folder / "tasks/firing.parquet", firing.reset_index(drop=True))
    near = [scored.assign(rank=rank, near_unit=rank % 12, cosine=np.float32(0.9 - rank / 10)) for rank in (2, 1)]
    write_parquet(folder / "activations/nearest.parquet", pd.concat(near, ignore_index=True))
    with nullcontext() if drawn else drawing_only():
        report.main(arguments)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return made(tmp_path_factory.mktemp("latents"))


def data_of(page):
    found = re.search(r'<script id="unit-data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[1])


def test_directions_stand_behind_the_networks_and_are_not_ranked(page):
    data = data_of(page)
    assert data["models"] == [name for name in data["models"] if name != CODE] + [CODE]
    assert set(data["models"]) == set(NETWORKS)
    models = re.search(r"<caption><span>Networks, similarity.*?</table>", page.read_text(), re.DOTALL)[0]
    assert CODE not in models
    assert data["pictures"]


def test_a_latent_has_its_firing_rate_neighbours_and_layer(page):
    data = data_of(page)["directions"]
    assert list(data["read"].values()) == [["code", "max", UNITS, LAYER, 1, 2, 15]]
    assert set(data["firing"].values()) == {31200}
    assert len(data["firing"]) == 12
    # the nearest first, whatever the order of the file
    assert list(data["nearest"].values()) == [[[1, 80], [2, 70]]] * 12


def test_a_study_without_directions_has_none_of_it(tmp_path):
    assert data_of(page_of(tmp_path, human=False))["directions"] == {"read": {}, "firing": {}, "nearest": {}}
    text = (tmp_path / "report.html").read_text()
    assert "no network is read in other directions than its units" in text
    assert "Latents of sparse codes" not in text


@needs("Chromium")
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (768, 1024), (390, 844)])
def test_a_latent_opens_and_its_nearest_unit_is_a_link(page, tab, width, height):
    heading = "document.querySelector('#unit h1').textContent.trim()"
    tab.problems.clear()
    tab.open(page, f"#units?unit={CODE}/{LAYER}/3/natural", width=width, height=height)
    assert tab.run(heading) == f"{CODE} {LAYER} · direction 3"
    facts = tab.run("document.querySelector('#unit .about').textContent")
    assert f"code of {LAYER} of {UNITS}, pooled by max" in facts
    assert "Firing rate3.1 % of all pictures" in facts
    assert "15; 2 too sparse for tasks, 1 dead" in facts
    near = tab.run("[...document.querySelectorAll('#unit .about li')].map(e => e.textContent)")
    assert near == [f"{LAYER} · 1 0.80", f"{LAYER} · 2 0.70"]
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run("document.querySelector('#unit .about a').click()")
    tab.settle()
    assert tab.run(heading) == f"{UNITS} {LAYER} · 1"
    assert tab.run("document.querySelector('#unit .about')") is None
    assert tab.problems == []


@needs("Chromium")
def test_words_of_a_direction_are_never_markup(tmp_path, tab):
    page = made(tmp_path, kind=EVIL)
    tab.open(page, f"#units?unit={CODE}/{LAYER}/3/natural")
    assert EVIL in tab.run("document.querySelector('#unit').textContent")
    assert tab.run("typeof window.hit") == "undefined"
