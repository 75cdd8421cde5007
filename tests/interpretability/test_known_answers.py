"""Planted units through selection, tasks and similarity: scores that are known before they are measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from interpretability import mis, randomness
from interpretability.extremes.selection import Extremes
from interpretability.margins import cosine_margins, unit_rows
from interpretability.randomness import combine, generator
from interpretability.synthetic import planted_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors
from interpretability.tasks import natural, rules

N_IMAGES, N_TASKS, K, SLOPE = 4000, 20, 9, 6.25


@pytest.fixture(scope="module")
def factors():
    return draw_factors(N_IMAGES, seed=3, stream="study", n_categories=24)


@pytest.fixture(scope="module")
def layers(factors):
    return {layer.layer: layer for layer in planted_units.planted(factors, seed=3)}


def solve(values, embeddings, name="layer", rows=None):
    """Scores of units with these values (images, units), images numbered by `rows`."""
    rows = np.arange(len(values)) if rows is None else rows
    keys = randomness.unit_keys(3, "planted", name, np.arange(values.shape[1]))
    extremes = Extremes(keys, rules.needed(N_TASKS, K))
    extremes.update(values, rows)
    ranked = extremes.ranked()
    built = natural.build(ranked.top_images, ranked.bottom_images, keys, N_TASKS, K)
    return mis.unit_scores(cosine_margins(embeddings, built, K), SLOPE)


def within(values, expected, standard_errors=3):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return abs(values.mean() - expected) < standard_errors * error


@pytest.mark.parametrize("layer", ["hash", "hash_rectified"])
def test_hash_units_are_at_chance_and_their_errors_are_honest(factors, layers, layer):
    found = solve(layers[layer].values, factor_vectors(factors), layer)
    assert within(found["mis"].to_numpy(), 0.5)
    # (MIS - .5) / mis_se over 20 tasks is close to Student's t with 19 degrees of freedom: sd sqrt(19 / 17) = 1.06;
    # the standard deviation of 200 such values is known to about 1.06 / sqrt(2 * 199) = 0.053
    z = (found["mis"] - 0.5) / found["mis_se"]
    assert abs(z.std(ddof=1) - np.sqrt(19 / 17)) < 4 * 0.053


def test_variance_of_a_hash_unit_s_margin(factors, layers):
    # Var = 4 tr(S^2) / K for independent images of covariance S. A hash unit draws its 400 images without
    # replacement from 4,000, and a side's images from one group each, which changes it by less than a tenth.
    rows = factor_vectors(factors)
    values = layers["hash"].values
    keys = randomness.unit_keys(3, "planted", "hash", np.arange(values.shape[1]))
    extremes = Extremes(keys, rules.needed(N_TASKS, K))
    extremes.update(values, np.arange(N_IMAGES))
    ranked = extremes.ranked()
    margins = cosine_margins(rows, natural.build(ranked.top_images, ranked.bottom_images, keys, N_TASKS, K), K)
    covariance = np.cov(rows.T.astype(np.float64))
    # 4,000 margins of nearly normal shape: relative standard error of their variance sqrt(2 / 4000) = 2.2 %
    assert np.var(margins) == pytest.approx(4 * np.trace(covariance @ covariance) / K, rel=0.1)


def test_mixtures_rise_with_their_share_of_a_factor(factors, layers):
    embeddings = factor_vectors(factors)
    means = [
        solve(layers[f"mixture_{rho:g}"].values, embeddings, f"m{rho}")["mis"].mean() for rho in planted_units.RHOS
    ]
    assert np.all(np.diff(means) > 0.01)
    assert abs(means[0] - 0.5) < 0.02


def test_a_random_similarity_is_at_chance_for_real_factors(layers):
    embeddings = unit_rows(generator(0, "null").standard_normal((N_IMAGES, 64)))
    assert within(solve(layers["factor"].values, embeddings)["mis"].to_numpy(), 0.5)


def test_a_negated_unit_has_the_score_of_its_original_up_to_its_draws(factors, layers):
    embeddings = factor_vectors(factors)
    values = layers["mixture_0.5"].values
    first, second = solve(values, embeddings, "a"), solve(-values, embeddings, "b")
    difference = (first["mis"] - second["mis"]).to_numpy()
    # the same images on both sides, other tasks: both scores carry their own sampling error
    assert abs(difference.mean()) < 3 * np.sqrt((first["mis_se"] ** 2 + second["mis_se"] ** 2).sum()) / len(difference)


@pytest.mark.parametrize("layer", ["mixture_0.5", "mixture_rectified_0.5", "hash_rectified"])
def test_the_order_of_the_manifest_does_not_move_the_mean(factors, layers, layer):
    """Sparse units take their negative side from thousands of zeros: the rows of the manifest must not choose it."""
    embeddings, values = factor_vectors(factors), layers[layer].values
    # the worst order: sorted by category, so that neighbours look alike
    order = np.argsort(factors["category"].to_numpy(), kind="stable")
    straight, permuted = solve(values, embeddings, layer), solve(values[order], embeddings[order], layer)
    spread = np.sqrt((straight["mis_se"] ** 2 + permuted["mis_se"] ** 2).sum()) / len(straight)
    assert abs(straight["mis"].mean() - permuted["mis"].mean()) < 3 * spread


def test_ties_do_not_follow_the_order_of_images(factors, layers):
    # by image number, the negative side of a sparse unit would be the first 200 images; by the keyed mix any image is
    # as likely: mean row number (n - 1) / 2 with standard error n / sqrt(12 * 200 * 200 units)
    values = layers["hash_rectified"].values
    keys = combine(np.uint64(5), np.arange(values.shape[1], dtype=np.uint64))
    extremes = Extremes(keys, 200)
    extremes.update(values, np.arange(N_IMAGES))
    bottom = extremes.ranked().bottom_images
    assert abs(bottom.mean() - (N_IMAGES - 1) / 2) < 4 * N_IMAGES / np.sqrt(12 * bottom.size)


def test_permuted_units_are_at_chance(factors, layers):
    keys = randomness.unit_keys(3, "planted", "factor", np.arange(layers["factor"].values.shape[1]))
    extremes = Extremes(keys, 200)
    extremes.update(layers["factor"].values, np.arange(N_IMAGES))
    ranked = extremes.ranked()
    top, bottom = planted_units.permuted_extremes(ranked.top_images, ranked.bottom_images, N_IMAGES, 3, keys)
    margins = cosine_margins(factor_vectors(factors), natural.build(top, bottom, keys, N_TASKS, K), K)
    assert within(expit(SLOPE * margins.astype(np.float64)).mean(1), 0.5)
