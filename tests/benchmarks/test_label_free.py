"""Scores without labels beside plain forms, on little data, and intervals that cover what they say."""

import argparse

import numpy as np
import pandas as pd
import pytest

from benchmarks import label_free
from benchmarks.harness import COMMITTED

SIZES = argparse.Namespace(units=8, images=120, dim=6, rounds=2)


def test_all_forms_agree_and_their_work_is_counted():
    rows = {row["form"]: row for row in label_free.measure(SIZES)}
    assert [row["multiplications"] for row in rows.values()] == [8 * 120 * 6, 8 * 120 * 6, 8 * 120 * 6]
    assert rows["monosemanticity, dense"]["other_multiplications"] == 120 * 120 * 14
    assert rows["whole range, a product a unit"]["other_multiplications"] == 2 * 8 * 30 * 120 * 6
    assert all({"ratio", "cpu_ratio", "ours_s", "other_s"} <= set(row) for row in rows.values())


def test_a_wrong_score_stops_it(monkeypatch):
    monkeypatch.setattr(label_free, "dense", lambda values, rows: np.zeros(values.shape[1]))
    with pytest.raises(AssertionError, match="dense: scores differ"):
        label_free.measure(SIZES)


@pytest.mark.parametrize("kind", ["normal", "ties", "sparse 20 %"])
def test_intervals_cover_their_truth(kind, monkeypatch):
    monkeypatch.setattr(label_free, "POPULATION", 300_000)
    monkeypatch.setattr(label_free, "ALL_IMAGES", 400)
    row = label_free.coverage(kind, 1000)
    # 1,000 draws at .95: standard error .007
    for name in ("pearson", "spearman"):
        assert 0.925 < row[f"{name}_coverage"] < 0.985
        assert row[f"{name}_sd_over_se"] == pytest.approx(1, abs=0.12)


def test_lognormal_tails_have_no_interval_and_the_committed_table_says_why(monkeypatch):
    monkeypatch.setattr(label_free, "POPULATION", 300_000)
    row = label_free.coverage("lognormal", 100)
    assert row["heavy"] == 1
    assert np.isnan(row["pearson_coverage"])
    assert row["pearson_without_rule"] < 0.93
    table = pd.read_csv(COMMITTED / "range_intervals.csv").set_index("kind")
    assert tuple(table.index) == label_free.KINDS
    few, many = table[table["heavy"] <= 0.1], table[table["heavy"] > 0.1]
    assert set(many.index) == {"lognormal", "lognormal 0.75", "t 3"}
    assert (many["heavy"] >= 0.9).all()
    assert few["pearson_coverage"].between(0.93, 0.99).all()
    assert table["spearman_coverage"].between(0.93, 0.99).all()
