"""Scores of texts beside the bare product, on little data, and simulated pairs whose correlation is what it is said to be."""

import argparse

import numpy as np
import pytest

from benchmarks import text_scores
from interpretability.explanations import correlation
from interpretability.randomness import generator

SIZES = argparse.Namespace(units=20, texts=30, images=500, rounds=2)


def test_all_forms_are_measured_and_their_work_is_counted():
    row = text_scores.measure(np.float32, SIZES)
    assert (row["pairs"], row["values_read"], row["multiplications_product"]) == (600, 25_000, 300_000)
    assert row["multiplications_ours"] == (32 * 32 + 64) * 500  # filled up to whole tiles, and a square of each value
    assert row["scratch_bytes"] == 8 * 64 * 500
    assert row["largest_difference"] < 1e-14
    assert {"times_double", "times_single", "times_loop", "ours_s"} <= set(row)


def test_a_wrong_score_stops_it(monkeypatch):
    monkeypatch.setattr(correlation, "correlations", lambda a, c: np.zeros((len(a), len(c))))
    with pytest.raises(AssertionError, match="differ from numpy"):
        text_scores.measure(np.float64, SIZES)


@pytest.mark.parametrize("tail", text_scores.TAILS)
def test_noise_has_mean_0_and_variance_1(tail):
    values = text_scores.noise(tail, 400_000, generator(0, "tails", tail))
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.var() == pytest.approx(1, abs=0.1 if tail == "lognormal" else 0.02)


def test_simulated_pairs_have_their_truth_on_average():
    errors = [text_scores.covered(number) for number in range(0, 1000, 5)]  # of normal tails
    off = np.array([each["error"] / each["se"] for each in errors])
    assert abs(off.mean()) < 4 / np.sqrt(len(off))
    assert np.median(np.abs(off)) == pytest.approx(0.67, abs=0.15)


def test_the_table_of_coverage_has_all_groups():
    table = text_scores.coverage(150)
    assert table.iloc[0]["group"] == "all"
    assert table["pairs"].iloc[0] == table["pairs"].iloc[1:6].sum() == table["pairs"].iloc[6:].sum()
    assert table["coverage"].iloc[0] > 0.88
