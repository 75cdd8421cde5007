"""Pictures on their way to a GPU: copies beside arithmetic, DreamSim's feed, and what a pass of many views waits."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.loading import QUALITY, SHAPES, photograph
from benchmarks.on_gpu.b_launches import event_waits
from interpretability.images import decode_quickly
from interpretability.networks.preprocessing import Preprocessing
from study.images.ahead import Ahead
from study.images.copies import OnStream, room_for
from study.images.feed import Feed
from study.workers.device import exact
from tests.helpers import random_weights

SECONDS = 45
Row = tuple[str, str, float, float | None, bool | None]
RATE = 2500.0  # pictures a second of DreamSim
SINGLE, ENSEMBLE = "dreamsim-clip_vitb32", "dreamsim"
HIDDEN, WAITS = 0.8, 0.03  # shares
N_VIEWS = 8
_PRODUCTS = 8  # behind a batch: about 20 ms of an H200, where its copy takes 1 to 2
_ROOMS = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Photographs:
    """`n` images by row: a few JPEGs in turn."""

    def __init__(self, n: int, distinct: int) -> None:
        from PIL import Image

        self._n, self._contents = n, []
        for number in range(distinct):
            file = io.BytesIO()
            Image.fromarray(photograph(number, SHAPES[number % len(SHAPES)])).save(file, "JPEG", quality=QUALITY)
            self._contents.append(file.getvalue())

    def __len__(self) -> int:
        return self._n

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return decode_quickly(self._contents[row % len(self._contents)])

    def path(self, row: int) -> str:
        return f"{row}.jpg"


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows of acceptance values 6, 11 and 13: value, unit, measured, limit, passed."""
    images = Photographs(16 if quick else 12 * 256, 4 if quick else 32)
    threads, on_gpu = len(os.sched_getaffinity(0)), device.startswith("cuda")
    batch = 2 if quick else 256
    if on_gpu:
        exact(device)  # torch's own float32 runs convolutions in TF32
    yield from _bytes(images, device, batch, threads)
    if on_gpu:
        yield from _hidden(device)
    yield from _waits(images, device, batch, threads, quick)
    yield from _dreamsim(images, device, threads, quick)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _seconds(device: str, work: Callable[[], object]) -> float:
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _bytes(images: Photographs, device: str, batch: int, threads: int) -> Iterator[Row]:
    """Bytes and inputs are those of a CPU, and nothing in a batch makes the host wait but its pictures.

    Behind each batch the device has something to compute, so that a wait for more than a copy leaves it without work.
    """
    view, n = Preprocessing(224, 256, MEAN, STD), 6 * batch
    rows = np.arange(min(n, len(images)), dtype=np.int32)
    there = Feed(_First(images, len(rows)), [view], batch, device, threads=threads)
    here = Feed(_First(images, len(rows)), [view], batch, "cpu", threads=threads)
    view.normalised(torch.zeros((1, 3, 8, 8), dtype=torch.uint8, device=device))  # constants travel once
    inputs, quiet, on_gpu = [], True, device.startswith("cuda")
    factor = torch.zeros((4096, 4096) if on_gpu else (1, 1), device=device)
    product = torch.mm(factor, factor)
    if on_gpu:
        torch.cuda.set_sync_debug_mode("error")
    with event_waits(device) as waits:
        try:
            for _, batches in there:
                inputs.append(view.normalised(batches[view]))
                for _ in range(_PRODUCTS):
                    torch.mm(factor, factor, out=product)
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            print(f"a batch made the host wait: {error}")
            quiet = False
        finally:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")
    equal = all(
        torch.equal(found.cpu(), view.normalised(batches[view]))
        for found, (_, batches) in zip(inputs, here, strict=quiet)
    )
    quiet = quiet and not waits.idle
    yield "6 pictures, no wait of the host", "equal", float(quiet), 1.0, quiet
    yield "6 pictures, waits for copies, the device at work", "waits", waits.busy, None, None
    yield "6 pictures, inputs as on a CPU", "equal", float(equal), 1.0, equal


class _First:
    """The first images of some."""

    def __init__(self, images: Photographs, n: int) -> None:
        self._images, self._n = images, n

    def __len__(self) -> int:
        return self._n

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self._images.pixels(row)

    def path(self, row: int) -> str:
        return self._images.path(row)


