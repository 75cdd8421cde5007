"""Margins: the algebra against every cosine in float64, and answers that are known."""

import numba
import numpy as np
import pytest
from scipy.special import expit

from interpretability import margins as scoring
from interpretability import randomness
from interpretability.margins import (
    _HAS_HALF,
    aggregated_margins,
    cosine_margins,
    cosine_values,
    distance_margins,
    distance_values,
    nearest_explanation,
    unit_rows,
    widened,
)
from interpretability.similarity.arrays import length_one
from interpretability.tasks import natural


def every_cosine(embeddings, built, k):
    """(units, N, 2 queries, 2K explanations) in float64, with norms, one pair at a time."""
    x = embeddings.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    out = np.empty((*built.shape[:2], 2, 2 * k))
    for u, unit in enumerate(built):
        for t, task in enumerate(unit):
            for q in range(2):
                for e in range(2 * k):
                    out[u, t, q, e] = x[task[2 * k + q]] @ x[task[e]]
    return out


def slow_margins(embeddings, built, k):
    s = every_cosine(embeddings, built, k)
    delta = s[..., :k].mean(-1) - s[..., k:].mean(-1)  # s(q, E+) - s(q, E-) for both queries
    return delta[..., 0] - delta[..., 1]


def some_tasks(n, units, n_tasks, k, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(n)[: n_tasks * 2 * (k + 1)].reshape(n_tasks, -1) for _ in range(units)]).astype(
        np.int32
    )


@pytest.mark.parametrize(("k", "d"), [(1, 3), (4, 17), (9, 130)])
def test_margins_agree_with_every_cosine(k, d):
    rows = unit_rows(np.random.default_rng(1).standard_normal((300, d)) + 0.5)
    built = some_tasks(300, 6, 5, k)
    expected = slow_margins(rows, built, k)
    np.testing.assert_allclose(cosine_margins(rows, built, k), expected, atol=3e-7)
    mis = expit(6.25 * cosine_margins(rows, built, k).astype(np.float64)).mean(1)
    np.testing.assert_allclose(mis, expit(6.25 * expected).mean(1), atol=1e-6)


def test_threads_do_not_change_a_bit():
    rows = unit_rows(np.random.default_rng(1).standard_normal((300, 40)))
    built = some_tasks(300, 11, 5, 3)
    np.testing.assert_array_equal(cosine_margins(rows, built, 3), cosine_margins(rows, built, 3, threads=3))


def test_two_orthogonal_clusters_give_margin_two():
    # positive images at e1, negative ones at e2: (e1 - e2) . (e1 - e2) = 2, and sigmoid(6.25 * 2) = .99999627
    rows = np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)
    top, bottom = np.arange(200, dtype=np.int32)[None], np.arange(200, 400, dtype=np.int32)[None]
    built = natural.build(top, bottom, randomness.unit_keys(0, "m", "l", np.arange(1)), 20, 9)
    margins = cosine_margins(rows, built, 9)
    np.testing.assert_allclose(margins, 2, atol=1e-6)
    np.testing.assert_allclose(expit(6.25 * margins.astype(np.float64)), 0.99999627, atol=5e-9)


def test_swapped_queries_negate_the_margin():
    rows = unit_rows(np.random.default_rng(2).standard_normal((300, 30)))
    built = some_tasks(300, 4, 5, 9)
    swapped = built[..., [*range(18), 19, 18]]
    np.testing.assert_array_equal(cosine_margins(rows, swapped, 9), -cosine_margins(rows, built, 9))


def test_a_negated_unit_with_the_same_key_has_the_same_margins():
    rows = unit_rows(np.random.default_rng(3).standard_normal((1000, 30)))
    values = np.random.default_rng(4).standard_normal(1000)
    order = np.argsort(values)
    top, bottom = order[::-1][:200].astype(np.int32)[None], order[:200].astype(np.int32)[None]
    keys = randomness.unit_keys(0, "m", "l", np.arange(1))
    unit = cosine_margins(rows, natural.build(top, bottom, keys, 20, 9), 9)
    negated = cosine_margins(rows, natural.build(bottom, top, keys, 20, 9), 9)
    np.testing.assert_allclose(unit, negated, atol=1e-7)


def test_variance_of_random_margins():
    # independent unit-norm rows with covariance S: Var = E|q+ - q-|^2_S... = tr(2S . 2S/K) = 4 tr(S^2) / K
    rng = np.random.default_rng(5)
    rows = unit_rows(rng.standard_normal((20_000, 12)) * np.linspace(0.3, 2, 12))
    s = np.cov(rows.T.astype(np.float64))
    for k in (1, 9):
        margins = cosine_margins(rows, rng.integers(0, 20_000, (4000, 20, 2 * (k + 1))).astype(np.int32), k)
        expected = 4 * np.trace(s @ s) / k
        assert np.var(margins) == pytest.approx(expected, rel=0.03)
        assert abs(np.mean(margins)) < 4 * np.sqrt(expected / margins.size)


