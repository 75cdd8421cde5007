"""Streaming selection of the images that excite each unit most and least, and exact streaming moments.

Each unit has ONE total order of all images: by value (-0 counts as 0), equal values by a keyed 32-bit mix of
(unit key, image). A value and its mix pack into one unsigned 64-bit key whose integer order is that total order, and
for a fixed unit the mix is a bijection of the image number, so the key alone gives both back. Every order of batches,
shards and merges keeps the same keys, so the result is the same to the byte.

Values arrive image-major, as networks produce them. A unit keeps a buffer of candidates a side; a value that does not
beat the unit's threshold costs one comparison in a vector, and a full buffer is cut back by quickselect. The first images,
of which many enter, are taken unit by unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.extremes import scanning
from interpretability.extremes.scanning import MIX_1, MIX_2, UNMIX_1, UNMIX_2

Result = TypeVar("Result")

VERSION = 1
_FILLING = 8  # images for each place of a list before one in four or so enters: by then it pays to look for them
_OFFERED = 512  # images of an array offered together
_RANKED_AT_ONCE = 64  # units whose lists are sorted and unpacked together, in memory that is used again


def mix32(images: NDArray[np.integer], unit_keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The tie-breaking mix of (unit key, image), element by element; broadcasts. Reference for the compiled form."""
    low, high = _split(np.asarray(unit_keys, dtype=np.uint64))
    with np.errstate(over="ignore"):
        h = np.asarray(images).astype(np.uint32) ^ low
        h = (h ^ (h >> np.uint32(16))) * MIX_1
        h = (h ^ (h >> np.uint32(13))) * MIX_2
        return h ^ (h >> np.uint32(16)) ^ high


def unmix32(mixes: NDArray[np.uint32], unit_keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The image behind a mix: inverse of `mix32` for the same unit key."""
    low, high = _split(np.asarray(unit_keys, dtype=np.uint64))
    with np.errstate(over="ignore"):
        h = np.asarray(mixes, dtype=np.uint32) ^ high
        h = (h ^ (h >> np.uint32(16))) * UNMIX_2
        h = (h ^ (h >> np.uint32(13)) ^ (h >> np.uint32(26))) * UNMIX_1
        return (h ^ (h >> np.uint32(16)) ^ low).astype(np.int32)


def _split(unit_keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    return unit_keys.astype(np.uint32), (unit_keys >> np.uint64(32)).astype(np.uint32)


def pack(values: NDArray[np.float32], images: NDArray[np.integer], unit_keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Keys whose order is the total order of (value, mix); element by element, broadcasts."""
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0)).view(np.uint32)
    ordered = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x80000000))
    return (ordered.astype(np.uint64) << np.uint64(32)) | mix32(images, unit_keys).astype(np.uint64)


