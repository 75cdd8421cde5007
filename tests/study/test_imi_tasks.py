"""Tasks taken from the map of images: the very images that people saw, or an account of why not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from interpretability.errors import InputError
from interpretability.schema import KEY
from stages import scores, tasks
from study.files.tables import read_csv, read_json, read_parquet, write_csv
from study.networks import imi_naming
from study.people import imi_tasks

N, K = 2, 9
NAMES = {"net": "net", "other-net": "other"}


def batch(pictures, rng):
    """One task of the map and its images in our order: strongest explanation first, queries last."""
    rows = rng.choice(len(pictures), 2 * (K + 1), replace=False)
    ours = {f"max_{K - 1 - j}": rows[j] for j in range(K)} | {f"min_{K - 1 - j}": rows[K + j] for j in range(K)}
    ours |= {"max_9": rows[2 * K], "min_9": rows[2 * K + 1]}
    return {f"{name}.png": pictures[row] for name, row in sorted(ours.items())}, rows


def write_map(path, pictures, units, n_batches=3):
    """A map of these (model, layer, channel), and the tasks (n_batches, 2(K + 1)) in it by unit."""
    rng, content, expected = np.random.default_rng(0), {}, {}
    for model, layer, channel in units:
        drawn = [batch(pictures, rng) for _ in range(n_batches)]
        entry = content.setdefault(model, {}).setdefault(f"{layer}/channel_{channel}", {})
        entry |= {f"batch_{i}": images for i, (images, _) in enumerate(drawn)}
        expected[model, layer, channel] = np.stack([rows for _, rows in drawn])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return content, expected


PICTURES = [f"n{i % 4:08d}/n{i % 4:08d}_{i}.JPEG" for i in range(60)]


def test_images_take_the_places_of_their_role(tmp_path):
    units = [("net", "norm", 3), ("net_hard95", "norm", 3), ("other-net", "conv", 0), ("third", "x", 1)]
    _, expected = write_map(tmp_path / "map.json", PICTURES, units)
    # the study's paths may start higher up
    found = imi_tasks.read_imi_tasks(tmp_path / "map.json", NAMES, pd.Series([f"train/{name}" for name in PICTURES]), N)
    keys = list(found.table[["model", "layer", "unit", "condition"]].itertuples(index=False, name=None))
    assert keys == [
        ("net", "norm", 3, "hard95"),
        ("net", "norm", 3, "natural"),
        ("other", "conv", 0, "natural"),
        ("third", "x", 1, "natural"),
    ]
    for place, unit in enumerate([units[1], units[0], *units[2:]]):
        np.testing.assert_array_equal(found.tasks[place], expected[unit][:N])
    assert set(found.table["status"]) == {""}
    assert found.of("net").tasks.shape == (2, N, 2 * (K + 1))


def test_what_is_missing_is_said(tmp_path):
    units = [("net", "norm", channel) for channel in range(4)]
    content, _ = write_map(tmp_path / "map.json", PICTURES, units)
    del content["net"]["norm/channel_0"]["batch_1"]
    del content["net"]["norm/channel_1"]["batch_0"]["min_9.png"]
    content["net"]["norm/channel_2"]["batch_1"]["max_4.png"] = "n00000000/elsewhere.JPEG"
    content["net"]["norm/channel_3"]["batch_2"]["max_4.png"] = "n00000000/elsewhere.JPEG"  # beyond the first two
    (tmp_path / "map.json").write_text(json.dumps(content))
    table = imi_tasks.read_imi_tasks(tmp_path / "map.json", NAMES, pd.Series(PICTURES), N).table
    one = "the map has 1 whole tasks of 2"
    assert table["status"].tolist() == [one, one, "1 images are not in this study", ""]


def test_a_name_that_two_pictures_have_is_no_picture(tmp_path):
    write_map(tmp_path / "map.json", PICTURES, [("net", "norm", 0)])
    doubled = pd.Series([f"{half}/{name}" for half in ("a", "b") for name in PICTURES])
    table = imi_tasks.read_imi_tasks(tmp_path / "map.json", NAMES, doubled, N).table
    assert table["status"].tolist() == [f"{N * 2 * (K + 1)} images are not in this study"]


@pytest.mark.parametrize(
    ("model", "condition"), [("resnet50", "natural"), ("clip-resnet50_hard85", "hard85"), ("in1k-vit_b32", "natural")]
)
def test_the_name_of_a_network_says_its_difficulty(model, condition):
    assert imi_naming.difficulty(model) == condition


# --------------------------------------------------------------------------- the stage


@pytest.fixture
def photos(study, photographs):
    """A study of 60 photographs: parameters to vary, and a network with a dead unit; units are those of norm and middle."""
    root = photographs(60)

    def use(**more):
        usual = {"images__source": "folder", "images__root": str(root), "human__source": "none", "tasks__source": "imi"}
        usual |= {"tasks__n_explanations": K, "sensitivity__n_explanations": [K]}
        usual |= {"human__imi__image_map": "image_data/map.json"}
        study.params(**usual | more)

    use()
    study.run_images()
    study.roster({"name": "net", "kwargs": '{"dead": [2]}'}, {"name": "plain"})
    study.run_models()
    study.run_activations()
    write_csv(study.folder / "names.csv", pd.DataFrame({"imi": ["net", "lost"], "name": ["net", ""]}))
    return study, use


def pictures_of(study):
    return read_parquet(study.folder / "images/manifest.parquet")["path"].tolist()


def tasks_of(study, name, folder="tasks"):
    table, built = (
        read_parquet(study.folder / folder / f"{name}.parquet"),
        np.load(study.folder / folder / f"{name}.npy"),
    )
    assert len(table) == len(built)
    assert not table.duplicated(KEY).any()
    return table, built


def test_a_unit_of_the_map_has_exactly_the_images_that_people_saw(photos):
    study, use = photos
    units = [
        ("net", "norm", 3),
        ("net_hard95", "middle", 5),
        ("net_hard95", "norm", 3),
        ("net_hard85", "norm", 1),
        ("net", "middle", 2),
        ("net", "first", 0),
        ("lost", "a", 0),
    ]
    _, expected = write_map(study.folder / "map/map.json", pictures_of(study), units)
    use(tasks__conditions=["natural", "hard95"])
    study.run_tasks()
    table, built = tasks_of(study, "net")
    assert table["condition"].tolist() == ["natural"] * 13 + ["hard95"] * 2
    rows = {key[1:]: row for row, key in enumerate(table[KEY].itertuples(index=False, name=None))}
    np.testing.assert_array_equal(built[rows["norm", 3, "natural"]], expected["net", "norm", 3][:N])
    np.testing.assert_array_equal(built[rows["norm", 3, "hard95"]], expected["net_hard95", "norm", 3][:N])
    np.testing.assert_array_equal(built[rows["middle", 5, "hard95"]], expected["net_hard95", "middle", 5][:N])
    assert table["tie_share_pos"].isna().sum() == 3
    status = read_csv(study.folder / "tasks/mapped.csv").set_index(["model", "layer", "unit", "condition"])["status"]
    assert status.to_dict() == {
        ("lost", "a", 0, "natural"): imi_tasks.NO_NETWORK,
        ("net", "first", 0, "natural"): imi_tasks.NO_LAYER,
        ("net", "middle", 2, "natural"): imi_tasks.NO_UNIT,
        ("net", "middle", 5, "hard95"): imi_tasks.USED,
        ("net", "norm", 1, "hard85"): "tasks.conditions does not name it",
        ("net", "norm", 3, "hard95"): imi_tasks.USED,
        ("net", "norm", 3, "natural"): imi_tasks.USED,
    }
    # and these tasks are scored like all others
    use(tasks__conditions=["natural", "hard95"], scores__backends=["null"])
    flags = study._flags("params.yaml", "tasks", "images", "models", "code")
    out = study.folder / "null.parquet"
    scores.main([*flags, "--backend", "null", "--out", str(out), "--cost", str(study.folder / "cost.json")])
    scored = read_parquet(out).query("model == 'net'").reset_index(drop=True)
    pd.testing.assert_frame_equal(scored[[*KEY, "tie_share_pos"]], table[[*KEY, "tie_share_pos"]])
    assert [len(margins) for margins in scored["margins"]] == [N] * 15
    # all others, also of the network that nobody was asked about, are rebuilt as without a map
    use(tasks__source="rebuilt")
    study.run_tasks("rebuilt")
    others = [
        row for (layer, unit, condition), row in rows.items() if condition == "natural" and (layer, unit) != ("norm", 3)
    ]
    plain_table, plain = tasks_of(study, "net", "rebuilt")
    pd.testing.assert_frame_equal(table.iloc[others], plain_table.iloc[others])
    np.testing.assert_array_equal(built[others], plain[others])
    np.testing.assert_array_equal(tasks_of(study, "plain")[1], tasks_of(study, "plain", "rebuilt")[1])
    assert (study.folder / "rebuilt/mapped.csv").read_text() == "model,layer,unit,condition,status\n"


def test_the_long_form_names_the_pictures_and_the_activations_it_knows(photos):
    study, use = photos
    content, _ = write_map(
        study.folder / "map/map.json", pictures_of(study), [("net", "norm", 3), ("net", "middle", 4)]
    )
    use(activations__keep=["net/middle/4"])
    study.run_activations()
    study.run_tasks()
    path = study.folder / "long.parquet"
    places = ["--activations", str(study.folder / "activations"), "--out", str(study.folder / "tasks")]
    tasks.main([*places, "--export", str(path), "--model", "net", "--layer", "middle"])
    rows = read_parquet(path).query("unit == 4 and task == 1")
    manifest = np.array(pictures_of(study))
    seen = content["net"]["middle/channel_4"]["batch_1"]
    query = rows[rows["role"] == "query_neg"].iloc[0]
    assert manifest[query["image"]] == seen["min_9.png"]
    first = rows[(rows["role"] == "explanation_pos") & (rows["position"] == 0)].iloc[0]
    assert manifest[first["image"]] == seen["max_8.png"]
    column = read_parquet(study.folder / "activations/kept/net.parquet")["values"][0]
    np.testing.assert_array_equal(rows["activation"], column[rows["image"]])
    tasks.main([*places, "--export", str(path), "--model", "net", "--layer", "norm"])
    rows = read_parquet(path).query("unit == 3")
    # 20 extremes a side of 60 images: some pictures of the map are none, and no column was kept
    assert 0 < rows["activation"].isna().sum() < len(rows)


def test_a_map_with_fewer_tasks_than_asked_for_says_what_to_change(photos):
    study, _ = photos
    write_map(study.folder / "map/map.json", pictures_of(study), [("net", "norm", 3)], n_batches=1)
    told = r"none of the 1 units of the map .*because: the map has 1 whole tasks of 2\. tasks\.n_tasks must not exceed"
    with pytest.raises(InputError, match=told):
        study.run_tasks()


def test_the_same_map_gives_the_same_bytes(photos):
    study, _ = photos
    write_map(study.folder / "map/map.json", pictures_of(study), [("net", "norm", 3), ("net", "middle", 0)])
    one, two = study.run_tasks("one"), study.run_tasks("two")
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes(), path.name
    assert read_json(one / "summary.json")["n_tasks"] == N
