"""The stage of made images: its files from their definitions, and that nothing but its inputs changes a byte of them."""

import filecmp
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.schema import BEATS, BELOW, UNREACHABLE
from interpretability.visualisations import making
from stages import visualisations
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet
from study.images.made import IMAGE_SCHEMA, UNIT_SCHEMA, MadeImages, digest_of, made_digest, open_made
from study.images.manifest import open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from study.visualisations import medians, naming
from study.visualisations.job import settings_of
from study.visualisations.parameters import VisualisationParams
from tests.conftest import Study
from tests.helpers.rules import ROOT

UNITS = ["tiny/middle/0", "tiny/middle/2", "tiny/norm/5", "probed/middle/1"]
FEW = {
    "visualisations__units": UNITS,
    "visualisations__n_images": 3,
    "visualisations__n_sets": 2,
    "visualisations__steps": 4,
    "visualisations__n_natural": 25,
}
# what comes behind `floor` changes with the image, but no gradient comes back through it
STEPPED = """
from collections import OrderedDict

import torch
from torch import nn


class Floor(nn.Module):
    def forward(self, x):
        return torch.floor(8 * x)


def network():
    return nn.Sequential(OrderedDict(
        first=nn.Conv2d(3, 6, 3, stride=2), before=nn.Conv2d(6, 6, 1), floor=Floor(), behind=nn.Conv2d(6, 4, 1),
        last=nn.Conv2d(4, 2, 1),
    ))
"""


@pytest.fixture
def made(finished_study, tmp_path):
    """A copy of the finished study with parameters of its own."""
    folder = tmp_path / "copy"
    shutil.copytree(finished_study.folder, folder, symlinks=True)
    study = Study(folder)
    study.params(**FEW)
    return study


def run(study, out="visualisations", *more):
    names = ("activations", "images", "models", "code")
    flags = [part for name in names for part in (f"--{name}", str(study.folder / name))]
    visualisations.main(
        ["--params", str(study.folder / "params.yaml"), *flags, "--out", str(study.folder / out), *more]
    )
    return study.folder / out


def alike(one, other):
    """Whether two folders hold the same files with the same bytes."""
    names = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in (one, other)
    ]
    return names[0] == names[1] and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names[0])


def opened(study, name):
    row = next(row for row in rows_of(read_roster(study.folder / "models/roster.csv")) if row["name"] == name)
    return load_network(row, study.folder / "models", study.code, 0)


def values_of(network, batch, layer):
    """Values (images, channels) of a layer of `tiny`, by hand."""
    shown = []
    handle = getattr(network.model, layer).register_forward_hook(lambda *given: shown.append(given[-1].detach()))
    with torch.no_grad():
        network.model(batch)
    handle.remove()
    return shown[0].double().mean((2, 3)).numpy()


