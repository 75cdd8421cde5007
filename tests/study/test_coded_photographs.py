"""A sparse code of a real network, from its row of the roster to scores of its latents, where photographs lie beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import interpretability as it
from interpretability.directions.files import write_code
from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.randomness import generator
from study.files.tables import read_parquet
from study.images.manifest import open_images
from study.networks.building import load_network
from tests.conftest import Study
from tests.helpers.rules import ROOT
from tests.study.test_realdata import REAL, row

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside the repository")

CLASSES = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413")
EACH, LAYER, LATENTS, K = 75, "features.12.expand3x3", 192, 8
N_TASKS, N_EXPLANATIONS = 5, 3


def dictionary(network, images):
    """A TopK code with random rows over standardised positions."""
    found = []
    hook = network.model.get_submodule(LAYER).register_forward_hook(lambda _, __, value: found.append(value))
    with torch.no_grad():
        for start in range(0, len(images), 50):
            network.model(network.preprocessing.batch([images.pixels(one) for one in range(start, start + 25)]))
    hook.remove()
    positions = torch.cat(found).flatten(2).transpose(1, 2).flatten(0, 1)
    mean, spread = positions.mean(0), positions.std(0) + 1e-3
    rows = torch.from_numpy(generator(0, "rows").standard_normal((LATENTS, len(mean)), np.float32))
    rows = torch.nn.functional.normalize(rows, dim=1) / spread
    return it.Code(encoder=rows, decoder=rows, pre_bias=mean, activation="topk", k=K, layer=LAYER, source="random rows")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = Study(tmp_path_factory.mktemp("coded"))
    for label in CLASSES:
        (made.folder / "photographs" / label).mkdir(parents=True)
        for path in sorted((REAL / "images" / label).iterdir())[:EACH]:
            (made.folder / "photographs" / label / path.name).symlink_to(path)
    made.params(
        images__source="folder",
        images__root=str(made.folder / "photographs"),
        human__source="none",
        models__roster=str(made.folder / "roster.csv"),
        activations__n_extremes=N_TASKS * (N_EXPLANATIONS + 1),
        activations__batch_size=50,
        tasks__n_tasks=N_TASKS,
        tasks__n_explanations=N_EXPLANATIONS,
        sensitivity__n_tasks=[N_TASKS],
        sensitivity__n_explanations=[N_EXPLANATIONS],
    )
    made.run_images()
    images = open_images(made.folder / "images", str(made.folder / "photographs"))
    network = load_network(row("squeezenet"), made.folder, ROOT / "data/external/code", seed=0)
    write_code(dictionary(network, images), made.folder / "code.safetensors")
    given = {name: value for name, value in row("squeezenet").items() if name != "name"}
    made.roster(
        {"name": "coded", **given, "directions": f"{LAYER}={made.folder}/code.safetensors"},
        {
            "name": "dealt",
            "constructor": "control:permuted",
            "kwargs": json.dumps({"of": "coded"}),
            "role": "control",
            "preprocessing": "",
        },
    )
    made.run_models()
    made.run_activations()
    made.run_tasks()
    return made, network, images


def embeddings(network, images):
    """What the network says of each photograph: its last map of features, averaged."""
    example = network.preprocessing.batch([images.pixels(one) for one in range(3)])
    layers = [layer for layer in find_layers(network.model, example) if layer.name == "features.11.expand3x3"]
    with Capture(network.model, layers, 50, "cpu") as capture:
        parts = [
            capture(network.preprocessing.batch([images.pixels(one) for one in range(start, start + 50)]))
            .numpy()
            .copy()
            for start in range(0, len(images), 50)
        ]
    return np.concatenate(parts)


def test_latents_are_scored_above_chance_and_dealt_ones_at_chance(study):
    made, network, images = study
    rows = embeddings(network, images)
    rows -= rows.mean(axis=0)
    means, errors = {}, {}
    for name in ("coded", "dealt"):
        table = read_parquet(made.folder / "tasks" / f"{name}.parquet")
        tasks = np.load(made.folder / "tasks" / f"{name}.npy")
        assert len(table) == len(tasks)
        assert len(table) > LATENTS / 4
        chosen = it.unit_scores(it.task_margins(rows, tasks, N_EXPLANATIONS), 6.25)["mis"].to_numpy()
        means[name] = chosen.mean()
        errors[name] = chosen.std(ddof=1) / np.sqrt(len(chosen))
    assert abs(means["dealt"] - 0.5) < 3 * errors["dealt"]
    assert means["coded"] > 0.5 + 5 * errors["coded"]
    assert means["coded"] > means["dealt"] + 0.05
