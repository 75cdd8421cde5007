"""Scores without labels beside plain forms, on little data, and intervals that cover what they say."""

import argparse

import numpy as np
import pytest

from benchmarks import label_free

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
    row = label_free.coverage(kind, 1000)
    # 1,000 draws at .95: standard error .007
    for name in ("pearson", "spearman"):
        assert 0.925 < row[f"{name}_coverage"] < 0.985
        assert row[f"{name}_sd_over_se"] == pytest.approx(1, abs=0.12)
