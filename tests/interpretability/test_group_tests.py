"""Conover's test over pairs of groups."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interpretability.analysis import group_tests

# Groups a (1, 2, 2), b (2, 3, 4), c (5, 6): ranks a 1, 3, 3; b 3, 5, 6; c 7, 8 (the three 2s share rank 3).
VALUES = [1, 2, 2, 2, 3, 4, 5, 6]
GROUPS = ["a", "a", "a", "b", "b", "b", "c", "c"]


def delta(values, codes):
    groups = {str(code): values[codes == code] for code in np.unique(codes)}
    return group_tests.cliffs_delta(group_tests.joint_ranks(groups).count)


def test_statistic_and_p_by_hand_on_a_table_with_ties():
    # Mean ranks 7/3, 14/3, 15/2; n = 8, mean 4.5. Squared ranks add up to 1 + 3 * 9 + 25 + 36 + 49 + 64 = 202, so
    # S2 = (202 - 8 * 20.25) / 7 = 40 / 7. Between groups 3 (13/6)^2 + 3 (1/6)^2 + 2 * 3^2 = 193 / 6, H = that / S2.
    # Common factor S2 (8 - 1 - H) / (8 - 3) = (40 - 193 / 6) / 5 = 47 / 30.
    factor = 47 / 30
    t_ab = (7 / 3 - 14 / 3) / np.sqrt(factor * 2 / 3)
    t_ac = (7 / 3 - 15 / 2) / np.sqrt(factor * 5 / 6)
    t_bc = (14 / 3 - 15 / 2) / np.sqrt(factor * 5 / 6)
    table = group_tests.conover(VALUES, GROUPS)
    assert table[["first", "second"]].agg("".join, axis=1).tolist() == ["ab", "ac", "bc"]
    assert table["statistic"].tolist() == pytest.approx([t_ab, t_ac, t_bc])
    p = 2 * stats.t.sf(np.abs([t_ab, t_ac, t_bc]), 5)
    assert table["p"].tolist() == pytest.approx(p.tolist())
    # Holm: ascending p times 3, 2, 1, never falling: ac, then bc and ab
    adjusted = np.maximum.accumulate(np.sort(p) * [3, 2, 1])
    assert table.sort_values("p")["p_holm"].tolist() == pytest.approx(adjusted.tolist())
    assert table["n_first"].tolist() == [3, 3, 3]
    assert table["n_second"].tolist() == [3, 2, 2]


def test_cliffs_delta_by_hand():
    table = group_tests.conover(VALUES, GROUPS)
    # a against b: 9 pairs; 1 and both 2s below 3, 4: 6 + 1 (1 < 2) below, two ties, none above -> -7/9
    assert table["effect"].tolist() == pytest.approx([-7 / 9, -1.0, -1.0])


def test_order_of_the_pair_turns_signs_only():
    names = {"a": "z", "b": "b", "c": "c"}
    turned = group_tests.conover(VALUES, [names[group] for group in GROUPS])
    row = turned[(turned["first"] == "b") & (turned["second"] == "z")].iloc[0]
    plain = group_tests.conover(VALUES, GROUPS).iloc[0]
    assert row["statistic"] == pytest.approx(-plain["statistic"])
    assert row["effect"] == pytest.approx(-plain["effect"])
    assert row["p"] == pytest.approx(plain["p"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abcd")), min_size=6, max_size=30),
    st.sampled_from([0, 10**6]),
)
def test_p_and_h_are_those_of_the_libraries_below_and_above_their_limit(rows, limit):
    frame = pd.DataFrame(rows, columns=["value", "group"])
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(group_tests, "LIBRARY_MOST", limit)
        warnings.simplefilter("error", RuntimeWarning)
        table = group_tests.conover(frame["value"], frame["group"])
    kept = frame[frame.groupby("group")["value"].transform("size") >= 2]
    if kept["group"].nunique() < 2:
        assert len(table) == 0
        return
    assert table["effect"].between(-1, 1).all()
    samples = {group: values.to_numpy() for group, values in kept.groupby("group")["value"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_tests, "LIBRARY_MOST", limit)
        found = group_tests.kruskal(group_tests.joint_ranks(samples), samples)
    if kept["value"].nunique() < 2:
        assert np.isnan(found["statistic"])
        return
    expected = stats.kruskal(*(values for _, values in kept.groupby("group")["value"]))
    assert (found["statistic"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    matrix = scikit_posthocs.posthoc_conover(kept, val_col="value", group_col="group")
    for row in table[np.isfinite(table["statistic"])].itertuples():
        assert row.p == pytest.approx(matrix.loc[row.first, row.second], abs=1e-9)


def test_kruskal_by_hand():
    # H = 193 / 6 / (40 / 7) from the test above, 8 values in 3 groups
    samples = {"a": [1, 2, 2], "b": [2, 3, 4], "c": [5, 6]}
    found = group_tests.kruskal(group_tests.joint_ranks(samples), samples)
    h = 193 / 6 * 7 / 40
    assert found == pytest.approx(
        {"n_groups": 3, "n": 8, "statistic": h, "p": np.exp(-h / 2), "epsilon_squared": h / 7}
    )  # chi-squared with two degrees of freedom


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.lists(st.integers(0, 4), min_size=2, max_size=12))
def test_cliffs_delta_equals_the_count_of_pairs(first, second):
    values = np.array(first + second, dtype=float)
    codes = np.repeat([0, 1], [len(first), len(second)])
    pairs = np.sign(np.subtract.outer(np.array(first), np.array(second)))
    assert delta(values, codes)[0, 1] == pytest.approx(pairs.mean())


def test_cliffs_delta_of_many_distinct_values_stays_close(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000) + np.repeat([0.0, 0.3], 2000)
    codes = np.repeat([0, 1], 2000)
    exact = delta(values, codes)
    # delta of two normals .3 apart: 2 Phi(.3 / sqrt 2) - 1 = .168
    assert exact[1, 0] == pytest.approx(0.168, abs=0.05)
    monkeypatch.setattr(group_tests, "_MAX_CLASSES", 1000)
    assert delta(values, codes)[1, 0] == pytest.approx(exact[1, 0], abs=2e-3)


def test_nothing_to_compare_gives_an_empty_table():
    assert len(group_tests.conover([1, 2, 3], ["a", "a", "b"])) == 0
    assert len(group_tests.conover([], [])) == 0
    assert list(group_tests.conover([], []).columns) == group_tests.COLUMNS


def test_groups_of_one_are_left_out_of_the_ranks():
    with_single = group_tests.conover([*VALUES, 3.5], [*GROUPS, "d"])
    pd.testing.assert_frame_equal(with_single, group_tests.conover(VALUES, GROUPS))


def test_equal_values_everywhere_cannot_be_tested():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = group_tests.conover([2.0] * 6, ["a", "b"] * 3)
    assert table[["statistic", "p", "p_holm"]].isna().all().all()
    assert table["effect"].tolist() == [0.0]


def test_missing_values_are_an_error():
    with pytest.raises(ValueError, match="1 values are NaN"):
        group_tests.conover([1.0, np.nan, 2.0], ["a", "a", "b"])


def test_layer_types_enter_once_a_network_and_networks_by_their_units():
    layer_types = {"Conv": [0.5, 0.7], "Linear": [0.9, 0.9]}
    units = pd.DataFrame(
        [
            (model, kind, "natural", value + shift)
            for model, shift in (("a", 0.0), ("b", 0.01), ("c", 0.02))
            for kind, values in layer_types.items()
            for value in values
        ],
        columns=["model", "layer_type", "condition", "his"],
    )
    hard = units.assign(condition="hard95", his=0.1)
    tables = group_tests.compare_units(pd.concat([units, hard]), "his", "human")
    kinds = tables["conover_layer_types"]
    # means .6, .61, .62 against .9, .91, .92: ranks 1 2 3 and 4 5 6
    assert kinds[["backend", "first", "second", "n_first", "n_second"]].to_numpy().tolist() == [
        ["human", "Conv", "Linear", 3, 3]
    ]
    assert kinds["effect"].tolist() == [-1.0]
    nets = tables["conover_models"]
    assert nets["n_first"].tolist() == [4, 4, 4]
    assert list(nets.columns) == ["backend", *group_tests.COLUMNS]


def test_conditions_are_compared_apart():
    rng = np.random.default_rng(0)
    part = pd.DataFrame({"model": np.repeat(["a", "b"], 30), "layer_type": "Conv", "his": rng.random(60)})
    raised = part.assign(his=part["his"] + 5 * (part["model"] == "a"), condition="synthetic")
    units = pd.concat([part.assign(condition="natural"), raised], ignore_index=True)
    natural = group_tests.compare_units(units, "his", "human")["conover_models"]
    synthetic = group_tests.compare_units(units, "his", "human_synthetic", "synthetic")["conover_models"]
    assert natural["backend"].tolist() == ["human"]
    assert synthetic["backend"].tolist() == ["human_synthetic"]
    assert (natural["n_first"][0], synthetic["n_first"][0]) == (30, 30)
    assert synthetic["effect"][0] == pytest.approx(1.0)
    assert abs(natural["effect"][0]) < 0.5
    assert group_tests.compare_units(units, "his", "human", "hard99")["conover_models"].empty
