"""What embeddings are stored under, and what they may occupy, belongs to the workers that make them."""

from types import SimpleNamespace

import pytest

from stages import embedding
from stages.pipeline import workers

PLAN = SimpleNamespace(name="encoder", scores=SimpleNamespace(precision="float32"), root="", images="")


def test_embeddings_are_stored_under_the_device_of_the_workers(monkeypatch):
    """The stage itself opens a similarity on the CPU, to ask it what determines its embeddings."""
    similarity = SimpleNamespace(embeds=True, ingredients=lambda: {"device": "cpu", "weights": "0"})
    monkeypatch.setattr(embedding, "opened", lambda plan: (similarity, SimpleNamespace(digest="1")))
    assert embedding.embedding_ingredients(PLAN)["device"] == "cpu"
    monkeypatch.setattr(embedding, "kind_of_workers", lambda: "NVIDIA Some")
    assert embedding.embedding_ingredients(PLAN)["device"] == "NVIDIA Some"


def test_a_similarity_is_opened_once_for_each_device_of_a_process(monkeypatch):
    class Plan(SimpleNamespace):
        __hash__ = object.__hash__

    monkeypatch.setattr(embedding, "open_images", lambda *_, **__: [])
    plan = Plan(**vars(PLAN), open=lambda source: object())
    here, images = embedding.opened(plan)
    assert embedding.opened(plan)[0] is here
    monkeypatch.setattr(embedding, "device", lambda: "cuda:1")
    there, same = embedding.opened(plan)
    assert there is not here
    assert same is images


@pytest.mark.parametrize(("beside", "share"), [(None, 1), (4, 4)])
def test_features_share_the_memory_of_a_machine(monkeypatch, beside, share):
    monkeypatch.setenv("MIS_FEATURE_CACHE_GB", "8")
    monkeypatch.setattr(workers, "_beside", beside)  # a cluster says how many jobs a machine has
    assert embedding.cache_bytes() == 8 * 2**30 // share
