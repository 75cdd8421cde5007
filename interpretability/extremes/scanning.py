"""The loops of `selection`: values offered to buffers of candidates, buffers cut back, and keys taken apart.

Arrays of both sides have the top side first, whose bound a value must exceed, and then the bottom side, whose keys are
inverted, so that both sides keep their largest.
"""

# intrinsics of numba get their first parameter from the compiler
# pyright: reportCallIssue=false

from __future__ import annotations

import numba
import numpy as np

from interpretability.intrinsics import prefetch, trailing_zeros

BLOCK = 512  # units scanned together: 2 kB of each row one after the other, which memory delivers ahead; few thresholds
_AHEAD = 4  # rows of a block that are asked for while one is scanned
_TIED = BLOCK // 8  # values that tie with a bound and do not enter, after which mixes are part of the first look
_TILE = 16  # units whose values are turned together: those of a cache line
MIX_1, MIX_2 = (
    np.uint32(0x85EBCA6B),
    np.uint32(0xC2B2AE35),
)  # MurmurHash3 finaliser (Appleby, public domain)
UNMIX_1 = np.uint32(pow(0x85EBCA6B, -1, 2**32))
UNMIX_2 = np.uint32(pow(0xC2B2AE35, -1, 2**32))
_GATHER = np.uint64(0x0102040810204080)  # times eight bytes of 0 or 1 has their bits, in order, in its highest byte
_INFINITE = np.uint32(0x7F800000)  # bits of infinity; those of NaN are larger


@numba.njit(inline="always")
def _finalise(h):  # every step is cast because numba widens to 64 bits
    h = np.uint32((h ^ (h >> np.uint32(16))) * MIX_1)
    h = np.uint32((h ^ (h >> np.uint32(13))) * MIX_2)
    return np.uint32(h ^ (h >> np.uint32(16)))


@numba.njit(inline="always")
def mix_of(image, low, high) -> np.uint32:
    return np.uint32(_finalise(np.uint32(image ^ low)) ^ high)


@numba.njit(inline="always")
def _unmix(mix, low, high):
    h = np.uint32(mix ^ high)
    h = np.uint32((h ^ (h >> np.uint32(16))) * UNMIX_2)
    h = np.uint32((h ^ (h >> np.uint32(13)) ^ (h >> np.uint32(26))) * UNMIX_1)
    return np.uint32(h ^ (h >> np.uint32(16)) ^ low)


@numba.njit(inline="always")
def _float_bits(ordered):
    """Bits of the float32 whose ordered bits these are."""
    return np.uint32(ordered & np.uint32(0x7FFFFFFF)) if ordered >> np.uint32(31) else np.uint32(~ordered)


@numba.njit(nogil=True, cache=True)
def cut(keys, k) -> np.uint64:
    """Move the k largest keys to the front; return the smallest of them.

    Quickselect. Its partition has no branch that depends on a key: the processor would guess half of them wrong.
    """
    low, high = 0, len(keys) - 1
    while low < high:
        middle = (low + high) >> 1
        a, b, c = keys[low], keys[middle], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        keys[low if pivot == a else middle if pivot == b else high] = c
        position = low
        for i in range(low, high):
            key = keys[i]
            keys[i] = keys[position]
            keys[position] = key
            position += np.int64(key > pivot)
        keys[high] = keys[position]
        keys[position] = pivot
        if position < k - 1:
            low = position + 1
        elif position > k - 1:
            high = position - 1
        else:
            break
    return keys[k - 1]


@numba.njit(inline="always")
def _key(value, mix, scratch, as_float):
    """Key of a value; `as_float` is the memory of `scratch` (1,) uint32 seen as float32."""
    as_float[0] = value + np.float32(0)  # -0 becomes 0
    bits = scratch[0]
    bits = np.uint32(~bits) if bits >> np.uint32(31) else np.uint32(bits | np.uint32(0x80000000))
    return (np.uint64(bits) << np.uint64(32)) | np.uint64(mix)


