"""Differences of agreement between similarities, and the units that a score misses most."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability.people import agreement, agreement_differences


def units_of(n, seed, noise, networks=1):
    """Annotated units whose score under backend b is the truth plus noise[b]."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.8, 0.1, n)
    common = {
        "model": [f"m{i % networks}" for i in range(n)],
        "layer": "l",
        "unit": np.arange(n),
        "condition": "natural",
        "his": truth + rng.normal(0, 0.06, n),
        "in_split": np.arange(n) % 10 == 0,
        "n_responses": 30,
    }
    parts = [pd.DataFrame(common | {"backend": b, "mis": truth + rng.normal(0, s, n)}) for b, s in noise.items()]
    return pd.concat(parts, ignore_index=True)


def test_difference_is_that_of_the_agreement_table():
    units = units_of(60, 0, {"a": 0.05, "b": 0.2, "c": 0.1}, networks=3)
    table = agreement_differences.agreement_differences(units, 0, 200, 0.95)
    agreed = agreement.agreement_table(units, 0, 200, 0.95).set_index(["backend", "level", "units"])
    assert len(table) == 3 * 2 * 2 * 2
    for row in table.itertuples():
        values = [agreed.loc[(name, row.level, row.units), row.coefficient] for name in (row.first, row.second)]
        assert row.difference == pytest.approx(values[0] - values[1])
        assert row.n == (60 if row.units == "all" else 54)
        assert row.low < row.difference < row.high


def test_interval_by_hand():
    # four resamples around .6 and .3 with differences .2, .4, .2, .4: standard deviation .2 / sqrt 3 = .11547, made wider by
    # 1.1; t quantile of 50 degrees 2.00856
    draws = np.array([[0.6, 0.7, 0.5, 0.6], [0.4, 0.3, 0.3, 0.2]])
    change, low, high, p = agreement_differences.difference_interval(np.array([0.6, 0.3]), draws, 50, 0.95, 1.1)
    reach = 2.00856 * 0.11547 * 1.1
    assert (change, low, high) == pytest.approx((0.3, 0.3 - reach, 0.3 + reach), abs=1e-5)
    assert p == pytest.approx(2 * stats.t.sf(0.3 / 0.127017, 50), rel=1e-4)


def test_p_is_adjusted_over_the_pairs_of_one_level_set_of_units_and_coefficient():
    table = agreement_differences.agreement_differences(units_of(50, 3, {"a": 0.1, "b": 0.15, "c": 0.2}), 0, 100, 0.95)
    groups = table.groupby(["level", "units", "coefficient"])
    assert groups.ngroups == 8
    for _, rows in groups:
        assert rows["p_holm"].tolist() == pytest.approx(multipletests(rows["p"], method="holm")[1].tolist())
    assert (table["p_holm"] > table["p"]).any()


def test_two_scores_that_are_one_do_not_differ():
    units = units_of(40, 1, {"a": 0.1})
    table = agreement_differences.agreement_differences(pd.concat([units, units.assign(backend="b")]), 0, 100, 0.95)
    assert table[["difference", "low", "high"]].abs().max().max() < 1e-12
    assert table["p"].isna().all()


def test_pairing_makes_the_interval_narrower_than_two_intervals_do():
    rng = np.random.default_rng(2)
    units = units_of(80, 2, {"a": 0.1})
    close = units.assign(backend="b", mis=units["mis"] + rng.normal(0, 0.02, 80))
    both = pd.concat([units, close])
    row = (
        agreement_differences.agreement_differences(both, 0, 400, 0.95)
        .query("level == 'unit' and units == 'all'")
        .iloc[0]
    )
    agreed = agreement.agreement_table(both, 0, 400, 0.95).query("level == 'unit' and units == 'all'")
    width = (agreed["pearson_high"] - agreed["pearson_low"]).mean()
    assert row["high"] - row["low"] < 0.5 * width


@pytest.mark.parametrize(("noise", "seeds"), [({"a": 0.1, "b": 0.1}, 60)])
def test_equal_similarities_are_told_apart_about_as_often_as_p_says(noise, seeds):
    rejected, covered = [], []
    for seed in range(seeds):
        table = agreement_differences.agreement_differences(units_of(50, seed, noise), 0, 100, 0.9)
        row = table.query("level == 'unit' and units == 'all'").set_index("coefficient")
        rejected.append(row["p"] < 0.1)
        covered.append((row["low"] <= 0) & (row["high"] >= 0))
    # 60 tries at one in ten: 6, and beyond 14 less than once in 1000
    assert pd.DataFrame(rejected).sum().between(1, 14).all()
    assert pd.DataFrame(covered).sum().between(46, 59).all()


def test_one_backend_or_no_people_give_an_empty_table():
    for units in (units_of(30, 0, {"a": 0.1}), units_of(30, 0, {"a": 0.1, "b": 0.1}).iloc[:0]):
        table = agreement_differences.agreement_differences(units, 0, 100, 0.95)
        assert list(table.columns) == agreement_differences.COLUMNS
        assert len(table) == 0


def test_residuals_by_hand():
    units = pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": range(5),
            "condition": "natural",
            "backend": "b",
            "mis": [0.9, 0.9, 0.5, 0.6, 0.1],
            "mis_se": 0.03,
            "his": [0.5, 1.0, 0.9, 0.6, 1.0],
            "n_responses": 28,
            "in_split": [False, False, False, False, True],
        }
    )
    table = agreement_differences.residuals(units, 2)
    # unit 4 fitted the slope; unit 3 is hit exactly; unit 1 has z of noise only
    assert table[["side", "rank", "unit"]].to_numpy().tolist() == [["under", 1, 2], ["under", 2, 1], ["over", 1, 0]]
    # 14 of 28 right: (14 + 1) / 30 = 1/2, variance 1 / (4 * 28)
    assert table["z"].iloc[2] == pytest.approx(-0.4 / np.sqrt(1 / 112 + 0.0009))
    # all of 28 right: 29 / 30
    assert table["se"].iloc[1] == pytest.approx(np.sqrt(29 / 30 / 30 / 28 + 0.0009))
    assert list(agreement_differences.residuals(units.iloc[:0], 2).columns) == agreement_differences.RESIDUAL_COLUMNS
