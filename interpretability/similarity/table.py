"""A bounded table of rows of features, the least recently used of which make room, and what tasks fit into it together."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.networks.precision import products_in_float32


class FeatureTable:
    """Rows of features of images in a table (capacity, width) float32; the least recently used make room."""

    def __init__(self, capacity: int, width: int, device: str) -> None:
        self.rows = torch.empty((capacity, width), dtype=torch.float32, device=device)
        self._slot: OrderedDict[int, int] = OrderedDict()

    @property
    def capacity(self) -> int:
        return len(self.rows)

    def slots(
        self, images: NDArray[np.int32], batch: int, write: Callable[[NDArray[np.int32], Tensor, Tensor], None]
    ) -> NDArray[np.int32]:
        """Rows of the table that hold these distinct images, at most `capacity`.

        `write(images, rows, slots)` is asked to fill the rows `slots` of the table with features of images that are missing,
        at most `batch` at a time.
        """
        missing = np.array([image for image in images.tolist() if image not in self._slot], dtype=np.int32)
        for image in images.tolist():
            if image in self._slot:
                self._slot.move_to_end(image)
        places = self._places(len(missing))
        there = sent(places, self.rows.device)
        for start in range(0, len(missing), batch):
            part = slice(start, start + batch)
            write(missing[part], self.rows, there[part])
            # only now: an image that cannot be read must not seem to be held
            for image, place in zip(missing[part].tolist(), places[part].tolist(), strict=True):
                if len(self._slot) == self.capacity:
                    self._slot.popitem(last=False)
                self._slot[image] = place
        return np.array([self._slot[image] for image in images.tolist()], dtype=np.int32)

    def _places(self, count: int) -> NDArray[np.int64]:
        """Rows for so many more images: those that are free, then those used least recently."""
        free = range(len(self._slot), min(len(self._slot) + count, self.capacity))
        return np.array([*free, *islice(self._slot.values(), count - len(free))], dtype=np.int64)


def sent(numbers: NDArray[np.generic], device: torch.device) -> Tensor:
    """Numbers on a device; a GPU fetches them by itself while the program goes on."""
    here = torch.from_numpy(np.ascontiguousarray(numbers))
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)


def in_float32(device: str) -> contextlib.AbstractContextManager[None]:
    """A context in which a GPU computes in float32, where torch by default rounds what convolutions take in."""
    return products_in_float32() if torch.device(device).type == "cuda" else contextlib.nullcontext()


def rounds(tasks: NDArray[np.int32], capacity: int) -> Iterator[tuple[int, int]]:
    """Runs of tasks (start, stop) whose images fit a table of this capacity together."""
    start, held = 0, set()
    for index, task in enumerate(tasks.tolist()):
        if len(held.union(task)) > capacity:
            yield start, index
            start, held = index, set()
        held.update(task)
    if len(tasks):
        yield start, len(tasks)
