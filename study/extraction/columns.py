"""Whole columns of some units, gathered while the images pass; a GPU is not waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = 1024  # at least so many wait on a device for one journey to the host


class Columns:
    """Columns (units, images) float32 of the units with the given numbers, on the CPU."""

    def __init__(self, units: Sequence[int], n_images: int) -> None:
        self._units = list(units)
        self._values = np.empty((len(units), n_images), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._units)

    def restore(self, columns: NDArray[np.float32]) -> None:
        """Take up columns (units, n) of the first n images."""
        self._values[:, : columns.shape[1]] = columns

    def take(self, first: int, values: Tensor) -> None:
        """Take in the values (images, all units) of the images from number `first` on, which follow those taken before."""
        self._put(first, values[:, self._units])

    def until(self, n: int) -> NDArray[np.float32]:
        """Columns (units, n) of the first n images, which have been taken in."""
        return np.ascontiguousarray(self._values[:, :n])

    def _put(self, first: int, rows: Tensor) -> None:
        self._values[:, first : first + len(rows)] = rows.numpy().T


class Travelling:
    """Rows of values that gather on a device and travel to the host together, while the device goes on; `_put` takes them in.

    width: values of a row; batch_size: most rows of one `take`. Memory: 4 max(IMAGES, 4 batch_size) bytes a value on the device,
    and as much that is pinned on the host.
    """

    def __init__(self, width: int, batch_size: int, device: str) -> None:
        import torch

        there = torch.device(device)
        shape = max(IMAGES, 4 * batch_size), width
        self._fresh = torch.empty(shape, device=there)
        self._arriving = torch.empty(shape, pin_memory=there.type == "cuda")
        # elsewhere a copy has ended when the call returns
        self._arrived = torch.cuda.Event() if there.type == "cuda" else None
        self._filled = 0  # rows of `_fresh`, of the images from number `_first` on
        self._first = 0
        self._under_way: tuple[int, int] | None = None  # number of the first image, and images

    def take(self, first: int, values: Tensor) -> None:
        """Take in the values (images, all units) of the images from number `first` on, which follow those taken before."""
        if self._filled + len(values) > len(self._fresh):
            self._send()
        if not self._filled:
            self._first = first
        self._gather(values, self._fresh[self._filled : self._filled + len(values)])
        self._filled += len(values)

    def arrived(self) -> None:
        """Wait for all that was taken in."""
        if self._filled:
            self._send()
        self._receive()

    def _gather(self, values: Tensor, rows: Tensor) -> None:
        """Copy what is to travel of the values into rows, on the device."""
        rows.copy_(values)

    def _put(self, first: int, rows: Tensor) -> None:
        raise NotImplementedError

    def _send(self) -> None:
        """Let what has gathered travel. It is written over only by what the device does after it."""
        import torch

        self._receive()
        self._arriving[: self._filled].copy_(self._fresh[: self._filled], non_blocking=True)
        if self._arrived is not None:
            with torch.cuda.device_of(
                self._fresh
            ):  # an event joins the stream of the device in use, whatever was copied
                self._arrived.record()
        self._under_way, self._filled = (self._first, self._filled), 0

    def _receive(self) -> None:
        """Take in what is under way, which left at least four batches ago unless the end or a save asks for it."""
        if self._under_way is None:
            return
        first, n = self._under_way
        if self._arrived is not None:
            self._arrived.synchronize()
        self._put(first, self._arriving[:n])
        self._under_way = None


class DeviceColumns(Travelling, Columns):
    """The same on a device, as `Travelling` says; batch_size: most images of one `take`."""

    def __init__(self, units: Sequence[int], n_images: int, batch_size: int, device: str) -> None:
        import torch

        Columns.__init__(self, units, n_images)
        Travelling.__init__(self, len(units), batch_size, device)
        self._places = torch.tensor(self._units, dtype=torch.long, device=torch.device(device))

    def _gather(self, values: Tensor, rows: Tensor) -> None:
        import torch

        torch.index_select(values, 1, self._places, out=rows)

    def _put(self, first: int, rows: Tensor) -> None:
        Columns._put(self, first, rows)

    def until(self, n: int) -> NDArray[np.float32]:
        self.arrived()
        return super().until(n)
