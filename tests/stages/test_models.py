"""The models stage: one resolved row a network and step, and networks that fail by name and reason."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.synthetic import training
from study.networks import trial
from study.networks.building import load_network
from study.networks.roster import RESOLVED, read_roster
from tests.conftest import PREPROCESSING


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resolved(folder):
    return read_roster(folder / "roster.csv").set_index("name", drop=False)


def failures(folder):
    return pd.read_csv(folder / "failures.csv", dtype=str, keep_default_na=False)


def test_rows_are_resolved_in_roster_order(drawn_study):
    drawn_study.roster(
        {"name": "50", "kwargs": '{"width": 5}', "series": "007"},
        {"name": "timm", "constructor": "test_resnet", "preprocessing": ""},
        {"name": "controls", "constructor": "control:planted", "preprocessing": "", "role": "control"},
    )
    out = drawn_study.run_models()
    roster = resolved(out)
    assert list(roster["name"]) == ["50", "timm", "controls"]
    assert list(roster.columns) == RESOLVED
    # 3*3*3*8 + 8, 2*8, 8*5*3*3 + 5, 5*3 + 3
    assert roster.loc["50", "n_params"] == 224 + 16 + 365 + 18
    assert roster.loc["50", "series"] == "007"
    assert roster["input_size"].tolist()[:2] == [32, 160]
    assert json.loads(roster.loc["50", "preprocessing"])["crop"] == 32
    assert json.loads(roster.loc["timm", "preprocessing"])["crop"] == 160
    assert roster["last"].tolist() == [1, 1, 1]
    assert roster.loc["controls", ["n_params", "preprocessing", "sha256"]].tolist() == [0, "", ""]
    network = load_network(roster.loc["50"].to_dict(), out, drawn_study.code, 0)
    assert roster.loc["50", "sha256"] == network.digest
    assert len(failures(out)) == 0


def test_a_file_of_weights_is_resolved_with_its_digest(drawn_study):
    drawn_study.roster({"name": "other"})
    out = drawn_study.run_models()
    model = load_network(resolved(out).loc["other"].to_dict(), out, drawn_study.code, 0).model
    path = drawn_study.folder / "given.safetensors"
    save_file(model.state_dict(), path)
    drawn_study.roster({"name": "net", "weights": str(path), "sha256": sha256_file(path), "top1": "71.25", "step": "3"})
    roster = resolved(drawn_study.run_models())
    assert roster.loc["net", "sha256"] == sha256_file(path)
    assert roster.loc["net", ["top1", "step"]].tolist() == [71.25, 3]


def test_failed_networks_below_the_limit_are_recorded_and_the_others_go_on(drawn_study):
    drawn_study.params(models__max_failed=0.7)
    drawn_study.roster(
        {"name": "b", "constructor": "nowhere:f"}, {"name": "net"}, {"name": "a", "kwargs": '{"depth": 3}'}
    )
    out = drawn_study.run_models()
    assert list(resolved(out)["name"]) == ["net"]
    table = failures(out)
    assert table["model"].tolist() == ["a", "b"]
    assert set(table["stage"]) == {"models"}
    assert table["reason"][0] == (
        "constructing it by tiny:network with kwargs {\"depth\": 3}: got an unexpected keyword argument 'depth'; allowed are "
        "width, dead, broken. Correct the column kwargs"
    )
    assert table["reason"][1].startswith("module nowhere is neither at")


def test_failed_networks_above_the_limit_stop_the_stage_with_all_reasons(drawn_study):
    drawn_study.params(models__max_failed=0.6)
    drawn_study.roster(
        {"name": "b", "constructor": "nowhere:f"}, {"name": "net"}, {"name": "a", "kwargs": '{"depth": 3}'}
    )
    with pytest.raises(InputError) as caught:
        drawn_study.run_models()
    text = str(caught.value)
    assert "2 of 3 networks of" in text
    assert "roster.csv failed; models.max_failed allows a share of 0.6:\n" in text
    assert "\n  row 4 (a): constructing it by tiny:network" in text
    assert "\n  row 2 (b): module nowhere" in text


def test_directions_need_their_file_already_here(drawn_study):
    drawn_study.roster({"name": "probe", "directions": "middle=lost.npy"})
    with pytest.raises(InputError, match=r"row 2 \(probe\): file lost\.npy does not exist"):
        drawn_study.run_models()


@pytest.mark.parametrize(
    ("matrix", "layer", "told"),
    [
        (np.zeros((5, 2)), "middle", r"holds float64 of shape \(5, 2\); layer middle needs .* of shape \(6, number of"),
        (np.full((6, 2), np.inf), "middle", "holds inf at row 0, column 0"),
        (
            np.zeros((6, 2)),
            "acts",
            "directions name layer 'acts', which is none of first, norm, middle, last; did you mean act",
        ),
    ],
)
def test_directions_that_do_not_fit_are_told(drawn_study, matrix, layer, told):
    np.save(drawn_study.folder / "d.npy", matrix)
    drawn_study.roster({"name": "net", "directions": f"{layer}={drawn_study.folder / 'd.npy'}"})
    with pytest.raises(InputError, match=told):
        drawn_study.run_models()


def test_the_note_of_a_failed_network_is_one_line(drawn_study):
    drawn_study.params(models__max_failed=1.0)
    small = json.dumps({"crop": 2, "resize": 2, "mean": [0] * 3, "std": [1] * 3})
    drawn_study.roster({"name": "odd", "preprocessing": small})
    (reason,) = failures(drawn_study.run_models())["reason"]
    assert reason.startswith(
        "its forward pass on a batch (2, 3, 2, 2) fails: RuntimeError: Calculated padded input size"
    )
    assert "A network here takes one batch of images, float32 of shape (images, 3, height, width)" in reason
    assert "\n" not in reason


def test_training_needs_generated_scenes_or_a_recipe(study, photographs):
    study.params(images__source="folder", images__root=str(photographs(20)), human__source="none")
    study.run_images()
    study.roster({"name": "net", "weights": "trained"})
    with pytest.raises(
        InputError,
        match=r"roster\.csv: weights `trained` needs images\.source generated, or models\.training\.recipe a3, which",
    ):
        study.run_models()


TWO = "from parts import body\n\n\ndef make():\n    return body()\n"
PARTS = """
from torch import nn


