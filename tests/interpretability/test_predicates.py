"""Texts as predicates over the factors of scenes: exact presence, combinations, and texts of known order."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.synthetic import predicates
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import FACTORS
from interpretability.synthetic.planted_units import planted
from interpretability.synthetic.predicates import KNOWN_METHODS, factor_of, known_texts, presence, simple_texts
from interpretability.synthetic.scenes import render


@pytest.fixture(scope="module")
def factors():
    return draw_factors(3000, seed=0, stream="predicates", n_categories=24)


def test_texts_of_a_factor_share_out_the_images(factors):
    """Each image has one value of a factor, and shapes one place in either direction."""
    for factor in FACTORS:
        own = [text for text in simple_texts() if factor_of(text) == factor.name]
        count = sum(presence(text, factors).astype(int) for text in own)
        assert (count == (2 if factor.name == "position" else 1)).all(), factor.name
        assert len(own) == {"position": 4}.get(factor.name, len(factor.levels) or len(own))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a star", lambda f: f["shape"] == "star"),
        ("a checkerboard", lambda f: f["texture"] == "checker"),
        ("grain", lambda f: f["texture"] == "noise"),
        ("no object", lambda f: f["object"] == "none"),
        ("six shapes", lambda f: f["count"] == 6),
        ("red shapes", lambda f: (f["colour"] < 30) | (f["colour"] >= 330)),
        ("cyan shapes", lambda f: (f["colour"] >= 150) & (f["colour"] < 210)),
        ("level texture", lambda f: (f["orientation"] >= 67.5) & (f["orientation"] < 112.5)),
        ("upright texture", lambda f: (f["orientation"] < 22.5) | (f["orientation"] >= 157.5)),
        ("shapes on the left", lambda f: f["position_x"] < 0.5),
        ("shapes at the bottom", lambda f: f["position_y"] >= 0.5),
        ("a coarse texture", lambda f: f["frequency"] < 2.5 * (9 / 2.5) ** (1 / 3)),
        ("a star or a house", lambda f: (f["shape"] == "star") | (f["object"] == "house")),
        ("a star and a house", lambda f: (f["shape"] == "star") & (f["object"] == "house")),
        ("not a star", lambda f: f["shape"] != "star"),
        (
            "a star or not a house and six shapes",
            lambda f: (f["shape"] == "star") | ((f["object"] != "house") & (f["count"] == 6)),
        ),
    ],
)
def test_a_text_says_what_the_factors_do(factors, text, shown):
    np.testing.assert_array_equal(presence(text, factors), shown(factors))


def test_directions_of_textures_are_those_of_the_pictures(factors):
    """Along a texture grey values change least: the mean square differences along four directions tell which one it is."""
    lines = factors[factors["texture"].isin(["stripes", "lines"])].head(200)
    grey = render(lines, 64).astype(float).mean(axis=-1)
    steps = {"upright": (1, 0), "level": (0, 1), "falling": (1, 1), "rising": (-1, 1)}
    change = {}
    for name, (down, right) in steps.items():
        moved = np.roll(grey, (-down, -right), axis=(1, 2))
        change[name] = ((moved - grey)[:, 2:-2, 2:-2] ** 2).mean(axis=(1, 2)) / (down**2 + right**2)
    seen = np.array(list(change))[np.argmin(np.stack(list(change.values())), axis=0)]
    said = np.empty(len(lines), dtype=object)
    for name in steps:
        said[presence(f"{name} texture", lines)] = name
    assert (seen == said).mean() > 0.6, "chance is a quarter; shapes cover a part of each texture"


@pytest.mark.parametrize("text", ["a stor", "a star or", "a star and a hose", "", "not not a star", "A star"])
def test_an_unknown_text_is_refused_by_its_part(factors, text):
    with pytest.raises(InputError, match="names nothing that scenes show; did you mean"):
        presence(text, factors)


def test_a_close_text_is_named(factors):
    with pytest.raises(InputError, match=r"'a hose' of 'a star and a hose' .* did you mean 'a house'"):
        presence("a star and a hose", factors)


def test_known_texts_have_the_order_that_they_are_named_for(factors):
    layer = next(layer for layer in planted(factors, 0) if layer.layer == "mixture_0.5")
    units = [unit for unit, label in enumerate(layer.labels) if label.split(":")[0] in ("texture", "shape", "object")]
    rho = {method: [] for method in KNOWN_METHODS}
    for unit in units[:40]:
        texts = known_texts(layer.labels[unit], unit, seed=0)
        assert tuple(texts) == KNOWN_METHODS
        shown = {method: presence(text, factors) for method, text in texts.items()}
        assert (shown["narrow"] <= shown["true"]).all()
        assert (shown["true"] <= shown["broad"]).all()
        assert (shown["broad"] <= shown["vague"]).all()
        assert shown["narrow"].sum() < shown["true"].sum() < shown["broad"].sum() < shown["vague"].sum()
        for method, row in shown.items():
            rho[method].append(np.corrcoef(layer.values[:, unit], row)[0, 1])
    means = {method: np.mean(values) for method, values in rho.items()}
    # what a unit that is half a level of prevalence 1/8 has with it, and with supersets and subsets of it
    assert means["true"] == pytest.approx(0.5, abs=0.02)
    assert means["broad"] == pytest.approx(0.5 * np.sqrt(3 / 7), abs=0.03)
    assert means["narrow"] == pytest.approx(0.5 * np.sqrt(7 / 15), abs=0.03)
    assert means["vague"] == pytest.approx(0.5 * np.sqrt(1 / 7), abs=0.03)
    assert abs(means["wrong"]) < 0.02


def test_known_texts_depend_on_the_unit_and_nothing_else():
    assert known_texts("shape:star", 3, seed=0) == known_texts("shape:star", 3, seed=0)
    assert known_texts("shape:star", 3, seed=0) != known_texts("shape:star", 4, seed=0)
    assert known_texts("shape:star", 3, seed=0)["true"] == "a star"


@pytest.mark.parametrize("label", ["colour:cos", "count", "", "shape:none", "position:x"])
def test_labels_without_a_level_have_no_known_texts(label):
    with pytest.raises(InputError, match="a level of a categorical factor"):
        known_texts(label, 0, seed=0)


def test_every_part_of_a_known_text_is_simple():
    for factor in predicates.categorical():
        for level in factor.levels:
            for text in known_texts(f"{factor.name}:{level}", 0, seed=1).values():
                assert all(part in simple_texts() for half in text.split(" or ") for part in half.split(" and "))