def _hidden(device: str) -> Iterator[Row]:
    """Share of the time of copies that passes while the device computes.

    A batch has several rooms, so that their copies take a good part of the time of the products beside them: else what the
    clock of the device does between two measurements decides.
    """
    road, rooms = OnStream(device), [room_for((256, 3, 224, 224), pinned=True) for _ in range(_ROOMS)]
    factor, n = torch.randn((4096, 4096), device=device), 20

    def compute() -> None:
        for _ in range(3):
            torch.mm(factor, factor)

    def copy() -> None:
        road.send(rooms).arrived()

    def both() -> None:
        sent = road.send(rooms)
        compute()
        sent.arrived()

    alone: dict[str, float] = {}
    for name, work in (("compute", compute), ("copy", copy), ("both", both)):
        work()
        alone[name] = min(_seconds(device, lambda: [work() for _ in range(n)]) for _ in range(3)) / n  # noqa: B023
    hidden = min(1.0, 1 - (alone["both"] - alone["compute"]) / alone["copy"])
    yield "6 copy of pictures, ms a batch of 256", "ms", 1000 * alone["copy"] / _ROOMS, None, None
    yield "6 copy of pictures, hidden by arithmetic", "share", hidden, HIDDEN, hidden >= HIDDEN


def _waits(images: Photographs, device: str, batch: int, threads: int, quick: bool) -> Iterator[Row]:
    """Time of a pass of 8 networks with 8 views beyond that of the same networks on a batch that is there already.

    The clock starts with the second batch, as a pass of hours has it.
    """
    import timm

    crop = 32 if quick else 224
    views = [Preprocessing(crop, crop + 8 * (1 + number), MEAN, STD) for number in range(N_VIEWS)]
    model: Any = timm.create_model("test_resnet" if quick else "resnet50").eval().requires_grad_(False).to(device)
    half = torch.autocast("cuda", torch.float16, enabled=device.startswith("cuda"))

    def forward(batches: dict[Preprocessing, torch.Tensor]) -> None:
        with half:
            for view, stacked in batches.items():
                model(view.normalised(stacked).contiguous(memory_format=torch.channels_last))

    feed = Feed(images, views, batch, device, threads=threads)
    n, began, waited, first = 0, 0.0, 0.0, {}
    for _, batches in feed:
        forward(batches)
        if not first:
            first = {view: stacked.clone() for view, stacked in batches.items()}
            _wait(device)
            began, waited = time.perf_counter(), feed.waited
            continue
        n += 1
    _wait(device)
    fed = time.perf_counter() - began
    alone = _seconds(device, lambda: [forward(first) for _ in range(n)])
    share = max(0.0, 1 - alone / fed)
    yield "13 pass of 8 networks and 8 views, pictures/s", "pictures/s", n * batch / fed, None, None
    yield "13 pass of 8 networks and 8 views, waits", "share", share, WAITS, share <= WAITS
    yield "13 of that, the host for decoding", "share", (feed.waited - waited) / fed, None, None


@dataclass
class _Changes:
    """Attributes changed until a stack closes, as the helpers of our tests ask for it."""

    stack: ExitStack

    def setattr(self, place: object, name: str, value: object) -> None:
        self.stack.enter_context(mock.patch.object(place, name, value))


def _dreamsim(images: Photographs, device: str, threads: int, quick: bool) -> Iterator[Row]:
    """What the cores prepare and what one branch embeds, both judged, and what the ensemble does.

    Departure: the ensemble is told alone. Its three ViT-B/16 take 105 GFLOP a picture, of which an H200 does no more than 640
    a second in float32 (67 TFLOP/s at its peak).
    """
    from interpretability.similarity.backends.dreamsim import DreamSim

    rows = np.arange(len(images), dtype=np.int32)
    for name in (SINGLE,) if quick else (SINGLE, ENSEMBLE):
        similarity = random_weights.opened(name, check=False, device=device, whole=False)
        assert isinstance(similarity, DreamSim)
        with ExitStack() as stack:
            if quick:
                random_weights.small_transformers(_Changes(stack))
                similarity.batch_size = 4
            similarity.model  # noqa: B018 (built here, while small networks are in place of large ones)
        size = similarity.batch_size
        ahead = Ahead(images, threads)
        some = rows[: 2 * size + size // 2]

        def embed(rows: NDArray[np.int32]) -> NDArray[np.floating]:
            ahead.announce(rows, similarity.prepare, 2 * size)  # noqa: B023
            return np.concatenate([*similarity.embed_parts(rows, ahead.prepared)])  # noqa: B023

        full = embed(some[: 2 * size])  # the first use of kernels is no part of a rate
        if name == SINGLE:
            began = time.perf_counter()
            ahead.announce(rows, similarity.prepare, 2 * size)
            for row in rows.tolist():
                ahead.prepared(row)
            rate = len(rows) / (time.perf_counter() - began)
            yield "11 DreamSim, pictures/s that cores prepare", "pictures/s", rate, RATE, rate >= RATE
        equal = np.array_equal(embed(some[: size // 2]), full[: size // 2])
        yield f"11 {name}, rows of a batch half full", "equal", float(equal), 1.0, equal
        rate = len(rows) / _seconds(device, lambda: embed(rows))
        goal = RATE if name == SINGLE else None
        yield f"11 {name}, pictures/s", "pictures/s", rate, goal, None if goal is None else rate >= goal