def body():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, {width}, 3), nn.Conv2d({width}, 4, 3))
"""


def test_a_change_of_a_second_file_of_own_code_reaches_the_units(drawn_study):
    drawn_study.roster({"name": "net", "constructor": "two:make"}, {"name": "tiny"})
    (drawn_study.code / "two.py").write_text(TWO)
    (drawn_study.code / "parts.py").write_text(PARTS.format(width=5))
    before = resolved(drawn_study.run_models())["code"]
    assert sorted(json.loads(before["net"])) == ["parts.py", "two.py"]
    assert list(json.loads(before["tiny"])) == ["tiny.py"]
    drawn_study.run_activations()
    (drawn_study.code / "parts.py").write_text(PARTS.format(width=7))
    drawn_study.params(activations__batch_size=15)  # so that nothing is in the store
    with pytest.raises(
        InputError, match=r"net: its code is not what the stage `models` saw: parts\.py changed since; run"
    ):
        drawn_study.run_activations()
    after = resolved(drawn_study.run_models())["code"]
    assert after["net"] != before["net"]
    assert after["tiny"] == before["tiny"]
    layers = pd.read_parquet(drawn_study.run_activations() / "layers.parquet")
    assert layers[layers["model"] == "net"]["width"].tolist() == [7]


def test_the_store_tells_networks_apart_by_all_files_of_their_code(drawn_study):
    drawn_study.roster({"name": "net", "constructor": "two:make"})
    (drawn_study.code / "two.py").write_text(TWO)
    widths = []
    for width in (5, 7):
        (drawn_study.code / "parts.py").write_text(PARTS.format(width=width))
        drawn_study.run_models()
        widths += pd.read_parquet(drawn_study.run_activations() / "layers.parquet")["width"].tolist()
    assert widths == [5, 7]


def test_code_that_draws_by_itself_is_refused(drawn_study):
    drawn_study.roster({"name": "net", "constructor": "own:make"})
    body = "def make():\n    torch.manual_seed(secrets.randbits(60))\n    return tiny.network()\n"
    (drawn_study.code / "own.py").write_text(f"import secrets\nimport tiny\nimport torch\n\n\n{body}")
    with pytest.raises(InputError, match=r"row 2 \(net\): two loads of it have different weights"):
        drawn_study.run_models()


def test_a_passed_trial_is_kept_and_one_that_failed_is_not(drawn_study, monkeypatch):
    tried, usual = [], trial._try

    def count(row, *rest):
        tried.append(row["name"])
        usual(row, *rest)

    monkeypatch.setattr(trial, "_try", count)
    vit = {"constructor": "test_vit", "kwargs": '{"img_size": 32}', "preprocessing": ""}
    drawn_study.roster({"name": "vit", **vit}, {"name": "tiny"})
    for _ in range(2):
        drawn_study.run_models()
    assert tried == ["vit", "tiny", "tiny"], "own code runs each time, for a pass may load more of it"
    drawn_study.params(units__layer_types=["GroupNorm"], models__max_failed=1.0)
    for _ in range(2):
        drawn_study.run_models()
    assert tried == ["vit", "tiny", "tiny", *["vit", "tiny"] * 2]


@pytest.mark.parametrize(
    ("layer", "says"),
    [("", "scores.encoder.layer is empty, but tiny"), ("norm2", "scores.encoder.layer is 'norm2'"), ("norm", "")],
)
@pytest.mark.parametrize(("model", "role"), [("tiny", "study"), ("", "similarity")])
def test_the_layer_of_the_encoder_is_tried(drawn_study, message, layer, says, model, role):
    drawn_study.params(scores__backends=["encoder"], scores__encoder__model=model, scores__encoder__layer=layer)
    drawn_study.roster({"name": "other"}, {"name": "tiny", "role": role})
    if says:
        assert says in message(drawn_study.run_models)
    else:
        drawn_study.run_models()


def test_no_network_stands_in_for_the_first_of_role_similarity(drawn_study, message, caplog):
    settings = {"scores__backends": ["encoder"], "scores__encoder__layer": "norm", "models__max_failed": 0.5}
    drawn_study.params(**settings, scores__encoder__model="")
    first = {"name": "first", "role": "similarity", "kwargs": '{"depth": 3}'}
    drawn_study.roster({"name": "net"}, first, {"name": "second", "role": "similarity"})
    told = message(drawn_study.run_models)
    assert "Error: first failed: constructing it by tiny:network" in told
    assert "scores.encoder.model is empty" in told
    drawn_study.params(**settings, scores__encoder__model="second")
    drawn_study.run_models()
    assert "encoder: second" in caplog.text


TRAINED = {"constructor": "test_resnet", "weights": "trained", "preprocessing": ""}


def test_a_trained_series_has_a_row_and_a_file_a_step(drawn_study, monkeypatch):
    drawn_study.params(models__training__epochs=2)
    drawn_study.roster(
        {"name": "net", "series": "net", **TRAINED}, {"name": "encoder", **TRAINED, "role": "similarity"}
    )
    out = drawn_study.run_models("models")
    roster = resolved(out)
    assert list(roster["name"]) == ["net-step0", "net-step1", "net", "encoder"]
    assert roster["step"].tolist()[:3] == [0, 1, 2]
    assert np.isnan(roster["step"]["encoder"])
    assert roster["last"].tolist() == [0, 0, 1, 1]
    assert roster["series"].tolist() == ["net", "net", "net", ""]
    # accuracy on 8 validation pictures is a multiple of 12.5 %
    assert all(top1 % 12.5 == 0 for top1 in roster["top1"][:3])
    assert set(roster["input_size"]) == {32}
    for name in roster["name"]:
        assert sha256_file(out / "weights" / f"{name}.safetensors") == roster.loc[name, "sha256"]
    assert len(set(roster["sha256"])) == 4
    assert json.loads(roster.loc["net", "kwargs"]) == {"num_classes": 4}
    untrained = load_network(
        {**roster.loc["net"].to_dict(), "weights": "none", "sha256": "", "preprocessing": PREPROCESSING},
        *(out, drawn_study.code, 0),
    )
    assert untrained.digest == load_network(roster.loc["net-step0"].to_dict(), out, drawn_study.code, 0).digest

    # again: everything is in the store, and the bytes are the same
    monkeypatch.setattr(training, "train", lambda *args, **options: pytest.fail("trained again"))
    assert contents(drawn_study.run_models("again")) == contents(out)


def test_another_learning_rate_trains_again(drawn_study):
    drawn_study.roster({"name": "net", **TRAINED})
    first = drawn_study.run_models("first")
    assert list(resolved(first)["name"]) == ["net"], "without a series, the last step alone"
    drawn_study.params(models__training__learning_rate=0.01)
    second = drawn_study.run_models("second")
    one, two = (load_file(out / "weights" / "net.safetensors") for out in (first, second))
    assert any(not torch.equal(one[name], two[name]) for name in one)
