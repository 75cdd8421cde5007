"""The tasks stage: arrays and their long form say the same, and constant units are set aside by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from interpretability.errors import InputError
from interpretability.extremes import ties
from interpretability.randomness import unit_keys
from interpretability.schema import FACTS, KEY
from interpretability.tasks.natural import build
from stages import tasks
from study.errors import StudyError
from study.files.tables import read_json, read_parquet, write_json

N, K = 2, 4
MODELS = ["tiny", "vit", "50", "probed", "chance", "shuffled"]
ROLES = ["explanation_pos"] * K + ["explanation_neg"] * K + ["query_pos", "query_neg"]
POSITIONS = [*range(K), *range(K), 0, 0]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def exported(study, name, *flags):
    path = study.folder / f"{name}-long.parquet"
    places = ["--activations", str(study.folder / "activations"), "--out", str(study.folder / "tasks")]
    tasks.main([*places, "--export", str(path), "--model", name, *flags])
    return read_parquet(path)


def column(study, name, table):
    """Place of each row's unit among the units of its network."""
    layers = read_parquet(study.folder / "activations" / "layers.parquet")
    offsets = layers[layers["model"] == name].set_index("layer")["offset"]
    return offsets.loc[table["layer"]].to_numpy() + table["unit"].to_numpy()


