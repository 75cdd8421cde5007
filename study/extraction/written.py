"""How many numbers a forward pass writes: what its time depends on beside its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """

    def __init__(self) -> None:
        super().__init__()
        self.activations = 0
        self.inside = False  # of attention in one call

    def __enter__(self) -> Written:
        super().__enter__()
        self.enter_context(_Calls(self))
        self.enter_context(_Operations(self))
        return self


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
        if not self._written.inside and getattr(func, "overloadpacket", None) in _PRODUCTS:
            self._written.activations += out.numel()
        return out
