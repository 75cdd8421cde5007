"""Every interval of a table or of the page has rows in coverage.csv, for the truth it is meant for, that say it covers."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage
from benchmarks.harness import COMMITTED
from benchmarks.shown_intervals import ELSEWHERE, LIMITS, MARKED, NO_INTERVALS, NOT_MEANT, SAME, SHOWN
from interpretability.design import intervention
from tests.helpers.rules import ROOT
from tests.interpretability.test_summaries import OTHERS, TABLES

QUANTITIES = {quantity for quantities in SHOWN.values() for quantity in quantities}


def stems(columns):
    """What stands before _low and _high, or nothing, of every pair of columns."""
    pairs = [name.removesuffix("low") for name in columns if name.endswith("low") and f"{name[:-3]}high" in columns]
    return {pair.removesuffix("_") for pair in pairs if pair in ("", *(p for p in pairs if p.endswith("_")))}


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(COMMITTED / "coverage.csv", keep_default_na=False, na_values=[""])


def test_pairs_of_columns_are_found():
    assert stems(["low", "high", "mis_low", "mis_high", "allow", "p5", "x_low"]) == {"", "mis"}


def test_every_interval_of_the_tables_is_listed():
    columns = TABLES | {name: pd.read_csv(ROOT / f"results/tables/{name}.csv", nrows=0).columns for name in OTHERS}
    columns |= {"psychophysics groups": intervention.GROUP_COLUMNS, "psychophysics tests": intervention.TEST_COLUMNS}
    found = {(name, stem) for name, of_table in columns.items() for stem in stems(list(of_table))}
    # the figure of layers computes its intervals from layers.csv, which has none
    assert found == (set(SHOWN) | set(SAME) | set(ELSEWHERE) | set(NO_INTERVALS)) - {("depth", "mis")}
    assert not set(SHOWN) & set(NO_INTERVALS)
    assert set(SAME.values()) <= set(SHOWN)


def test_intervals_with_a_script_of_their_own_cover_too():
    for name, column in ELSEWHERE.values():
        assert pd.read_csv(COMMITTED / name)[column].between(*LIMITS).all()


def test_every_interval_has_a_row_in_both_settings_for_the_truth_it_is_meant_for(table):
    assert table["setting"].drop_duplicates().tolist() == list(coverage.SETTINGS)
    for setting, rows in table.groupby("setting"):
        meant = rows[rows["meant"] == "yes"]
        assert set(meant["quantity"]) == QUANTITIES, setting
        assert set(rows.loc[rows["meant"] == "no", "quantity"]) == NOT_MEANT
        assert not rows["quantity"].duplicated().any()
        shown = {name: set(tables.split(" ")) for name, tables in zip(meant["quantity"], meant["tables"], strict=True)}
        for (name, _), quantities in SHOWN.items():
            assert all(set(name.split(" ")) <= shown[quantity] for quantity in quantities)
    assert table.loc[table["meant"] == "no", "tables"].isna().all()


def test_every_interval_covers_as_often_as_it_says_or_its_table_says_that_it_does_not(table):
    meant = table[table["meant"] == "yes"].assign(shown=lambda rows: rows["coverage"].round(3))
    assert (meant["n_intervals"] >= 500).all()
    outside = meant[(meant["shown"] < LIMITS[0]) | (meant["shown"] > LIMITS[1])]
    assert set(outside["quantity"]) <= set(MARKED)


def test_a_row_holds_what_its_intervals_say():
    # truth 1: covered, below, above; the last study has no interval
    values = np.array([[1.1, 0.5, 2.0, 1.0], [0.9, 0.4, 1.5, np.nan], [1.3, 0.8, 2.5, np.nan]])
    row = coverage.summary("mean", values, {"mean": 1.0})
    assert (row["coverage"], row["above"], row["n_intervals"]) == pytest.approx((1 / 3, 1 / 3, 3))
    assert row["bias"] == pytest.approx(np.mean([0.1, -0.5, 1.0, 0.0]))
    assert row["width"] == pytest.approx(0.4)