def test_tables_and_pixels_follow_from_their_definitions(made):
    out = run(made)
    images = open_images(made.folder / "images")
    table, units, there = (
        read_parquet(out / "images.parquet"),
        read_parquet(out / "units.parquet"),
        open_made(out, images),
    )
    assert list(table.columns) == IMAGE_SCHEMA.names
    assert list(units.columns) == UNIT_SCHEMA.names
    owners = [("tiny", "norm", 5), ("tiny", "middle", 0), ("probed", "middle", 1)]
    sides = [(*owner, seed_set, side) for owner in owners for seed_set in (0, 1) for side in ("max", "min")]
    key = ["model", "layer", "unit", "seed_set", "side"]
    assert list(units[key].itertuples(index=False, name=None)) == sides
    assert list(table[[*key, "position"]].itertuples(index=False, name=None)) == [
        (*side, position) for side in sides for position in range(3)
    ]
    assert table["image"].tolist() == list(range(60, 60 + len(table)))
    assert table["digest"].tolist() == [digest_of(there.pixels(image)) for image in table["image"]]
    assert np.load(out / "pixels/tiny.npy").shape == (24, 32, 32, 3)
    assert np.load(out / "pixels/probed.npy").shape == (12, 32, 32, 3)
    note = read_json(out / "run.json")
    assert note["manifest"] == images.digest
    assert (note["n_natural"], note["n_median"], note["settings"]["n_sets"]) == (60, 25, 2)
    assert note["images"] == made_digest(table["digest"].tolist())
    sample = medians.sample_of(params_of(made), 60)
    assert len(sample) == 25
    state = load_file(made.folder / "activations/tiny.safetensors")
    network = opened(made, "tiny")
    shown = network.preprocessing.batch([images.pixels(int(row)) for row in sample])
    offsets = dict(
        read_parquet(made.folder / "activations/layers.parquet").query("model == 'tiny'")[["layer", "offset"]].values
    )
    for layer, unit in (("norm", 5), ("middle", 0)):
        median = np.median(values_of(network, shown, layer)[:, unit])
        place = offsets[layer] + unit
        for side, extreme in (("max", state["max"][place]), ("min", state["min"][place])):
            mine = units.query(f"layer == '{layer}' and side == '{side}' and model == 'tiny'")
            stored = table.query(f"layer == '{layer}' and side == '{side}' and model == 'tiny'")
            pixels = torch.from_numpy(np.stack([there.pixels(image) for image in stored["image"]])).permute(0, 3, 1, 2)
            values = values_of(network, network.preprocessing.normalised(pixels), layer)[:, unit]
            np.testing.assert_allclose(stored["value"], values, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(mine["median"], median, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(mine["extreme"], extreme, rtol=1e-5)
            sign = 1 if side == "max" else -1
            for (_, row), part in zip(mine.iterrows(), values.reshape(2, 3), strict=True):
                best, weakest = sign * (sign * part).max(), sign * (sign * part).min()
                assert row["best"] == pytest.approx(best, rel=1e-4)
                assert row["weakest"] == pytest.approx(weakest, rel=1e-4)
                assert row["ratio_best"] == pytest.approx((best - median) / (extreme - median), rel=1e-3)
                assert row["ratio_weakest"] == pytest.approx((weakest - median) / (extreme - median), rel=1e-3)
                assert row["status"] == (BEATS if sign * weakest > sign * extreme else BELOW)
    assert (units["gradient"] > 0).all()
    assert (units[["passes", "in_imi"]].to_numpy()[:, 1] == 1).all()
    left_out = read_csv(out / "left_out.csv", text=["model", "layer"])
    assert left_out.values.tolist() == [["tiny", "middle", 2, naming.CONSTANT]]
    assert len(read_csv(out / "failures.csv")) == 0


def params_of(study):
    from study.params.reading import load

    return load(study.folder / "params.yaml", VisualisationParams)


def test_a_direction_is_made_for_as_its_reader_reads_it(made):
    made.params(**{**FEW, "visualisations__units": ["probed/middle/1"], "visualisations__steps": 12})
    there = open_made(run(made), open_images(made.folder / "images"))
    network = opened(made, "probed")
    matrix = np.load(made.folder / "directions.npy").astype(np.float64)
    pixels = torch.from_numpy(np.stack([there.pixels(image) for image in there.table["image"]])).permute(0, 3, 1, 2)
    values = values_of(network, network.preprocessing.normalised(pixels), "middle") @ matrix[:, 1]
    np.testing.assert_allclose(there.table["value"], values, rtol=1e-4, atol=1e-5)
    assert (there.units["ratio_best"] > 0).all()


def test_attention_and_controls_are_told(made):
    layers = read_parquet(made.folder / "activations/layers.parquet")
    vit = layers[layers["model"] == "vit"].iloc[3]["layer"]
    control = layers[layers["model"] == "chance"].iloc[0]["layer"]
    entries = [f"vit/{vit}/0", f"chance/{control}/[01]", "shuffled/middle/1"]
    made.params(**{**FEW, "visualisations__units": entries, "visualisations__n_sets": 1, "visualisations__steps": 1})
    out = run(made)
    assert MadeImages(out).units[["model", "in_imi"]].values.tolist() == [["vit", 0]] * 2
    left_out = read_csv(out / "left_out.csv", text=["model", "layer"])
    assert left_out[["model", "unit", "reason"]].values.tolist() == [
        ["chance", 0, naming.CONTROL],
        ["chance", 1, naming.CONTROL],
        ["shuffled", 1, naming.CONTROL],
    ]


def test_tables_and_failed_networks_are_told(made, monkeypatch):
    made.params(**{**FEW, "visualisations__units": ["*/middle/0", "gone/layer1/*"]})
    (made.folder / "models/failures.csv").write_text("model,stage,reason\ngone,models,it is lost\n")
    monkeypatch.setattr(naming, "is_table", lambda row: row["name"] == "probed")
    left_out = read_csv(run(made) / "left_out.csv", text=["model", "layer", "unit"])
    assert left_out.values.tolist() == [
        ["probed", "middle", "0", naming.TABLE],
        ["shuffled", "middle", "0", naming.CONTROL],
        ["gone", "middle", "0", f"{naming.FAILED}it is lost"],
        ["gone", "layer1", "*", f"{naming.FAILED}it is lost"],
    ]


@pytest.mark.parametrize("diversity", ["0", "1"])
def test_an_interruption_changes_no_byte(made, monkeypatch, diversity):
    few = {**FEW, "visualisations__units": UNITS[:1], "visualisations__diversity": diversity}
    made.params(**few)
    clean = run(made, "clean")
    assert bool(read_parquet(clean / "images.parquet")["diverse"].all()) == (diversity == "1")
    monkeypatch.setenv("MIS_STORE", str(made.folder / "second-store"))
    usual, begun = making.make_images, []

    def dies(*args):
        begun.append(args[2])
        if len(begun) == 3:
            raise KeyboardInterrupt
        return usual(*args)

    monkeypatch.setattr(making, "make_images", dies)
    with pytest.raises(KeyboardInterrupt):
        run(made, "killed")
    assert alike(run(made, "resumed"), clean)
    assert len(begun) == 3 + 2, "two of four sides were in the store"


def test_adaptive_diversity_is_told_image_by_image(made):
    made.params(
        **{
            **FEW,
            "visualisations__units": ["tiny/middle/0"],
            "visualisations__diversity": "adaptive",
            "visualisations__steps": 16,
            "visualisations__rate": 0.2,
            "visualisations__n_sets": 1,
        }
    )
    there = MadeImages(run(made))
    diverse = there.table.groupby(["layer", "side"])["diverse"].agg(list)
    for _, row in there.units.iterrows():
        expected = [True, True, False] if row["weight"] > 0 else [False] * 3
        assert diverse[row["layer"], row["side"]] == expected, (
            "the last image of a diverse side is the strongest without"
        )
        assert row["weight"] == 0 or (row["status"] == BEATS and 8 <= row["passes"] <= 13)
    assert (there.units["weight"] > 0).any()


def test_another_unit_leaves_what_was_made(made, monkeypatch):
    made.params(**{**FEW, "visualisations__units": UNITS[:1]})
    first = MadeImages(run(made, "first"))
    usual, begun = making.make_images, []
    monkeypatch.setattr(making, "make_images", lambda *args: begun.append(args[0].unit) or usual(*args))
    made.params(**FEW)
    second = MadeImages(run(made, "second"))
    assert begun == [5] * 4 + [1] * 4, "of the first unit nothing is made anew"
    mine = second.table.query("layer == 'middle' and model == 'tiny'")
    assert mine["digest"].tolist() == first.table["digest"].tolist()


def test_a_unit_that_fails_is_told_and_the_others_stay(made, monkeypatch, message):
    usual = making.make_images

    def fails(target, natural, side, settings, key):
        if target.layer.name == "norm" and side == "min":
            raise ValueError("made to fail")
        return usual(target, natural, side, settings, key)

    monkeypatch.setattr(making, "make_images", fails)
    out = run(made)
    units = read_parquet(out / "units.parquet")
    assert set(zip(units["model"], units["layer"], strict=True)) == {("tiny", "middle"), ("probed", "middle")}
    failures = read_csv(out / "failures.csv", text=["reason"])
    assert failures[["model", "stage"]].values.tolist() == [["tiny", "visualisations"]]
    assert failures["reason"][0] == "norm/5, min of seed set 0: ValueError: made to fail"
    left_out = read_csv(out / "left_out.csv", text=["model", "layer"])
    assert left_out["reason"].tolist() == [naming.CONSTANT, "it failed (min of seed set 0: ValueError: made to fail)"]
    made.params(**{**FEW, "visualisations__units": ["tiny/norm/5"]})
    assert "every unit of visualisations.units failed; tiny: norm/5, min of seed set 0" in message(lambda: run(made))


def test_no_units_make_empty_files(made):
    made.params(**{**FEW, "visualisations__units": []})
    out = run(made)
    there = MadeImages(out)
    assert list(there.table.columns) == IMAGE_SCHEMA.names
    assert list(there.units.columns) == UNIT_SCHEMA.names
    assert (len(there), len(there.units), list((out / "pixels").iterdir())) == (0, 0, [])
    assert open_made(out, open_images(made.folder / "images")) is None
    assert not (WorkStore.open().folder / "visualisations").exists()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("tyni/middle/0", "names network 'tyni', which is not in"),
        (
            "tiny/middel/0",
            "names tiny/middel/0, which is no unit of tiny (written model/layer/unit); it has, with their units, norm",
        ),
        ("tiny/middle/6", "names tiny/middle/6, which is no unit of tiny"),
        ("tiny/middle", "names 'tiny/middle', it must have the form model/layer/unit"),
    ],
)
def test_units_that_are_none_are_refused(made, message, entry, told):
    made.params(**{**FEW, "visualisations__units": [entry]})
    assert f"visualisations.units {told}" in message(lambda: run(made))


