"""Few numbers of a device that the host learns once they are there, without waiting for them."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch
from torch import Tensor


class Passed(Protocol):
    """Whether the device has come so far: what an event of CUDA tells."""

    def record(self) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...


class _Always:
    """What stands for an event where operations have ended when they return."""

    def record(self) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None: ...


class Late:
    """Copies of a small tensor as it was after each step, in their order."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._free: list[Tensor] = []
        self._under_way: deque[tuple[int, Tensor, Passed]] = deque()
        self.pending = 0  # rows of the steps whose numbers are not known yet

    def send(self, numbers: Tensor, rows: int) -> None:
        """Have the numbers after a step over so many rows told later."""
        on_host = self._free.pop() if self._free else self._new()
        on_host.copy_(numbers, non_blocking=True)
        passed = self._event()
        with torch.cuda.device_of(numbers):  # an event joins the stream of the device in use, whatever was copied
            passed.record()
        self._under_way.append((rows, on_host, passed))
        self.pending += rows

    def next(self, *, wait: bool = False) -> list[int] | None:
        """The numbers of the oldest step not yet told; None where there is none, or it has not ended and is not waited for."""
        if not self._under_way or not (wait or self._under_way[0][2].query()):
            return None
        rows, on_host, passed = self._under_way.popleft()
        passed.synchronize()
        self.pending -= rows
        numbers = on_host.tolist()
        self._free.append(on_host)
        return numbers

    def forget(self) -> None:
        """Have nothing told of the steps so far."""
        self._under_way.clear()
        self.pending = 0

    def _new(self) -> Tensor:
        # memory of the host that a device writes to while the host goes on
        return torch.empty(self._like.shape, dtype=self._like.dtype, pin_memory=self._like.is_cuda)

    def _event(self) -> Passed:
        return torch.cuda.Event() if self._like.is_cuda else _Always()
