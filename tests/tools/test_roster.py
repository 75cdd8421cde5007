"""Rosters checked without weights."""

import json

import pandas as pd
import timm
import torch

from interpretability.networks.layers import find_layers
from study.networks import building
from study.networks.roster import read_roster
from tests.helpers.rules import ROOT
from tools import roster

KINDS = ["Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm"]


def check(study, *rows):
    out = study.folder / "units.csv"
    path = study.roster(*rows)
    flags = ["--params", study.params(), "--roster", path, "--code", study.code, "--out", out]
    return lambda: roster.main([str(flag) for flag in flags]), out


def test_units_are_counted_as_a_run_would_find_them(study):
    names = ("test_resnet", "test_vit", "test_convnext")
    call, out = check(
        study,
        {"name": "tiny"},
        *({"name": name, "constructor": name, "preprocessing": ""} for name in names),
        {"name": "chance", "constructor": "control:chance", "role": "control"},
    )
    call()
    table = pd.read_csv(out, keep_default_na=False)
    assert table["model"].unique().tolist() == ["tiny", *names]
    assert (table["reason"] == "").all()
    for name in names:
        model = timm.create_model(name).eval()
        size = timm.data.resolve_data_config({}, model=model)["input_size"][1]
        layers = find_layers(model, torch.rand(3, 3, size, size), layer_types=KINDS)
        found = table[table["model"] == name].set_index("layer_type")
        assert (found["input_size"].astype(int) == size).all()
        assert int(found["n_params"].iloc[0]) == sum(value.numel() for value in model.parameters())
        for kind, row in found.iterrows():
            assert int(row["n_layers"]) == sum(layer.layer_type == kind for layer in layers)
            assert int(row["n_units"]) == sum(layer.width for layer in layers if layer.layer_type == kind)
        assert found["n_units"].astype(int).sum() == sum(layer.width for layer in layers)


def test_a_network_that_hands_parameters_to_its_blocks_is_counted(study):
    """CaiT's class token is a parameter that a block gets as input, which torch's counter refuses while it has a gradient."""
    call, out = check(study, {"name": "cait", "constructor": "cait_xxs24_224", "preprocessing": ""})
    call()
    table = pd.read_csv(out, keep_default_na=False)
    assert (table["reason"] == "").all()
    assert table["n_units"].sum() > 0


def test_what_does_not_construct_is_told_after_the_others_were_counted(study, message):
    call, out = check(
        study,
        {"name": "wrong", "constructor": "no_such_net"},
        {"name": "odd", "constructor": "test_vit", "kwargs": json.dumps({"depths": 3})},
        {"name": "tiny"},
    )
    assert message(call).endswith(f"2 of 3 networks of {study.folder / 'roster.csv'} cannot be studied, see above")
    table = pd.read_csv(out, keep_default_na=False).set_index("model")
    assert table.loc["wrong", "reason"].startswith("constructor 'no_such_net' is no timm name")
    assert "depths" in table.loc["odd", "reason"]
    assert table.loc["tiny", "reason"].tolist() == ["", ""]


def test_a_network_made_for_another_size_sees_pictures_of_that_size():
    row = {"name": "dino", "constructor": "test_vit", "kwargs": json.dumps({"img_size": 96})}
    model = timm.create_model("test_vit", img_size=96)
    found = building.resolve_preprocessing(row, model)
    assert found["crop"] == 96
    usual = building.resolve_preprocessing({**row, "kwargs": ""}, timm.create_model("test_vit"))
    assert usual["crop"] == 160
    assert found["mean"] == usual["mean"]


def test_the_table_of_units_is_that_of_the_roster():
    folder = ROOT / "data/external/models"
    listed = read_roster(folder / "imagenet.csv")
    listed = listed[~listed["constructor"].str.startswith("control:")].set_index("name")
    table = pd.read_csv(folder / "imagenet_units.csv", keep_default_na=False)
    assert table["model"].unique().tolist() == listed.index.tolist()
    assert (table["reason"] == "").all()
    sizes = table.drop_duplicates("model").set_index("model")["input_size"]
    assert (sizes == listed["input_size"].astype(int)).all()
    assert listed["constructor"].is_unique
    # the paper scores more than 70 million units of 835 networks, six of which timm does not have under any name we found
    assert table["n_units"].sum() > 70_000_000
