"""Codes of positions against codes of their mean on photographs, where these lie beside the repository; skipped elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from interpretability import Code, encode, images
from interpretability.directions.readers import CodeReader
from interpretability.files import sha256_file
from interpretability.randomness import generator
from study.networks.building import load_network
from tests.helpers.rules import ROOT

REAL = ROOT.parent / "shared" / "realdata"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside the repository")
LAYER, N, TOP, LATENTS = "features.12.expand3x3", 160, 10, 1024


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Standardised maps (images, positions, channels) of a layer of SqueezeNet."""
    path = REAL / "weights" / "squeezenet1_1_torchvision.safetensors"
    view = {
        "resize": 256,
        "crop": 224,
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    row = {"name": "squeezenet", "constructor": "squeezenet1_1", "kwargs": "", "weights": str(path)}
    row |= {"sha256": sha256_file(path), "preprocessing": json.dumps(view)}
    network = load_network(row, tmp_path_factory.mktemp("models"), ROOT / "data/external/code", seed=0)
    table = pd.read_csv(REAL / "tables/images.csv").sort_values("sha256").head(N)
    pixels = [images.decode((REAL / "images" / name.removeprefix("images/")).read_bytes()) for name in table["path"]]
    found = []
    network.model.get_submodule(LAYER).register_forward_hook(lambda _, __, value: found.append(value))
    with torch.no_grad():
        for start in range(0, N, 16):
            network.model(network.preprocessing.batch(pixels[start : start + 16]))
    positions = torch.cat(found).flatten(2).transpose(1, 2)
    flat = positions.flatten(0, 1)
    return (positions - flat.mean(0)) / (flat.std(0) + 1e-6)


def code(activation, width):
    rows = generator(0, "random code").standard_normal((LATENTS, width), np.float32) / np.sqrt(width)
    k = 32 if activation == "topk" else 0
    return Code(encoder=torch.from_numpy(rows.astype(np.float32)), activation=activation, k=k)


def agreement(given, maps):
    """Rank correlation, and share of the top images kept, of latents that live in both; means over latents."""
    pooled, of_means = CodeReader(given)(maps).numpy(), encode(given, maps.mean(dim=1)).numpy()
    live = np.flatnonzero((pooled.std(axis=0) > 0) & (of_means.std(axis=0) > 0))
    correlations = [spearmanr(pooled[:, one], of_means[:, one]).statistic for one in live[:300]]
    tops = [np.argsort(-values, axis=0, kind="stable")[:TOP] for values in (pooled, of_means)]
    kept = [len(np.intersect1d(tops[0][:, one], tops[1][:, one])) / TOP for one in live[:300]]
    assert len(live) > 50
    return np.mean(correlations), np.mean(kept)


def test_a_sparse_code_of_the_mean_ranks_images_otherwise(maps):
    correlation, kept = agreement(code("topk", maps.shape[2]), maps)
    assert correlation < 0.5
    assert kept < 0.6


def test_a_linear_code_of_the_mean_is_the_mean_of_the_code(maps):
    given = code("linear", maps.shape[2])
    # not by the reader, which takes means for it
    torch.testing.assert_close(encode(given, maps).mean(dim=1), CodeReader(given)(maps), rtol=1e-4, atol=1e-5)
    correlation, kept = agreement(given, maps)
    assert correlation > 1 - 1e-5
    assert kept > 0.99
