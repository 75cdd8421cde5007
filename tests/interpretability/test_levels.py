"""Levels of MIS at other slopes."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from interpretability.analysis.levels import RANGE_COLUMNS, ranges, sums_at
from interpretability.mis import near_mask, unit_scores
from study.tabulating import levels

SLOPES = (5.0, 4.0, 7.0, 3.0, 9.0)


def drawn(n_units=30, n_tasks=6, level=0.2):
    return np.random.default_rng(0).normal(level, 0.2, size=(n_units, n_tasks)).astype(np.float32)


def test_sums_are_those_of_unit_scores_at_each_slope():
    margins = drawn()
    sums, n = sums_at(margins, SLOPES)
    assert n == 30
    assert sums == pytest.approx([unit_scores(margins, slope)["mis"].sum() for slope in SLOPES])


def test_tasks_left_out_and_units_without_tasks_do_not_enter():
    margins = drawn()
    near = np.random.default_rng(1).random(margins.shape) < 0.3
    near[4] = True
    sums, n = sums_at(margins, SLOPES, ~near)
    scores = [unit_scores(margins, slope, near, drop=True)["mis"] for slope in SLOPES]
    assert n == 29 == scores[0].notna().sum()
    assert sums == pytest.approx([mis.sum() for mis in scores])


def test_ranges_by_hand():
    found = ranges(np.array([7.0, 6.5, 7.6, 6.0, 8.0]), 10)
    assert list(found) == RANGE_COLUMNS
    assert list(found.values()) == pytest.approx([0.65, 0.76, 0.6, 0.8])
    # a level that falls with the slope, and one that the ends do not hold
    assert list(ranges(np.array([4.0, 4.5, 3.5, 4.2, 3.6]), 10).values()) == pytest.approx([0.35, 0.45, 0.36, 0.42])
    assert list(ranges(np.array([5.1, 5.0, 5.0, 5.0, 5.0]), 10).values())[:2] == pytest.approx([0.5, 0.51])
    assert np.isnan(list(ranges(np.zeros(5), 0).values())).all()


def test_blocks_of_units_give_the_sums_of_all(monkeypatch):
    margins = drawn(50)
    lists = [[1, 3][: place % 3] for place in range(50)]
    units = pa.table({"margins": margins.tolist(), "near": pa.array(lists, pa.list_(pa.int16()))})
    units = units.set_column(0, "margins", pa.array(margins.tolist(), pa.list_(pa.float32())))
    near = near_mask(np.array([len(each) for each in lists]), np.array([t for each in lists for t in each]), 6)
    for drop in (False, True):
        whole, n = sums_at(margins, SLOPES, ~near if drop else None)
        monkeypatch.setattr(levels, "_BLOCK", 7)
        found = levels.level_sums(units, SLOPES, drop)
        assert found[0] == pytest.approx(whole)
        assert found[1] == n == 50


def test_pooled_ranges_weigh_units_alike():
    parts = [(np.array([1.0, 0.9, 1.1, 0.8, 1.2]), 2), (np.array([7.0, 6.0, 8.0, 5.0, 9.0]), 8)]
    assert list(levels.pooled_ranges(parts).values()) == pytest.approx([0.69, 0.91, 0.58, 1.02])
    assert np.isnan(list(levels.pooled_ranges([]).values())).all()


def test_slopes_are_allowed_where_they_are_identified():
    fit = {"slope": 5.0, "low": 4.0, "high": 7.0, "status": "calibrated", "identified": True}
    fits = {"a": fit, "b": fit | {"identified": False}, "c": fit | {"low": None}, "d": fit}
    splits = pd.DataFrame({"backend": ["a"] * 5 + ["b"], "slope": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    found = levels.slopes_allowed(fits, splits, 0.5)
    assert set(found) == {"a", "d"}
    assert found["a"] == (5.0, 4.0, 7.0, 2.0, 4.0)
    assert found["d"][:3] == (5.0, 4.0, 7.0)
    assert np.isnan(found["d"][3:]).all()
    # without other splits the range over the interval stands alone
    margins = drawn()
    values = ranges(*sums_at(margins, found["d"]))
    assert values["mis_slope_low"] < values["mis_slope_high"]
    assert np.isnan([values["mis_splits_low"], values["mis_splits_high"]]).all()
