"""Real photographs and real pretrained networks, where they lie beside the repository; skipped elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import emulated
from interpretability import images
from interpretability.files import sha256_file
from interpretability.networks import independence
from interpretability.networks.capture import Capture
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import find_layers
from interpretability.schema import BEATS, MADE_SIDES
from interpretability.visualisations.making import make_images
from interpretability.visualisations.settings import Natural, Settings
from interpretability.visualisations.target import Target
from study import errors
from study.networks.building import load_network
from tests.helpers.rules import ROOT

REAL = ROOT.parent / "shared" / "realdata"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside the repository")

IMAGENET = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
CAFFE = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "mean": [123 / 255, 117 / 255, 104 / 255],
    "std": [1 / 255] * 3,
}
HALF = {"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
# constructor, kwargs, file, preprocessing, top-1 on validation photographs as the data's README gives it, layers
NETWORKS = {
    "squeezenet": ("squeezenet1_1", {}, "squeezenet1_1_torchvision", IMAGENET, 0.756, 24),
    "mobilenetv2": ("mobilenetv2_100", {"pad_type": "same"}, "mobilenetv2_100_tf", HALF, 0.804, 103),
    "vit_tiny": ("vit_tiny_patch16_224", {}, "vit_tiny_patch16_224", None, 0.864, 73),
    "googlenet": ("bvlc_googlenet:googlenet", {}, "googlenet_bvlc", CAFFE, 0.816, 56),
}


def row(name):
    constructor, kwargs, file, preprocessing, _, _ = NETWORKS[name]
    path = REAL / "weights" / f"{file}.safetensors"
    return {
        "name": name,
        "constructor": constructor,
        "kwargs": json.dumps(kwargs),
        "weights": str(path),
        "sha256": sha256_file(path),
        "preprocessing": json.dumps(preprocessing) if preprocessing else "",
    }


@pytest.fixture(scope="module")
def photographs():
    table = pd.read_csv(REAL / "tables/images.csv")
    validation = table[table["source_repo"].str.contains("acuity")].sort_values("sha256").head(48)
    pixels = [
        images.decode((REAL / "images" / path.removeprefix("images/")).read_bytes()) for path in validation["path"]
    ]
    return pixels, validation["class_index"].to_numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_recognise_photographs_as_published(name, photographs, tmp_path):
    pixels, classes = photographs
    network = load_network(row(name), tmp_path, ROOT / "data/external/code", seed=0)
    with torch.no_grad():
        batches = [network.model(network.preprocessing.batch(pixels[i : i + 16])) for i in range(0, len(pixels), 16)]
    top1 = np.mean(torch.cat(batches).argmax(1).numpy() == classes)
    expected = NETWORKS[name][4]
    # three standard errors of a share over 48 photographs
    assert abs(top1 - expected) < 3 * np.sqrt(expected * (1 - expected) / len(classes))


@pytest.mark.parametrize("precision", ["float32", "tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_units_of_real_networks_belong_to_one_image(name, precision, photographs, tmp_path, monkeypatch):
    network = load_network(row(name), tmp_path, ROOT / "data/external/code", seed=0)
    batch = network.preprocessing.batch(photographs[0][:3])
    kinds = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")
    layers = find_layers(network.model, batch, layer_types=kinds)
    if precision == "tf32":  # emulated, to the bound that a GPU has
        monkeypatch.setattr(independence, "used", lambda precision, device: precision)
    with emulated.tf32() if precision == "tf32" else emulated.half():
        check_independence(network.model, layers, batch, precision=precision)
    assert len(layers) == NETWORKS[name][5]


def test_a_wrong_digest_is_refused(tmp_path):
    with pytest.raises(errors.InputError, match="it is another file"):
        load_network({**row("squeezenet"), "sha256": "0" * 64}, tmp_path, ROOT / "data/external/code", seed=0)


def test_pictures_made_for_a_unit_of_a_real_network_beat_photographs(photographs, tmp_path):
    """A convolution of SqueezeNet in front of its ReLU, both sides; stored bytes of few steps against 48 photographs."""
    network = load_network(row("squeezenet"), tmp_path, ROOT / "data/external/code", seed=0)
    batch = network.preprocessing.batch(photographs[0])
    (layer,) = [each for each in find_layers(network.model, batch[:3]) if each.name == "features.3.squeeze"]
    with Capture(network.model, [layer], len(batch), "cpu") as capture:
        values = capture(batch)[:, 7].double().numpy()
    natural = Natural(float(np.median(values)), float(values.min()), float(values.max()))
    settings = Settings(n_images=1, steps=40, rate=0.1, diversity=0.0)
    with Target(network.model, layer, 7, network.preprocessing) as target:
        made = [make_images(target, natural, side, settings, 0) for side in MADE_SIDES]
    assert [each.status for each in made] == [BEATS, BEATS]
    assert made[0].pixels.shape == (1, 224, 224, 3)
