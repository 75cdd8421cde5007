"""Agreement of machine and human scores."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from interpretability import statistics
from interpretability.people import agreement
from interpretability.randomness import generator


def frame(mis, his, model="a", condition="natural", backend="b", n_responses=30, in_split=False):
    n = len(mis)
    return pd.DataFrame(
        {
            "model": model,
            "layer": "l",
            "unit": np.arange(n),
            "condition": condition,
            "backend": backend,
            "mis": np.asarray(mis, float),
            "his": np.asarray(his, float),
            "n_responses": n_responses,
            "in_split": in_split,
        }
    )


def people(n, seed, model="a", level=0.8, **more):
    rng = np.random.default_rng(seed)
    p = np.clip(rng.normal(level, 0.1, size=n), 0.05, 0.98)
    return frame(p + rng.normal(0, 0.05, size=n), rng.binomial(30, p) / 30, model=model, **more)


def rows(units, n_bootstrap=200):
    table = agreement.agreement_table(units, 0, n_bootstrap, 0.95)
    return table.set_index(["backend", "level", "units"])


@given(hnp.arrays(float, (2, 4, 7), elements=st.integers(0, 5)))
def test_correlations_equal_the_library_row_by_row(values):
    first, second = values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [stats.pearsonr(x, y).statistic for x, y in zip(first, second, strict=True)]
        ranked = [stats.spearmanr(x, y).statistic for x, y in zip(first, second, strict=True)]
    np.testing.assert_allclose(statistics.pearson(first, second), expected, atol=1e-12)
    np.testing.assert_allclose(statistics.spearman(first, second), ranked, atol=1e-12)


def test_constant_and_short_inputs_are_nan_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(statistics.pearson(np.full(5, 0.1), np.arange(5.0)))
        assert np.isnan(statistics.spearman(np.arange(2.0), np.arange(2.0)))
        row = rows(pd.concat([frame([0.1] * 5, np.linspace(0, 1, 5))])).loc[("b", "unit", "all")]
        assert row["n"] == 5
        assert row.drop(["n", "n_networks"]).isna().all()
        assert rows(frame([0.1, 0.2], [0.3, 0.4])).loc[("b", "unit", "all"), "pearson"] != 1.0


def test_constant_within_every_network_is_nan_although_rounding_differs():
    # .7 - mean(.7, .7, .7) is 1.1e-16 in doubles: rounding must not pass for a spread
    units = pd.concat(
        [frame([0.7] * 3, [0.1, 0.2, 0.4], "a"), frame([0.1] * 3, [0.5, 0.7, 0.6], "b")], ignore_index=True
    )
    table = rows(units)
    assert np.isnan(table.loc[("b", "unit_within", "all"), "pearson"])
    assert np.isfinite(table.loc[("b", "unit", "all"), "pearson"])


def test_what_is_equal_on_paper_is_tied_within_a_group():
    # .3 - .2 and .8 - .7 are .1 on paper, but differ in doubles
    values, group = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8]), np.array([0, 0, 0, 1, 1, 1])
    plain = values - np.repeat([0.2, 0.7], 3)
    assert plain[2] != plain[5]
    centred = agreement.centre(values, group)
    assert stats.rankdata(centred).tolist() == [1.5, 3.5, 5.5, 1.5, 3.5, 5.5]
    np.testing.assert_allclose(centred, plain, atol=2.0**-40)
    np.testing.assert_array_equal(
        agreement.centre(1024 * values, group), 1024 * centred, "powers of two change nothing"
    )
    assert not agreement.centre(np.zeros((2, 6)), group).any()


def test_means_of_groups_are_those_of_their_points_in_every_row():
    draw = np.random.default_rng(0)
    values, group = draw.normal(size=(3, 2, 40)), draw.permutation(np.arange(40) % 7)
    found = statistics.group_means(values, group)
    assert found.shape == (3, 2, 7)
    for index in range(7):
        np.testing.assert_allclose(found[..., index], values[..., group == index].sum(axis=-1) / (group == index).sum())
    np.testing.assert_array_equal(statistics.group_means(values[1, 1], group), found[1, 1])


def test_within_removes_what_differs_between_networks():
    # within each network mis falls as his rises; network b lies above in both, so the units still correlate
    units = pd.concat(
        [frame([0.3, 0.2, 0.1], [0.1, 0.2, 0.3], "a"), frame([0.9, 0.8, 0.7], [0.7, 0.8, 0.9], "b")],
        ignore_index=True,
    )
    table = rows(units)
    # deviations from .5 of network a: mis -.2 -.3 -.4, his -.4 -.3 -.2; products .08 + .09 + .08, squares
    # .04 + .09 + .16; network b mirrors them
    assert table.loc[("b", "unit", "all"), "pearson"] == pytest.approx(0.25 / 0.29)
    assert table.loc[("b", "unit_within", "all"), "pearson"] == pytest.approx(-1.0)
    assert table.loc[("b", "unit_within", "all"), "spearman"] == pytest.approx(-1.0)


def test_within_centres_every_condition_too():
    # same network, the hard condition lower in both: within each condition there is no relation
    units = pd.concat(
        [
            frame([0.9, 0.8, 0.9, 0.8], [0.9, 0.9, 0.8, 0.8], condition="natural"),
            frame([0.5, 0.4, 0.5, 0.4], [0.5, 0.5, 0.4, 0.4], condition="hard95"),
        ],
        ignore_index=True,
    )
    table = rows(units)
    assert table.loc[("b", "unit_within", "all"), "pearson"] == pytest.approx(0.0, abs=1e-12)
    assert table.loc[("b", "unit", "all"), "pearson"] > 0.9


def test_units_of_the_split_are_left_out():
    units = pd.concat(
        [frame([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]), frame([0.9], [0.0], in_split=True).assign(unit=9)],
        ignore_index=True,
    )
    table = rows(units)
    assert table.loc[("b", "unit", "outside_split"), ["n", "pearson"]].tolist() == pytest.approx([3, 1.0])
    assert table.loc[("b", "unit", "all"), "n"] == 4
    assert table.loc[("b", "unit", "all"), "pearson"] < 0


def test_model_points_are_unweighted_means_of_units():
    # network c has twice the units of a; points (mis, his): a (.2, .3), b (.4, .4), c (.6, .8), d (.4, .5), e (.4, .5)
    parts = [
        frame([0.1, 0.3], [0.2, 0.4], "a"),
        frame([0.4, 0.4], [0.3, 0.5], "b"),
        frame([0.5, 0.7, 0.5, 0.7], [0.8] * 4, "c"),
        frame([0.4, 0.4], [0.4, 0.6], "d"),
        frame([0.4, 0.4], [0.4, 0.6], "e"),
    ]
    row = rows(pd.concat(parts, ignore_index=True)).loc[("b", "model", "all")]
    assert (row["n"], row["n_networks"]) == (5, 5)
    # deviations (-.2, 0, .2, 0, 0) and (-.2, -.1, .3, 0, 0): .1 / sqrt(.08 * .14)
    assert row["pearson"] == pytest.approx(0.1 / np.sqrt(0.08 * 0.14))
    # mean ranks (1, 3, 5, 3, 3) and (1, 2, 5, 3.5, 3.5): 8 / sqrt(8 * 9.5)
    assert row["spearman"] == pytest.approx(np.sqrt(8 / 9.5))
    # five ranks take too few values for an interval
    assert row.filter(regex="spearman_(low|high)").isna().all()
    assert row.filter(regex="(pearson|nested)_(low|high)").notna().all()


def test_four_networks_are_points_without_a_correlation_however_many_their_conditions():
    parts = [people(40, seed, f"m{seed}", 0.6 + seed / 20) for seed in range(4)]
    units = pd.concat([*parts, parts[0].assign(condition="hard85")], ignore_index=True)
    table = rows(units)
    row = table.loc[("b", "model", "all")]
    assert (row["n"], row["n_networks"]) == (5, 4)
    assert row.drop(["n", "n_networks"]).isna().all()
    # their units still correlate
    assert table.loc[("b", "unit", "all"), ["n", "n_networks"]].tolist() == [200, 4]
    assert np.isfinite(table.loc[("b", "unit", "all"), "pearson_low"])


def test_model_intervals_from_five_networks_on():
    units = pd.concat(
        [people(40, seed, f"m{seed}", level) for seed, level in enumerate((0.6, 0.65, 0.7, 0.8, 0.85))],
        ignore_index=True,
    )
    row = rows(units).loc[("b", "model", "all")]
    z = np.arctanh(row["pearson"])
    assert row["n"] == 5
    # Fisher z: 1.96 / sqrt(5 - 3) on either side
    assert np.arctanh(row["pearson_low"]) == pytest.approx(z - 1.959964 / np.sqrt(2), rel=1e-6)
    assert np.arctanh(row["pearson_high"]) == pytest.approx(z + 1.959964 / np.sqrt(2), rel=1e-6)
    # five networks are few, forty units each are many: the nested interval is the narrower one
    assert row["pearson_low"] < row["nested_low"] < row["nested_high"] <= 1.0
    assert rows(units[units["model"] != "m0"]).loc[("b", "model", "all")].filter(regex="low|high").isna().all()


def test_networks_in_perfect_order_still_have_an_interval():
    # six networks in the same order: rho = 1; half a step inside is 1 - 6 / (216 - 6), error sqrt((1 + r^2 / 2) / 3)
    levels = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    parts = [frame([level, level + 0.01], [level, level + 0.02], f"m{level}") for level in levels]
    row = rows(pd.concat(parts, ignore_index=True)).loc[("b", "model", "all")]
    assert row["spearman"] == row["spearman_high"] == 1.0
    inside = 1 - 6 / 210
    expected = np.tanh(np.arctanh(inside) - 1.959964 * np.sqrt((1 + inside**2 / 2) / 3))
    assert row["spearman_low"] == pytest.approx(expected, rel=1e-6)
    # five say too little of ranks
    five = rows(pd.concat(parts[1:], ignore_index=True)).loc[("b", "model", "all")]
    assert five[["pearson_low", "spearman"]].notna().all()
    assert five[["spearman_low", "spearman_high"]].isna().all()


def test_resamples_are_widened_to_the_error_of_a_mean():
    # two networks of four units: resampled means have (4 - 1) / 4 of the variance that those of new units have
    values = np.array([0.1, 0.4, 0.5, 0.9, 0.2, 0.3, 0.7, 0.6])
    units = pd.concat([frame(values[:4], values[:4], "m"), frame(values[4:], values[4:], "n")], ignore_index=True)
    drawn = agreement.resample_units(units, 40_000, generator(0, "widening"))
    spread = values[drawn].mean(axis=1).std() * agreement.widening(units)
    expected = np.sqrt((values[:4].var(ddof=1) / 4 + values[4:].var(ddof=1) / 4) / 4)
    assert spread == pytest.approx(expected, rel=0.015)
    assert agreement.widening(units) == pytest.approx(np.sqrt(8 / 6))


def test_unit_interval_covers_the_population_about_as_often_as_it_says():
    # bivariate normal with r = .6, clusters of one; 200 samples of 25 units: nominal 95 %, three s.e. are 5 %
    rng = np.random.default_rng(0)
    covered = 0
    for repeat in range(200):
        first = rng.normal(size=25)
        units = frame(first, 0.6 * first + 0.8 * rng.normal(size=25))
        row = agreement.unit_agreement(units, False, 150, 0.95, generator(repeat, "test"))
        covered += row["pearson_low"] <= 0.6 <= row["pearson_high"]
    assert covered / 200 >= 0.90


def test_intervals_narrow_with_the_number_of_units():
    widths = []
    for n in (30, 480):
        row = rows(people(n, 1)).loc[("b", "unit", "all")]
        assert row["pearson_low"] < row["pearson"] < row["pearson_high"]
        assert row["spearman_low"] < row["spearman"] < row["spearman_high"]
        widths.append(row["pearson_high"] - row["pearson_low"])
    # sixteen times the units: about a quarter of the width
    assert widths[1] < 0.45 * widths[0]


def test_resamples_keep_networks_conditions_and_whole_units():
    natural = pd.concat([people(4, 1, "a"), people(5, 2, "b")], ignore_index=True)
    hard = natural[natural["unit"] < 3].assign(condition="hard95")
    units = pd.concat([natural, hard], ignore_index=True).sample(frac=1, random_state=0)
    drawn = agreement.resample_units(units, 50, generator(0, "test"))
    own = units.reset_index(drop=True)
    for sample in drawn:
        picked = own.iloc[sample].reset_index(drop=True)
        assert (picked[["model", "condition"]] == own[["model", "condition"]]).all().all()
        counts = picked.groupby(["model", "unit", "condition"]).size().unstack(fill_value=0)
        both = counts[counts.index.get_level_values("unit") < 3]
        assert (both["natural"] == both["hard95"]).all()
    assert len({tuple(sample) for sample in drawn}) > 40


def test_order_of_rows_does_not_matter():
    units = pd.concat([people(20, 1, "a"), people(30, 2, "b")], ignore_index=True)
    shuffled = units.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(rows(units), rows(shuffled))


def test_no_people_gives_an_empty_table():
    table = agreement.agreement_table(people(3, 0).iloc[:0], 0, 100, 0.95)
    assert list(table.columns) == agreement.COLUMNS
    assert len(table) == 0
