"""On any GPU: events stand behind what they are to wait for, and similarities compute in float32 whatever torch allows."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from interpretability.extremes.late import Late
from interpretability.similarity import registry
from interpretability.similarity.backends import dreamsim
from study.extraction.columns import DeviceColumns
from tests.helpers import random_weights as given


class Event:
    """Stands for an event, and notes the tensor whose device was in use when it was recorded."""

    in_use = None

    def __init__(self):
        self.recorded = []

    def record(self):
        self.recorded.append(Event.in_use)

    def synchronize(self): ...


@pytest.fixture
def event(monkeypatch):
    @contextlib.contextmanager
    def device_of(tensor):
        Event.in_use = tensor
        yield
        Event.in_use = None

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    return Event()


def test_numbers_told_late_are_waited_for_where_they_are(event, monkeypatch):
    numbers = torch.zeros(2)
    told = Late(numbers)
    monkeypatch.setattr(told, "_event", lambda: event)
    told.send(numbers, 1)
    assert [id(tensor) for tensor in event.recorded] == [id(numbers)]


def test_embeddings_are_waited_for_where_they_are(event):
    room, embeddings = dreamsim._Room(1), torch.zeros((1, 4))
    room._done, room._found = event, torch.ones((1, 4))
    room.start(1, embeddings)
    assert [id(tensor) for tensor in event.recorded] == [id(embeddings)]
    assert room.embeddings().tolist() == [[0, 0, 0, 0]]


def test_kept_columns_are_waited_for_where_they_are(event):
    columns = DeviceColumns([1], 3, 3, "cpu")
    columns._arrived = event
    columns.take(0, torch.ones((3, 2)))
    assert columns.until(3).tolist() == [[1, 1, 1]]
    assert [id(tensor) for tensor in event.recorded] == [id(columns._fresh)]


def allowed():
    return bool(torch.backends.cuda.matmul.allow_tf32), bool(torch.backends.cudnn.allow_tf32)


@pytest.fixture
def tf32():
    before = allowed()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    assert allowed() == (True, True), "a caller's settings are left alone"
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(("device", "rounds"), [("cuda:1", False), ("cpu", True)])
@pytest.mark.parametrize("name", ["dists", "dreamsim", "encoder"])
def test_networks_of_similarities_run_in_float32_on_a_gpu(tf32, name, device, rounds, monkeypatch):
    options = {"network": torch.nn.Identity()} if name == "encoder" else {}
    judge = registry.create(name, given.Shown(given.pictures()), check=False, device=device, **options)
    seen, batch = [], torch.zeros((1, 3, 4, 4))

    def run(*_):
        seen.append(allowed())
        return batch.flatten(1)

    if name == "dists":
        monkeypatch.setattr(judge, "parts", lambda images: iter([run()]))
        judge.features(batch)
        vars(judge)["_batch"] = 1
        monkeypatch.setattr(judge, "tensors", lambda images: batch)
        judge._write(np.array([0], dtype=np.int32), torch.empty((1, 48)), torch.tensor([0]))
    elif name == "dreamsim":
        vars(judge)["model"] = SimpleNamespace(embed=run, is_patch=False)
        judge.embed_images(batch)
    else:
        vars(judge)["_network"] = SimpleNamespace(preprocessing=SimpleNamespace(batch=lambda *_: batch))
        monkeypatch.setattr(judge, "features", run)
        judge.embed(np.array([0], dtype=np.int32))
    assert set(seen) == {(rounds, rounds)}
