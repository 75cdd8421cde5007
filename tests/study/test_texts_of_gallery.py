"""Texts of single units on the page: their scores, what they predict beside what the unit does, pictures that were rated."""

from __future__ import annotations

import base64
import re

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from interpretability.explanations import formulas
from study.report.figures.registry import FIGURES
from study.report.page import sections, unit_texts
from tests.helpers.report_fixture import LAYERS
from tests.helpers.text_tables import N_DRAWN, RATED_UNITS
from tests.study.test_gallery import built, keys

TEXTS = [spec for spec in FIGURES if spec.section == "texts"]
SMALL = {"networks": ("resnet", "vit"), "layers": LAYERS[:4]}
N_UNITS = 2 * 2 * len(RATED_UNITS)  # of two layers of two networks


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return folder, *built(folder, **SMALL)


def test_without_explanations_the_question_is_one_line_that_says_what_is_lacking(tmp_path):
    text, data = built(tmp_path, texts=False, **SMALL)
    assert data["texts"]["of"] == data["texts"]["points"] == data["texts"]["rated"] == {}
    assert 'id="figure-texts' not in text
    assert 'id="texts"' not in text
    [line] = re.findall(r"<dt>texts of units</dt><dd>(.*?)</dd>", text)
    assert "no texts of units were judged (explanations)" in line
    assert "Which text says it best?" in line
    assert "have texts that say" not in text


def test_the_section_says_what_is_simulated_and_where_the_error_comes_from(gallery):
    _, text, _ = gallery
    block = text[text.index('<section class="question" id="texts"') :]
    block = block[: block.index("</section>")]
    assert "All ratings in this section are simulated." in block
    assert "comes mostly from the guide" in block
    assert "(a simulated guide)" in block
    assert {spec.after for spec in sections.TABLE_SPECS if spec.section == "texts"} <= {spec.name for spec in TEXTS}
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", block, flags=re.DOTALL)
    about_raters = [caption for caption in captions if "rater" in caption]
    assert len(about_raters) >= 4
    assert all("simulated" in caption.lower() for caption in about_raters)


def test_texts_of_a_unit_have_the_scores_of_the_files(gallery):
    folder, _, data = gallery
    found, texts = keys(data), data["texts"]
    automatic = pd.read_parquet(folder / "explanations/scores.parquet").set_index(["model", "layer", "unit", "method"])
    crowd = pd.read_parquet(folder / "crowd/scores.parquet").query("raters == 'kept'")
    crowd = crowd.set_index(["model", "layer", "unit", "method", "estimator"])
    assert len(texts["of"]) == N_UNITS
    for row, of_unit in texts["of"].items():
        key = found[int(row)][:3]
        best = []
        for word, method, kind, status, rho, se, recall, control, rated, low, high, guide, known, n in of_unit:
            name = texts["methods"][method]
            machine = automatic.loc[(*key, name)]
            assert texts["words"][word] == machine["text"]
            assert texts["kinds"][kind] == machine["kind"]
            assert [rho, se, recall, control] == pytest.approx(
                [1e6 * machine[column] for column in ("rho", "rho_se", "recall", "control_rho")], abs=0.51
            )
            if (*key, name, "latent") in crowd.index:
                ours = crowd.loc[(*key, name, "latent")]
                assert [rated, low, high, known] == pytest.approx(
                    [1e6 * ours[column] for column in ("rho", "low", "high", "rho_true")], abs=0.51
                )
                assert guide == pytest.approx(1e6 * crowd.loc[(*key, name, "guide_only"), "rho"], abs=0.51)
                assert (texts["statuses"][status], n) == (ours["status"], 3 * N_DRAWN)
            else:
                assert [rated, low, high, known, guide, n] == [None] * 6
            best.append(rated if rated is not None else rho)
        assert best == sorted(best, reverse=True)


def unpacked(steps):
    low, high, packed = steps
    return low + (high - low) * np.frombuffer(base64.b64decode(packed), np.uint8) / 255


