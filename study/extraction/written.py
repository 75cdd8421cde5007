"""How many numbers a forward pass writes: what its time depends on beside its operations."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_PRODUCTS = (_aten.convolution, _aten.addmm, _aten.mm, _aten.bmm, _aten.baddbmm)


class Written(ExitStack):
    """Within it, `activations` grows by the size of each output of a convolution or matrix product.

    Of attention in one call it is the output alone: on a GPU the products inside are one kernel, which never writes them.

    `peak` is the most bytes that all that was made within it took at one time; weights and inputs are not of it. No gradients may
    be kept, which keep maps alive. `alive` is what they take now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.activations = self.peak = self.alive = 0
        self._holders: dict[int, int] = {}  # living tensors by the memory that they share
        self.inside = False  # of attention in one call

    def __enter__(self) -> Written:
        super().__enter__()
        self.enter_context(_Calls(self))
        self.enter_context(_Operations(self))
        return self

    def made(self, out: object, given: object = ()) -> None:
        """Count the memory of what an operation made of what it was given, for as long as it lives; views share it."""
        known = {_memory(each) for each in _tensors(given)}
        for tensor in _tensors(out):
            key = _memory(tensor)
            if key not in self._holders:
                if key in known:
                    continue  # a view of a weight or an input
                self._holders[key] = 0
                self.alive += tensor.untyped_storage().nbytes()
                self.peak = max(self.peak, self.alive)
            self._holders[key] += 1
            weakref.finalize(tensor, self._gone, key, tensor.untyped_storage().nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.alive -= size


def _memory(tensor: torch.Tensor) -> int:
    """What names the memory of a tensor, also where it has none, as on the device `meta`."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


class _Calls(TorchFunctionMode):
    def __init__(self, written: Written) -> None:
        super().__init__()
        self._written = written

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self._written.inside = True
        try:
            out = func(*args, **(kwargs or {}))
        finally:
            self._written.inside = False
        self._written.activations += out.numel()
        self._written.made(out)
        return out


class _Operations(TorchDispatchMode):
    def __init__(self, written: Written) -> None:
        super().__init__()
        self._written = written

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self._written.inside:
            self._written.made(out, (*args, *(kwargs or {}).values()))
        if not self._written.inside and getattr(func, "overloadpacket", None) in _PRODUCTS:
            self._written.activations += out.numel()
        return out