@numba.njit(nogil=True, cache=True)
def _first_bad(values, first, last) -> np.int64:
    """Flat place of the first value that is not finite, image by image, among units first..last; -1 if all are."""
    for b in range(values.shape[0]):
        for u in range(first, last):
            if not (abs(values[b, u]) < np.inf):
                return np.int64(b) * values.shape[1] + u
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def fill(values, images, low, high, buffers, counts, bounds, bound_mixes, k, first, last) -> np.int64:
    """What `scan` does, one unit after the other: while a good part of a batch still enters the buffers.

    Values are turned a cache line of units at a time. Every key is written where the next entrant goes and stays if it
    enters, so nothing is marked, looked for or guessed.
    """
    rows, full = values.shape[0], buffers.shape[2]
    scratch = np.empty(1, dtype=np.uint32)
    as_float = scratch.view(np.float32)
    # wider than needed: rows a power of two apart would share few places of a cache
    tile = np.empty((_TILE, rows + _TILE), dtype=np.float32)
    tile_bits = tile.view(np.uint32)
    offered = np.empty(rows, dtype=np.uint64)
    for start in range(first, last, _TILE):
        width = min(_TILE, last - start)
        for b in range(rows):
            for j in range(width):
                tile[j, b] = values[b, start + j] + np.float32(0)  # -0 becomes 0
        for j in range(width):
            u = start + j
            own_low, own_high, largest = low[u], high[u], np.uint32(0)
            for b in range(rows):
                bits = tile_bits[j, b]
                largest = max(largest, np.uint32(bits & np.uint32(0x7FFFFFFF)))
                bits = np.uint32(bits ^ (np.uint32(np.int32(bits) >> 31) | np.uint32(0x80000000)))
                offered[b] = (np.uint64(bits) << np.uint64(32)) | np.uint64(
                    mix_of(np.uint32(images[b]), own_low, own_high)
                )
            if largest >= _INFINITE:
                return _first_bad(values, first, last)
            for side in range(2):
                buffer, count, begin = buffers[side, u], counts[side, u], 0
                flip = np.uint64(0) if side == 0 else ~np.uint64(0)
                bound = _key(bounds[side, u], bound_mixes[side, u], scratch, as_float) ^ flip
                while begin < rows:
                    end = min(rows, begin + full - count)
                    for b in range(begin, end):
                        key = offered[b] ^ flip
                        buffer[count] = key
                        count += np.int64(key > bound)
                    begin = end
                    if count == full:
                        bound = cut(buffer, k)
                        count = k
                counts[side, u] = count
                bound ^= flip
                bound_mixes[side, u] = np.uint32(bound & np.uint64(0xFFFFFFFF))
                scratch[0] = _float_bits(np.uint32(bound >> np.uint64(32)))
                bounds[side, u] = as_float[0]
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def scan(values, images, low, high, buffers, counts, bounds, bound_mixes, k, first, last) -> np.int64:
    """Offer a batch (images, units) to the buffers of units first..last; return the flat place of a bad value or -1.

    The bottom side stores inverted keys, so that both sides keep their largest. A first loop without branches, which
    compiles to vector code, marks the values that may enter a buffer; the rest touches only those. Where it marks many that tie
    with a bound and do not enter, as with rectified units, it looks at mixes, too. Both sides must have bounds.
    """
    scratch = np.empty(1, dtype=np.uint32)
    as_float = scratch.view(np.float32)
    marks = np.zeros(BLOCK, dtype=np.uint8)
    words = marks.view(np.uint64)
    entrants = np.empty(BLOCK, dtype=np.int64)
    full = buffers.shape[2]
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        marks[:] = 0
        ceiling, ceiling_mix = bounds[0, start:stop], bound_mixes[0, start:stop]
        floor, floor_mix = bounds[1, start:stop], bound_mixes[1, start:stop]
        low_bits, high_bits = low[start:stop], high[start:stop]
        tied = 0
        for b in range(values.shape[0]):
            image = np.uint32(images[b])
            row = values[b, start:stop]
            if b + _AHEAD < values.shape[0]:
                for u in range(start, stop, _TILE):
                    prefetch(values, b + _AHEAD, u)
            if tied < _TIED:
                for j in range(len(row)):
                    marks[j] = np.uint8(1) - np.uint8((row[j] < ceiling[j]) & (row[j] > floor[j]))  # 1 for NaN
            else:
                for j in range(len(row)):
                    v = row[j]
                    m = mix_of(image, low_bits[j], high_bits[j])
                    below = (v < ceiling[j]) | ((v == ceiling[j]) & (m <= ceiling_mix[j]))
                    above = (v > floor[j]) | ((v == floor[j]) & (m >= floor_mix[j]))
                    marks[j] = np.uint8(1) - np.uint8(below & above)
            n_entrants = 0
            for g in range((len(row) + 63) >> 6):
                found = np.uint64(0)
                for w in range(8):
                    found |= ((words[8 * g + w] * _GATHER) >> np.uint64(56)) << np.uint64(8 * w)
                while found != 0:
                    entrants[n_entrants] = 64 * g + trailing_zeros(found)
                    n_entrants += 1
                    found &= found - np.uint64(1)
            for entrant in range(n_entrants):
                j = entrants[entrant]
                u = start + j
                v = row[j]
                if not (abs(v) < np.inf):
                    return np.int64(b) * values.shape[1] + u
                m = mix_of(image, low_bits[j], high_bits[j])
                key = _key(v, m, scratch, as_float)
                above = (v > ceiling[j]) | ((v == ceiling[j]) & (m > ceiling_mix[j]))
                below = (v < floor[j]) | ((v == floor[j]) & (m < floor_mix[j]))
                # written to the side that it may enter and counted if it does: branches would be guessed wrong half the time
                side, count = np.int64(below), counts[np.int64(below), u]
                buffers[side, u, count] = key ^ (np.uint64(0) - np.uint64(below))
                count += np.int64(above | below)
                tied += np.int64(1) - np.int64(above | below)
                counts[side, u] = count
                if count == full:
                    bound = cut(buffers[side, u], k)
                    bound = bound if side == 0 else ~bound
                    counts[side, u] = k
                    bound_mixes[side, u] = np.uint32(bound & np.uint64(0xFFFFFFFF))
                    scratch[0] = _float_bits(np.uint32(bound >> np.uint64(32)))
                    bounds[side, u] = as_float[0]
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def best(buffer, counts, first, inverted) -> None:
    """Copy the largest keys of units from `first` on, inverted and in any order, as many as `inverted` (units, kept) takes."""
    units, kept = inverted.shape
    for row in range(units):
        u = first + row
        if counts[u] > kept:
            cut(buffer[u, : counts[u]], kept)
        for i in range(kept):
            inverted[row, i] = ~buffer[u, i]


@numba.njit(nogil=True, cache=True)
def unpack_rows(keys, flip, low, high, value_bits, images, beyond) -> None:
    """Bits of values and images of the first keys of each unit, and whether the key after them has the value of the last."""
    units, k = value_bits.shape
    for row in range(units):
        own_low, own_high = low[row], high[row]
        for i in range(k):
            key = keys[row, i] ^ flip
            value_bits[row, i] = _float_bits(np.uint32(key >> np.uint64(32)))
            images[row, i] = np.int32(_unmix(np.uint32(key), own_low, own_high))
        if keys.shape[1] > k:
            beyond[row] = keys[row, k] >> np.uint64(32) == keys[row, k - 1] >> np.uint64(32)
