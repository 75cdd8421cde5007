"""Images by row, decoded ahead of need by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from interpretability.images import Images
from study.environment import Environment
from study.workers.placement import workers_here

_AHEAD = 8  # images for each thread
BATCHES = 3  # of a pass over all images that are under way beside the one in use

Shown = TypeVar("Shown", bound=Images)
Prepare = Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]  # row and pixels of an image


def decoders(device: str) -> int:
    """Threads that decode for one worker, from MIS_DECODERS.

    The default shares the cores among the workers of GPUs; on a CPU every core has a worker, which decodes for itself (0).
    """
    threads = Environment.read().decoders
    if threads is not None:
        return threads
    return 0 if device.startswith("cpu") else max(1, len(os.sched_getaffinity(0)) // workers_here())


def n_buffers(threads: int) -> int:
    """Batches that a `Feed` has room for: one, and with threads those under way."""
    return 1 + (BATCHES if threads else 0)


class Ahead(Generic[Shown]):
    """Images by row, those that were announced decoded by threads before they are asked for."""

    def __init__(self, images: Shown, threads: int = 0) -> None:
        self.images = images
        self._pool = ThreadPoolExecutor(threads, "decode") if threads else None
        self._threads, self._room = threads, 0
        self._prepare: Prepare | None = None
        self._announced: deque[int] = deque()
        self._ready: dict[int, Future[NDArray[np.uint8]]] = {}

    def announce(self, rows: NDArray[np.int32], prepare: Prepare | None = None, room: int = 0) -> None:
        """Rows that will be asked for, in this order; those of an earlier call are forgotten.

        prepare  what is to be made of their pixels, for `prepared`; without it `pixels` will be asked for
        room     images that may be ready at a time, if more than a few for each thread
        """
        self._ready.clear()
        self._prepare, self._room = prepare, max(room, _AHEAD * self._threads)
        self._announced = deque(rows.tolist())
        self._go_on()

    def _go_on(self) -> None:
        while self._pool and self._announced and len(self._ready) < self._room:
            row = self._announced.popleft()
            self._ready[row] = self._pool.submit(self._made, row)

    def _made(self, row: int) -> NDArray[np.uint8]:
        pixels = self.images.pixels(row)
        return pixels if self._prepare is None else self._prepare(row, pixels)

    def _asked(self, row: int) -> NDArray[np.uint8]:
        ready = self._ready.pop(row, None)
        self._go_on()
        return self._made(row) if ready is None else ready.result()

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3), as the images give them."""
        return self.images.pixels(row) if self._prepare else self._asked(row)

    def prepared(self, row: int) -> NDArray[np.uint8]:
        """What was announced to be made of an image."""
        return self._asked(row)
