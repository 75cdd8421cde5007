"""Images at chosen ranks of each unit, exactly, from one pass over images in random order: shrinking windows.

Which images stand at the ranks floor(q n) to floor(q n) + N - 1 is known only at the end, but after t of n images in random
order the place of a final rank among those seen is known to within z standard deviations of a draw without replacement,
z sqrt(t q (1 - q) (1 - t / n)) ranks. A window keeps an interval of the total order of `selection` (packed keys, so that ties
need no care), all its keys so far, and the exact number of keys below it. When its room is full it is drawn in to what the
images so far allow; what falls out is counted and dropped.

A result is exact or refused: the ranks must lie within the count below and the keys that are kept. Images in random order are
refused less often than once in 10^8 windows at z = 6; images in order of what a unit sees are refused, never wrong. Windows
of parts of the images join exactly, and no result depends on batches, parts or their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.extremes import scanning, shrinking
from interpretability.extremes.selection import NotFinite, pack, unpack

VERSION = 1
Z = 6.0
_SLACK = 108  # keys of a window beside its widest interval: the fewer, the more often it is drawn in

Ranks = tuple[int, int]  # from and to, to excluded; 0 is the least exciting image


@dataclass(frozen=True)
class State:
    """Windows of units after `seen` images: keys that are kept, one window after the other and ascending within it, how many
    of each window, how many lie below it, and the least and the largest key that it keeps.
    """

    seen: int
    keys: NDArray[np.uint64]
    counts: NDArray[np.int64]
    below: NDArray[np.int64]
    intervals: NDArray[np.uint64]


@dataclass(frozen=True)
class Found:
    """Images and values (units, windows, ranks), ascending, and whether those of a window are exact (units, windows); what
    stands in a window that is not means nothing. A window of fewer ranks than the longest ends with 0.
    """

    images: NDArray[np.int32]
    values: NDArray[np.float32]
    exact: NDArray[np.bool_]


def ranks_at(n_images: int, start: int, count: int) -> tuple[Ranks, Ranks]:
    """Ranks of `count` images from the start-th most exciting on, and from the start-th least exciting one; `start` from 0.

    >>> ranks_at(1000, 150, 20)
    ((830, 850), (150, 170))
    """
    return (n_images - start - count, n_images - start), (start, start + count)


class Windows:
    """Windows of units with the given keys (uint64) over n_images images, shown in random order, each once.

    ranks   ranks (first, last) of each window, `last` excluded, from 0, the least exciting image, to n_images
    z       standard deviations that a window leaves for the luck of the order; more memory, fewer refused
    state   of `state`, continues earlier windows of these units

    Memory: 8 bytes for each key of a window's widest interval, about z sqrt(q (1 - q) n_images) + its ranks + 60; 79 kB a unit
    for the ranks from 1, 5 and 15 percent on, from both ends, of 1.28 million images.
    """

    def __init__(
        self,
        unit_keys: NDArray[np.uint64],
        ranks: Sequence[Ranks],
        n_images: int,
        *,
        z: float = Z,
        threads: int = 1,
        state: State | None = None,
    ) -> None:
        for first, last in ranks:
            if not 0 <= first < last <= n_images:
                raise InputError(
                    "{ranks} names {first} to {last}; they must ascend from 0 to at most the {images} images",
                    "ranks",
                    first=first,
                    last=last,
                    images=n_images,
                )
        if not z > 0:
            raise InputError("{z} is {given}, it must be above 0", "z", given=z)
        self.unit_keys = np.ascontiguousarray(unit_keys, dtype=np.uint64)
        self.n_images, self.z, self.seen = n_images, z, 0
        self._threads = threads
        self._helpers = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._low = self.unit_keys.astype(np.uint32)
        self._high = (self.unit_keys >> np.uint64(32)).astype(np.uint32)
        self._plan = _plan(ranks, n_images, z)
        self._empty(self._plan)
        if state is not None:
            self.add(state)

    def _empty(self, plan: NDArray[np.int64]) -> None:
        units, windows = len(self.unit_keys), len(plan)
        self._kept = np.empty((units, int(plan[:, shrinking.ROOM].sum())), dtype=np.uint64)
        self._counts = np.zeros((units, windows), dtype=np.int64)
        self._below = np.zeros((units, windows), dtype=np.int64)
        self._intervals = np.zeros((units, windows, 2), dtype=np.uint64)
        self._intervals[..., 1] = np.iinfo(np.uint64).max

    @property
    def nbytes(self) -> int:
        """Memory of the windows."""
        return self._kept.nbytes + self._counts.nbytes + self._below.nbytes + self._intervals.nbytes

    def update(self, values: NDArray[np.float32], images: NDArray[np.integer]) -> None:
        """Offer a batch: values (images, units) float32 and the numbers of the images, in random order over all batches.

        Raises NotFinite at the first NaN or infinite value, and InputError for more images than there are.
        """
        values = np.ascontiguousarray(values, dtype=np.float32)
        images = np.ascontiguousarray(narrowed(np.asarray(images), np.int32, "images"))
        units = len(self.unit_keys)
        if values.shape != (len(images), units):
            raise InputError(
                "{values} has shape {shape}; it must be (images, units), here {expected}",
                "values",
                shape=values.shape,
                expected=(len(images), units),
            )
        self._check_number(len(images))

        def scan(first: int, last: int) -> int:
            state = self._kept, self._counts, self._below, self._intervals
            known = self._plan, self.n_images, self.z, self.seen
            return int(shrinking.offer(values, images, self._low, self._high, *known, *state, first, last))

        bad = [position for position in self._by_units(scan) if position >= 0]
        if bad:
            row, unit = divmod(min(bad), units)
            raise NotFinite(int(images[row]), unit, float(values[row, unit]))
        self.seen += len(images)

    def _by_units(self, work: Callable[[int, int], int]) -> list[int]:
        """What `work` gives for ranges of units, one a thread; the caller works too."""
        units = len(self.unit_keys)
        step = max(scanning.BLOCK, -(-units // self._threads))
        starts = range(step, units, step)
        helped = [self._helpers.submit(work, at, min(at + step, units)) for at in starts] if self._helpers else []
        own = [work(0, min(step, units))] if helped else [work(0, units)]
        return own + [part.result() for part in helped]

    def _check_number(self, more: int) -> None:
        if self.seen + more > self.n_images:
            raise InputError(
                "{images} are {given} with those before, but the windows are of {expected} in all; each must be offered once",
                "images",
                given=self.seen + more,
                expected=self.n_images,
            )

    def add(self, state: State) -> None:
        """Join a state of other images, such as those of another part: exact wherever both have what the whole needs."""
        if state.counts.shape != self._counts.shape:
            raise InputError(
                "{state} is of {given} units and windows, these are {expected}",
                "state",
                given=state.counts.shape,
                expected=self._counts.shape,
            )
        self._check_number(state.seen)
        plan = self._plan
        if not self.seen and (state.counts < plan[:, shrinking.ROOM]).all():
            # the usual way holds room for both, and these have no keys; a window that goes on has room for one more
            theirs = state.keys, state.counts, state.below, state.intervals
            shrinking.take_up(plan, *theirs, self._kept, self._counts, self._below, self._intervals)
            self.seen = state.seen
            return
        own = self.state()
        # room for the keys of both; drawn in, they fit the usual one
        wide = plan.copy()
        wide[:, shrinking.ROOM] = np.maximum(2 * plan[:, shrinking.ROOM], (own.counts + state.counts).max(0, initial=0))
        wide[:, shrinking.START] = _starts(wide[:, shrinking.ROOM])
        self._empty(wide)
        for part in (own, state):
            theirs = part.keys, part.counts, part.below, part.intervals
            shrinking.take_up(wide, *theirs, self._kept, self._counts, self._below, self._intervals)
        self.seen = own.seen + state.seen
        both = self._kept, self._counts, self._below, self._intervals
        shrinking.settle(wide, self.n_images, self.z, self.seen, *both)
        rooms = zip(wide[:, shrinking.START], plan[:, shrinking.ROOM], strict=True)
        self._kept = np.concatenate([self._kept[:, start : start + room] for start, room in rooms], axis=1)

    def state(self) -> State:
        """All that is needed to go on, or to join windows of other images."""
        packed = np.empty(int(self._counts.sum()), dtype=np.uint64)
        shrinking.pack(self._plan, self._kept, self._counts, packed)
        return State(self.seen, packed, self._counts.copy(), self._below.copy(), self._intervals.copy())

    def found(self) -> Found:
        """The images at the ranks of each window, once all images were offered; which are exact, `Found` says.

        Raises InputError before that.
        """
        if self.seen != self.n_images:
            raise InputError(
                "{images} are {given} so far; the windows are of {expected}, which must all be offered",
                "images",
                given=self.seen,
                expected=self.n_images,
            )
        units, windows = self._counts.shape
        longest = int((self._plan[:, shrinking.LAST] - self._plan[:, shrinking.FIRST]).max(initial=0))
        keys, exact = np.zeros((units, windows, longest), dtype=np.uint64), np.zeros((units, windows), dtype=bool)
        shrinking.found(self._plan, self._kept, self._counts, self._below, 0, keys, exact)
        values, images = unpack(keys, self.unit_keys[:, None, None])
        return Found(images, values, exact)


def whole_columns(columns: NDArray[np.float32], unit_keys: NDArray[np.uint64], ranks: Sequence[Ranks]) -> Found:
    """The same from whole columns (units, images) in the order of the images' numbers, by sorting them."""
    images = np.arange(columns.shape[1], dtype=np.int32)
    longest = max((last - first for first, last in ranks), default=0)
    keys = np.zeros((len(columns), len(ranks), longest), dtype=np.uint64)
    for unit, key in enumerate(unit_keys):
        ordered = np.sort(pack(columns[unit], images, key))
        for window, (first, last) in enumerate(ranks):
            keys[unit, window, : last - first] = ordered[first:last]
    values, found = unpack(keys, unit_keys[:, None, None])
    return Found(found, values, np.ones(keys.shape[:2], dtype=bool))


def room(ranks: Sequence[Ranks], n_images: int, z: float = Z) -> int:
    """Bytes of the windows of a unit."""
    return int(_plan(ranks, n_images, z)[:, shrinking.ROOM].sum()) * 8 + 32 * len(ranks)


def _plan(ranks: Sequence[Ranks], n_images: int, z: float) -> NDArray[np.int64]:
    """First and last rank of each window, where its keys start and how many it has room for: (windows, 4)."""
    plan = np.zeros((len(ranks), 4), dtype=np.int64)
    for number, (first, last) in enumerate(ranks):
        wide = int(shrinking.widest(first, last, n_images, z))
        # a window that never fills is never drawn in
        plan[number] = first, last, 0, min(wide + _SLACK, n_images + 1)
    plan[:, shrinking.START] = _starts(plan[:, shrinking.ROOM])
    return plan


def _starts(rooms: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(rooms) - rooms
