"""Planted and permuted control units: what they are made of, and that chance really is chance."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interpretability.synthetic import planted_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import label_factors


@pytest.fixture(scope="module")
def factors() -> pd.DataFrame:
    return draw_factors(2000, seed=0, stream="study", n_categories=24)


@pytest.fixture(scope="module")
def layers(factors) -> dict[str, planted_units.ControlLayer]:
    return {layer.layer: layer for layer in planted_units.planted(factors, seed=0)}


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def test_all_layers_are_there_once_with_a_label_a_unit(layers, factors):
    rhos = ["0", "0.25", "0.5", "0.75", "1"]
    expected = {"factor", "hash", "hash_rectified", "polysemantic", "duplicate", "negated", "constant"}
    expected |= {f"mixture_{rho}" for rho in rhos} | {f"mixture_rectified_{rho}" for rho in rhos}
    expected |= {"middle_redealt_0.75", "extremes_exchanged_0.75"}
    assert set(layers) == expected
    assert len(planted_units.planted(factors, seed=0)) == len(expected)
    for layer in layers.values():
        assert layer.values.shape == (len(factors), len(layer.labels))
        assert layer.values.dtype == np.float32
        assert np.isfinite(layer.values).all()
    assert layers["hash"].values.shape[1] >= 200
    assert layers["hash_rectified"].values.shape[1] >= 200


def test_factor_units_are_the_factors(layers, factors):
    layer = layers["factor"]
    # 2 for hue, 2 for orientation, frequency, 8 textures, 8 shapes, 8 objects, count, 2 for position
    assert len(layer.labels) == 32
    unit = dict(zip(layer.labels, layer.values.T, strict=True))
    assert np.allclose(unit["colour:sin"], np.sin(np.radians(factors["colour"])), atol=1e-6)
    assert np.allclose(unit["orientation:cos"], np.cos(np.radians(2 * factors["orientation"])), atol=1e-6)
    assert np.array_equal(unit["texture:bricks"], (factors["texture"] == "bricks").astype(np.float32))
    assert np.allclose(unit["count"], (factors["count"] - 1) / 5)
    assert np.allclose(unit["position:x"], (factors["position_x"] - 0.24) / 0.52, atol=1e-6)


def test_labels_name_the_factors():
    assert label_factors("colour:cos") == ("colour",)
    assert label_factors("count") == ("count",)
    assert label_factors("mixture_0.5/position:x") == ("position",)
    assert label_factors("colour:cos|object:house") == ("colour", "object")
    assert label_factors("") == ()
    assert label_factors("zero") == ()


@pytest.mark.parametrize(
    ("layer", "rho"),
    [
        ("mixture_0.25", 0.25),
        ("mixture_rectified_1", 1.0),
        ("mixture_0", 0.0),
        ("hash_rectified", None),
        ("factor", None),
    ],
)
def test_layer_names_tell_the_share_of_factor(layer, rho):
    assert planted_units.layer_rho(layer) == rho


@pytest.mark.parametrize("rho", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_mixtures_correlate_with_their_factor_as_planted(layers, rho):
    factor, mixture = layers["factor"], layers[f"mixture_{rho:g}"]
    sources = [factor.labels.index(label) for label in mixture.labels]
    measured = [
        correlation(factor.values[:, source], column) for source, column in zip(sources, mixture.values.T, strict=True)
    ]
    # one correlation of 2000 images has a standard error of at most 1 / sqrt(2000) = 0.022
    assert measured == pytest.approx([rho] * len(measured), abs=0.1)
    assert np.mean(measured) == pytest.approx(rho, abs=0.02)
    # mixed from standardised parts: about mean 0 and deviation 1, whatever the factor
    assert np.mean(mixture.values) == pytest.approx(0, abs=0.02)
    assert np.std(mixture.values) == pytest.approx(1, abs=0.02)


def test_a_mixture_has_several_different_draws_of_every_factor_unit(layers):
    mixture = layers["mixture_0.5"]
    assert all(mixture.labels.count(label) == planted_units.N_MIXTURE_DRAWS for label in layers["factor"].labels)
    assert len(np.unique(mixture.values, axis=1).T) == len(mixture.labels)
    # without hash all draws would be equal
    assert layers["mixture_1"].labels == layers["factor"].labels


def test_rectified_units_are_zero_on_95_percent_of_the_images(layers):
    hashes = layers["hash_rectified"].values
    shares = (hashes == 0).mean(axis=0)
    # binomial with 2000 images: standard deviation 0.0049
    assert shares == pytest.approx(np.full(200, 0.95), abs=0.025)
    assert shares.mean() == pytest.approx(0.95, abs=0.002)
    assert hashes.min() == 0
    for rho in ("0", "0.25", "0.5", "0.75"):
        layer = layers[f"mixture_rectified_{rho}"]
        assert ((layer.values == 0).mean(axis=0) == 0.95).all()
        assert layer.values.min() == 0


@pytest.mark.parametrize(("n_images", "end"), [(2000, 200), (600, 150), (8000, 400)])
def test_values_are_dealt_anew_between_the_ends_or_across_them(n_images, end):
    layers = {
        layer.layer: layer
        for layer in planted_units.planted(draw_factors(n_images, seed=0, stream="study", n_categories=24), seed=0)
    }
    mixture = layers["mixture_0.75"].values
    redealt, exchanged = layers["middle_redealt_0.75"].values, layers["extremes_exchanged_0.75"].values
    for values in (redealt, exchanged):
        assert np.array_equal(np.sort(values, axis=0), np.sort(mixture, axis=0))
    for unit in (0, 100):
        order = np.argsort(mixture[:, unit], kind="stable")
        ends, middle = np.r_[order[:end], order[-end:]], order[end:-end]
        assert np.array_equal(redealt[ends, unit], mixture[ends, unit])
        assert abs(correlation(redealt[middle, unit], mixture[middle, unit])) < 4 / np.sqrt(len(middle))
        # nobody stays at an end; who came there was in the middle, and those in between are where they were
        now = np.argsort(exchanged[:, unit], kind="stable")
        assert not set(np.r_[now[:end], now[-end:]]) & set(ends)
        moved = exchanged[:, unit] != mixture[:, unit]
        assert moved.sum() == 4 * end
        assert moved[ends].all()
    assert not np.array_equal(np.argsort(redealt[:, 0]), np.argsort(redealt[:, len(layers["factor"].labels)]))


def test_hash_units_are_standard_normal_and_independent(layers):
    values = layers["hash"].values
    assert stats.kstest(values.ravel()[::7], "norm").pvalue > 1e-3
    correlations = np.corrcoef(values.T)[np.triu_indices(200, 1)]
    # of 19900 pairs with standard error 0.022 the largest should stay below 4.5 of them
    assert np.abs(correlations).max() < 0.11
    assert np.std(correlations) == pytest.approx(2000**-0.5, rel=0.05)
    neighbours = [correlation(column[1:], column[:-1]) for column in values.T]
    assert np.mean(neighbours) == pytest.approx(0, abs=0.005)


def test_hash_units_depend_on_seed_layer_unit_and_image_alone():
    images = np.arange(500)
    values = planted_units.hash_units(images, seed=3, n_units=20)
    chosen = np.array([400, 7, 7, 123])
    assert np.array_equal(planted_units.hash_units(chosen, seed=3, n_units=5), values[chosen, :5])
    assert (values != planted_units.hash_units(images, seed=4, n_units=20)).mean() > 0.99
    assert len(np.unique(values)) > 0.99 * values.size
    assert (values != planted_units.hash_units(images, seed=3, n_units=20, layer="other")).mean() > 0.99


def test_chance_layers_need_no_factors_and_equal_the_planted_ones(layers):
    for layer in planted_units.chance(2000, seed=0):
        assert np.array_equal(layer.values, layers[layer.layer].values)
    hashes, rectified = planted_units.chance(50, seed=0)
    assert np.array_equal(hashes.values, layers["hash"].values[:50])
    assert np.array_equal(rectified.values, layers["hash_rectified"].values[:50])


def test_values_of_an_image_do_not_depend_on_the_other_images(factors, layers):
    for layer in planted_units.planted(factors.iloc[:100], seed=0):
        if layer.layer.startswith(("mixture_rectified", "middle_redealt", "extremes_exchanged")):
            continue  # a threshold that is a percentile over the images, and values dealt among them
        assert np.array_equal(layer.values, layers[layer.layer].values[:100]), layer.layer


def test_polysemantic_units_are_excited_by_either_of_two_factors(factors, layers):
    layer = layers["polysemantic"]
    pairs = [label_factors(label) for label in layer.labels]
    assert len(set(pairs)) == 8 * 7 / 2
    assert all(first != second for first, second in pairs)
    whole = dict(zip(layers["mixture_1"].labels, layers["mixture_1"].values.T, strict=True))
    for label, values in zip(layer.labels, layer.values.T, strict=True):
        first, second = label.split("|")
        assert np.array_equal(values, np.maximum(whole[first], whole[second]))


def test_duplicates_negations_and_constants(layers):
    duplicate, negated = layers["duplicate"], layers["negated"]
    for label, values in zip(duplicate.labels, duplicate.values.T, strict=True):
        source, _, part = label.partition("/")
        assert np.array_equal(values, layers[source].values[:, layers[source].labels.index(part)])
    assert {label.partition("/")[0] for label in duplicate.labels} == {"factor", "mixture_0.5"}
    assert negated.labels == duplicate.labels
    assert np.array_equal(negated.values, -duplicate.values)
    assert np.ptp(layers["constant"].values, axis=0).tolist() == [0, 0]


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 700), key=st.integers(0, 2**64 - 1))
def test_a_keyed_bijection_is_a_permutation(n, key):
    result = planted_units.keyed_bijection(np.arange(n)[None], np.array([key], dtype=np.uint64), n)
    assert sorted(result[0]) == list(range(n))


def test_all_permutations_of_a_few_images_are_equally_likely():
    keys = np.arange(24_000, dtype=np.uint64)
    result = planted_units.keyed_bijection(np.broadcast_to(np.arange(5), (len(keys), 5)), keys, 5)
    codes = result @ 5 ** np.arange(5)
    counts = [np.sum(codes == np.array(order) @ 5 ** np.arange(5)) for order in permutations(range(5))]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n", [300, 4000, 1_281_167])
def test_pairs_of_images_land_uniformly(n):
    keys = np.arange(20_000, dtype=np.uint64)
    result = planted_units.keyed_bijection(np.broadcast_to([0, n - 1], (len(keys), 2)), keys, n)
    cells = result * 10 // n
    counts = np.bincount(cells[:, 0] * 10 + cells[:, 1], minlength=100)
    # that the two never coincide shifts the cells by at most 1 / n of their share
    assert stats.chisquare(counts).pvalue > 1e-3


def test_permuted_extremes_rename_images_the_same_way_on_both_sides():
    rng = np.random.default_rng(0)
    n, units, width = 500, 40, 60
    drawn = np.stack([rng.permutation(n)[:100] for _ in range(units)]).astype(np.int32)
    top, bottom = drawn[:, :width], drawn[:, 40:]  # images 40 to 59 of every row are on both sides
    keys = rng.integers(0, 2**63, units).astype(np.uint64)
    new_top, new_bottom = planted_units.permuted_extremes(top, bottom, n, 0, keys)
    assert new_top.dtype == new_bottom.dtype == np.int32
    assert np.array_equal(new_top[:, 40:], new_bottom[:, :20])
    for row in np.concatenate([new_top[:, :40], new_bottom], axis=1):
        assert len(set(row)) == 100
        assert 0 <= row.min() <= row.max() < n
    again = planted_units.permuted_extremes(top[5:7], bottom[5:7], n, 0, keys[5:7])
    assert np.array_equal(again[0], new_top[5:7])
    assert (planted_units.permuted_extremes(top, bottom, n, 1, keys)[0] != new_top).mean() > 0.9


def test_permuted_extremes_forget_what_the_images_show():
    # all units prefer images 0..49 of 1000; afterwards no image is preferred
    units = 2000
    top = np.broadcast_to(np.arange(50, dtype=np.int32), (units, 50))
    bottom = np.broadcast_to(np.arange(950, 1000, dtype=np.int32), (units, 50))
    for side in planted_units.permuted_extremes(top, bottom, 1000, 0, np.arange(units, dtype=np.uint64)):
        assert stats.chisquare(np.bincount(side.ravel(), minlength=1000)).pvalue > 1e-3


def test_image_numbers_outside_the_range_are_refused():
    good, bad = np.array([[0, 1]], dtype=np.int32), np.array([[0, 9]], dtype=np.int32)
    key = np.array([1], dtype=np.uint64)
    with pytest.raises(ValueError, match="bottom side reach from 0 to 9; there are 5 images"):
        planted_units.permuted_extremes(good, bad, 5, 0, key)
    with pytest.raises(ValueError, match="top side"):
        planted_units.permuted_extremes(-good, good, 5, 0, key)
