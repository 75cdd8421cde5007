"""What a selection holds on a device, and the same offer of a batch in plain operations of torch.

A key is the uint64 one of `interpretability.extremes.selection` with the sign bit flipped, because torch sorts signed
integers: the ordered bits of the value above, the mix below. Every value of a unit that lies strictly between the bounds of
its two sides can be neither among its best nor among its worst k + 1; all others wait in the unit's slots for the next merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interpretability.extremes.moments import BIN_BITS, LOWEST, N_BINS
from interpretability.extremes.scanning import MIX_1, MIX_2

FINITE = torch.iinfo(torch.int64).max  # the place of a value that is not finite, as long as there is none
KINDS = (float("nan"), float("inf"), float("-inf"))  # what a place says in its remainder by 4
_LOW = 0xFFFFFFFF
_MANTISSA = (1 << 52) - 1


@dataclass
class Held:
    """Tensors of U units on one device.

    low, high       (U,) int32: halves of the keys of units
    slots           (U, C) int64: keys that wait for the next merge, in any order
    counts          (U,) int32: how many wait
    bounds          (2, U) float32: the last value inside of the top and of the bottom side; -inf, inf let everything in
    bound_keys      (2, U) int64: the same as keys
    tied            (T,) int64: units with more than one kept value equal to a bound; only the plain operations ask
    bins            (2, N_BINS, U) int64: exact sums of values and of squares, see `moments.Moments`
    nonpositive     (U,) int64
    status          (2,) int64: the largest of `counts`, and FINITE or 4 (image U + unit) + kind of the first bad value
    """

    low: Tensor
    high: Tensor
    slots: Tensor
    counts: Tensor
    bounds: Tensor
    bound_keys: Tensor
    tied: Tensor
    bins: Tensor
    nonpositive: Tensor
    status: Tensor


def offer(held: Held, values: Tensor, first: int, filled: int | None) -> None:
    """Take in values (images, units) float32 of consecutive images from `first` on.

    filled      how many keys wait for every unit while no bound is known; None where bounds choose

    Waits for a GPU once where bounds choose: to count what they leave over.
    """
    if filled is None:
        _offer_chosen(held, values, first)
    else:
        here = slice(filled, filled + len(values))
        # the halves go to their places directly: a key of 64 bits would be written twice
        halves = held.slots.view(torch.int32).unflatten(1, (-1, 2))[:, here]
        mixes, ordered = _halves(values, first, held.low, held.high)
        halves[..., 0], halves[..., 1] = mixes.T, ordered.T
        held.counts += len(values)
    held.status[0] = held.counts.max() if len(held.counts) else 0
    _note_bad(held, values, first)
    _count(held, values)


def _offer_chosen(held: Held, values: Tensor, first: int) -> None:
    inside = (values < held.bounds[0]) & (values > held.bounds[1])  # never for NaN
    if len(held.tied):  # values equal to such a bound may be nearly all there are, as zeros after a rectifier
        keys = packed(values[:, held.tied], first, held.low[held.tied], held.high[held.tied])
        top, bottom = held.bound_keys[:, held.tied]
        inside[:, held.tied] = (keys <= top) & (keys >= bottom)
    units, rows = torch.nonzero(~inside.T, as_tuple=True)
    images = rows.to(torch.int32) + first
    mixes, ordered = _halves(values[rows, units], images, held.low[units], held.high[units])
    entering = torch.zeros_like(held.counts).scatter_add_(0, units, torch.ones_like(images))
    # units stand in order, so the number of an entry among all, less those of units before, numbers it in its unit
    before = torch.cumsum(entering, 0) - entering
    slot = torch.arange(len(units), device=units.device) - before[units] + held.counts[units]
    held.slots[units, slot] = joined(mixes, ordered)
    held.counts += entering


def _halves(values: Tensor, images: int | Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes and ordered bits, int32; images count up from a number by rows, or one is given for each value."""
    bits = (values + 0.0).contiguous().view(torch.int32)  # -0 becomes 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    if isinstance(images, int):
        images = torch.arange(images, images + len(values), dtype=torch.int32, device=values.device)[:, None]
    h = images ^ low
    for shift, factor in ((16, MIX_1), (13, MIX_2)):  # shifts copy the sign, and the mask takes it away
        h ^= (h >> shift) & (_LOW >> shift)
        h *= int(factor.view(np.int32))  # products wrap
    return h ^ ((h >> 16) & 0xFFFF) ^ high, ordered


def joined(mixes: Tensor, ordered: Tensor) -> Tensor:
    """Keys int64 of their halves."""
    return torch.stack([mixes, ordered], dim=-1).view(torch.int64).squeeze(-1)


def packed(values: Tensor, first: int, low: Tensor, high: Tensor) -> Tensor:
    """Keys int64 (images, units) of consecutive images from `first` on."""
    return joined(*_halves(values, first, low, high))


def value_of(keys: Tensor) -> Tensor:
    """The float32 values behind keys."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)


def _note_bad(held: Held, values: Tensor, first: int) -> None:
    """Note the place of the first value that is not finite, unless one is known already."""
    flat = values.reshape(-1)
    if not len(flat):
        return
    at = torch.argmax(flat * 0)  # NaN is the largest, and of equal ones it is the first
    value = torch.take(flat, at)  # indexing by a tensor of one number would wait for it
    kind = torch.where(value.isnan(), 0, torch.where(value > 0, 1, 2))
    place = 4 * (at + first * values.shape[1]) + kind
    held.status[1] = torch.minimum(held.status[1], torch.where(value.abs() < float("inf"), FINITE, place))


def _count(held: Held, values: Tensor) -> None:
    """Add the batch to the moments. A cumulative sum over rows adds one image after the other, as the CPU does."""
    if not len(values):
        return
    exact = values.double()
    total = exact.cumsum(0)[-1]
    add_exactly(held.bins, torch.stack([total, exact.square_().cumsum(0)[-1]]))
    held.nonpositive += (values <= 0).sum(dim=0)


def add_exactly(bins: Tensor, sums: Tensor) -> None:
    """bins (2, N_BINS, U) += sums (2, U) float64 without rounding: a mantissa is cut where bins begin.

    53 bits touch at most three bins. See `moments.Moments`, whose bins are the same.
    """
    bits = sums.view(torch.int64)
    exponent = (bits >> 52) & 0x7FF
    mantissa = torch.where(exponent > 0, bits & _MANTISSA | (1 << 52), 0)
    place = (exponent - 1075 - LOWEST).clamp_(0)
    index, offset = place // BIN_BITS, place % BIN_BITS
    low = (mantissa << offset) & _LOW
    middle = (mantissa >> (BIN_BITS - offset)) & _LOW
    high = (mantissa >> BIN_BITS) >> (BIN_BITS - offset)
    pieces = torch.stack([low, middle, high], dim=1)
    pieces = torch.where((bits < 0)[:, None], -pieces, pieces)
    indices = torch.stack([index, index + 1, index + 2], dim=1).clamp_(max=N_BINS - 1)  # beyond the last all are 0
    bins.scatter_add_(1, indices, pieces)
