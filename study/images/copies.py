"""Copies of batches to a GPU beside its arithmetic: on a stream of their own, from buffers that are used again."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

View = TypeVar("View", bound=Hashable)


def room_for(shape: tuple[int, ...], *, pinned: bool = False) -> Tensor:
    """Room for a batch (n, 3, side, side) of bytes, channels last: pixels are copied as they lie, a device turns them while it
    normalises them.
    """
    return torch.empty(shape, dtype=torch.uint8, pin_memory=pinned, memory_format=torch.channels_last)


class Sent(Protocol):
    """Tensors under way."""

    def left(self) -> None:
        """Wait until what they were copied from may be overwritten."""
        ...

    def arrived(self) -> list[Tensor]:
        """The tensors on the device, for what the caller has it do from now on; the caller itself does not wait."""
        ...


class Road(Protocol):
    """Where copies travel."""

    def send(self, tensors: Iterable[Tensor]) -> Sent: ...


class OnStream:
    """Copies to a GPU on a stream of their own."""

    def __init__(self, device: str) -> None:
        self._stream = torch.cuda.Stream(device)

    def send(self, tensors: Iterable[Tensor]) -> Sent:
        done = torch.cuda.Event()
        with torch.cuda.stream(self._stream):
            copied = [tensor.to(self._stream.device, non_blocking=True) for tensor in tensors]
            done.record(self._stream)
        return _OnStream(copied, done)


class _OnStream:
    def __init__(self, copied: list[Tensor], done: torch.cuda.Event) -> None:
        self._copied, self._done = copied, done

    def left(self) -> None:
        self._done.synchronize()

    def arrived(self) -> list[Tensor]:
        for tensor in self._copied:
            stream = torch.cuda.current_stream(tensor.device)
            stream.wait_event(self._done)
            tensor.record_stream(
                stream
            )  # its memory is of the other stream, which must not use it again before this one ends
        return self._copied


class Slot(Generic[View]):
    """Buffers of one batch, which are filled again once what they held has left."""

    def __init__(self, road: Road, *, pinned: bool) -> None:
        self._road, self._pinned = road, pinned
        self._buffers: dict[View, Tensor] = {}
        self._sent: Sent | None = None

    def take(self, shapes: Mapping[View, tuple[int, ...]]) -> dict[View, Tensor]:
        """A buffer of its shape for each view, to be filled; those of other views are given up."""
        if self._sent is not None:
            self._sent.left()
            self._sent = None
        kept = {view: buffer for view, buffer in self._buffers.items() if shapes.get(view) == tuple(buffer.shape)}
        fresh = {view: room_for(shape, pinned=self._pinned) for view, shape in shapes.items() if view not in kept}
        self._buffers = kept | fresh
        return dict(self._buffers)

    def send(self) -> Sent:
        """Start the copies of all buffers, in the order of `take`."""
        self._sent = self._road.send(self._buffers.values())
        return self._sent