def state(study, name):
    return load_file(study.folder / "activations" / f"{name}.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_every_unit_that_varies_has_tasks(finished_study, name):
    units = read_parquet(finished_study.folder / "tasks" / f"{name}.parquet")
    built = np.load(finished_study.folder / "tasks" / f"{name}.npy")
    assert list(units.columns) == [*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]
    assert built.shape == (len(units), N, 2 * (K + 1))
    assert built.dtype == np.int32
    found = state(finished_study, name)
    live = found["max"].astype(np.float64) - found["min"] >= 1e-8
    assert column(finished_study, name, units).tolist() == np.flatnonzero(live).tolist()
    assert set(units["model"]) == {name}
    assert set(units["condition"]) == {"natural"}


@pytest.mark.parametrize("name", MODELS)
def test_tasks_are_built_from_the_extremes_of_their_unit(finished_study, name):
    units = read_parquet(finished_study.folder / "tasks" / f"{name}.parquet")
    built, found = np.load(finished_study.folder / "tasks" / f"{name}.npy"), state(finished_study, name)
    for place in (0, len(units) // 2, len(units) - 1):
        unit, at = units.iloc[place], column(finished_study, name, units)[place]
        key = unit_keys(0, name, unit["layer"], np.array([unit["unit"]]))
        expected = build(found["top_images"][at : at + 1], found["bottom_images"][at : at + 1], key, N, K)
        np.testing.assert_array_equal(built[place], expected[0])


@pytest.mark.parametrize("name", MODELS)
def test_each_side_uses_its_most_extreme_images_once(finished_study, name):
    units = read_parquet(finished_study.folder / "tasks" / f"{name}.parquet")
    built, found = np.load(finished_study.folder / "tasks" / f"{name}.npy"), state(finished_study, name)
    at = column(finished_study, name, units)
    for side, explanations, query in (("top", slice(0, K), 2 * K), ("bottom", slice(K, 2 * K), 2 * K + 1)):
        ranked = found[f"{side}_images"][at]
        shown = np.sort(built[..., explanations].reshape(len(units), -1), axis=1)
        np.testing.assert_array_equal(shown, np.sort(ranked[:, : N * K], axis=1))
        asked = np.sort(built[..., query], axis=1)
        np.testing.assert_array_equal(asked, np.sort(ranked[:, N * K : N * (K + 1)], axis=1))


def test_tie_shares_are_those_of_the_images_in_use(finished_study):
    units = read_parquet(finished_study.folder / "tasks" / "chance.parquet")
    found = state(finished_study, "chance")
    rectified = (units["layer"] == "hash_rectified").to_numpy()
    # 60 images, nearly all of them exactly zero: the ten least exciting ones are ties
    assert (units["tie_share_neg"][rectified] == 1).all()
    assert (units[["tie_share_pos", "tie_share_neg"]][~rectified] == 0).to_numpy().all()
    expected = ties.tie_share(found["top_values"], found["tied_beyond_top"], N * (K + 1))
    np.testing.assert_array_equal(units["tie_share_pos"], expected[column(finished_study, "chance", units)])


def test_a_constant_unit_has_no_tasks_and_is_named(finished_study):
    constant = pd.read_csv(finished_study.folder / "tasks" / "constant_units.csv")
    dead = constant[(constant["absolute"] == 1) & (constant["model"] != "chance")]
    # the permuted control repeats the units of its network
    assert dead[["model", "layer", "unit", "layer_type"]].values.tolist() == [
        ["tiny", "middle", 2, "Conv"],
        ["shuffled", "middle", 2, "Conv"],
    ]
    assert dead[["min", "max"]].to_numpy().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    for name in ("tiny", "shuffled"):
        units = read_parquet(finished_study.folder / "tasks" / f"{name}.parquet")
        assert len(units) == 13
        assert units[units["layer"] == "middle"]["unit"].tolist() == [0, 1, 3, 4, 5]


def test_the_summary_says_how_far_the_tails_reach(finished_study):
    summary = read_json(finished_study.folder / "tasks" / "summary.json")
    # 2 * (4 + 1) of 60 images
    assert summary["tail_share"] == pytest.approx(10 / 60, abs=1e-6)
    assert (summary["n_images"], summary["n_tasks"], summary["n_explanations"]) == (60, N, K)
    assert summary["images"] == read_json(finished_study.folder / "images" / "summary.json")["digest"]


def test_the_same_extremes_give_the_same_bytes(finished_study):
    assert contents(finished_study.run_tasks("again")) == contents(finished_study.folder / "tasks")


# --------------------------------------------------------------------------- long form


@pytest.mark.parametrize("name", MODELS)
def test_the_long_form_matches_the_arrays(finished_study, name):
    table = exported(finished_study, name)
    units = read_parquet(finished_study.folder / "tasks" / f"{name}.parquet")
    built = np.load(finished_study.folder / "tasks" / f"{name}.npy")
    assert list(table.columns) == ["layer", "unit", "condition", "task", "role", "position", "image", "activation"]
    assert len(table) == built.size
    rows = table.set_index(["layer", "unit", "task", "role", "position"])
    assert rows.index.is_unique
    for place in (0, len(units) - 1):
        layer, unit = units.iloc[place][["layer", "unit"]]
        for task in range(N):
            images = [
                rows.loc[(layer, unit, task, role, at), "image"] for role, at in zip(ROLES, POSITIONS, strict=True)
            ]
            assert images == built[place, task].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_activations_of_the_long_form_are_those_of_the_extremes(finished_study, name):
    table, found = exported(finished_study, name), state(finished_study, name)
    at, positive = column(finished_study, name, table), table["role"].str.endswith("_pos").to_numpy()
    for side, chosen in (("top", positive), ("bottom", ~positive)):
        images, values = found[f"{side}_images"][at[chosen]], found[f"{side}_values"][at[chosen]]
        same = images == table["image"].to_numpy()[chosen, None]
        assert (same.sum(axis=1) == 1).all()
        np.testing.assert_array_equal(values[same], table["activation"][chosen])
    # every explanation is at least as extreme as every query of its side
    spread = table.groupby(["layer", "unit", "role"])["activation"].agg(["min", "max"]).unstack()
    assert (spread["min"]["explanation_pos"] >= spread["max"]["query_pos"]).all()
    assert (spread["max"]["explanation_neg"] <= spread["min"]["query_neg"]).all()


def test_one_layer_is_exported_alone(finished_study):
    whole, part = exported(finished_study, "tiny"), exported(finished_study, "tiny", "--layer", "middle")
    expected = whole[whole["layer"] == "middle"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--model", "resnet"],
            "there are no tasks of a network 'resnet'; there are some of: 50, chance, probed, shuffled",
        ),
        (["--model", "tiny", "--layer", "first"], "tiny has no layer 'first'; it has norm, middle"),
        ([], "--export needs --model NAME"),
    ],
)
def test_an_export_of_what_is_not_there_is_told(finished_study, tmp_path, flags, told):
    places = [
        "--activations",
        str(finished_study.folder / "activations"),
        "--out",
        str(finished_study.folder / "tasks"),
    ]
    with pytest.raises(InputError, match=told):
        tasks.main([*places, "--export", str(tmp_path / "t.parquet"), *flags])


# --------------------------------------------------------------------------- other settings


@pytest.fixture
def one_network(drawn_study):
    drawn_study.roster({"name": "net"})
    drawn_study.run_models()
    drawn_study.run_activations()
    return drawn_study


def test_more_task_images_than_there_are_extremes_are_refused_by_both_names(one_network):
    one_network.params(tasks__n_tasks=5)
    with pytest.raises(
        InputError, match=r"tasks\.n_tasks \* \(tasks\.n_explanations \+ 1\) = 5 \* 5 = 25 .*n_extremes keeps"
    ):
        one_network.run_tasks()


