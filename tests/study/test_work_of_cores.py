"""On a machine with a GPU, work that uses none goes to the cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from study.images import packs
from study.images.manifest import open_images
from study.networks import resolving
from study.workers import jobs
from study.workers.device import Failure


@pytest.fixture
def workers(monkeypatch):
    """A machine with one GPU and two cores whose workers are this process; lists the devices of each call and its jobs."""
    import torch

    monkeypatch.setenv("MIS_DEVICE", "cuda")
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    calls: list[tuple[list[str], list[str]]] = []

    def on_workers(jobs, indices, devices):
        calls.append((devices, [jobs[index].name for index in indices]))
        return iter([(index, jobs[index].run()) for index in indices])

    monkeypatch.setattr(jobs, "on_workers", on_workers)
    return calls


@dataclass(frozen=True)
class RowJob:
    row: dict[str, Any]
    size: float = 1.0

    @property
    def name(self) -> str:
        return self.row["name"]

    def run(self) -> list[dict[str, Any]] | Failure:
        return Failure(f"{self.name}: no") if self.name == "broken" else [self.row]


def test_networks_are_resolved_by_cores_but_for_code_of_ones_own(workers):
    rows = [
        {"name": name, "constructor": constructor}
        for name, constructor in (
            ("first", "resnet18"),
            ("own", "mine:network"),
            ("broken", "vit_tiny"),
            ("table", "table:a"),
        )
    ]
    found = resolving._run([RowJob(row) for row in rows])  # pyright: ignore[reportArgumentType]
    assert workers == [(["cpu", "cpu"], ["first", "broken", "table"]), (["cuda:0"], ["own"])]
    assert list(found) == ["first", "own", "broken", "table"]
    assert found == {row["name"]: "no" if row["name"] == "broken" else [row] for row in rows}


def test_pictures_are_packed_by_cores(study, photographs, workers, monkeypatch):
    root = photographs(20)
    study.params(images__source="folder", images__root=str(root), human__source="none")
    study.run_images()
    images = open_images(study.folder / "images", str(root), quick=True)
    workers.clear()
    monkeypatch.setattr(packs, "CHUNK", 8)
    files = packs.pack_files(images, 16)
    assert [devices for devices, _ in workers] == [["cpu", "cpu"]]
    assert [np.load(file).shape for file in files] == [(n, 16, 16, 3) for n in (8, 8, 4)]
