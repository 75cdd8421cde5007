"""Points, bins and groups of annotated units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from interpretability.analysis import machine_beside_human
from interpretability.people import two_way


def annotated_units(n=40, model="m", condition="natural", backend="b", start=0):
    """Units with MIS i / 100 and HIS equal to it; every tenth is in the calibration split."""
    i = np.arange(start, start + n)
    return pd.DataFrame(
        {
            "backend": backend,
            "model": model,
            "layer": "l",
            "unit": i,
            "condition": condition,
            "layer_type": "Conv",
            "layer_index": 1,
            "depth": 0.5,
            "mis": i / 100,
            "his": i / 100,
            "n_responses": 30,
            "in_split": i % 10 == 9,
        }
    )


def test_points_of_networks_are_unweighted_means_over_units():
    table = pd.concat([annotated_units(5), annotated_units(2, condition="hard85", start=10)])
    answers = table.merge(pd.DataFrame({"participant": list("pqr")}), how="cross").assign(
        correct=lambda rows: (rows["unit"] + rows["participant"].map({"p": 0, "q": 1, "r": 2})) % 2
    )
    found = machine_beside_human.model_points(table, answers, 0.95).set_index("condition")
    assert found["n_units"].to_dict() == {"natural": 5, "hard85": 2}
    # 0, .01, .02, .03, .04; .10, .11
    assert found["mis_mean"].round(6).to_dict() == {"natural": 0.02, "hard85": 0.105}
    # t(4) = 2.776445, sd = sqrt(2.5) / 100, five units; on the scale of the logit divided by .02 * .98
    reach = 2.776445 * np.sqrt(2.5) / 100 / np.sqrt(5) / (0.02 * 0.98)
    ends = expit(np.log(0.02 / 0.98) + np.array([-reach, reach]))
    assert found.loc["natural", ["mis_low", "mis_high"]].tolist() == pytest.approx(ends.tolist(), rel=1e-5)
    # HIS has the interval of other people
    natural = answers[answers["condition"] == "natural"]
    wider = two_way.means_of_units(natural, 0.95).iloc[0]
    assert found.loc["natural", ["his_low", "his_high"]].tolist() == wider[["low", "high"]].tolist()
    assert found.loc["hard85", ["mis_low", "his_low"]].isna().all()


def test_bins_leave_out_the_calibration_split_and_are_of_equal_count():
    found = machine_beside_human.his_bins(annotated_units(40), 0.95)
    # 36 units outside the split: seven bins of five or six
    assert found["n"].tolist() == [6, 5, 5, 5, 5, 5, 5]
    np.testing.assert_allclose(found["his_mean"], found["mis_mean"])
    assert found["mis_mean"].is_monotonic_increasing
    assert machine_beside_human.his_bins(annotated_units(4), 0.95).empty


def test_units_come_in_the_order_of_the_similarities():
    table = pd.concat([annotated_units(2, backend="z"), annotated_units(2, backend="a")]).iloc[::-1]
    assert machine_beside_human.unit_points(table.iloc[[3, 2, 1, 0]])["backend"].tolist() == ["z", "z", "a", "a"]


def no_extremes():
    return pd.DataFrame(columns=["model", "layer", "unit", "end"])


def test_without_annotated_extremes_groups_are_chosen_among_the_annotated_units():
    table = annotated_units(50)
    units = machine_beside_human.group_units(table, no_extremes(), 20, seed=0)
    found = machine_beside_human.groups(units, 0.95).set_index(["model", "group"])
    # 45 units outside the split, a tenth is 4: the lowest are 0, 1, 2, 3, the highest 45 to 48 (49 is in the split)
    assert found.loc[("m", "hardest"), "mis_mean"] == pytest.approx(0.015)
    assert found.loc[("m", "easiest"), "mis_mean"] == pytest.approx(0.465)
    assert found["n_units"].tolist() == [4] * 6
    assert set(found["chosen"]) == {machine_beside_human.AFTER}
    random = units[units["group"] == "random"]
    assert random["mis"].between(0.04, 0.44).all()
    assert not random["unit"].isin([9, 19, 29, 39]).any()
    # the same draw every time
    pd.testing.assert_frame_equal(units, machine_beside_human.group_units(table.iloc[::-1], no_extremes(), 20, seed=0))


def test_groups_that_people_were_asked_about_come_first():
    table = annotated_units(50)
    extreme = pd.DataFrame(
        {"model": "m", "layer": "l", "unit": [*range(20, 24), *range(30, 34)], "end": ["easiest"] * 4 + ["hardest"] * 4}
    )
    found = machine_beside_human.groups(machine_beside_human.group_units(table, extreme, 20, seed=0), 0.95).set_index(
        ["model", "group"]
    )
    assert found.loc[("m", "easiest"), ["n_units", "chosen"]].tolist() == [4, machine_beside_human.BEFORE]
    assert found.loc[("m", "easiest"), "his_mean"] == pytest.approx(0.215)
    assert found.loc[("m", "random"), "n_units"] == 42


def test_networks_with_few_annotated_units_have_no_groups():
    assert machine_beside_human.group_units(annotated_units(11), no_extremes(), 20, seed=0).empty


def test_conover_between_groups():
    units = machine_beside_human.group_units(annotated_units(50), no_extremes(), 20, seed=0)
    found = machine_beside_human.group_tests(units)
    assert found[["first", "second"]].to_numpy().tolist() == [
        ["easiest", "hardest"],
        ["easiest", "random"],
        ["hardest", "random"],
    ]
    # no unit of a higher group lies below one of a lower group
    assert found["paper_effect"].tolist() == [1, 1, -1]
    assert list(found.columns) == machine_beside_human.GROUP_TEST_COLUMNS


def test_layers_against_depth_by_network():
    table = annotated_units(10)
    table["layer"] = [f"l{i // 2}" for i in range(10)]
    table["depth"] = np.repeat([0.2, 0.4, 0.6, 0.8, 1.0], 2)
    table["layer_index"] = np.repeat([1, 2, 3, 4, 5], 2)
    layers = machine_beside_human.his_layers(pd.concat([table, annotated_units(5, condition="hard85")]))
    assert layers["n_units"].tolist() == [2] * 5
    np.testing.assert_allclose(layers["his_mean"], [0.005, 0.025, 0.045, 0.065, 0.085])
    found = machine_beside_human.his_depth(layers)
    assert found[["n_layers", "spearman"]].to_numpy().tolist() == [[5, 1.0]]
    assert found["p"].iloc[0] < 0.02
    # four layers in perfect order are no finding
    few = machine_beside_human.his_depth(layers.head(4)).iloc[0]
    assert few["n_layers"] == 4
    assert np.isnan([few["spearman"], few["p"]]).all()


def test_pairs_join_on_the_unit_and_find_the_easy_condition():
    table = pd.concat(
        [
            annotated_units(3),
            annotated_units(3, condition="hard95", start=1).assign(his=0.5),
            annotated_units(2, condition="synthetic").assign(his=0.6),
            annotated_units(1, condition="hard95_synthetic").assign(his=0.4),
        ]
    )
    found = machine_beside_human.unit_pairs(table[["model", "layer", "unit", "condition", "his"]], table)
    pairs = found[["condition", "base", "unit", "his_base", "his"]].to_numpy().tolist()
    assert pairs == [
        ["hard95", "natural", 1, 0.01, 0.5],
        ["hard95", "natural", 2, 0.02, 0.5],
        ["hard95_synthetic", "synthetic", 0, 0.6, 0.4],
        ["synthetic", "natural", 0, 0.0, 0.6],
        ["synthetic", "natural", 1, 0.01, 0.6],
    ]
    assert found["depth"].eq(0.5).all()


def test_empty_tables_keep_their_columns():
    none = annotated_units(0)
    units = machine_beside_human.unit_points(none)
    no_answers = units.assign(participant="", correct=True)
    assert list(units.columns) == machine_beside_human.UNIT_COLUMNS
    for found, columns in (
        (machine_beside_human.model_points(units, no_answers, 0.95), machine_beside_human.POINT_COLUMNS),
        (machine_beside_human.his_bins(units, 0.95), machine_beside_human.BIN_COLUMNS),
        (
            machine_beside_human.groups(machine_beside_human.group_units(units, no_extremes(), 5, 0), 0.95),
            machine_beside_human.GROUP_COLUMNS,
        ),
        (machine_beside_human.his_layers(units), machine_beside_human.LAYER_COLUMNS),
        (machine_beside_human.his_depth(machine_beside_human.his_layers(units)), machine_beside_human.DEPTH_COLUMNS),
        (machine_beside_human.unit_pairs(units, units), machine_beside_human.PAIR_COLUMNS),
    ):
        assert found.empty
        assert list(found.columns) == columns
