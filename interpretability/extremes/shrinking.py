"""The loops of `windows`: keys counted below an interval or kept within it, and intervals drawn in."""

from __future__ import annotations

import math

import numba
import numpy as np

from interpretability.extremes.scanning import cut, mix_of

_TOGETHER, _AT_ONCE = 16, 512  # units and images whose values are read together: 32 KiB, in the first-level cache
_CHUNK = 32  # images compared with a window together; a whole part of _AT_ONCE
_HALF = np.uint64(32)  # bits of a key below its value

# rows of the numbers of a window, `plan`
FIRST, LAST, START, ROOM = range(4)


@numba.njit(nogil=True, cache=True)
def bounds(first, last, seen, n, z) -> tuple[np.int64, np.int64]:
    """Ranks (from, to) of the first `seen` images, to excluded, among which lie all that are at first to last - 1 of all n.

    How many of the seen ones lie before a rank is a draw without replacement: its mean and standard deviation are known, and
    the term with z² is what its skewness adds to a quantile, at most.
    """
    rest = (n - seen) / n
    more = z * z / 6 * rest
    p = first / n
    least = seen * p - z * math.sqrt(seen * p * (1 - p) * (n - seen) / max(n - 1, 1)) - more
    p = last / n
    most = seen * p + z * math.sqrt(seen * p * (1 - p) * (n - seen) / max(n - 1, 1)) + more
    return max(np.int64(math.floor(least)), np.int64(0)), min(np.int64(math.ceil(most)), np.int64(seen))


@numba.njit(nogil=True, cache=True)
def _draw_in(kept, count, ranks, below, interval):
    """Keep of `count` keys those at the given ranks (from, to) of all so far; returns how many, and the count below.

    The interval then reaches to the next keys outside, so that nothing that was dropped could come in again.
    """
    least, most = ranks
    outside = min(max(least - below, 0), count)
    if outside:
        stay = count - outside
        if stay:
            cut(kept[:count], stay)
        top = kept[stay]
        for i in range(stay + 1, count):
            top = max(top, kept[i])
        interval[0] = top + np.uint64(1)
        below, count = below + outside, stay
    outside = min(max(below + count - most, 0), count)
    if outside:
        interval[1] = cut(kept[:count], outside) - np.uint64(1)
        count -= outside
        for i in range(count):
            kept[i] = kept[i + outside]
    return count, below


@numba.njit(inline="always")
def _ordered(bits):
    """Upper half of the key of a value from its bits, in operations of whole vectors."""
    bits = np.uint32(0) if bits == np.uint32(0x80000000) else bits  # -0 becomes 0
    return np.uint32(~bits) if bits >> np.uint32(31) else np.uint32(bits | np.uint32(0x80000000))


@numba.njit(inline="always")
def _compared(column, start, least, most):
    """How many of a chunk of numbers lie below an interval, and how many within it; its ends belong to it.

    No branch, and so many at once that it compiles to vector code.
    """
    lesser, greater = np.uint32(0), np.uint32(0)
    for i in range(_CHUNK):
        lesser = np.uint32(lesser + np.uint32(column[start + i] < least))
        greater = np.uint32(greater + np.uint32(column[start + i] > most))
    return np.int64(lesser), np.int64(_CHUNK) - np.int64(lesser) - np.int64(greater)


