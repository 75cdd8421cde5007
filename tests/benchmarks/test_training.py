"""The benchmark of training by a recipe, on pictures of two colours."""

import argparse

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import harness, training
from study.params.whole import load_params
from tests.helpers.rules import ROOT

OPTIONS = ["--epochs", "3", "--batch", "16", "--train-size", "16", "--test-size", "16", "--channels", "[8, 8, 8, 8]"]


def test_a_network_that_learns_stands_beside_the_plain_classifier(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for place, name in enumerate(("blue", "few", "red")):
        folder = tmp_path / "given" / name
        folder.mkdir(parents=True)
        for number in range(3 if name == "few" else 200):
            pixels = rng.integers(0, 120, (8, 8, 3), dtype=np.uint8)
            pixels[..., 2 - place] += 120
            Image.fromarray(pixels).save(folder / f"{number}.png")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setenv("MIS_IMAGES", "")
    training.main(["--images", str(tmp_path / "given"), "--least", "200", *OPTIONS])
    table = pd.read_csv(tmp_path / "training.csv")
    assert set(table["images"]) == {"pictures of a folder"}
    assert table["form"].tolist() == [
        "logistic regression on 32 x 32 pixels",
        *(f"A3 reduced, after {epoch} of 3 epochs" for epoch in (0, 1, 3)),
    ]
    assert set(table["classes"]) == {2}
    assert (set(table["n_learnt"]), set(table["n_held_out"])) == ({320}, {80})
    assert table["steps"].dropna().tolist() == [0, 20, 60]
    assert table["top1"][0] == 100  # one colour or the other
    assert table["top1_se"][0] == 0
    assert table["cpu_minutes"].notna().tolist() == [True, False, False, True]
    assert table["top1"][3] == pytest.approx(100, abs=15)


def test_rows_of_other_images_stay_as_they_are(tmp_path, monkeypatch):
    table = tmp_path / "training.csv"
    table.write_text("form,images,top1\nof pictures,pictures of a folder,66\nof scenes,generated scenes,12\n")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    row = {"form": "anew", "images": "generated scenes", "top1": 50.0, "steps": 3}
    monkeypatch.setattr(training, "compare", lambda args, folder: [row])
    training.main(["--scenes", *OPTIONS])
    found = pd.read_csv(table)
    assert found["form"].tolist() == ["of pictures", "anew"]
    assert found["top1"].tolist() == [66, 50]
    with pytest.raises(SystemExit):
        training.main(["--scenes", "--images", str(tmp_path)])


def test_scenes_are_those_of_the_embedded_study(tmp_path):
    args = argparse.Namespace(
        scenes=True, seed=0, epochs=2, warmup=1, batch=32, held_out=0.2, train_size=48, test_size=64
    )
    args.rate, args.channels = 0.006, [8, 8, 8, 8]
    params = load_params(training._write_params(args, tmp_path))
    embedded = load_params(ROOT / "studies/synthetic.yaml")
    assert params.images.source == "generated"
    assert params.images.generated == embedded.images.generated
    assert params.models.training.a3.learning_rate == pytest.approx(0.384)