def unpack(keys: NDArray[np.uint64], unit_keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Values and images of packed keys: inverse of `pack`."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> np.uint32(31), ordered & np.uint32(0x7FFFFFFF), ~ordered)
    return bits.view(np.float32), unmix32(keys.astype(np.uint32), unit_keys)


class NotFinite(InputError):
    """A unit value is NaN or infinite; `image` and `unit` say whose."""

    def __init__(self, image: int, unit: int, value: float) -> None:
        super().__init__(f"value {value} of unit column {unit} for image {image} is not a finite number")
        self.image, self.unit, self.value = image, unit, value


@dataclass(frozen=True)
class Ranked:
    """The k most and k least exciting images of each unit, each side from its extreme inwards.

    Arrays have shape (units, k). `tied_beyond_top` and `tied_beyond_bottom` (units,) say whether an image outside
    the list has the same value as the last one inside it.
    """

    top_values: NDArray[np.float32]
    top_images: NDArray[np.int32]
    bottom_values: NDArray[np.float32]
    bottom_images: NDArray[np.int32]
    tied_beyond_top: NDArray[np.bool_]
    tied_beyond_bottom: NDArray[np.bool_]


class Extremes:
    """Running selection for units with the given keys (uint64); k images a side.

    Memory: two buffers of 2(k+1) keys of 8 bytes a unit, twice the final state, whatever the number of images;
    `keys` and `ranked` each add their result, once the final state. `state` (the result of `keys`) and `n_images`
    continue an earlier selection of these units.
    """

    def __init__(
        self,
        unit_keys: NDArray[np.uint64],
        k: int,
        *,
        threads: int = 1,
        state: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None,
        n_images: int = 0,
    ) -> None:
        if k < 1:
            raise InputError("{k} is {given}, it must be at least 1", "k", given=k)
        self.unit_keys = np.ascontiguousarray(unit_keys, dtype=np.uint64)
        self.k, self._threads = k, threads
        # threads that live as long as the object: starting them for every batch would take as long as scanning it.
        # The caller works too: helpers alone, woken for a few milliseconds, often share one core.
        self._helpers = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self.n_images = n_images
        units = len(self.unit_keys)
        self._kept = k + 1  # one more than asked for tells whether the last one is tied with an image outside
        self._low, self._high = _split(self.unit_keys)
        # axis 0 of all four: the top side, whose bound a value must exceed, and the bottom side
        self._buffers = np.empty((2, units, 2 * self._kept), dtype=np.uint64)
        self._counts = np.zeros((2, units), dtype=np.int64)
        self._bounds = np.repeat(np.array([[-np.inf], [np.inf]], dtype=np.float32), units, axis=1)
        self._bound_mixes = np.repeat(np.array([[0], [0xFFFFFFFF]], dtype=np.uint32), units, axis=1)
        for side, packed in enumerate(state or ()):
            count = packed.shape[1]
            self._buffers[side, :, :count] = packed if side == 0 else ~packed
            self._counts[side] = count
            if count == self._kept:  # fewer bound nothing yet
                self._bounds[side] = unpack(packed[:, -1], self.unit_keys)[0]
                self._bound_mixes[side] = packed[:, -1].astype(np.uint32)

    def update(self, values: NDArray[np.float32], images: NDArray[np.integer]) -> None:
        """Offer a batch: values (images, units) float32 and the image numbers. Each image must be offered once.

        Raises NotFinite at the first NaN or infinite value.
        """
        values = np.ascontiguousarray(values, dtype=np.float32)
        images = np.ascontiguousarray(narrowed(np.asarray(images), np.int32, "images"))
        if values.shape != (len(images), len(self.unit_keys)):
            raise InputError(
                "{values} has shape {shape}; it must be (images, units), here {expected}",
                "values",
                shape=values.shape,
                expected=(len(images), len(self.unit_keys)),
            )
        units = len(self.unit_keys)
        step = self._share(scanning.BLOCK)

        def scan(first: int) -> int:
            last = min(first + step, units)
            state = self._buffers, self._counts, self._bounds, self._bound_mixes
            offer = scanning.fill if self.n_images < _FILLING * self._kept else scanning.scan
            return int(offer(values, images, self._low, self._high, *state, self._kept, first, last))

        bad = [position for position in self._together(scan, step) if position >= 0]
        if bad:
            row, unit = divmod(min(bad), units)
            raise NotFinite(int(images[row]), unit, float(values[row, unit]))
        self.n_images += len(images)

    def keys(self, first: int = 0, last: int | None = None) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Packed keys (units, min(k + 1, n)) of both sides, each from its extreme inwards: the mergeable state.

        `first` and `last` choose a range of units; all of them if left out.
        """
        kept, chosen = min(self._kept, self.n_images), range(len(self.unit_keys))[first:last]
        sides = []
        for buffer, counts in zip(self._buffers, self._counts, strict=True):
            inverted = np.empty((len(chosen), kept), dtype=np.uint64)
            scanning.best(buffer, counts, chosen.start, inverted)
            inverted.sort(axis=1)
            sides.append(inverted)
        return np.invert(sides[0], out=sides[0]), sides[1]

    def ranked(self) -> Ranked:
        """The selection so far; each thread works on few units at a time, so that it needs little memory beside the
        result.
        """
        units, kept = len(self.unit_keys), min(self._kept, self.n_images)
        result = _nothing_ranked(units, min(self.k, kept))

        def rank(start: int) -> None:
            inverted = np.empty((min(step, _RANKED_AT_ONCE), kept), dtype=np.uint64)
            for first in range(start, min(start + step, units), _RANKED_AT_ONCE):
                rows = slice(first, min(first + _RANKED_AT_ONCE, start + step, units))
                part = inverted[: rows.stop - first]
                for side, (buffer, counts) in enumerate(zip(self._buffers, self._counts, strict=True)):
                    scanning.best(buffer, counts, first, part)
                    part.sort(axis=1)
                    _unpack_side(part, result, side, rows, self._low, self._high, inverted=side == 0)

        step = self._share(_RANKED_AT_ONCE)
        self._together(rank, step)
        return result

    def _share(self, whole: int) -> int:
        """Units of each thread, a multiple of `whole`."""
        return max(whole, -(-len(self.unit_keys) // self._threads // whole) * whole)

    def _together(self, work: Callable[[int], Result], step: int) -> list[Result]:
        """What `work` gives for the units from 0, `step`, 2 `step` ... on, each in a thread of its own."""
        starts = range(step, len(self.unit_keys), step)
        helped = [self._helpers.submit(work, start) for start in starts] if self._helpers else []
        return [work(0)] + [part.result() for part in helped]


def _nothing_ranked(units: int, k: int) -> Ranked:
    """Arrays to be filled."""
    shape = units, k
    top, bottom = ((np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int32)) for _ in range(2))
    return Ranked(*top, *bottom, np.zeros(units, dtype=bool), np.zeros(units, dtype=bool))


def _unpack_side(
    keys: NDArray[np.uint64],
    into: Ranked,
    side: int,
    rows: slice,
    low: NDArray[np.uint32],
    high: NDArray[np.uint32],
    *,
    inverted: bool,
) -> None:
    """Fill the rows of one side from sorted keys (rows, k or k + 1), whose bits may all be inverted."""
    values = into.bottom_values if side else into.top_values
    images = into.bottom_images if side else into.top_images
    beyond = into.tied_beyond_bottom if side else into.tied_beyond_top
    flip = np.uint64(0xFFFFFFFFFFFFFFFF if inverted else 0)
    scanning.unpack_rows(keys, flip, low[rows], high[rows], values.view(np.uint32)[rows], images[rows], beyond[rows])


def rank_images(
    activations: NDArray[np.floating], n: int, keys: NDArray[np.uint64], *, threads: int | None = None
) -> Ranked:
    """The n most and the n least exciting images of every unit, each side from its extreme inwards.

    activations     (D, U): values of D images and U units, finite; taken as float32
    keys            (U,) uint64, one a unit: `interpretability.randomness.unit_keys(seed, model, layer, units)`
    threads         all cores by default; no result depends on it

    Returns `Ranked`: `top_images`, `bottom_images` (U, n) int32, rows of `activations`, and their values, (U, n) float32.
    Images of equal value have an order that the unit's key decides, never that of their rows (-0 equals 0).
    Raises InputError for n outside 1 to D and for values that are not finite.

    >>> import numpy as np
    >>> from interpretability import rank_images
    >>> activations = np.array([[0.5, 3.0], [2.0, 1.0], [1.0, 2.0]], dtype=np.float32)
    >>> rank_images(activations, 2, np.array([1, 2], dtype=np.uint64)).top_images.tolist()
    [[1, 2], [0, 2]]
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    arguments.count(n, "n")
    if n > len(values):
        raise InputError(
            "{n} is {given}, but {activations} has only {images} images",
            "n",
            "activations",
            given=n,
            images=len(values),
        )
    extremes = Extremes(arguments.unit_keys(keys, values.shape[1]), n, threads=arguments.threads(threads))
    for start in range(0, len(values), _OFFERED):
        batch = values[start : start + _OFFERED]
        try:
            extremes.update(batch, np.arange(start, start + len(batch)))
        except NotFinite as error:
            position = [error.image, error.unit]
            raise arguments.wrong(
                "activations", "holds {value} at {place}; all values must be finite", value=error.value, place=position
            ) from None
    return extremes.ranked()


def merge_keys(
    states: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]], k: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """State of the union of disjoint image sets from their states, in any order and any grouping."""
    top = np.sort(np.concatenate([state[0] for state in states], axis=1), axis=1)[:, ::-1][:, : k + 1]
    bottom = np.sort(np.concatenate([state[1] for state in states], axis=1), axis=1)[:, : k + 1]
    return np.ascontiguousarray(top), np.ascontiguousarray(bottom)


def ranked(top: NDArray[np.uint64], bottom: NDArray[np.uint64], unit_keys: NDArray[np.uint64], k: int) -> Ranked:
    """Values, images and boundary ties behind the packed keys of both sides."""
    result = _nothing_ranked(len(unit_keys), min(k, top.shape[1]))
    low, high = _split(np.asarray(unit_keys, dtype=np.uint64))
    for side, keys in enumerate((top, bottom)):
        _unpack_side(np.ascontiguousarray(keys), result, side, slice(None), low, high, inverted=False)
    return result