def test_a_scatter_holds_what_each_text_predicts_beside_what_the_unit_does(gallery):
    folder, _, data = gallery
    found, texts = keys(data), data["texts"]
    units = pd.read_parquet(folder / "explanations/units.parquet")
    values = load_file(folder / "explanations/columns.safetensors")["values"]
    presence = load_file(folder / "explanations/presence.safetensors")["presence"]
    concepts = pd.read_parquet(folder / "explanations/concepts.parquet")["concept"]
    by_concept = dict(zip(concepts, presence.astype(float), strict=True))
    rows = pd.read_parquet(folder / "explanations/texts.parquet").set_index(["model", "layer", "unit", "method"])
    assert len(texts["points"]) == len(texts["of"])
    for row, points in texts["points"].items():
        key = found[int(row)][:3]
        [place] = np.flatnonzero((units == list(key)).all(axis=1))
        own = values[place].astype(float)
        shown = unpacked(points["values"])
        order = np.argsort(-own, kind="stable")
        step = np.ptp(own) / 255
        assert len(shown) == unit_texts.N_TOP + unit_texts.N_SPACED
        np.testing.assert_allclose(shown[: unit_texts.N_TOP], own[order[: unit_texts.N_TOP]], atol=step)
        assert (np.diff(shown) <= step).all()
        # the last picture is the least exciting one
        assert shown[-1] == pytest.approx(own.min(), abs=step)
        top = order[: unit_texts.N_TOP]
        assert len(points["of"]) == len(texts["of"][row])
        for text, steps in points["of"].items():
            word, method, *_ = texts["of"][row][int(text)]
            one = rows.loc[(*key, texts["methods"][method])]
            formula = formulas.parse(one["kind"], texts["words"][word], one["formula"])
            predicted = formulas.predict(formula, {name: each[top] for name, each in by_concept.items()})
            np.testing.assert_allclose(unpacked(steps)[: len(top)], predicted, atol=0.02)


def test_rated_pictures_say_how_many_said_yes_the_most_exciting_first(gallery):
    folder, _, data = gallery
    found, texts = keys(data), data["texts"]
    labels = pd.read_parquet(folder / "crowd/labels.parquet").set_index(["text", "image"])
    posteriors = pd.read_parquet(folder / "crowd/posteriors.parquet").set_index(["pair", "image"])["posterior"]
    rows = pd.read_parquet(folder / "explanations/texts.parquet").set_index(["model", "layer", "unit", "method"])
    units = pd.read_parquet(folder / "explanations/units.parquet")
    values = load_file(folder / "explanations/columns.safetensors")["values"]
    images = pd.read_parquet(folder / "explanations/images.parquet")["image"]
    place_of = dict(zip(images, range(len(images)), strict=True))
    assert texts["rated"]
    for row, of_unit in texts["rated"].items():
        key = found[int(row)][:3]
        [unit] = np.flatnonzero((units == list(key)).all(axis=1))
        for text, rated in of_unit.items():
            pictures = rated["shown"]
            assert rated["of"] == N_DRAWN
            word, method, *_ = texts["of"][row][int(text)]
            pair = rows.loc[(*key, texts["methods"][method]), "pair"]
            drawn = set(pd.read_parquet(folder / "explanations/draws.parquet").query("pair == @pair")["image"])
            shown = [int(data["path"][thumb]) for thumb, *_ in pictures]
            assert len(shown) == len(set(shown)) == unit_texts.MOST_RATED < N_DRAWN
            assert set(shown) <= drawn
            excited = [values[unit, place_of[image]] for image in shown]
            assert excited == sorted(excited, reverse=True)
            assert excited[0] == max(values[unit, place_of[image]] for image in drawn)
            for (_, yes, n, posterior), image in zip(pictures, shown, strict=True):
                said = labels.loc[(texts["words"][word], image)]
                assert (yes, n) == (said["yes"], said["n"])
                assert posterior == round(100 * posteriors.loc[(pair, image)])


def test_a_limit_on_pictures_holds_for_rated_ones_too(tmp_path):
    _, data = built(tmp_path, n_pictures=330, **SMALL)
    assert len(data["path"]) <= 330
    assert len(data["pictures"]) > 0
    whole = len(data["texts"]["of"])
    assert whole == N_UNITS
    _, bare = built(tmp_path / "none", show_images=False, **SMALL)
    assert bare["texts"]["rated"] == {}
    assert len(bare["texts"]["of"]) == whole
    assert bare["texts"]["points"]


def test_units_with_texts_are_shown_with_pictures(gallery):
    _, _, data = gallery
    assert set(data["texts"]["of"]) <= set(data["pictures"])


def test_what_is_left_out_of_the_page_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(unit_texts, "MOST_TEXTS", 3)
    monkeypatch.setattr(unit_texts, "MOST_UNITS", 5)
    text, data = built(tmp_path, **SMALL)
    assert len(data["texts"]["of"]) == 5
    assert f"5 units have texts that say what they respond to (of {N_UNITS} such units of the study" in text
    # a unit has four texts in the fixture, the best three stay
    assert all(len(of_unit) == 3 for of_unit in data["texts"]["of"].values())
    assert set(data["texts"]["left"].values()) == {1}
    # networks alike: none has more than one unit above another
    models = [keys(data)[int(row)][0] for row in data["texts"]["of"]]
    assert sorted(models.count(name) for name in SMALL["networks"]) == [2, 3]


def test_methods_that_say_the_same_share_one_scatter(gallery):
    rows = pd.DataFrame({"kind": ["simple", "simple", "linear"], "text": ["a", "a", "a"], "formula": ["", "", "[]"]})
    assert [place for place, _ in unit_texts.distinct(rows)] == [0, 2]