@pytest.mark.parametrize("diversity", ["adaptiv", "-1", "nan", "inf", "1e999"])
def test_a_diversity_that_is_none_is_refused(made, message, diversity):
    made.params(**{**FEW, "visualisations__diversity": diversity})
    told = message(lambda: run(made))
    assert f"visualisations.diversity is {diversity!r}, it must be adaptive, or a number from 0 on" in told


def test_a_unit_without_gradients_is_unreachable_and_has_a_row(drawn_study):
    drawn_study.roster({"name": "stepped", "constructor": "stepped:network"})
    (drawn_study.code / "stepped.py").write_text(STEPPED)
    drawn_study.run_models()
    drawn_study.run_activations()
    drawn_study.params(
        **{**FEW, "visualisations__units": ["stepped/behind/0", "stepped/before/0"], "visualisations__n_sets": 1}
    )
    there = MadeImages(run(drawn_study))
    units = there.units.set_index(["layer", "side"])
    for side in ("max", "min"):
        assert units.loc[("behind", side), "status"] == UNREACHABLE
        assert units.loc[("behind", side), "gradient"] == 0
        assert units.loc[("before", side), "gradient"] > 0
    assert units.loc["behind"][["best", "ratio_best", "kept_after_shift"]].isna().all(axis=None)
    assert set(there.table["layer"]) == {"before"}
    assert len(there.table) == 6


