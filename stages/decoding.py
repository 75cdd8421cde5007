"""Pictures in batches as networks take them, decoded once for all of them and, on a machine with a GPU, ahead of need.

Glue between pictures (stages.pipeline) and what networks see of them (stages.science.preprocessing). A picture is a
function of its row alone, so the number of threads changes the speed and nothing else.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.errors import StudyError
from stages.pipeline.pictures import ImageSet
from stages.pipeline.workers import workers_here

_AHEAD = 3  # batches under way beside the one in use
_AHEAD_PICTURES = 8  # for each thread


def decoders(device: str) -> int:
    """Threads that decode for one worker, from MIS_DECODERS.

    The default shares the cores among the workers of GPUs; on a CPU every core has a worker, which decodes for itself (0).
    """
    text = os.environ.get("MIS_DECODERS", "")
    if text and not text.isdecimal():
        raise StudyError(f"MIS_DECODERS is {text!r}, it must be a whole number; 0 decodes without threads of its own")
    if text:
        return int(text)
    return 0 if device.startswith("cpu") else max(1, len(os.sched_getaffinity(0)) // workers_here())


class Pictures(Protocol):
    """Pictures by row: an `ImageSet`, or a pack of it."""

    def __len__(self) -> int: ...

    def pixels(self, row: int) -> NDArray[np.uint8]: ...

    def path(self, row: int) -> str: ...


@dataclass
class _Batch:
    rows: NDArray[np.int32]
    stacked: dict[Any, Tensor]
    pending: list[Future[None]]


class Feed:
    """Batches of pictures in the order of the manifest; a short last batch is filled up with its last picture.

    Iterating gives (rows, {view: uint8 tensor (batch_size, 3, crop, crop)}), the tensors on the device, channels last. A
    view is a `Preprocessing`; `drop` leaves out one that nobody wants any more. `waited` counts the seconds in which the
    caller had to wait for pictures, `decoded` the pictures.
    """

    def __init__(
        self, images: Pictures, views: Iterable[Any], batch_size: int, device: str, *, start: int = 0, threads: int = 0
    ) -> None:
        self._images, self._views = images, list(dict.fromkeys(views))
        self._batch_size, self._device, self._start, self._threads = batch_size, device, start, threads
        self.waited, self.decoded = 0.0, 0

    def drop(self, view: Any) -> None:
        self._views.remove(view)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], dict[Any, Tensor]]]:
        pool = ThreadPoolExecutor(self._threads, "decode") if self._threads else None
        waiting: deque[_Batch] = deque()
        starts = iter(range(self._start, len(self._images), self._batch_size))
        try:
            while True:
                while len(waiting) <= (_AHEAD if pool else 0) and (start := next(starts, None)) is not None:
                    waiting.append(self._begin(start, pool))
                if not waiting:
                    return
                batch, began = waiting.popleft(), perf_counter()
                for each in batch.pending:
                    each.result()
                ready = {view: self._finish(stacked, len(batch.rows)) for view, stacked in batch.stacked.items()}
                self.waited += perf_counter() - began
                self.decoded += len(batch.rows)
                yield batch.rows, ready
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)

    def _begin(self, start: int, pool: ThreadPoolExecutor | None) -> _Batch:
        rows = np.arange(start, min(start + self._batch_size, len(self._images)), dtype=np.int32)
        pinned = self._device.startswith("cuda")  # so that bytes travel while the device computes
        shape = {view: (self._batch_size, 3, view.crop, view.crop) for view in self._views}
        # channels last, as pictures are: rows of bytes are copied as they lie, the device turns them while it normalises
        kind: Any = {"dtype": torch.uint8, "pin_memory": pinned, "memory_format": torch.channels_last}
        stacked = {view: torch.empty(shape[view], **kind) for view in self._views}
        batch = _Batch(rows, stacked, [])
        if pool:
            batch.pending = [pool.submit(self._fill, batch, place) for place in range(len(rows))]
        else:
            began = perf_counter()
            for place in range(len(rows)):
                self._fill(batch, place)
            self.waited += perf_counter() - began
        return batch

    def _fill(self, batch: _Batch, place: int) -> None:
        pixels = self._images.pixels(int(batch.rows[place]))
        for view, stacked in batch.stacked.items():
            stacked[place] = view.fit(pixels)

    def _finish(self, stacked: Tensor, count: int) -> Tensor:
        stacked[count:] = stacked[count - 1]
        return stacked.to(self._device, non_blocking=True)


class Ahead:
    """Pictures by row, those that were announced decoded by threads before they are asked for."""

    def __init__(self, images: ImageSet, threads: int = 0) -> None:
        self.images = images
        self._pool = ThreadPoolExecutor(threads, "decode") if threads else None
        self._room = _AHEAD_PICTURES * threads
        self._announced: deque[int] = deque()
        self._decoded: dict[int, Future[NDArray[np.uint8]]] = {}

    def announce(self, rows: NDArray[np.int32]) -> None:
        """Rows that will be asked for, in this order; those of an earlier call are forgotten."""
        self._decoded.clear()
        self._announced = deque(rows.tolist())
        self._go_on()

    def _go_on(self) -> None:
        while self._pool and self._announced and len(self._decoded) < self._room:
            row = self._announced.popleft()
            self._decoded[row] = self._pool.submit(self.images.pixels, row)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3), as `ImageSet.pixels`."""
        decoded = self._decoded.pop(row, None)
        self._go_on()
        return self.images.pixels(row) if decoded is None else decoded.result()
