"""Products as tensor cores compute them, on a processor: factors of few bits, sums in float32.

No processor has TF32, and most take half precision ten times as long as float32.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED = 23 - 10  # bits of mantissa that float32 has more
_HALF = (torch.float16, torch.bfloat16)
_aten = torch.ops.aten
# products by the places of their factors; not those with `out`, by which a capture computes what is not the network's own
_FACTORS: Mapping[Any, tuple[int, int]] = {
    _aten.convolution.default: (0, 1),
    _aten.linear.default: (0, 1),
    _aten.mm.default: (0, 1),
    _aten.bmm.default: (0, 1),
    _aten.addmm.default: (1, 2),
    _aten.baddbmm.default: (1, 2),
}
_GROUPS = 8  # place of the number of groups among the arguments of a convolution


def rounded(values: Tensor) -> Tensor:
    """The nearest float32 with 10 bits of mantissa, of two the even one; what is not finite stays as it is."""
    bits = values.contiguous().view(torch.int32)
    near = (bits + ((1 << (_DROPPED - 1)) - 1) + ((bits >> _DROPPED) & 1)) & -(1 << _DROPPED)
    return torch.where(values.isfinite(), near.view(torch.float32), values)


class _Tf32(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        factors = _FACTORS.get(func)
        if factors is not None and not _is_depthwise(func, args):
            args = tuple(rounded(value) if place in factors else value for place, value in enumerate(args))
        return func(*args, **(kwargs or {}))


def _is_depthwise(func: object, args: Sequence[Any]) -> bool:
    return func is _aten.convolution.default and args[_GROUPS] == args[0].shape[1] > 1


@contextmanager
def tf32() -> Generator[None]:
    """A context in which products are as under TF32, but for depthwise convolutions, which the study leaves in float32."""
    with sdpa_kernel(SDPBackend.MATH), _Tf32():  # attention as the products that it consists of
        yield


class _Half(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _FACTORS and (kind := args[0].dtype) in _HALF:
            wide = (value.float() if isinstance(value, Tensor) else value for value in args)
            return func(*wide, **(kwargs or {})).to(kind)
        return func(*args, **(kwargs or {}))


def half() -> AbstractContextManager[object]:
    """A context in which products of half precision are added in float32 and rounded once."""
    return _Half()
