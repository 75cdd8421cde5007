"""Fixtures of all tests: a work store of their own, one worker on the CPU, no network, and a tiny study.

The tiny study has 60 generated scenes of 32 pixels and networks at keyed initial weights, so that a stage runs on it
in about a second.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages import activations, images, models, tasks
from study import command
from tests.helpers.rules import ROOT
from tests.helpers.tiny_study import WITHOUT_TEXTS

pytest_plugins = ["tests.helpers.programs", "tests.helpers.shown_page"]
# a test that forgets to stand in for the hub fails at once instead of downloading
os.environ["HF_HUB_OFFLINE"] = "1"

SMALL = {
    "images.generated.n": 60,
    "images.generated.size": 32,
    "images.generated.n_categories": 4,
    "models.training.epochs": 1,
    "models.training.batch_size": 16,
    "models.training.n_validation": 8,
    "models.training.n_encoder": 16,
    "activations.n_extremes": 20,
    "activations.batch_size": 16,
    "activations.keep": [],
    "activations.windows": [],
    "visualisations.units": [],
    "tasks.conditions": ["natural"],
    "tasks.one_sided": [],
    "tasks.n_tasks": 2,
    "tasks.n_explanations": 4,
    "sensitivity.n_tasks": [2],
    "sensitivity.n_explanations": [4],
    "sensitivity.map_models": [],
    "label_free.models": [],
    **WITHOUT_TEXTS,
}
PREPROCESSING = json.dumps({"crop": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3})
ROSTER_COLUMNS = ["name", "constructor", "kwargs", "weights", "sha256", "preprocessing", "role", "series", "directions"]
# units are those of norm and middle; the first and the last layer are left out
NETWORK_CODE = '''
from collections import OrderedDict

from torch import nn


class Failing(nn.Conv2d):
    """Units `broken` are nan once it has seen more images than the trial of a network takes."""
    seen, broken = 0, ()

    def forward(self, images):
        self.seen += len(images)
        out = super().forward(images)
        if self.seen > 11:
            out[:, self.broken] = float("nan")
        return out


def network(width=6, dead=(), broken=()):
    middle = (Failing if broken else nn.Conv2d)(8, width, 3)
    model = nn.Sequential(OrderedDict(
        first=nn.Conv2d(3, 8, 3, stride=2), norm=nn.BatchNorm2d(8), act=nn.ReLU(), middle=middle,
        act2=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), last=nn.Linear(width, 3),
    ))
    for unit in dead:
        model.middle.weight.data[unit] = 0
        model.middle.bias.data[unit] = 0.5
    if broken:
        model.middle.broken = list(broken)
    return model
'''


@pytest.fixture(scope="session", autouse=True)
def _one_worker(tmp_path_factory):
    """Machine settings of the session, also for fixtures that outlive one test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIS_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("MIS_WORKERS", "1")
        patch.setenv("MIS_DEVICE", "cpu")
        patch.delenv("MIS_IMAGES", raising=False)
        for name in ("WEIGHTS", "MEMORY_GB", "DECODERS", "NETWORKS_PER_PASS"):
            patch.delenv(f"MIS_{name}", raising=False)
        yield


@pytest.fixture(scope="session")
def _stores(tmp_path_factory):
    """Numbered here: pytest would look through all folders there are for the next number, for each of thousands of tests."""
    return tmp_path_factory.mktemp("stores"), count()


@pytest.fixture(autouse=True)
def _own_store(_stores, monkeypatch):
    folder, numbers = _stores
    store = folder / str(next(numbers))
    store.mkdir()
    monkeypatch.setenv("MIS_STORE", str(store))