@numba.njit(nogil=True, cache=True)
def offer(values, images, low, high, plan, n, z, seen, kept, counts, below, intervals, first, last) -> np.int64:
    """Offer a batch (images, units) to the windows of units first..last - 1; return the flat place of a bad value or -1.

    kept (units, room) holds the keys of the windows of a unit one after the other, counts and below (units, windows) how many
    those are and how many lie below them, intervals (units, windows, 2) the least and the largest key that is kept.
    """
    rows, bits = values.shape[0], values.view(np.uint32)
    for b in range(rows):
        row, bad = values[b, first:last], False
        for j in range(len(row)):
            bad |= not (abs(row[j]) < np.inf)
        if bad:
            for j in range(len(row)):
                if not (abs(row[j]) < np.inf):
                    return np.int64(b) * values.shape[1] + first + j
    ordered, keys = np.empty((_TOGETHER, _AT_ONCE), dtype=np.uint32), np.empty(_CHUNK, dtype=np.uint64)
    for row in range(0, rows, _AT_ONCE):
        many = min(_AT_ONCE, rows - row)
        ordered[:, many:] = 0
        for begin in range(first, last, _TOGETHER):
            end = min(begin + _TOGETHER, last)
            for b in range(many):
                given = bits[row + b, begin:end]
                for j in range(len(given)):
                    ordered[j, b] = _ordered(given[j])
            for u in range(begin, end):
                column = ordered[u - begin]
                for start in range(0, many, _CHUNK):
                    stop = min(start + _CHUNK, many)
                    filled, made = start + _CHUNK - stop, False  # what fills up a chunk is less than any value
                    for w in range(plan.shape[0]):
                        least, most = intervals[u, w, 0], intervals[u, w, 1]
                        # upper halves first, which tell for nearly all
                        lesser, within = _compared(column, start, np.uint32(least >> _HALF), np.uint32(most >> _HALF))
                        if within and not made:
                            for b in range(_CHUNK):
                                number = images[row + start + b] if start + b < stop else 0
                                mix = mix_of(np.uint32(number), low[u], high[u])
                                keys[b] = (np.uint64(column[start + b]) << _HALF) | np.uint64(mix)
                            made = True
                        if within:  # or tied with its ends, as most values of a rectified unit are with one another
                            lesser, within = _compared(keys, 0, least, most)
                        if not within:
                            below[u, w] += lesser - filled
                            continue
                        into, interval = kept[u, plan[w, START] : plan[w, START] + plan[w, ROOM]], intervals[u, w]
                        count, under = counts[u, w], below[u, w]
                        for b in range(start, stop):
                            key = keys[b - start]
                            under += np.int64(key < interval[0])
                            if interval[0] <= key <= interval[1]:
                                into[count] = key
                                count += 1
                                if count == len(into):
                                    ranks = bounds(plan[w, FIRST], plan[w, LAST], seen + row + b + 1, n, z)
                                    count, under = _draw_in(into, count, ranks, under, interval)
                        counts[u, w], below[u, w] = count, under
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def settle(plan, n, z, seen, kept, counts, below, intervals) -> None:
    """Draw all windows in to what the images so far allow."""
    for u in range(len(counts)):
        for w in range(plan.shape[0]):
            start = plan[w, START]
            ranks = bounds(plan[w, FIRST], plan[w, LAST], seen, n, z)
            into = kept[u, start : start + plan[w, ROOM]]
            counts[u, w], below[u, w] = _draw_in(into, counts[u, w], ranks, below[u, w], intervals[u, w])


@numba.njit(nogil=True, cache=True)
def found(plan, kept, counts, below, first, keys, exact) -> None:
    """The keys at the ranks of each window of units from `first` on, ascending, in keys (units, windows, ranks), and whether the
    window holds them all, in exact (units, windows); keys of those that do not are left as they are.
    """
    for row in range(len(keys)):
        u = first + row
        for w in range(plan.shape[0]):
            begin, end = plan[w, FIRST] - below[u, w], plan[w, LAST] - below[u, w]
            exact[row, w] = begin >= 0 and end <= counts[u, w]
            if exact[row, w]:
                start = plan[w, START]
                ordered = np.sort(kept[u, start : start + counts[u, w]])
                keys[row, w, : end - begin] = ordered[begin:end]


@numba.njit(nogil=True, cache=True)
def widest(first, last, n, z) -> np.int64:
    """Most ranks that lie within the bounds of a window, whatever the number of images so far."""
    most = np.int64(0)
    for seen in range(n + 1):
        begin, end = bounds(first, last, seen, n, z)
        most = max(most, end - begin)
    return most


@numba.njit(nogil=True, cache=True)
def pack(plan, kept, counts, packed) -> None:
    """Copy the keys of all windows one after the other into packed (keys,), ascending within a window."""
    at = 0
    for u in range(len(counts)):
        for w in range(plan.shape[0]):
            start, count = plan[w, START], counts[u, w]
            packed[at : at + count] = np.sort(kept[u, start : start + count])
            at += count


@numba.njit(nogil=True, cache=True)
def take_up(plan, packed, own_counts, own_below, own_intervals, kept, counts, below, intervals) -> None:
    """Add a state of other images to windows whose room holds the keys of both."""
    at = 0
    for u in range(len(counts)):
        for w in range(plan.shape[0]):
            into, interval = kept[u, plan[w, START] : plan[w, START] + plan[w, ROOM]], intervals[u, w]
            least, most = max(interval[0], own_intervals[u, w, 0]), min(interval[1], own_intervals[u, w, 1])
            under, stay = below[u, w] + own_below[u, w], 0
            for i in range(counts[u, w]):
                under += np.int64(into[i] < least)
                if least <= into[i] <= most:
                    into[stay] = into[i]
                    stay += 1
            for i in range(at, at + own_counts[u, w]):
                under += np.int64(packed[i] < least)
                if least <= packed[i] <= most:
                    into[stay] = packed[i]
                    stay += 1
            at += own_counts[u, w]
            counts[u, w], below[u, w] = stay, under
            interval[0], interval[1] = least, most
