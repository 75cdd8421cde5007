"""One-sided tasks and latents that are active too seldom, in the stage `tasks`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from interpretability.errors import InputError
from interpretability.randomness import unit_keys
from interpretability.schema import ONE_SIDED
from interpretability.tasks.one_sided import one_sided_tasks
from stages import tasks
from study.files.tables import read_parquet
from study.tabulating.sparse_codes import COLUMNS, summarised
from study.tasks.firing import firing_table

N, K, N_IMAGES = 2, 4, 60
NEEDED = N * (K + 1)


@pytest.fixture
def two(drawn_study):
    """Two networks, the first with a dead unit and harder tasks; extremes are there."""
    drawn_study.params(
        tasks__one_sided=["ne*"], activations__keep=["net/middle/*"], tasks__conditions=["natural", "hard85"]
    )
    drawn_study.roster({"name": "net", "kwargs": '{"dead": [2]}'}, {"name": "plain"})
    drawn_study.run_models()
    drawn_study.run_activations()
    return drawn_study


def test_networks_that_are_named_have_one_sided_tasks_behind_all_others(two):
    out = two.run_tasks()
    table, built = read_parquet(out / "net.parquet"), np.load(out / "net.npy")
    assert table["condition"].tolist() == ["natural"] * 13 + ["hard85"] * 5 + [ONE_SIDED] * 13
    assert read_parquet(out / "plain.parquet")["condition"].unique().tolist() == ["natural"]
    own, natural = (table[table["condition"] == name].reset_index(drop=True) for name in (ONE_SIDED, "natural"))
    same = ["model", "layer", "unit", "layer_type", "tie_share_pos"]
    pd.testing.assert_frame_equal(own[same], natural[same])
    assert own["tie_share_neg"].isna().all(), "random images tie with nothing"
    state = load_file(two.folder / "activations" / "net.safetensors")
    layers = read_parquet(two.folder / "activations" / "layers.parquet").query("model == 'net'").set_index("layer")
    for place in (0, 5, 12):
        unit = own.loc[place]
        at = layers.loc[unit["layer"], "offset"] + unit["unit"]
        key = unit_keys(0, "net", unit["layer"], np.array([unit["unit"]]))
        expected = one_sided_tasks(state["top_images"][at : at + 1], key, N_IMAGES, N, K)
        np.testing.assert_array_equal(built[table["condition"] == ONE_SIDED][place], expected[0])


def test_one_sided_tasks_change_no_others(two):
    with_them = two.run_tasks()
    table, built = read_parquet(with_them / "net.parquet"), np.load(with_them / "net.npy")
    two.params(tasks__one_sided=[], activations__keep=["net/middle/*"], tasks__conditions=["natural", "hard85"])
    without = two.run_tasks("without")
    others = (table["condition"] != ONE_SIDED).to_numpy()
    np.testing.assert_array_equal(built[others], np.load(without / "net.npy"))
    assert (with_them / "plain.npy").read_bytes() == (without / "plain.npy").read_bytes()


def test_a_name_of_no_network_is_refused(two):
    two.params(tasks__one_sided=["net", "nett*"])
    with pytest.raises(
        InputError, match=r"tasks\.one_sided names 'nett\*', which is no network of .*Allowed: net, plain"
    ):
        two.run_tasks()


def test_the_long_form_says_all_that_is_known_of_activations(two):
    out = two.run_tasks()
    path = two.folder / "long.parquet"
    places = ["--activations", str(two.folder / "activations"), "--out", str(out)]
    tasks.main([*places, "--export", str(path), "--model", "net"])
    long = read_parquet(path).query("condition == @ONE_SIDED")
    kept = long["layer"] == "middle"
    assert long.loc[kept, "activation"].notna().all(), "whole columns of this layer are kept"
    positive = long["role"].str.endswith("pos")
    assert long.loc[positive, "activation"].notna().all()
    # 20 of 60 images a side are kept as extremes
    assert 0.1 < long.loc[~kept & ~positive, "activation"].isna().mean() < 0.6


def as_code(study, nonpositive):
    """Make layer `middle` of net a sparse code whose latents are silent on so many images."""
    path = study.folder / "activations" / "net.safetensors"
    state = load_file(path)
    layers = read_parquet(study.folder / "activations" / "layers.parquet").query("model == 'net'").set_index("layer")
    start = layers.loc["middle", "offset"]
    state["nonpositive"] = state["nonpositive"].copy()
    state["nonpositive"][start : start + 6] = np.array(nonpositive) / N_IMAGES
    save_file(state, path)
    table = pd.DataFrame(
        [{"model": "net", "layer": "middle", "sparse": 1}, {"model": "net", "layer": "norm", "sparse": 0}]
    )
    table.to_csv(study.folder / "activations" / "directions.csv", index=False)


def test_latents_below_the_cliff_have_no_tasks_and_are_counted(two, caplog):
    as_code(two, [0, N_IMAGES - NEEDED, 60, N_IMAGES - NEEDED + 1, 59, 30])
    caplog.set_level("INFO")
    out = two.run_tasks()
    firing = read_parquet(out / "firing.parquet")
    assert firing["layer"].unique().tolist() == ["middle"], "layers that are no sparse code are not asked"
    assert firing["n_active"].tolist() == [60, 10, 0, 9, 1, 30]
    assert firing["status"].tolist() == ["scored", "scored", "dead", "too_sparse", "too_sparse", "scored"]
    np.testing.assert_allclose(firing["share"], firing["n_active"] / N_IMAGES)
    table = read_parquet(out / "net.parquet")
    for condition in ("natural", "hard85", ONE_SIDED):
        rows = table[(table["condition"] == condition) & (table["layer"] == "middle")]
        assert rows["unit"].tolist() == [0, 1, 5], condition
    assert len(np.load(out / "net.npy")) == len(table)
    assert "of 6 latents of sparse codes 2 are too sparse (active on fewer than 10 images), 1 dead" in caplog.text


def test_the_permuted_control_of_a_code_leaves_out_the_same_latents(drawn_study):
    shuffled = {"constructor": "control:permuted", "preprocessing": "", "role": "control", "kwargs": '{"of": "net"}'}
    drawn_study.roster({"name": "net"}, {"name": "shuffled", **shuffled})
    drawn_study.run_models()
    drawn_study.run_activations()
    as_code(drawn_study, [0, 55, 60, 20, 50, 51])
    own = load_file(drawn_study.folder / "activations" / "net.safetensors")["nonpositive"]
    path = drawn_study.folder / "activations" / "shuffled.safetensors"
    save_file({**load_file(path), "nonpositive": own}, path)
    firing = read_parquet(drawn_study.run_tasks() / "firing.parquet")
    columns = ["layer", "unit", "n_active", "status"]
    both = [firing.loc[firing["model"] == name, columns].values.tolist() for name in ("net", "shuffled")]
    assert both[0] == both[1]
    assert [row[3] for row in both[0]] == ["scored", "too_sparse", "dead", "scored", "scored", "too_sparse"]


def test_a_study_without_codes_has_an_empty_table_of_the_same_columns(two):
    firing = read_parquet(two.run_tasks() / "firing.parquet")
    assert len(firing) == 0
    assert summarised(firing, NEEDED).columns.tolist() == COLUMNS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_active_images_are_whole_numbers_of_any_share(dtype):
    n_images = 1_281_167
    active = np.random.default_rng(0).integers(0, n_images + 1, 2000)
    units = pd.DataFrame({"model": "m", "layer": "l", "unit": np.arange(2000)})
    table = firing_table(units, ((n_images - active) / n_images).astype(dtype), {"l"}, n_images, 200)
    assert table["n_active"].tolist() == active.tolist()


def test_latents_are_summarised_by_layer():
    firing = pd.DataFrame(
        {
            "model": ["b"] * 4 + ["a"] * 2,
            "layer": ["x"] * 4 + ["y"] * 2,
            "unit": [0, 1, 2, 3, 0, 1],
            "share": [0.0, 0.1, 0.2, 0.4, 0.0, 0.0],
            "status": ["dead", "too_sparse", "scored", "scored", "dead", "dead"],
        }
    )
    table = summarised(firing, 200)
    assert table[["model", "layer", "n_latents", "n_dead", "n_too_sparse", "n_scored", "needed"]].values.tolist() == [
        ["b", "x", 4, 1, 1, 2, 200],
        ["a", "y", 2, 2, 0, 0, 200],
    ]
    np.testing.assert_allclose(
        table.loc[0, ["firing_p10", "firing_median", "firing_p90"]].astype(float), [0.12, 0.2, 0.36]
    )
    assert table.loc[1, ["firing_p10", "firing_median", "firing_p90"]].isna().all()
