"""What embeddings are stored under, and what they may occupy, belongs to the workers that make them."""

from types import SimpleNamespace

import pytest

from interpretability.similarity.backends.dreamsim import DreamSim
from study.solving import embeddings, opening
from study.workers import device

PLAN = SimpleNamespace(name="encoder", scores=SimpleNamespace(precision="float32"), root="", images="", made=None)


def test_embeddings_are_stored_under_the_device_of_the_workers(monkeypatch):
    """The stage itself opens a similarity on the CPU, to ask it what determines its embeddings."""
    given = {"device": "cpu", "batch_size": 20, "weights": "0"}
    similarity = SimpleNamespace(embeds=True, ingredients=lambda: given, batch_on=DreamSim.batch_on)
    monkeypatch.setattr(embeddings, "similarity_and_images", lambda plan: (similarity, SimpleNamespace(digest="1")))
    found = embeddings.embedding_ingredients(PLAN)
    assert (found["device"], found["batch_size"]) == ("cpu", 20)
    monkeypatch.setattr(embeddings, "kind_of_workers", lambda: "NVIDIA Some")
    found = embeddings.embedding_ingredients(PLAN)
    assert (found["device"], found["batch_size"]) == ("NVIDIA Some", 256)


def test_a_similarity_is_opened_once_for_each_device_of_a_process(monkeypatch):
    class Plan(SimpleNamespace):
        __hash__ = object.__hash__

    monkeypatch.setattr(opening, "open_images", lambda *_, **__: [])
    plan = Plan(**vars(PLAN), open=lambda source: object())
    here, images = opening.similarity_and_images(plan)
    assert opening.similarity_and_images(plan)[0] is here
    monkeypatch.setattr(opening, "device", lambda: "cuda:1")
    there, same = opening.similarity_and_images(plan)
    assert there is not here
    assert same is images


@pytest.mark.parametrize(("beside", "share"), [(None, 1), (4, 4)])
def test_features_share_the_memory_of_a_machine(monkeypatch, beside, share):
    monkeypatch.setenv("MIS_FEATURE_CACHE_GB", "8")
    monkeypatch.setattr(device, "_beside", beside)  # a cluster says how many jobs a machine has
    assert opening.cache_bytes() == 8 * 2**30 // share
