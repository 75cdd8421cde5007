"""Scores over the whole range of values: against plain loops, on planted units of known score, and where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interpretability import InputError, whole_range
from interpretability.extremes.selection import rank_images
from interpretability.label_free.predictions import predictions
from interpretability.label_free.range_scores import HEAVY, heavy_rows, range_scores
from interpretability.label_free.whole_range import probe_rows
from interpretability.margins import unit_rows
from interpretability.randomness import generator, unit_keys
from interpretability.synthetic import planted_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors

N, EXPLAINED = 4000, 180


@pytest.fixture(scope="module")
def rows():
    return factor_vectors(draw_factors(N, seed=3, stream="study", n_categories=24))


@pytest.fixture(scope="module")
def layers():
    factors = draw_factors(N, seed=3, stream="study", n_categories=24)
    return {layer.layer: layer.values for layer in planted_units.planted(factors, seed=3)}


@pytest.fixture(scope="module")
def explained():
    """Embeddings, probes and explanations of a few units, an image in several of a unit's places."""
    draw = generator(0, "whole range")
    rows = unit_rows(draw.standard_normal((60, 7)))
    top = np.array([draw.choice(60, 9, replace=False) for _ in range(21)])
    bottom = np.array([draw.choice(60, 5, replace=False) for _ in range(21)])
    top[3, 4] = top[3, 1]
    bottom[4, 2] = top[4, 0]
    return rows, draw.permutation(60)[:40], top, bottom


def looped(rows, probes, top, bottom):
    """Mean cosines with one side's other images less those with the other's, one pair at a time."""
    found = np.empty((len(top), len(probes)))
    exact = rows.astype(np.float64)
    for unit in range(len(top)):
        for place, probe in enumerate(probes):
            sides = [[exact[image] @ exact[probe] for image in side[unit] if image != probe] for side in (top, bottom)]
            found[unit, place] = np.mean(sides[0]) - np.mean(sides[1])
    return found


def test_predictions_are_the_mean_cosines_with_other_images(explained):
    assert np.abs(predictions(*explained) - looped(*explained)).max() < 1e-12


def test_predictions_depend_on_no_other_unit_probe_or_thread(explained, monkeypatch):
    rows, probes, top, bottom = explained
    whole = predictions(rows, probes, top, bottom)
    assert np.array_equal(predictions(rows, probes, top[5:8], bottom[5:8]), whole[5:8])
    assert np.array_equal(predictions(rows, probes[10:], top, bottom), whole[:, 10:])
    assert np.array_equal(predictions(rows, probes, top, bottom, threads=3), whole)
    monkeypatch.setattr("interpretability.label_free.predictions._BLOCK", 4)
    assert np.array_equal(predictions(rows, probes, top, bottom), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probes": np.array([1, 2, 1])}, "names an image twice"),
        ({"probes": np.array([1, 60])}, "reaches from 1 to 60; there are 60 rows"),
        ({"top": np.full((21, 3), -1)}, "reaches from -1"),
        ({"top": np.zeros((3, 3), int)}, "top is of 3 units and bottom of 21"),
        ({"top": np.zeros((21, 3))}, "must hold rows"),
    ],
)
def test_predictions_refuse_what_they_cannot_be_of(explained, change, message):
    given = dict(zip(("rows", "probes", "top", "bottom"), explained, strict=True)) | change
    with pytest.raises(InputError, match=message):
        predictions(**given)


