"""A batch offered to a selection on a GPU in one kernel of Triton that reads every value once.

The same lists, sums and places as `interpretability.extremes.held`, whose operations read and write a value some twenty
times. A program owns TILE units and all images of the batch: so it numbers the entries of a unit without atomic operations and
adds values in the order of images, and nothing depends on the grid.
"""

# what is compiled here is Triton's language, not Python: pyright knows neither its ranges nor its tensors
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from interpretability.extremes.held import FINITE, Held
from interpretability.extremes.moments import BIN_BITS, LOWEST, N_BINS
from interpretability.extremes.scanning import MIX_1, MIX_2

TILE = 32  # units of a program: one warp, so that few values outside of the bounds keep few others busy
ROWS = 16  # images whose values are under way together

_MIX_1 = tl.constexpr(int(MIX_1))
_MIX_2 = tl.constexpr(int(MIX_2))
_FINITE = tl.constexpr(FINITE)
_BIN_BITS = tl.constexpr(BIN_BITS)
_LOWEST = tl.constexpr(LOWEST)
_N_BINS = tl.constexpr(N_BINS)


@triton.jit
def _key_of(value, image, low, high):
    """Key int64 of values, see `held`; integers alone, so that nothing is flushed to zero."""
    bits = value.to(tl.int32, bitcast=True)
    bits = tl.where(bits == -0x80000000, 0, bits)  # -0 becomes 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    h = image.to(tl.uint32) ^ low
    h = (h ^ (h >> 16)) * _MIX_1
    h = (h ^ (h >> 13)) * _MIX_2
    h = h ^ (h >> 16) ^ high
    return (ordered.to(tl.int64) << 32) | h.to(tl.int64)


@triton.jit
def _add_exactly(bins, sums, n_units, there):
    """Add sums float64 to the bins (N_BINS, units) at these addresses of bin 0, without rounding; see `held`."""
    bits = sums.to(tl.int64, bitcast=True)
    exponent = (bits >> 52) & 0x7FF
    mantissa = tl.where(exponent > 0, (bits & 0xFFFFFFFFFFFFF) | 0x10000000000000, 0)
    place = tl.maximum(exponent - 1075 - _LOWEST, 0)
    index = place // _BIN_BITS
    offset = place % _BIN_BITS
    for piece in tl.static_range(3):
        if piece == 0:
            part = (mantissa << offset) & 0xFFFFFFFF
        elif piece == 1:
            part = (mantissa >> (_BIN_BITS - offset)) & 0xFFFFFFFF
        else:
            part = (mantissa >> _BIN_BITS) >> (_BIN_BITS - offset)
        at = bins + (index + piece) * n_units
        touched = there & (part != 0) & (index + piece < _N_BINS)
        before = tl.load(at, mask=touched, other=0)
        tl.store(at, before + tl.where(bits < 0, -part, part), mask=touched)


@triton.jit(do_not_specialize=["row_stride", "n_rows", "first", "n_units", "n_slots"])
def offer_tile(
    values,
    row_stride,
    n_rows,
    first,
    n_units,
    low_keys,
    high_keys,
    slots,
    n_slots,
    counts,
    bounds,
    bound_keys,
    bins,
    nonpositive,
    status,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Offer values (n_rows, n_units) of images from `first` on to TILE units."""
    units = tl.program_id(0) * TILE + tl.arange(0, TILE)
    there = units < n_units
    low = tl.load(low_keys + units, mask=there, other=0).to(tl.uint32, bitcast=True)
    high = tl.load(high_keys + units, mask=there, other=0).to(tl.uint32, bitcast=True)
    ceiling = tl.load(bounds + units, mask=there, other=float("inf"))
    floor = tl.load(bounds + n_units + units, mask=there, other=float("-inf"))
    top = tl.load(bound_keys + units, mask=there, other=0)
    bottom = tl.load(bound_keys + n_units + units, mask=there, other=0)
    count = tl.load(counts + units, mask=there, other=0)
    waiting = slots + units.to(tl.int64) * n_slots
    column = values + units
    stride = tl.full((), 0, tl.int64) + row_stride
    total = tl.zeros((TILE,), tl.float64)
    squares = tl.zeros((TILE,), tl.float64)
    not_above = tl.zeros((TILE,), tl.int32)
    for start in range(0, n_rows, ROWS):
        left = tl.zeros((TILE,), tl.int32) + (n_rows - start)
        read = ()
        outside = tl.zeros((TILE,), tl.int32)
        for row in tl.static_range(ROWS):
            # a row that is not there is 0: it adds nothing, and is taken from the counts below
            value = tl.load(column + (start + row) * stride, mask=there & (left > row), other=0.0)
            read = read + (value,)  # noqa: RUF005 - all that this language has
        for row in tl.static_range(ROWS):
            value = read[row]
            outside |= tl.where((value < ceiling) & (value > floor), 0, 1)  # 1 for NaN
            not_above += (value <= 0).to(tl.int32)
            exact = value.to(tl.float64)
            total += exact
            squares += exact * exact  # the product of 24 bits by 24 is exact, fused with the sum or not
        if tl.max(outside, axis=0) > 0:
            for row in tl.static_range(ROWS):
                key = _key_of(read[row], first + start + row, low, high)
                enters = ((key > top) | (key < bottom)) & there & (left > row)
                tl.store(waiting + count, key, mask=enters & (count < n_slots))
                count += enters.to(tl.int32)
    tl.store(counts + units, count, mask=there)
    padded = (n_rows + ROWS - 1) // ROWS * ROWS - n_rows
    known = tl.load(nonpositive + units, mask=there, other=0)
    tl.store(nonpositive + units, known + (not_above - padded), mask=there)
    _add_exactly(bins + units, total, n_units, there)
    _add_exactly(bins + _N_BINS * n_units + units, squares, n_units, there)
    tl.atomic_max(status, tl.max(tl.where(there, count, 0), axis=0).to(tl.int64))
    bad = there & ((squares < float("inf")) == 0)  # finite values have finite squares in float64
    if tl.max(bad.to(tl.int32), axis=0) > 0:
        place = tl.full((TILE,), _FINITE, tl.int64)
        for row in range(n_rows):
            value = tl.load(column + row * stride, mask=there, other=0.0)
            kind = tl.where(value != value, 0, tl.where(value > 0, 1, 2))
            here = 4 * ((tl.full((), 0, tl.int64) + first + row) * n_units + units) + kind
            finite = (value < float("inf")) & (value > float("-inf"))
            place = tl.minimum(place, tl.where(finite, _FINITE, here))
        tl.atomic_min(status + 1, tl.min(place, axis=0))


def offer(held: Held, values: Tensor, first: int) -> None:
    """Take in values (images, units) float32 of consecutive images from `first` on; waits for nothing."""
    values = values if values.stride(1) == 1 else values.contiguous()
    n_units = values.shape[1]
    if not n_units:
        return
    with torch.cuda.device_of(values):  # a launch goes to the device in use, whatever the tensors say
        offer_tile[(triton.cdiv(n_units, TILE),)](
            values,
            values.stride(0),
            len(values),
            first,
            n_units,
            held.low,
            held.high,
            held.slots,
            held.slots.shape[1],
            held.counts,
            held.bounds,
            held.bound_keys,
            held.bins,
            held.nonpositive,
            held.status,
            TILE=TILE,
            ROWS=ROWS,
            num_warps=1,
        )