def test_nearest_explanation_is_the_largest_cosine():
    rows = unit_rows(np.random.default_rng(6).standard_normal((300, 20)))
    built = some_tasks(300, 4, 5, 3)
    expected = every_cosine(rows, built, 3).max(axis=(2, 3))
    np.testing.assert_allclose(nearest_explanation(rows, built, 3), expected, atol=1e-6)


def test_rows_of_zeros_stay_zero():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])


def test_tasks_outside_the_table_are_refused():
    with pytest.raises(ValueError, match="there are 3"):
        cosine_margins(np.eye(3, dtype=np.float32), np.full((1, 1, 4), 3, dtype=np.int32), 1)


def test_cosine_values_are_every_cosine():
    rows = unit_rows(np.random.default_rng(6).standard_normal((300, 20)))
    built = some_tasks(300, 4, 5, 3)
    np.testing.assert_allclose(cosine_values(rows, built, 3), every_cosine(rows, built, 3), atol=1e-6)


@pytest.mark.parametrize("has_half", [True, False])
def test_every_half_is_converted_exactly(has_half, monkeypatch):
    monkeypatch.setattr(scoring, "_HAS_HALF", has_half and _HAS_HALF)

    @numba.njit
    def convert(bits, out):
        for i in range(bits.size):
            out[i] = widened(bits[i])

    bits = np.arange(2**16, dtype=np.uint16)
    bits = bits[np.isfinite(bits.view(np.float16))]  # embeddings are checked before they are kept
    out = np.empty(bits.size, dtype=np.float32)
    convert(bits, out)
    np.testing.assert_array_equal(out.view(np.uint32), bits.view(np.float16).astype(np.float32).view(np.uint32))


def test_half_rows_give_the_margins_of_the_rounded_numbers():
    rows = unit_rows(np.random.default_rng(1).standard_normal((300, 1792)) + 0.5)
    halves, built = rows.astype(np.float16), some_tasks(300, 6, 7, 9)
    np.testing.assert_allclose(
        cosine_margins(halves, built, 9), cosine_margins(halves.astype(np.float32), built, 9), atol=1e-7
    )
    for kernel in (nearest_explanation, cosine_values):
        np.testing.assert_allclose(kernel(halves, built, 9), kernel(rows, built, 9), atol=2e-4)
    tasks_of_units = np.random.default_rng(2).integers(0, 300, (50, 20, 20)).astype(np.int32)
    mis = [expit(6.25 * cosine_margins(x, tasks_of_units, 9).astype(np.float64)).mean(1) for x in (rows, halves)]
    np.testing.assert_allclose(mis[1], mis[0], atol=1e-5)


def test_distances_of_long_rows():
    # longer than one chunk, so that the chunks are added up as well
    rows = np.random.default_rng(3).standard_normal((40, 5000)).astype(np.float32) / 70
    built = some_tasks(40, 2, 1, 9)
    x = rows.astype(np.float64)
    values = -np.square(x[built[..., 18:, None]] - x[built[..., None, :18]]).sum(-1)
    np.testing.assert_allclose(distance_values(rows, built, 9), values, atol=1e-6)
    expected = aggregated_margins(values, "mean")
    np.testing.assert_allclose(distance_margins(rows, built, 9), expected, atol=1e-6)


@pytest.mark.parametrize(
    "n", [1, 2, 7, 8, 9, 16, 17, 127, 128, 129, 136, 137, 255, 256, 257, 512, 640, 1000, 1792, 4097]
)
def test_rows_are_scaled_to_the_bits_of_numpy(n):
    draw = np.random.default_rng(n)
    rows = draw.normal(size=(40, n)) * draw.lognormal(size=(40, 1))
    rows[3] = 0
    for kind in (np.float32, np.float64, np.float16):
        exact = rows.astype(kind).astype(np.float64)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        expected = np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0).astype(np.float32)
        np.testing.assert_array_equal(unit_rows(rows.astype(kind)), expected)
        np.testing.assert_array_equal(unit_rows(rows.astype(kind)[::3]), expected[::3])


def test_rows_of_length_one_stay_as_they_are():
    rows = unit_rows(np.random.default_rng(0).normal(size=(1000, 33)))
    for kept in (rows, rows.astype(np.float16)):
        assert length_one(kept, 2) is kept
    assert length_one(rows * np.float32(1.000001), 2) is not rows
    np.testing.assert_array_equal(length_one(3 * rows.astype(np.float64), 2), unit_rows(3 * rows.astype(np.float64)))