def test_more_task_images_than_the_folder_holds_are_refused(one_network, message):
    # as from a folder of 19 pictures
    path = one_network.folder / "activations" / "run.json"
    write_json(path, {**read_json(path), "n_images": 19})
    text = message(one_network.run_tasks)
    assert "19 images are too few: tasks.n_tasks = 2 and tasks.n_explanations = 4 need at least 2 * 2 * 5 = 20" in text
    assert text.endswith("Add at least 1, or lower tasks.n_explanations to 3")


def test_a_smaller_task_set_uses_the_inner_part_of_the_same_extremes(one_network):
    one_network.params(tasks__n_tasks=3, tasks__n_explanations=1, sensitivity__n_explanations=[1])
    out = one_network.run_tasks()
    built, found = np.load(out / "net.npy"), load_file(one_network.folder / "activations" / "net.safetensors")
    assert built.shape == (14, 3, 4)
    np.testing.assert_array_equal(np.sort(built[..., 0], axis=1), np.sort(found["top_images"][:, :3], axis=1))
    np.testing.assert_array_equal(np.sort(built[..., 3], axis=1), np.sort(found["bottom_images"][:, 3:6], axis=1))


def test_a_study_without_constant_units_has_an_empty_table(one_network):
    out = one_network.run_tasks()
    assert (out / "constant_units.csv").read_text() == "model,layer,unit,layer_type,min,max,absolute,relative\n"


def test_a_network_of_constant_units_alone_has_no_tasks(drawn_study):
    drawn_study.roster({"name": "dead", "kwargs": '{"width": 2, "dead": [0, 1]}'}, {"name": "net"})
    # of first, middle and last only middle is left
    drawn_study.params(units__layer_types=["Conv", "Linear"])
    drawn_study.run_models()
    drawn_study.run_activations()
    out = drawn_study.run_tasks()
    assert np.load(out / "dead.npy").shape == (0, N, 2 * (K + 1))
    assert len(read_parquet(out / "dead.parquet")) == 0
    constant = pd.read_csv(out / "constant_units.csv")
    assert constant[["model", "unit"]].values.tolist() == [["dead", 0], ["dead", 1]]
    assert len(exported(drawn_study, "dead")) == 0


# --------------------------------------------------------------------------- harder conditions


@pytest.fixture
def hard(drawn_study):
    """A network with a dead unit whose units of layer middle have harder tasks; 15 % of 60 images is rank 9."""
    drawn_study.params(activations__keep=["net/middle/*"], tasks__conditions=["natural", "hard85"])
    drawn_study.roster({"name": "net", "kwargs": '{"dead": [2]}'}, {"name": "plain"})
    drawn_study.run_models()
    drawn_study.run_activations()
    drawn_study.run_tasks()
    return drawn_study


def test_harder_tasks_stand_behind_the_natural_ones(hard):
    table, built = read_parquet(hard.folder / "tasks" / "net.parquet"), np.load(hard.folder / "tasks" / "net.npy")
    assert table["condition"].tolist() == ["natural"] * 13 + ["hard85"] * 5
    assert table.loc[table["condition"] == "hard85", "unit"].tolist() == [0, 1, 3, 4, 5]
    assert len(built) == 18
    assert not table.duplicated(KEY).any()
    natural = built[8:13]
    np.testing.assert_array_equal(built[13:, :, : 2 * K], natural[..., : 2 * K])
    values = np.stack(read_parquet(hard.folder / "activations" / "kept" / "net.parquet")["values"])[[0, 1, 3, 4, 5]]
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    shown = np.take_along_axis(ranks[:, None], built[13:, :, -2:].reshape(5, 1, -1), 2).reshape(5, N, 2)
    assert (np.sort(shown[..., 0], axis=1) == [60 - 9 - 2, 60 - 9 - 1]).all()
    assert (np.sort(shown[..., 1], axis=1) == [9, 10]).all()
    # a network without kept columns has natural tasks alone
    assert set(read_parquet(hard.folder / "tasks" / "plain.parquet")["condition"]) == {"natural"}


def test_the_long_form_knows_the_activation_of_every_image_of_a_harder_task(hard):
    table = exported(hard, "net")
    assert table["activation"].notna().all()
    column = read_parquet(hard.folder / "activations" / "kept" / "net.parquet")["values"][3]
    rows = table[(table["condition"] == "hard85") & (table["layer"] == "middle") & (table["unit"] == 3)]
    np.testing.assert_array_equal(rows["activation"], column[rows["image"]])


def test_too_few_images_for_a_window_are_refused(hard):
    hard.params(activations__keep=["net/middle/*"], tasks__conditions=["natural", "hard95"])
    with pytest.raises(StudyError, match=r"hard95, whose queries start at rank 3 of images\.generated\.n = 60 images"):
        hard.run_tasks()
    with pytest.raises(StudyError, match="hard95"):
        hard.run_images("other")