def test_the_plan_makes_nothing_and_knows_what_is_made(made, capsys):
    made.params(**{**FEW, "visualisations__diversity": "adaptive"})
    run(made, "planned", "--plan")
    told = capsys.readouterr().out
    assert (
        "3 units of 2 networks, 2 seed sets of 3 images a side: 36 images of 12 sides, 0 of which are in the store"
        in told
    )
    assert "1 units that are named get no images, first: its values over the natural images are constant" in told
    assert "counted with 9 passes, as is usual, of 13 at most" in told
    assert [line.split()[:2] for line in told.splitlines() if line.startswith("  ")] == [["tiny", "8"], ["probed", "4"]]
    assert not (made.folder / "planned").exists()
    assert not (WorkStore.open().folder / "visualisations").exists()
    made.params(**FEW)
    run(made)
    run(made, "planned", "--plan")
    told = capsys.readouterr().out
    assert "12 of which are in the store" in told
    assert "about 0 s on 1 workers" in told
    for units, counts in (([*UNITS, "tiny/middle/1"], "16 sides, 12 of"), (UNITS[2:], "8 sides, 8 of")):
        made.params(**{**FEW, "visualisations__units": units})
        run(made, "planned", "--plan")
        assert f"{counts} which are in the store" in capsys.readouterr().out
    made.params(**{**FEW, "visualisations__units": []})
    run(made, "planned", "--plan")
    assert capsys.readouterr().out == "visualisations.units names no unit: nothing would be made\n"


def test_a_change_of_what_is_made_reruns_nothing_before_it():
    pipeline = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    written = {
        (next(iter(out)) if isinstance(out, dict) else out): name
        for name, stage in pipeline.items()
        for out in stage.get("outs", [])
    }
    waiting, before = ["visualisations"], set()
    while waiting:
        for dep in pipeline[waiting.pop()].get("deps", []):
            owner = next((name for out, name in written.items() if dep == out or dep.startswith(f"{out}/")), None)
            if owner is not None and owner not in before:
                before.add(owner)
                waiting.append(owner)
    assert {"images", "models", "activations"} <= before
    for name in before:
        told = json.dumps(pipeline[name])
        assert "data/visualisations" not in told, name
        assert not [entry for entry in pipeline[name].get("params", []) if str(entry).startswith("visualisations")], (
            name
        )
    assert "visualisations" in pipeline["visualisations"]["params"]


def test_settings_of_the_photographs_study_are_those_of_imi():
    from interpretability.visualisations.settings import Settings
    from study.params.whole import load_params

    for name in ("imagenet", "custom"):
        assert settings_of(load_params(ROOT / f"studies/{name}.yaml").visualisations) == Settings()


def test_units_of_the_default_study_are_four_of_each_convolutional_network():
    from study.params.whole import load_params

    group = load_params(ROOT / "params.yaml").visualisations
    owners = pd.Series([entry.split("/")[0] for entry in group.units]).value_counts()
    assert owners.to_dict() == {"resnet": 4, "convnext": 4, "efficientnet": 4}
    assert (group.n_images, group.n_sets, group.steps, group.rate, group.diversity) == (9, 2, 64, 0.1, "0")


def test_values_of_natural_images_do_not_hang_on_other_units(made):
    """Medians decide what is made, so that they may not change in their last bits with the units beside."""
    network, images = opened(made, "tiny"), open_images(made.folder / "images")
    batch = network.preprocessing.batch([images.pixels(row) for row in range(16)])
    layers = {layer.name: layer for layer in find_layers(network.model, batch[:3])}
    both, one = ([layers[name] for name in names] for names in (("norm", "middle"), ("middle",)))
    found = []
    for chosen in (both, one):
        with Capture(network.model, chosen, 16, "cpu", shortcut=False) as capture:
            found.append(capture(batch)[:, -6:].clone())
    assert torch.equal(*found)
