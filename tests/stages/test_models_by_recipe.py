"""The models stage where networks learn the images of the study by the recipe A3."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from interpretability.errors import InputError
from interpretability.files import sha256_file
from study.networks.building import load_network
from study.networks.roster import read_roster
from study.params.whole import load_params

SMALL = {"channels": [8, 8, 8, 8]}
RECIPE = {
    "recipe": "a3",
    "a3__epochs": 2,
    "a3__warmup_epochs": 1,
    "a3__batch_size": 16,
    "a3__learning_rate": 1.0,
    "a3__train_size": 32,
    "a3__test_size": 32,
    "a3__held_out": 0.2,
}


def by_recipe(study, others=None, **changes):
    """params.yaml with RECIPE but for `changes`, and with `others` outside of models.training."""
    keys = {f"models__training__{name}": value for name, value in {**RECIPE, **changes}.items()}
    return study.params(**keys, **(others or {}))


def row(**changes):
    usual = {"constructor": "test_resnet", "kwargs": json.dumps(SMALL), "weights": "trained", "preprocessing": ""}
    return {"name": "net", **usual, **changes}


def test_a_series_is_resolved_with_a_row_a_checkpoint(drawn_study):
    by_recipe(drawn_study)
    drawn_study.roster(row(series="net"), row(name="alone"))
    out = drawn_study.run_models()
    roster = read_roster(out / "roster.csv").set_index("name", drop=False)
    # 48 images learnt from, 16 a step: 3 steps an epoch, kept at 0, 1, 2, 3 and 6
    assert roster["name"].tolist() == ["net-step0", "net-step0.333333", "net-step0.666667", "net-step1", "net", "alone"]
    assert roster["step"].tolist()[:5] == [0, 0.333333, 0.666667, 1, 2]
    assert roster["last"].tolist() == [0, 0, 0, 0, 1, 1]
    assert {json.loads(text)["num_classes"] for text in roster["kwargs"]} == {4}
    view = json.loads(roster.loc["net", "preprocessing"])
    assert (view["crop"], view["resize"]) == (32, 33)
    assert roster["top1"].between(0, 100).all()
    right = roster["top1"] * 12 / 100  # of 12 images held out
    assert right.to_numpy() == pytest.approx(right.round().to_numpy(), abs=1e-4)
    digests = [sha256_file(out / "weights" / f"{name}.safetensors") for name in roster["name"]]
    assert roster["sha256"].tolist() == digests
    assert len(set(digests)) == 6
    network = load_network(roster.loc["net-step0.333333"].to_dict(), out, drawn_study.code, 0)
    kept = load_file(out / "weights" / "net-step0.333333.safetensors")
    assert all((network.model.state_dict()[name] == value).all() for name, value in kept.items())


def test_without_images_held_out_there_is_no_accuracy(drawn_study):
    by_recipe(drawn_study, a3__held_out=0.0, a3__epochs=1, a3__warmup_epochs=0)
    drawn_study.roster(row())
    roster = read_roster(drawn_study.run_models() / "roster.csv")
    assert roster["top1"].isna().all()
    assert roster["step"].isna().all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"preprocessing": '{"crop": 32}'},
            "preprocessing is .*, but the recipe says what it is trained on and shown: leave it",
        ),
        ({"constructor": "resnet50000"}, "resnet50000"),
        ({"constructor": "tiny:network"}, "unexpected keyword argument 'num_classes'; allowed are width, dead, broken"),
    ],
)
def test_rows_that_the_recipe_cannot_train_are_told(drawn_study, changes, told):
    by_recipe(drawn_study)
    drawn_study.roster(row(**{"kwargs": "", **changes}))
    with pytest.raises(InputError, match=rf"row 2 \(net\): .*{told}"):
        drawn_study.run_models()


def test_photographs_train_studied_networks_alone(study, photographs):
    others = {"images__source": "folder", "images__root": str(photographs(20)), "human__source": "none"}
    by_recipe(study, others)
    study.run_images()
    study.roster(row(role="similarity"))
    with pytest.raises(
        InputError, match=r"net has weights `trained` and the role similarity; of photographs only networks of"
    ):
        study.run_models()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"a3__batch_size": 15},
            r"models\.training\.a3\.batch_size is 15, it must be even: Mixup takes images in pairs",
        ),
        (
            {"a3__first_epoch": 1},
            r"models\.training\.a3\.first_epoch is 1, it must be 0 \(no checkpoint .*\) or at least 2",
        ),
        ({"a3__epochs": 1}, r"warmup_epochs is 1, it must be below models\.training\.a3\.epochs, 1"),
        ({"recipe": "a2"}, r"models\.training\.recipe is 'a2', allowed: one_cycle, a3"),
    ],
)
def test_keys_that_the_recipe_cannot_have_are_told(study, changes, told):
    with pytest.raises(InputError, match=told):
        load_params(by_recipe(study, **changes))
