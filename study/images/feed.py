"""Images in batches as networks take them, decoded once for all of them and, on a machine with a GPU, ahead of need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interpretability.networks.preprocessing import Preprocessing
from study.images.ahead import n_buffers
from study.images.copies import OnStream, Road, Sent, Slot, room_for

_AT_ONCE = 4  # pictures of one task of a thread: handing over one by one would cost as much as half a resize


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
    slot: Slot[Preprocessing] | None
    sent: Sent | None = None


class Feed:
    """Batches of images in the order of the manifest; a short last batch is filled up with its last image.

    Iterating gives (rows, {view: uint8 tensor (batch_size, 3, crop, crop)}), the tensors on the device, channels last;
    `drop` leaves out a view that nobody wants any more. `waited` counts the seconds in which the caller had to wait for
    images, `decoded` the images.

    Bytes for a GPU lie in pinned buffers, used in turn, and travel beside its arithmetic: the next batch as soon as it is
    decoded, while the device is at the one before.
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
        ahead = n_buffers(self._threads) - 1
        road = self._road()
        slots = deque(Slot[Preprocessing](road, pinned=self._pinned) for _ in range(ahead + 1)) if road else None
        waiting: deque[_Batch] = deque()
        starts = iter(range(self._start, len(self._images), self._batch_size))
        try:
            while True:
                while len(waiting) <= ahead and (start := next(starts, None)) is not None:
                    waiting.append(self._begin(start, pool, slots))
                if not waiting:
                    return
                batch, began = waiting.popleft(), perf_counter()
                for decoded in batch.pending:
                    decoded.result()
                ready = self._ready(batch)
                self.waited += perf_counter() - began
                self.decoded += len(batch.rows)
                if waiting and waiting[0].slot and all(decoded.done() for decoded in waiting[0].pending):
                    self._send(waiting[0])
                yield batch.rows, ready
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)

    @property
    def _pinned(self) -> bool:
        return self._device.startswith("cuda")

    def _road(self) -> Road | None:
        """How batches travel to the device; None where they are used where they are."""
        return OnStream(self._device) if self._pinned else None

    def _begin(self, start: int, pool: ThreadPoolExecutor | None, slots: deque[Slot[Preprocessing]] | None) -> _Batch:
        rows = np.arange(start, min(start + self._batch_size, len(self._images)), dtype=np.int32)
        shapes = {view: (self._batch_size, 3, view.crop, view.crop) for view in self._views}
        began, slot = perf_counter(), None
        if slots:
            slot = slots[0]
            slots.rotate(-1)
        stacked = slot.take(shapes) if slot else {view: room_for(shape) for view, shape in shapes.items()}
        batch = _Batch(rows, stacked, [], slot)
        parts = [range(first, min(first + _AT_ONCE, len(rows))) for first in range(0, len(rows), _AT_ONCE)]
        if pool:
            batch.pending = [pool.submit(self._fill, batch, part) for part in parts]
        else:
            self._fill(batch, range(len(rows)))
        self.waited += perf_counter() - began
        return batch

    def _fill(self, batch: _Batch, places: range) -> None:
        arrays = [(view, stacked.permute(0, 2, 3, 1).numpy()) for view, stacked in batch.stacked.items()]
        for place in places:
            pixels = self._images.pixels(int(batch.rows[place]))
            for view, array in arrays:
                array[place] = view.seen(pixels)

    def _fill_up(self, batch: _Batch) -> None:
        count = len(batch.rows)
        for stacked in batch.stacked.values():
            stacked[count:] = stacked[count - 1]

    def _send(self, batch: _Batch) -> Sent:
        """Start the copies of a batch that is decoded."""
        assert batch.slot is not None
        self._fill_up(batch)
        batch.sent = batch.slot.send()
        return batch.sent

    def _ready(self, batch: _Batch) -> dict[Preprocessing, Tensor]:
        """A batch that is decoded, on the device."""
        if batch.slot is None:
            self._fill_up(batch)
            return batch.stacked
        sent = batch.sent or self._send(batch)
        return dict(zip(batch.stacked, sent.arrived(), strict=True))
