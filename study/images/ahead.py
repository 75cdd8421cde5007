"""Images by row, decoded ahead of need by threads."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from interpretability.images import Images
from study.environment import Environment
from study.workers.placement import workers_here

_AHEAD = 8  # images for each thread

Shown = TypeVar("Shown", bound=Images)


def decoders(device: str) -> int:
    """Threads that decode for one worker, from MIS_DECODERS.

    The default shares the cores among the workers of GPUs; on a CPU every core has a worker, which decodes for itself (0).
    """
    threads = Environment.read().decoders
    if threads is not None:
        return threads
    return 0 if device.startswith("cpu") else max(1, len(os.sched_getaffinity(0)) // workers_here())


class Ahead(Generic[Shown]):
    """Images by row, those that were announced decoded by threads before they are asked for."""

    def __init__(self, images: Shown, threads: int = 0) -> None:
        self.images = images
        self._pool = ThreadPoolExecutor(threads, "decode") if threads else None
        self._room = _AHEAD * threads
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
        """RGB pixels (height, width, 3), as the images give them."""
        decoded = self._decoded.pop(row, None)
        self._go_on()
        return self.images.pixels(row) if decoded is None else decoded.result()
