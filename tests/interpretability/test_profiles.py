"""Bins of layers, changes during training, convergence in the number of tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis import profiles


def layers_of(depths, scores, kind="Conv", model="m", widths=None):
    n = len(depths)
    return pd.DataFrame(
        {
            "backend": "b",
            "model": model,
            "layer": [f"l{i}" for i in range(n)],
            "layer_type": kind,
            "depth": depths,
            "width": widths or [8] * n,
            "mis_mean": scores,
        }
    )


def test_bins_hold_equally_many_layers_of_one_type_in_order_of_depth():
    # 62 layers in 30 bins: numpy's rule gives the first two bins three layers, the others two
    depths = np.linspace(0, 1, 62)[::-1]
    many = layers_of(depths, depths)
    found = profiles.layer_bins(pd.concat([many, layers_of([0.5], [0.7], kind="Linear")]), 0.95)
    conv = found[(found["x"] == "depth") & (found["layer_type"] == "Conv")]
    assert conv["n_layers"].tolist() == [3, 3] + [2] * 28
    # the score of a layer is its depth here, so both means of a bin agree and rise
    np.testing.assert_allclose(conv["mis_mean"], conv["x_mean"])
    assert conv["x_mean"].is_monotonic_increasing
    assert (conv["x_to"].to_numpy()[:-1] <= conv["x_from"].to_numpy()[1:]).all()
    # the one Linear layer is a bin of its own, without an interval
    alone = found[(found["x"] == "depth") & (found["layer_type"] == "Linear")]
    assert alone[["n_layers", "mis_mean"]].to_numpy().tolist() == [[1, 0.7]]
    assert alone["mis_low"].isna().all()


def test_bins_of_fewer_than_five_networks_have_no_interval():
    networks = [layers_of(np.linspace(0, 1, 30), np.linspace(0.5, 0.9, 30), model=f"m{i}") for i in range(5)]
    few, enough = (profiles.layer_bins(pd.concat(networks[:n]), 0.95) for n in (4, 5))
    assert few["n_layers"].min() >= 4
    assert few[["mis_low", "mis_high"]].isna().all().all()
    shared = enough["n_networks"] >= 4  # all layers are equally wide: bins of width take them network by network
    assert shared.equals(enough["x"] == "depth")
    assert enough.loc[shared, ["mis_low", "mis_high"]].notna().all().all()
    assert enough.loc[~shared, ["mis_low", "mis_high"]].isna().all().all()
    assert few["mis_mean"].notna().all()


def test_width_is_relative_to_the_widest_layer_of_the_type_in_the_network():
    one = layers_of([0.1] * 5, [0.5, 0.6, 0.7, 0.8, 0.9], widths=[10, 20, 30, 40, 50])
    other = layers_of([0.1] * 5, [0.5, 0.6, 0.7, 0.8, 0.9], model="n", widths=[100, 200, 300, 400, 500])
    found = profiles.layer_bins(pd.concat([one, other]), 0.95)
    wide = found[found["x"] == "relative_width"]
    # five bins of two layers each, one of either network: 10/50 and 100/500 meet
    np.testing.assert_allclose(wide["x_mean"], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(wide["mis_mean"], [0.5, 0.6, 0.7, 0.8, 0.9])
    assert wide["n_networks"].tolist() == [2] * 5


def test_layers_of_one_network_are_one_cluster_of_a_bin():
    # four networks with two layers each in the one bin of their width; means .5, .5, .6, .8 around .6
    parts = [layers_of([0.1, 0.1], [m - 0.01, m + 0.01], model=f"n{i}") for i, m in enumerate((0.5, 0.5, 0.6, 0.8))]
    five_bins = profiles.layer_bins(pd.concat(parts), 0.95)
    assert five_bins["mis_low"].isna().all(), "no bin has layers of four networks"
    low, high = profiles._over_networks(
        np.concatenate([part["mis_mean"] for part in parts]), np.repeat(range(4), 2), 0.95
    )
    # as a t interval of four means: sd sqrt((.01 + .01 + 0 + .04) / 3), t(3) = 3.182446
    reach = 3.182446 * np.sqrt(0.06 / 3) / 2
    assert (low, high) == pytest.approx((0.6 - reach, 0.6 + reach), rel=1e-6)
    assert np.isnan(profiles._over_networks(np.arange(6.0), np.repeat(range(3), 2), 0.95)).all()


def training_tables(steps, scores):
    models = pd.DataFrame(
        {"model": [f"s{step}" for step in steps], "backend": "b", "role": "study", "series": "s", "step": steps}
    )
    layers = pd.concat(
        [
            pd.DataFrame(
                {
                    "backend": "b",
                    "model": f"s{step}",
                    "layer": ["a", "z"],
                    "layer_type": "Conv",
                    "layer_index": [1, 2],
                    "depth": [0.5, 1.0],
                    "n_units": [4, 8],
                    "mis_mean": row,
                    "mis_se": 0.03,
                }
            )
            for step, row in zip(steps, scores, strict=True)
        ]
    )
    return layers, models


def test_changes_of_layers_in_the_first_epoch_later_and_over_all():
    layers, models = training_tables([2, 0, 1], [[0.7, 0.9], [0.5, 0.6], [0.8, 0.7]])
    found = profiles.layer_change(layers, models).set_index(["period", "layer"])
    # layer a: .5 untrained, .8 after one epoch, .7 at the end
    assert found["change"].round(6).to_dict() == {
        ("first", "a"): 0.3,
        ("first", "z"): 0.1,
        ("later", "a"): -0.1,
        ("later", "z"): 0.2,
        ("full", "a"): 0.2,
        ("full", "z"): 0.3,
    }
    assert found.loc[("full", "a"), ["from_step", "to_step"]].tolist() == [0, 2]
    # two independent errors of .03: .03 * sqrt 2
    np.testing.assert_allclose(found["change_se"], 0.03 * np.sqrt(2))


def test_checkpoints_within_the_first_epoch_do_not_end_it():
    layers, models = training_tables([0, 0.25, 1, 2], [[0.5, 0.6], [0.6, 0.6], [0.8, 0.7], [0.7, 0.9]])
    found = profiles.layer_change(layers, models).set_index(["period", "layer"])
    assert found.loc["first", ["from_step", "to_step"]].drop_duplicates().to_numpy().tolist() == [[0, 1]]
    assert found.loc["later", ["from_step", "to_step"]].drop_duplicates().to_numpy().tolist() == [[1, 2]]
    # without the end of the first epoch, the first checkpoint stands for it
    layers, models = training_tables([0, 0.25, 2], [[0.5, 0.6], [0.6, 0.6], [0.7, 0.9]])
    assert set(profiles.layer_change(layers, models)["to_step"]) == {0.25, 2}


def test_a_series_without_its_untrained_network_has_no_change():
    layers, models = training_tables([1, 2], [[0.7, 0.9], [0.5, 0.6]])
    found = profiles.layer_change(layers, models)
    assert found.empty
    assert list(found.columns) == profiles.CHANGE_COLUMNS


def test_two_checkpoints_have_no_later_period():
    layers, models = training_tables([0, 3], [[0.7, 0.9], [0.5, 0.6]])
    assert set(profiles.layer_change(layers, models)["period"]) == {"first", "full"}


def test_convergence_of_the_first_tasks_to_all():
    p = np.array([[1.0, 0.0, 0.5, 0.5], [0.2, 0.4, 0.6, 0.8]])
    # scores of the first 1, 2, 3 tasks: 1, .5, .5 against .5; .2, .3, .4 against .5
    found = profiles.convergence(p)
    assert found["n_tasks"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(found["mean_abs_diff"], [(0.5 + 0.3) / 2, 0.2 / 2, 0.1 / 2])
    assert found["n_units"].tolist() == [2, 2, 2]


def test_tasks_that_do_not_count_are_passed_over():
    p = np.array([[1.0, 0.0, 0.5, 0.5], [0.2, 0.4, 0.6, 0.8]])
    used = np.array([[True, True, True, True], [False, True, False, True]])
    found = profiles.convergence(p, used)
    # the second unit has tasks .4 and .8, score .6: .2 off after its first one, and no first two of more than two
    np.testing.assert_allclose(found["mean_abs_diff"], [(0.5 + 0.2) / 2, 0.0, 0.0])
    assert found["n_units"].tolist() == [2, 1, 1]
    assert profiles.convergence(p, np.zeros_like(used)).empty


def test_blocks_of_units_give_what_all_of_them_give():
    p = np.random.default_rng(0).random((7, 5))
    whole = profiles.convergence(p)
    first, second = profiles.convergence(p[:3]), profiles.convergence(p[3:])
    pooled = (first["mean_abs_diff"] * 3 + second["mean_abs_diff"] * 4) / 7
    assert pooled.to_numpy() == pytest.approx(whole["mean_abs_diff"].to_numpy())
