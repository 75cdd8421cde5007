"""What embeddings are stored under, and what they may occupy, belongs to the workers that make them."""

from types import SimpleNamespace

import pytest

from interpretability.similarity.backends.dreamsim import DreamSim
from study.errors import StudyError
from study.solving import embeddings, opening
from study.workers import device
from study.workers.device import Failure

PLAN = SimpleNamespace(name="encoder", scores=SimpleNamespace(precision="float32"), root="", images="", made=None)


class Plan(SimpleNamespace):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


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


def test_features_are_stored_under_what_makes_them(monkeypatch):
    """Their batch on a CPU is that of the similarity itself, and on a GPU a worker is asked, which alone knows its kernels."""
    similarity = SimpleNamespace(embeds=False, ingredients=lambda: {"device": "cpu", "batch_size": 4}, batch_on=None)
    monkeypatch.setattr(embeddings, "similarity_and_images", lambda plan: (similarity, SimpleNamespace(digest="1")))
    found = embeddings.embedding_ingredients(PLAN)
    assert (found["device"], found["batch_size"]) == ("cpu", 4)
    monkeypatch.setattr(embeddings, "kind_of_workers", lambda: "NVIDIA Some")
    answers = [{"device": "cuda", "batch_size": 32, "kernel": True}, Failure("no compiler")]
    monkeypatch.setattr(embeddings, "ask_worker", lambda job: answers.pop(0))
    plan = Plan(**vars(PLAN))
    for _ in range(2):  # asked once
        found = embeddings.embedding_ingredients(plan)
        assert [found[key] for key in ("device", "batch_size", "kernel")] == ["NVIDIA Some", 32, True]
    with pytest.raises(StudyError, match=r"backend encoder: a worker cannot tell .* \(no compiler\)"):
        embeddings.embedding_ingredients(Plan(**vars(PLAN)))


def test_a_gpu_keeps_the_similarity_of_one_plan(monkeypatch):
    monkeypatch.setattr(opening, "open_images", lambda *_, **__: [])
    one, other = (Plan(**vars(PLAN), open=lambda source: object()) for _ in range(2))
    here = opening.similarity_and_images(one)[0]
    opening.similarity_and_images(other)
    assert opening.similarity_and_images(one)[0] is here, "in the memory of the machine all are kept"
    monkeypatch.setattr(opening, "device", lambda: "cuda:0")
    there = opening.similarity_and_images(one)[0]
    assert opening.similarity_and_images(one)[0] is there
    opening.similarity_and_images(other)
    assert opening.similarity_and_images(one)[0] is not there


def test_a_similarity_is_opened_once_for_each_device_of_a_process(monkeypatch):
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
