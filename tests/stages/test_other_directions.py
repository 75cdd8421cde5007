"""Networks of other rows read in other directions: how their rows are resolved, and that they have the weights of those rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from interpretability.analysis.networks import networks_of
from interpretability.errors import InputError
from study.networks.building import load_network
from study.networks.roster import DIRECTIONS, read_roster, rows_of, with_bases

READ = {"constructor": "of:net", "preprocessing": "", "role": DIRECTIONS, "directions": "middle=rotation:0"}
FROM_BASE = ["constructor", "kwargs", "weights", "sha256", "preprocessing", "taps", "licence", "family", "top1"]
FROM_BASE += ["n_params", "input_size", "code"]


def resolved(study):
    return read_roster(study.folder / "models" / "roster.csv").set_index("name", drop=False)


def test_a_row_has_all_of_the_network_it_reads_and_keeps_its_place(drawn_study):
    drawn_study.roster(
        {"name": "turned", **READ},
        {"name": "net", "kwargs": '{"width": 5}', "licence": "mit", "family": "small", "top1": 70},
        {"name": "plain"},
    )
    drawn_study.run_models()
    roster = resolved(drawn_study)
    assert roster["name"].tolist() == ["turned", "net", "plain"]
    assert roster["of"].tolist() == ["net", "", ""]
    assert roster.loc["turned", FROM_BASE].tolist() == roster.loc["net", FROM_BASE].tolist()
    assert roster.loc["turned", ["role", "directions", "last"]].tolist() == [DIRECTIONS, "middle=rotation:0", 1]
    nets = networks_of(roster.reset_index(drop=True))
    assert nets.directions == {"turned": "net"}
    assert nets.study == nets.ranked == ["net", "plain"]
    assert "turned" not in {*nets.planted, *nets.permuted, *nets.untrained}


def test_initial_weights_are_keyed_by_the_network_that_is_read(drawn_study):
    drawn_study.roster({"name": "net"}, {"name": "turned", **READ}, {"name": "plain"})
    drawn_study.run_models()
    roster, folder = resolved(drawn_study), drawn_study.folder / "models"
    net, turned, plain = (
        load_network(roster.loc[name].to_dict(), folder, drawn_study.code, 0).model.state_dict()
        for name in ("net", "turned", "plain")
    )
    assert all(torch.equal(net[key], turned[key]) for key in net)
    assert not all(torch.equal(net[key], plain[key]) for key in net)


def test_a_trained_network_is_read_at_its_last_checkpoint(drawn_study):
    trained = {"constructor": "test_resnet", "weights": "trained", "preprocessing": "", "series": "net"}
    drawn_study.roster(
        {"name": "net", **trained}, {"name": "turned", **READ, "directions": "layer2.0.conv1=rotation:1"}
    )
    drawn_study.run_models()
    roster = resolved(drawn_study)
    last = roster[roster["last"] == 1].loc["net"]
    assert roster.loc["turned", FROM_BASE].tolist() == last[FROM_BASE].tolist()
    assert np.isnan(roster.loc["turned", "step"])
    assert not (drawn_study.folder / "models" / "weights" / "turned.safetensors").exists()
    network = load_network(roster.loc["turned"].to_dict(), drawn_study.folder / "models", drawn_study.code, 0)
    saved = load_file(drawn_study.folder / "models" / "weights" / "net.safetensors")
    assert all(np.array_equal(value, network.model.state_dict()[name].numpy()) for name, value in saved.items())


def test_its_units_have_extremes_and_tasks_of_their_own(drawn_study):
    drawn_study.roster({"name": "net"}, {"name": "turned", **READ})
    drawn_study.run_models()
    drawn_study.run_activations()
    out = drawn_study.run_tasks()
    layers = pd.read_parquet(out / "turned.parquet")["layer"]
    assert set(layers) == {"middle"}
    assert np.load(out / "turned.npy").shape[0] == 6


def test_a_row_whose_network_failed_fails_and_says_so(drawn_study, message):
    drawn_study.params(models__max_failed=1.0)
    drawn_study.roster({"name": "net", "kwargs": '{"width": "x"}'}, {"name": "turned", **READ}, {"name": "plain"})
    drawn_study.run_models()
    failed = pd.read_csv(drawn_study.folder / "models" / "failures.csv").set_index("model")["reason"]
    assert failed.index.tolist() == ["net", "turned"]
    assert failed["turned"] == "it reads net in other directions, which failed itself; see the reason of that row"
    assert resolved(drawn_study)["name"].tolist() == ["plain"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"constructor": "of:nett"},
            r"row 3 \(turned\): constructor is 'of:nett', but no row is called 'nett'; did you mean net\?",
        ),
        ({"constructor": "of:turned"}, "constructor is 'of:turned', which is this row itself"),
        ({"constructor": "of:again"}, "constructor is 'of:again', but again is of:net itself; write of:net here, too"),
        ({"constructor": "of:planted"}, "but planted is control:planted and no network"),
        ({"constructor": "of:"}, "constructor is 'of:', it must read of:NAME"),
        ({"directions": ""}, "the column directions is empty; write LAYER=SOURCE"),
        ({"constructor": "test_resnet", "directions": ""}, f"role {DIRECTIONS} is for a network that is read in other"),
        ({"role": "study"}, f"role is 'study', but of:net is no network beside net; write the role {DIRECTIONS}"),
        ({"kwargs": '{"width": 3}'}, "kwargs is .* but a row of of:net has that of net; leave it empty"),
        ({"weights": "hub"}, "weights is 'hub', but a row of of:net has those of net; leave it empty"),
        ({"series": "net"}, "series is 'net', but a row of of:net reads net at its last checkpoint"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(drawn_study, change, says):
    drawn_study.roster(
        {"name": "net"},
        {"name": "turned", **READ, **change},
        {"name": "again", **READ},
        {"name": "planted", "constructor": "control:planted", "preprocessing": "", "role": "control"},
    )
    with pytest.raises(InputError, match=says):
        read_roster(drawn_study.folder / "roster.csv")


def test_rows_that_are_not_resolved_get_what_builds_their_network(drawn_study):
    drawn_study.roster({"name": "turned", **READ, "weights": ""}, {"name": "net", "kwargs": '{"width": 5}'})
    turned, net = with_bases(rows_of(read_roster(drawn_study.folder / "roster.csv")))
    assert (turned["constructor"], turned["kwargs"], turned["weights"]) == (net["constructor"], '{"width": 5}', "none")
    assert (turned["name"], turned["role"]) == ("turned", DIRECTIONS)


def test_the_units_of_a_row_without_a_name_are_those_of_the_same_network():
    row = {"constructor": "x", "kwargs": "", "weights": "none", "sha256": "1", "preprocessing": "", "taps": ""}
    row |= {"series": "", "step": pd.NA, "last": 1, "of": ""}
    roster = pd.DataFrame(
        [
            {**row, "name": "coded", "role": "study", "directions": "a=b.npy"},
            {**row, "name": "first", "role": "study", "directions": ""},
            {**row, "name": "second", "role": "study", "directions": ""},
            {**row, "name": "other", "role": DIRECTIONS, "directions": "a=b.npy", "sha256": "2"},
            {**row, "name": "judge", "role": "similarity", "directions": "a=b.npy"},
        ]
    )
    nets = networks_of(roster)
    assert nets.directions == {"coded": "first", "other": ""}
    assert nets.study == ["coded", "first", "second"]
