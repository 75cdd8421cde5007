"""Tasks with made images in the stage `tasks`: behind all others, for units whose two sides have images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interpretability.errors import InputError
from interpretability.schema import MADE, MIXED, NATURAL, SYNTHETIC
from stages import tasks
from study.files.tables import read_csv, read_json, read_parquet, write_json
from study.images.made import MADE_SIDES
from study.params.whole import load_params
from tests.helpers.made_images import fabricate

N_IMAGES, K = 60, 4
UNITS = [("net", "norm", 3), ("net", "middle", 1), ("net", "middle", 2), ("net", "middle", 4), ("plain", "middle", 0)]
WANTED = {
    "tasks__conditions": [NATURAL, "hard85", MIXED, SYNTHETIC],
    "activations__keep": ["net/middle/*"],
    "visualisations__units": ["net/*/*"],
}


@pytest.fixture
def two(drawn_study):
    """Two networks with made images; one unit is constant, one could not be reached on one side."""
    drawn_study.params(**WANTED)
    drawn_study.roster({"name": "net", "kwargs": '{"dead": [2]}'}, {"name": "plain"})
    drawn_study.run_models()
    drawn_study.run_activations()
    missing = [("net", "middle", 4, "min")]
    fabricate(
        drawn_study.folder / "visualisations", drawn_study.folder / "images", UNITS, n_images=5, unreachable=missing
    )
    return drawn_study


def test_made_images_explain_behind_all_other_tasks(two):
    out = two.run_tasks()
    table, built = read_parquet(out / "net.parquet"), np.load(out / "net.npy")
    assert table["condition"].tolist() == [NATURAL] * 13 + ["hard85"] * 5 + [MIXED] * 2 + [SYNTHETIC] * 2
    of_made = read_parquet(two.folder / "visualisations/images.parquet").query("seed_set == 0")
    for condition in MADE:
        rows = table[table["condition"] == condition]
        assert list(zip(rows["layer"], rows["unit"], strict=True)) == [("norm", 3), ("middle", 1)]
        assert rows[["tie_share_pos", "tie_share_neg"]].isna().all(axis=None), "made images are none of the study's"
        for row, unit in rows.iterrows():
            mine = (table["layer"] == unit["layer"]) & (table["unit"] == unit["unit"])
            (natural,) = np.flatnonzero(mine & (table["condition"] == NATURAL))
            same = ["layer_type", "layer_index", "depth", "width"]
            assert table.loc[row, same].tolist() == table.loc[natural, same].tolist()
            np.testing.assert_array_equal(built[row][:, -2:], built[natural][:, -2:])
            shown = built[row][:, : 2 * K].reshape(-1, 2, K)
            own = of_made[(of_made["layer"] == unit["layer"]) & (of_made["unit"] == unit["unit"])]
            for side, name in enumerate(MADE_SIDES):
                numbers = own.loc[own["side"] == name].sort_values("position")["image"].to_numpy()
                numbers = [*numbers[: K - 1], numbers[-1]]  # five were made; the last is without diversity
                expected = np.broadcast_to(numbers, shown[:, side].shape)
                if condition == MIXED:
                    expected = np.where(np.arange(K) % 2, expected, built[natural][:, side * K : (side + 1) * K])
                np.testing.assert_array_equal(shown[:, side], expected)


def test_every_unit_with_made_images_is_accounted_for(two):
    table = read_csv(two.run_tasks() / "made_units.csv", ["unit"], text=["model", "layer", "status"])
    status = {(row.model, row.layer, row.unit): row.status for row in table.itertuples()}
    assert status == {
        ("net", "norm", 3): "used",
        ("net", "middle", 1): "used",
        ("net", "middle", 2): "no natural tasks, so no queries",
        ("net", "middle", 4): "side min is unreachable",
        ("plain", "middle", 0): "used",
    }


def test_other_tasks_are_the_same_bytes_and_a_study_without_made_images_reads_none(two):
    with_made = two.run_tasks()
    table, built = read_parquet(with_made / "net.parquet"), np.load(with_made / "net.npy")
    two.params(**WANTED | {"tasks__conditions": [NATURAL, "hard85"]})
    (two.folder / "visualisations").rename(two.folder / "elsewhere")
    without = two.run_tasks("without")
    others = ~table["condition"].isin(MADE).to_numpy()
    np.testing.assert_array_equal(built[others], np.load(without / "net.npy"))
    pd.testing.assert_frame_equal(table[others], read_parquet(without / "net.parquet"))
    assert not (without / "made_units.csv").exists()
    two.params(**WANTED | {"tasks__conditions": [NATURAL, "hard85"], "visualisations__units": []})
    again = two.run_tasks("again")
    names = sorted(path.name for path in without.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert all((without / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_fewer_made_images_than_a_task_shows_are_refused(two):
    fabricate(two.folder / "few", two.folder / "images", UNITS, n_images=3)
    (two.folder / "visualisations").rename(two.folder / "enough")
    (two.folder / "few").rename(two.folder / "visualisations")
    with pytest.raises(InputError, match=r"3 images a side were made for unit 3 of norm.*visualisations\.n_images"):
        two.run_tasks()


def test_images_made_beside_other_pictures_are_refused(two):
    note = two.folder / "visualisations/run.json"
    write_json(note, read_json(note) | {"manifest": "0" * 64})
    with pytest.raises(InputError, match=r"was made beside other pictures than the study has now; run `dvc repro`"):
        two.run_tasks()


def test_the_long_form_holds_the_values_of_made_images(two):
    out = two.run_tasks()
    path = two.folder / "long.parquet"
    places = [
        part
        for name, place in (("activations", "activations"), ("visualisations", "visualisations"))
        for part in (f"--{name}", str(two.folder / place))
    ]
    tasks.main([*places, "--out", str(out), "--export", str(path), "--model", "net"])
    long = read_parquet(path)
    images = read_parquet(two.folder / "visualisations/images.parquet").set_index("image")
    shown = long[long["image"] >= N_IMAGES]
    assert set(shown["condition"]) == set(MADE)
    np.testing.assert_array_equal(shown["activation"], images.loc[shown["image"], "value"])
    kept = long[(long["layer"] == "middle") & (long["image"] < N_IMAGES)]
    assert kept["activation"].notna().all(), "whole columns of this layer are kept"
    again = kept[kept["condition"] == MIXED].merge(
        kept[kept["condition"] == NATURAL], on=["layer", "unit", "task", "role", "position", "image"], how="left"
    )
    np.testing.assert_array_equal(again["activation_x"], again["activation_y"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visualisations__units": []}, r"tasks\.conditions names mixed, .*visualisations\.units is empty"),
        (
            {"visualisations__n_images": K - 1},
            r"visualisations\.n_images is 3, but tasks\.conditions names mixed.*tasks\.n_explanations = 4",
        ),
    ],
)
def test_conditions_with_made_images_need_enough_of_them(drawn_study, changes, message):
    drawn_study.params(**WANTED | changes)
    with pytest.raises(InputError, match=message):
        load_params(drawn_study.folder / "params.yaml")
