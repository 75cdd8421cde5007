"""Coverage of intervals of judged pairs on few studies; benchmarks/judged_pairs.py draws thousands."""

import pytest

from benchmarks import judged_pairs


def test_only_the_interval_of_units_covers_as_often_as_it_says():
    row = judged_pairs.row(100, 1000, 3.0, 200, seed=1)
    assert 0.9 < row["covered_ours"] < 0.99
    assert row["covered_independent"] < 0.8
    assert row["width_independent"] < row["width_ours"] < row["width_with_replacement"]


def test_a_score_without_error_agrees_as_often_as_choices_repeat_the_truth():
    draw = judged_pairs.generator(0, "test")
    exact = judged_pairs.drawn(draw, 500, 20_000, 0.0).right.mean()
    assert exact == pytest.approx(judged_pairs.true_share(draw, 0.0), abs=0.02)
    assert judged_pairs.true_share(draw, 100.0) == pytest.approx(0.5, abs=0.01)
