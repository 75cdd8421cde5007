"""Means that follow from others: those of a batch norm in evaluation, and of layers that act on each position alone.

Both are affine, and so the mean of what they give is what they give for the mean. While a network runs it is noted what follows
from what; once it has run all of it is computed, all norms in one operation, in float32 and outside of the arithmetic in which
the network runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretability.networks.layers import Layer
from interpretability.networks.modules import fused_activation


def is_plain_batch_norm(module: nn.Module, tap: str) -> bool:
    """Whether what is read of a module is, in evaluation, one factor and one summand a channel of its input."""
    act = fused_activation(module)
    return (
        (type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) or type(module).__name__ == "BatchNormAct2d")
        and isinstance(module, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
        and module.running_mean is not None
        and (tap != "output" or act is None or isinstance(act, nn.Identity))
    )


def is_pointwise(module: nn.Module, layer: Layer) -> bool:
    """Whether a module's output at a position is a float32 matrix times its input there: a linear layer, a plain 1 x 1
    convolution.
    """
    weights = getattr(module, "weight", None), getattr(module, "bias", None)
    if layer.tap != "output" or any(weight is not None and weight.dtype != torch.float32 for weight in weights):
        return False
    if type(module) is nn.Conv2d:
        plain = (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
        return plain and (layer.batch_axis, layer.channel_axis) == (0, 1)
    return type(module) is nn.Linear and layer.batch_axis < layer.channel_axis


class Norm:
    """A batch norm in evaluation as one factor and one summand a channel, (width,) float32."""

    def __init__(self, norm: Any) -> None:
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        self.factor, self.summand = scale.float(), (shift if norm.bias is None else shift + norm.bias.double()).float()


@dataclass(frozen=True)
class _Product:
    """A pointwise module; `given` (images, channels) are the means of its input where they have no place in the buffer."""

    module: Any
    given: Tensor | None

    def put(self, means: Tensor, out: Tensor) -> None:
        weight, bias = self.module.weight.flatten(1).T, self.module.bias
        if bias is None:
            torch.mm(means, weight, out=out)
        else:
            torch.addmm(bias, means, weight, out=out)


@dataclass(frozen=True)
class _Entry:
    """What fills the columns `target` of the buffer from those of `source`."""

    by: Norm | _Product
    source: slice
    target: slice


class _Together:
    """Several norms, none of which waits for another, in one operation."""

    def __init__(self, entries: Sequence[_Entry], norms: Sequence[Norm]) -> None:
        self._factor = torch.cat([norm.factor for norm in norms])
        self._summand = torch.cat([norm.summand for norm in norms])
        self._sources = self._places([entry.source for entry in entries])
        self._targets = self._places([entry.target for entry in entries])

    def _places(self, parts: Sequence[slice]) -> Tensor:
        # made on the device: what travels there makes the host wait
        device = self._factor.device
        return torch.cat([torch.arange(part.start, part.stop, device=device) for part in parts])

    def put(self, means: Tensor) -> None:
        given = means.index_select(1, self._sources)
        means.index_copy_(1, self._targets, torch.addcmul(self._summand, given, self._factor, out=given))


class Following:
    """What follows in one pass of a network, noted in the order of the network and computed by `put`."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        # a network mostly takes the same way, so its vectors are made once
        self._together: dict[tuple[tuple[int, int], ...], _Together] = {}

    def clear(self) -> None:
        self._entries.clear()

    def norm(self, norm: Norm, source: int, target: int) -> None:
        """A norm whose first column in the buffer is `target`, on a map whose first column is `source`."""
        width = len(norm.factor)
        self._entries.append(_Entry(norm, slice(source, source + width), slice(target, target + width)))

    def product(self, module: nn.Module, source: int | Tensor, n_channels: int, target: int, width: int) -> None:
        """A pointwise module on a map of `n_channels`, whose means (images, channels) are given if it has no columns."""
        first, given = (0, source) if isinstance(source, Tensor) else (source, None)
        place = slice(target, target + width)
        self._entries.append(_Entry(_Product(module, given), slice(first, first + n_channels), place))

    def put(self, means: Tensor) -> None:
        """Fill what follows in a buffer of means (images, units) float32: products one by one, norms as late as they may."""
        norms: list[tuple[_Entry, Norm]] = []
        waiting: set[int] = set()
        for entry in self._entries:
            product = entry.by if isinstance(entry.by, _Product) else None
            if entry.source.start in waiting and (product is None or product.given is None):
                self._put_norms(norms, means)
                norms, waiting = [], set()
            if isinstance(entry.by, Norm):
                norms.append((entry, entry.by))
                waiting.add(entry.target.start)
            else:
                given = means[:, entry.source] if entry.by.given is None else entry.by.given
                entry.by.put(given, means[:, entry.target])
        self._put_norms(norms, means)
        self._entries.clear()

    def _put_norms(self, norms: Sequence[tuple[_Entry, Norm]], means: Tensor) -> None:
        if not norms:
            return
        places = tuple((entry.source.start, entry.target.start) for entry, _ in norms)
        if places not in self._together:
            self._together[places] = _Together([entry for entry, _ in norms], [norm for _, norm in norms])
        self._together[places].put(means)