def test_an_image_that_explains_alone_cannot_be_left_out(explained):
    rows, probes, _, bottom = explained
    with pytest.raises(InputError, match="one alone cannot be left out"):
        predictions(rows, probes, np.repeat(probes[:1], 21)[:, None], bottom)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_those_of_scipy(ties):
    draw = generator(1, "range scores", int(ties))
    x, y = draw.standard_normal((2, 6, 80))
    y += x
    if ties:
        x, y = np.round(x), np.maximum(y, 0.5)
    found = range_scores(x, y)
    assert found.rho == pytest.approx([stats.pearsonr(*pair)[0] for pair in zip(x, y, strict=True)], abs=1e-12)
    assert found.spearman == pytest.approx([stats.spearmanr(*pair)[0] for pair in zip(x, y, strict=True)], abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_errors_are_those_of_a_jackknife(ties):
    draw = generator(2, "range scores", int(ties))
    x, y = draw.standard_normal((2, 400))
    y = y + x**2 / 3 + x
    if ties:
        x, y = np.round(x), np.maximum(y, 0.5)
    found = range_scores(x[None], y[None])
    for name, score in (("se", stats.pearsonr), ("spearman_se", stats.spearmanr)):
        left = np.array([score(np.delete(x, i), np.delete(y, i))[0] for i in range(len(x))])
        jackknife = np.sqrt((len(x) - 1) / len(x) * ((left - left.mean()) ** 2).sum())
        assert getattr(found, name)[0] == pytest.approx(jackknife, rel=0.02)


def test_intervals_hold_their_scores_and_follow_confidence():
    x, y = generator(3, "range scores").standard_normal((2, 30, 50))
    narrow, wide = range_scores(x, y, 0.8), range_scores(x, y, 0.99)
    for low, value, high in (("low", "rho", "high"), ("spearman_low", "spearman", "spearman_high")):
        assert (getattr(narrow, low) < getattr(narrow, value)).all()
        assert (getattr(narrow, value) < getattr(narrow, high)).all()
        assert (getattr(wide, low) < getattr(narrow, low)).all()
        assert (getattr(narrow, high) < getattr(wide, high)).all()
    assert np.array_equal(range_scores(x[3:5], y[3:5]).se, range_scores(x, y).se[3:5])


def test_constant_rows_have_no_score_and_perfect_ones_no_spread():
    x = np.stack([np.arange(5.0), np.arange(5.0), np.full(5, 0.1)])
    y = np.stack([np.full(5, 1e9), 3 * np.arange(5.0), np.arange(5.0)])
    found = range_scores(x, y)
    for name in ("rho", "se", "low", "high", "spearman", "spearman_se", "spearman_low", "spearman_high"):
        assert np.isnan(getattr(found, name)).tolist() == [True, False, True]
    assert found.rho[1] == pytest.approx(1)
    assert (found.high[1] - found.low[1]) < 1e-5
    with pytest.raises(InputError, match="same units and images"):
        range_scores(x, y[:2])
    with pytest.raises(InputError, match="values holds nan"):
        range_scores(x, y * np.nan)


def test_heavy_tails_over_all_images_leave_no_interval_of_pearsons():
    draw = generator(4, "heavy tails")
    x, noise = draw.standard_normal((2, 4000))
    embeddings = np.stack([np.cos(x / 4), np.sin(x / 4)], axis=1)  # alike as far as x is
    silent = np.maximum(x + noise - 2.5, 0)  # above 0 for 4 % of the images
    tail = x + noise
    asked = probe_rows(np.arange(4000), 400, 0)
    # five images far out, none of which is asked
    tail[np.setdiff1d(np.arange(4000), asked)[:5]] = 25
    values = np.stack([x + noise, np.exp(x) + noise, silent, tail, np.zeros(4000)], axis=1)
    table = whole_range(values, embeddings)
    assert table["heavy_tails"].tolist() == [False, True, False, True, False]
    assert table["rho"].notna().tolist() == [True] * 4 + [False]
    for name in ("se", "low", "high"):
        assert table[name].notna().tolist() == [True, False, True, False, False]
    assert table["spearman_se"].notna().tolist() == [True] * 4 + [False]
    kurtosis = stats.kurtosis(silent, fisher=False)
    assert kurtosis > 5 * HEAVY, "a sparse unit's kurtosis is that of its silence"


def test_heavy_tails_are_kurtosis_times_the_share_of_active_images():
    draw = generator(5, "heavy tails")
    rows = np.concatenate([draw.standard_t(4, (300, 500)), np.maximum(draw.standard_t(4, (300, 500)) - 1, 0)])
    rows[:, 0] = rows[:, 1:].max(axis=1) * draw.uniform(1, 2, 600)
    share = (rows > rows.min(axis=1, keepdims=True)).mean(axis=1)
    wanted = stats.kurtosis(rows, axis=1, fisher=False) * share
    assert np.array_equal(heavy_rows(rows), wanted >= HEAVY)
    assert 50 < heavy_rows(rows[:300]).sum() < 250
    assert 50 < heavy_rows(rows[300:]).sum() < 250
    # neither shift nor scale nor sign of a unit that is never silent matters
    assert np.array_equal(heavy_rows(rows[:300] * 1e3 - 7), heavy_rows(rows[:300]))
    found = range_scores(rows[:, ::-1], rows, heavy=np.arange(600) == 3)
    assert np.flatnonzero(np.isnan(found.se)).tolist() == [3]
    assert np.array_equal(np.isnan(range_scores(rows[:, ::-1], rows).high), heavy_rows(rows))


def test_random_images_are_keyed_by_their_ids():
    images = np.arange(1000)
    found = probe_rows(images, 100, seed=5)
    assert np.array_equal(found, np.unique(found))
    assert set(found) < set(probe_rows(images, 200, seed=5))
    order = generator(0, "order").permutation(1000)
    assert set(order[probe_rows(order, 100, seed=5)]) == set(found)
    assert set(probe_rows(images, 100, seed=6)) != set(found)
    # as likely in every tenth: 2,000 draws of a tenth each, sd sqrt(2000 * .1 * .9) = 13
    counts = np.bincount(np.concatenate([probe_rows(images, 100, seed) for seed in range(20)]) // 100, minlength=10)
    assert np.abs(counts - 200).max() < 5 * 13


def parts(values, rows, n_images=400, leave_one_out=True, name="layer"):
    """Pearson's by the steps of `whole_range`, by choice without leaving images out."""
    keys = unit_keys(0, "planted", name, np.arange(values.shape[1]))
    ranked = rank_images(values, EXPLAINED, keys)
    probes = probe_rows(np.arange(len(rows)), n_images, 0)
    made = predictions(rows, probes, ranked.top_images, ranked.bottom_images, leave_one_out=leave_one_out)
    return range_scores(made, values[probes].T).rho


def test_units_without_meaning_score_zero_only_if_images_leave_themselves_out(rows):
    values = planted_units.hash_units(np.arange(N), 3, 600)
    left_out, kept = parts(values, rows), parts(values, rows, leave_one_out=False)
    # of 600 units with spread 1 / sqrt(399): standard error .002
    assert abs(left_out.mean()) <= 0.01
    assert 0.93 < left_out.std(ddof=1) * np.sqrt(399) < 1.07
    # an image among the explanations of a side is alike to itself: +.04, four times what is allowed above
    assert kept.mean() == pytest.approx(0.04, abs=0.01)


def test_sparse_and_permuted_units_score_zero(rows, layers):
    assert abs(whole_range(layers["hash_rectified"], rows)["rho"].mean()) <= 0.01
    # a unit's values dealt to the images anew: the ties of sparse units and the tails of skewed ones stay
    sources = np.concatenate([layers[name] for name in ("mixture_1", "polysemantic", "mixture_rectified_0.75")], axis=1)
    permuted = np.stack(
        [generator(0, "permuted", unit).permutation(values) for unit, values in enumerate(sources.T)], axis=1
    )
    found = whole_range(permuted, rows)["rho"]
    assert abs(found.mean()) <= 0.01
    # 316 units: the spread is known to 4 %
    assert 0.88 < found.std() * np.sqrt(399) < 1.12


@pytest.mark.parametrize(
    ("layer", "expected", "reach"),
    [
        ("mixture_0.25", 0.18, 0.03),
        ("mixture_0.5", 0.41, 0.03),
        ("mixture_0.75", 0.62, 0.03),
        ("mixture_1", 0.82, 0.03),
        ("mixture_rectified_0.25", 0.10, 0.04),
        ("mixture_rectified_0.5", 0.30, 0.04),
        ("mixture_rectified_0.75", 0.42, 0.04),
        ("mixture_rectified_1", 0.70, 0.1),
        # what only the whole range sees: the extremes are those of mixture_0.75, the middle means nothing
        ("middle_redealt_0.75", 0.28, 0.03),
        ("extremes_exchanged_0.75", 0.0, 0.03),
    ],
)
def test_planted_units_score_as_they_were_planted(rows, layers, layer, expected, reach):
    assert whole_range(layers[layer], rows, layer=layer)["rho"].mean() == pytest.approx(expected, abs=reach)


def test_more_images_order_units_more_like_all_do(rows, layers):
    """Units of many kinds, as those of a trained network are: a keyed mixture of factor and hash each."""
    draw = generator(0, "convergence")
    factor = layers["mixture_1"][:, draw.integers(0, 32, 300)]
    share = draw.uniform(0.2, 0.8, 300)
    values = share * factor + np.sqrt(1 - share**2) * planted_units.hash_units(np.arange(N), 3, 300, "convergence")
    full = parts(values, rows, N)
    reached = [stats.spearmanr(parts(values, rows, n), full)[0] for n in (100, 200, 400, 800)]
    assert (np.array(reached) >= [0.80, 0.90, 0.95, 0.975]).all()
    assert (np.diff(reached) > 0).all()


def test_the_call_is_its_steps_and_says_what_is_constant(rows, layers):
    values = np.concatenate([layers["mixture_0.5"][:, :20], layers["constant"]], axis=1)
    # active on two images that no one asks about, so constant on those that are asked
    asked = probe_rows(np.arange(N), 400, 0)
    lonely = np.zeros((N, 1), np.float32)
    lonely[np.setdiff1d(np.arange(N), asked)[:2]] = 1
    table = whole_range(np.concatenate([values, lonely], axis=1), rows, model="planted", layer="layer")
    assert table.columns.tolist() == [
        *("model", "layer", "unit", "rho", "se", "low", "high", "spearman", "spearman_se"),
        *("n_range", "heavy_tails", "constant"),
    ]
    assert np.array_equal(table["rho"][:20], parts(values[:, :20], rows))
    assert table["constant"].tolist() == [False] * 20 + [True, True, False]
    assert table["rho"].isna().tolist() == [False] * 20 + [True] * 3
    assert (table["n_range"] == 400).all()
    again = whole_range(values, rows.astype(np.float64) * 7, threads=2)
    assert np.allclose(again["rho"][:20], table["rho"][:20], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_images": 2}, "n_images is 2"),
        ({"n_images": 401}, "at most 400"),
        ({"n_tasks": 1, "n_explanations": 1}, "n_tasks times n_explanations is 1"),
        ({"n_tasks": 30}, "at least"),
        ({"confidence": 1}, "confidence"),
        ({"embeddings": np.ones((3, 2))}, "same images"),
    ],
)
def test_the_call_refuses_what_does_not_fit(change, message):
    draw = generator(0, "refusals")
    given = {"activations": draw.standard_normal((400, 2)), "embeddings": draw.standard_normal((400, 3))} | change
    with pytest.raises(InputError, match=message):
        whole_range(**given)
