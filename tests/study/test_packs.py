"""A pack in place of the pictures: the same pixels where the shorter side is the same, one decode for all passes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from interpretability.networks.preprocessing import Preprocessing
from study.extraction.job import Extraction, sees_pack
from study.files.store import WorkStore
from study.images import manifest, packs
from study.images.manifest import open_images
from study.images.packs import Pack, fits, pack_bytes, pack_files
from tests.conftest import encoded
from tests.stages.test_activations import contents

HALF = (0.5,) * 3


def view(crop, resize, **more):
    return Preprocessing(crop, resize, HALF, HALF, **more)


def json_view(crop, resize):
    return json.dumps({"crop": crop, "resize": resize, "mean": HALF, "std": HALF})


@pytest.fixture
def images(study, tmp_path):
    """Photograph-like pictures of several shapes, odd sides among them."""
    rng = np.random.default_rng(3)
    for i, (width, height) in enumerate([(60, 45), (45, 60), (51, 40), (40, 40), (33, 70), (64, 63)] * 4):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
        path = tmp_path / "photographs" / "cat" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(coarse, "JPEG"))
    study.params(images__source="folder", images__root=str(tmp_path / "photographs"), human__source="none")
    study.run_images()
    return open_images(study.folder / "images", str(tmp_path / "photographs"), quick=True)


def test_a_view_of_the_same_shorter_side_sees_the_same_pixels(images, monkeypatch):
    monkeypatch.setattr(packs, "CHUNK", 5)
    files = pack_files(images, 32)
    assert len(files) == 5
    packed, same, other = Pack(images, files), view(28, 32), view(24, 28)
    differences = []
    for row in range(len(images)):
        assert packed.pixels(row).shape == (32, 32, 3)
        assert torch.equal(same.fit(packed.pixels(row)), same.fit(images.pixels(row)))
        differences.append(
            (other.fit(packed.pixels(row)).int() - other.fit(images.pixels(row)).int()).abs().float().mean()
        )
    assert 0 < np.mean(differences) < 10, "another shorter side is resampled twice: other pixels, but not by much"
    assert pack_bytes(len(images), 32) == sum(np.load(file).nbytes for file in files)


def test_views_that_want_more_than_a_pack_holds_do_not_use_it():
    assert fits(view(28, 32), 32)
    assert not fits(view(28, 33), 32)
    assert not fits(view(32, 30, mode="border"), 40), "a longer side may reach into the border"
    assert not fits(view(28, 28, mode="squash"), 32)
    assert not fits(view(28, 32), 0)


@pytest.fixture
def two(study, images):
    """A study of one network that may see the pack and one that wants larger pictures."""
    study.roster(
        {"name": "net", "preprocessing": json_view(28, 32)}, {"name": "large", "preprocessing": json_view(40, 40)}
    )
    study.run_models()
    given = {"images__source": "folder", "images__root": images.root, "human__source": "none"}
    study.params(**given)
    return lambda side: study.params(**given, activations__pack=side)


def test_networks_of_one_study_see_pack_and_pictures(study, two, monkeypatch):
    plain = contents(study.run_activations("plain"))
    rows, usual = [], manifest.ImageSet.pixels

    def counted(self, row):
        rows.append(row)
        return usual(self, row)

    two(32)
    monkeypatch.setattr(manifest.ImageSet, "pixels", counted)
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "2")
    assert contents(study.run_activations("packed")) == plain
    # one pass makes the pack; the network with the larger view is found in the store
    assert sorted(rows) == list(range(24))
    two(36)
    other = contents(study.run_activations("other"))
    assert other["large.safetensors"] == plain["large.safetensors"]
    assert other["net.safetensors"] != plain["net.safetensors"], "resampled twice"


def test_a_damaged_result_is_made_again_from_the_pack(study, two):
    two(36)
    first = contents(study.run_activations("first"))
    for path in (WorkStore.open().folder / "extremes").rglob("*.safetensors"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1])
    assert contents(study.run_activations("second")) == first


def test_a_pack_is_asked_of_jobs_that_may_use_it(study, two, images):
    two(32)
    extractions = [
        Extraction({"name": "n", "preprocessing": json_view(28, resize)}, study_params(study), *[study.folder] * 4)
        for resize in (32, 33)
    ]
    assert [sees_pack(extraction) for extraction in extractions] == [True, False]


def study_params(study):
    from study.params.whole import load_params

    return load_params(study.folder / "params.yaml")
