"""Images in batches as networks take them, decoded once for all of them and, on a machine with a GPU, ahead of need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.networks.preprocessing import Preprocessing

_AHEAD = 3  # batches under way beside the one in use


class ImageRows(Protocol):
    """Images by row: an `ImageSet`, or a pack of it."""

    def __len__(self) -> int: ...

    def pixels(self, row: int) -> NDArray[np.uint8]: ...

    def path(self, row: int) -> str: ...


@dataclass(frozen=True)
class Chosen:
    """Some of the images, numbered anew."""

    images: ImageRows
    rows: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self.images.pixels(int(self.rows[row]))

    def path(self, row: int) -> str:
        return self.images.path(int(self.rows[row]))


@dataclass
class _Batch:
    rows: NDArray[np.int32]
    stacked: dict[Preprocessing, Tensor]
    pending: list[Future[None]]


class Feed:
    """Batches of images in the order of the manifest; a short last batch is filled up with its last image.

    Iterating gives (rows, {view: uint8 tensor (batch_size, 3, crop, crop)}), the tensors on the device, channels last;
    `drop` leaves out a view that nobody wants any more. `waited` counts the seconds in which the caller had to wait for
    images, `decoded` the images.
    """

    def __init__(
        self,
        images: ImageRows,
        views: Iterable[Preprocessing],
        batch_size: int,
        device: str,
        *,
        start: int = 0,
        threads: int = 0,
    ) -> None:
        self._images, self._views = images, list(dict.fromkeys(views))
        self._batch_size, self._device, self._start, self._threads = batch_size, device, start, threads
        self.waited, self.decoded = 0.0, 0

    def drop(self, view: Preprocessing) -> None:
        self._views.remove(view)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], dict[Preprocessing, Tensor]]]:
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
                for decoded in batch.pending:
                    decoded.result()
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
        # channels last, as images are: rows of bytes are copied as they lie, the device turns them while it normalises
        stacked = {
            view: torch.empty(shape[view], dtype=torch.uint8, pin_memory=pinned, memory_format=torch.channels_last)
            for view in self._views
        }
        batch = _Batch(rows, stacked, [])
        if pool:
            batch.pending = [pool.submit(self._fill, batch, index) for index in range(len(rows))]
        else:
            began = perf_counter()
            for index in range(len(rows)):
                self._fill(batch, index)
            self.waited += perf_counter() - began
        return batch

    def _fill(self, batch: _Batch, index: int) -> None:
        pixels = self._images.pixels(int(batch.rows[index]))
        for view, stacked in batch.stacked.items():
            stacked[index] = view.fit(pixels)

    def _finish(self, stacked: Tensor, count: int) -> Tensor:
        stacked[count:] = stacked[count - 1]
        return stacked.to(self._device, non_blocking=True)
