"""Networks of other rows read at another size of input: their weights, what they are shown, and what counts as a network."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from interpretability.analysis.networks import input_sizes, networks_of
from interpretability.errors import InputError
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of, with_bases

TRAINED = {"constructor": "test_resnet", "weights": "trained", "preprocessing": ""}
LARGE = {"constructor": "of:net", "preprocessing": '{"crop": 96, "resize": 112}', "role": "study", "weights": ""}


def resolved(study):
    return read_roster(study.folder / "models" / "roster.csv").set_index("name", drop=False)


def test_one_trained_network_at_two_sizes(drawn_study):
    drawn_study.roster({"name": "large", **LARGE}, {"name": "net", **TRAINED, "family": "small"}, {"name": "plain"})
    drawn_study.run_models()
    roster = resolved(drawn_study)
    assert roster.loc["large", ["of", "family", "last"]].tolist() == ["net", "small", 1]
    same = ["constructor", "kwargs", "weights", "sha256", "n_params"]
    assert roster.loc["large", same].tolist() == roster.loc["net", same].tolist()
    shown, own = (json.loads(roster.loc[name, "preprocessing"]) for name in ("large", "net"))
    assert (shown["crop"], shown["resize"]) == (96, 112)
    assert roster.loc["large", "input_size"] == 96
    assert {**shown, **{name: own[name] for name in ("crop", "resize")}} == own, "all else is as in training"
    folder = drawn_study.folder / "models"
    large, net = (
        load_network(roster.loc[name].to_dict(), folder, drawn_study.code, 0).model.state_dict()
        for name in ("large", "net")
    )
    assert all(torch.equal(value, net[name]) for name, value in large.items())
    assert pd.isna(roster.loc["large", "top1"]), "accuracy is that of another size"
    assert roster.loc["net", "top1"] >= 0

    nets = networks_of(roster.reset_index(drop=True))
    assert nets.ranked == ["large", "net", "plain"]
    assert nets.resized == {"large": "net"}
    assert nets.directions == {}
    table = input_sizes(roster.reset_index(drop=True), nets)
    assert table.values.tolist() == [["large", "net", 96], ["net", "net", own["crop"]]]
    plain = roster.reset_index(drop=True).query("name == 'plain'")
    assert input_sizes(plain, networks_of(plain)).empty


def test_its_size_is_known_before_it_is_resolved(drawn_study):
    drawn_study.roster({"name": "large", **LARGE}, {"name": "net", **TRAINED})
    large, _ = with_bases(rows_of(read_roster(drawn_study.folder / "roster.csv")))
    assert json.loads(large["preprocessing"]) == {"crop": 96, "resize": 112}
    network = load_network({**large, "weights": "none"}, drawn_study.folder, drawn_study.code, 0)
    assert (network.preprocessing.crop, network.preprocessing.resize) == (96, 112)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"preprocessing": ""},
            "is net at another size of input, but the column preprocessing is empty; write what differs",
        ),
        (
            {"preprocessing": "96"},
            r"of:net without directions is net at another size of input, but preprocessing is '96'",
        ),
        ({"preprocessing": '{"size": 96}'}, r'write what differs, as \{"crop": 96, "resize": 96\}'),
        ({"kwargs": '{"width": 3}'}, "kwargs is .* but a row of of:net has that of net; leave it empty"),
        (
            {"directions": "middle=rotation:0"},
            "role is 'study', but of:net is no network beside net; write the role directions",
        ),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(drawn_study, change, says):
    drawn_study.roster({"name": "net"}, {"name": "large", **LARGE, **change})
    with pytest.raises(InputError, match=says):
        read_roster(drawn_study.folder / "roster.csv")