@dataclass(frozen=True)
class Study:
    """Folders of one study; its stages run in this process."""

    folder: Path

    @property
    def code(self):
        return self.folder / "code"

    def params(self, **changes):
        """Write params.yaml: the repository's, then SMALL, then `changes`, whose names have __ for a dot."""
        content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
        for name, value in (SMALL | {key.replace("__", "."): value for key, value in changes.items()}).items():
            *groups, last = name.split(".")
            place = content
            for group in groups:
                place = place[group]
            place[last] = value
        tuned = content["tuning"]  # of similarities that the study has
        tuned["backends"] = [name for name in tuned["backends"] if name in content["scores"]["backends"]]
        path = self.folder / "params.yaml"
        with path.open("w") as file:
            YAML().dump(content, file)
        return path

    def roster(self, *rows):
        """Write roster.csv; a row is the columns that differ from an untrained network of `code/tiny.py`."""
        self.code.mkdir(exist_ok=True)
        (self.code / "tiny.py").write_text(NETWORK_CODE)
        usual = {"constructor": "tiny:network", "weights": "none", "preprocessing": PREPROCESSING, "role": "study"}
        path = self.folder / "roster.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, list(dict.fromkeys([*ROSTER_COLUMNS, *(name for row in rows for name in row)]))
            )
            writer.writeheader()
            writer.writerows({**usual, **row} for row in rows)
        return path

    def run_images(self, out="images"):
        images.main(["--params", str(self.folder / "params.yaml"), "--out", str(self.folder / out)])
        return self.folder / out

    def run_models(self, out="models"):
        flags = self._flags("params.yaml", "images", "code")
        models.main([*flags, "--roster", str(self.folder / "roster.csv"), "--out", str(self.folder / out)])
        return self.folder / out

    def run_activations(self, out="activations", units=ROOT / "data/external/human/units"):
        explained = self.folder / "explained.csv"  # units with texts, none unless a test has written some
        if not explained.exists():
            explained.write_text("model,layer,unit\n")
        flags = [*self._flags("params.yaml", "images", "code", "models", "explained.csv"), "--units", str(units)]
        activations.main([*flags, "--out", str(self.folder / out)])
        return self.folder / out

    def run_tasks(self, out="tasks"):
        flags = self._flags("params.yaml", "activations", "names.csv", "visualisations")
        flags += ["--manifest", str(self.folder / "images/manifest.parquet"), "--image-map", str(self.folder / "map")]
        tasks.main([*flags, "--roster", str(self.folder / "models" / "roster.csv"), "--out", str(self.folder / out)])
        return self.folder / out

    def _flags(self, *names):
        return [part for name in names for part in (f"--{name.split('.')[0]}", str(self.folder / name))]


@pytest.fixture
def study(tmp_path):
    """An empty study with params.yaml in place."""
    made = Study(tmp_path / "study")
    made.folder.mkdir()
    made.params()
    return made


@pytest.fixture(scope="session")
def _scenes(tmp_path_factory):
    made = Study(tmp_path_factory.mktemp("scenes"))
    made.params()
    made.run_images()
    return made


@pytest.fixture
def drawn_study(study, _scenes):
    """A study whose scenes are drawn."""
    (study.folder / "images").symlink_to(_scenes.folder / "images")
    return study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory):
    """A study up to its tasks: four networks (one with a dead unit, one of directions), permuted and hash controls."""
    made = Study(tmp_path_factory.mktemp("finished"))
    made.params(activations__keep=["tiny/middle/3", "tiny/norm/0"])
    matrix = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    np.save(made.folder / "directions.npy", matrix)
    made.roster(
        {"name": "tiny", "kwargs": json.dumps({"dead": [2]})},
        {"name": "vit", "constructor": "test_vit", "kwargs": json.dumps({"img_size": 32, "num_classes": 4})},
        {"name": "50", "constructor": "test_efficientnet", "kwargs": json.dumps({"num_classes": 4})},
        {"name": "probed", "directions": f"middle={made.folder / 'directions.npy'}"},
        {"name": "chance", "constructor": "control:chance", "preprocessing": "", "role": "control"},
        {
            "name": "shuffled",
            "constructor": "control:permuted",
            "kwargs": json.dumps({"of": "tiny"}),
            "role": "control",
        },
    )
    made.run_images()
    made.run_models()
    made.run_activations()
    made.run_tasks()
    return made


@pytest.fixture
def message():
    """The message with which an entry point ends for its user."""

    def ended(call):
        with pytest.raises(SystemExit) as caught:
            command.run(call)
        assert isinstance(caught.value.code, str), "a message, and so exit status 1"
        return caught.value.code

    return ended


@pytest.fixture
def full_disk(monkeypatch):
    """Call with a folder: from then on every file that is to be written into it meets a full disk."""
    usual = tempfile.mkstemp

    def fill(folder):
        def mkstemp(**options):
            handle, name = usual(**options)
            if Path(folder) in Path(name).parents:
                os.unlink(name)
                os.symlink("/dev/full", name)
            return handle, name

        monkeypatch.setattr(tempfile, "mkstemp", mkstemp)

    return fill


def encoded(picture, kind="PNG", **options):
    """Bytes of a Pillow picture in a file format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photographs(tmp_path):
    """Make a folder of n small JPEG files in two labelled folders; no two pictures are equal."""

    def make(n=60, folder="photographs"):
        rng = np.random.default_rng(1)
        for i in range(n):
            path = tmp_path / folder / ("cat", "dog")[i % 2] / f"{i:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
            path.write_bytes(encoded(coarse.resize((40, 36)), "JPEG"))
        return tmp_path / folder

    return make
