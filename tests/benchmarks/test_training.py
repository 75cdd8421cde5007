"""The benchmark of training by a recipe, on pictures of two colours."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import harness, training


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
    options = [
        "--epochs",
        "3",
        "--batch",
        "16",
        "--train-size",
        "16",
        "--test-size",
        "16",
        "--channels",
        "[8, 8, 8, 8]",
    ]
    training.main(["--images", str(tmp_path / "given"), "--least", "200", *options])
    table = pd.read_csv(tmp_path / "training.csv")
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
