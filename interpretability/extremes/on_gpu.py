"""Selection and moments where the values are: the same keys and sums as those of the CPU, on a GPU.

Values never leave the device. While lists fill, the keys of all images wait in slots, CHUNK a unit, and full slots are merged
into the k + 1 best of each side by one `torch.topk` over all units. Once a batch would leave few in a list, only values
outside of the bounds of their unit wait: one read of each value, and a merge when the slots of some unit might not hold
another batch, or when twice as many images have been seen as at the last one. A bound that is behind lets more values in than
need be, and changes no list. What the host must know, how many keys wait and whether a value is not finite, it learns behind
the device.

Keys are those of `selection` with the sign bit flipped, see `held`; `keys` gives them back. So a state begun on one kind of
device can be continued on the other.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.errors import InputError
from interpretability.extremes import held as plain
from interpretability.extremes.held import FINITE, KINDS, Held
from interpretability.extremes.late import Late
from interpretability.extremes.moments import N_BINS
from interpretability.extremes.selection import NotFinite

CHUNK = 1024  # keys of a unit that wait for the next merge: 8 KiB
_FILLING = 40  # images for each place of a list before bounds choose: then a batch leaves few
_AT_ONCE = 8192  # units merged together, so that little memory is needed beside the state
_MOST = 2**31  # images have numbers below
_SIGN = np.uint64(1 << 63)
_LOW = 0xFFFFFFFF
_OPEN = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max  # bounds that let every key in

State = tuple[NDArray[np.uint64], NDArray[np.uint64]]


class _Kernel(Protocol):
    def __call__(self, held: Held, values: Tensor, first: int) -> None: ...


def slots_for(batch: int) -> int:
    """Keys of a unit that find room to wait, where batches have so many images."""
    return max(CHUNK, 4 * batch)


def _signed(keys: NDArray[np.uint64], device: torch.device | str) -> Tensor:
    return torch.from_numpy((keys ^ _SIGN).view(np.int64)).to(device)


def _unsigned(keys: Tensor) -> NDArray[np.uint64]:
    return keys.cpu().numpy().view(np.uint64) ^ _SIGN


class DeviceSelection:
    """Running selection and moments of units with the given keys (uint64); k images a side.

    See `selection.Extremes` and `moments.Moments`, whose lists and sums these are to the byte. `state` (the result of
    `keys`), `moments` (`bins` and `nonpositive`) and `n_images` continue an earlier selection of these units.
    `kernel` says whether values are read by one kernel of Triton or by plain operations of torch, which give the same; by
    default the kernel on a GPU where Triton is installed.

    Memory on the device: 8 (slots_for(batch) + 2 (k + 1) + 2 N_BINS) bytes a unit, and little more while units are merged.
    """

    def __init__(
        self,
        unit_keys: NDArray[np.uint64],
        k: int,
        device: torch.device | str,
        *,
        state: State | None = None,
        moments: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
        n_images: int = 0,
        kernel: bool | None = None,
    ) -> None:
        if k < 1:
            raise InputError("{k} is {given}, it must be at least 1", "k", given=k)
        self.unit_keys = np.ascontiguousarray(unit_keys, dtype=np.uint64)
        self.k, self.n_images, self._kept = k, n_images, k + 1
        self.merges = 0
        self._device = torch.device(device)
        self._held = self._new(moments)
        self._offer = _kernel(self._device, kernel)
        self._late = Late(self._held.status)
        self._known = 0  # no unit had more keys waiting when last told
        self._merged_at = 0  # images at the last merge of all units since bounds choose, 0 before
        empty = np.empty((len(self.unit_keys), 0), dtype=np.uint64)
        self._best = [_signed(side, device) for side in state or (empty, empty)]

    def _new(self, moments: tuple[NDArray[np.int64], NDArray[np.int64]] | None) -> Held:
        units, device = len(self.unit_keys), self._device
        halves = torch.from_numpy(self.unit_keys.view(np.int32).reshape(units, 2).copy()).to(device)
        bins = np.zeros((2, N_BINS, units), dtype=np.int64)
        bins, nonpositive = (bins, bins[0, 0]) if moments is None else moments
        return Held(
            low=halves[:, 0].contiguous(),
            high=halves[:, 1].contiguous(),
            slots=torch.empty((units, 0), dtype=torch.int64, device=device),
            counts=torch.zeros(units, dtype=torch.int32, device=device),
            bounds=torch.tensor([[-np.inf], [np.inf]], dtype=torch.float32, device=device).repeat(1, units),
            bound_keys=torch.tensor(_OPEN, device=device)[:, None].repeat(1, units),
            tied=torch.empty(0, dtype=torch.int64, device=device),
            bins=torch.from_numpy(np.array(bins)).to(device),
            nonpositive=torch.from_numpy(np.array(nonpositive)).to(device),
            status=torch.tensor([0, FINITE], device=device),
        )

    @property
    def bins(self) -> NDArray[np.int64]:
        """(2, N_BINS, units): exact sums of values and of squares, see `moments.Moments`."""
        return self._held.bins.cpu().numpy()

    @property
    def nonpositive(self) -> NDArray[np.int64]:
        """(units,): how many values are at most 0."""
        return self._held.nonpositive.cpu().numpy()

    def update(self, values: Tensor, first: int) -> None:
        """Offer a batch: values (images, units) float32 on the device, of images `first`, `first` + 1, ...; each image once.

        Raises NotFinite for NaN or infinite values, for the first in the order of images, then of units; a few batches
        later, at the latest in `check` or `keys`, so that a batch need not wait for the device.
        """
        if values.ndim != 2 or values.shape[1] != len(self.unit_keys) or values.dtype != torch.float32:
            raise InputError(
                "{values} has shape {shape} of {dtype}; it must be (images, units), here (any, {units}), of torch.float32",
                "values",
                shape=tuple(values.shape),
                dtype=values.dtype,
                units=len(self.unit_keys),
            )
        if not 0 <= first <= _MOST - len(values):
            raise InputError(
                "{first} is {given} for {images} images; numbers of images must lie from 0 to {last}",
                "first",
                given=first,
                images=len(values),
                last=_MOST - 1,
            )
        self._learn()
        self._make_room(len(values))
        if self._offer is not None:
            self._offer(self._held, values, first)
        else:
            plain.offer(self._held, values, first, None if self._merged_at else self._known)
        self.n_images += len(values)
        self._late.send(self._held.status, len(values))
        if not self._merged_at:
            self._known += len(values)  # all units have the same number waiting

    def _learn(self, *, wait: bool = False) -> None:
        """Take in what the device has told by now; with `wait`, what it tells next."""
        while (told := self._late.next(wait=wait)) is not None:
            wait = False
            count, place = told
            if self._merged_at:
                self._known = count
            if place != FINITE:
                place, kind = divmod(place, 4)
                raise NotFinite(*divmod(place, len(self.unit_keys)), KINDS[kind])

    def _make_room(self, rows: int) -> None:
        """Merge where another batch might find no room, where bounds are far behind, and where they begin to choose."""
        room = slots_for(rows)
        if room > self._held.slots.shape[1]:
            self._merge()
            self._held.slots = torch.empty((len(self.unit_keys), room), dtype=torch.int64, device=self._device)
        room = self._held.slots.shape[1]
        if not self._merged_at:
            full = self._best[0].shape[1] + self._known >= self._kept
            begins = full and self.n_images >= _FILLING * self._kept
            if begins or self._known + rows > room:
                self._merge()
            if begins:
                self._begin()
            return
        if self.n_images >= 2 * self._merged_at:
            self._merge()
        elif self._known > room // 2:
            self._merge(room // 8)
        while self._known + self._late.pending + rows > room and self._late.pending:
            self._learn(wait=True)  # for a batch of some time ago: the device has work after it
        if self._known + rows > room:
            self._merge(room // 8)

    def _begin(self) -> None:
        """Let bounds choose from now on."""
        self._merged_at = self.n_images
        for start in range(0, len(self.unit_keys), _AT_ONCE):
            self._bound(slice(start, start + _AT_ONCE))
        self._find_ties()

    def _merge(self, above: int = 0) -> None:
        """Take what waits into the best of both sides: of all units, or of those where more than `above` keys wait."""
        counts = None
        if self._merged_at:
            counts = self._held.counts.cpu().numpy()  # the one wait of a merge
            chosen = np.flatnonzero(counts > above)
            width, rest = int(counts.max(initial=0)), int(counts[counts <= above].max(initial=0))
        else:
            chosen = np.arange(len(self.unit_keys))
            width, rest = self._known, 0
        if width > 0 and len(chosen):
            self.merges += 1
            count = min(self._kept, self._best[0].shape[1] + width) if counts is None else self._kept
            known = self._best
            self._best = [best if best.shape[1] == count else best.new_empty((len(best), count)) for best in self._best]
            for start in range(0, len(chosen), _AT_ONCE):
                part = chosen[start : start + _AT_ONCE]
                # a range of units needs no copy
                whole = slice(part[0], part[-1] + 1) if part[-1] - part[0] < len(part) else None
                units = torch.from_numpy(part).to(self._device) if whole is None else whole
                self._take_in(units, known, width, uniform=counts is None)
            if self._merged_at:
                self._find_ties()
        if self._merged_at and not above:
            self._merged_at = self.n_images
        self._known = rest
        self._held.status[:1].fill_(rest)  # assigned, older releases of torch would copy it from the host and wait
        self._late.forget()  # numbers of before the merge; whether a value is bad, the next ones tell too

    def _take_in(self, units: Tensor | slice, known: list[Tensor], width: int, *, uniform: bool) -> None:
        """Merge the waiting keys of some units, at most `width` each, or just as many with `uniform`."""
        held = self._held
        fresh = held.slots[units, :width]
        empty = None
        if not uniform:
            empty = torch.arange(width, device=self._device) >= held.counts[units, None]
        for side, best in enumerate(known):
            offered = fresh if empty is None else fresh.masked_fill(empty, _OPEN[side])
            joined = torch.cat([best[units], offered], dim=1)
            count = self._best[side].shape[1]
            self._best[side][units] = torch.topk(joined, count, dim=1, largest=side == 0, sorted=False).values
        if isinstance(units, slice):
            held.counts[units].fill_(0)
        else:
            held.counts.index_fill_(0, units, 0)
        if self._merged_at:
            self._bound(units)

    def _bound(self, units: Tensor | slice) -> None:
        """Set the bounds of units to the last keys of their lists."""
        held = self._held
        held.bound_keys[0, units] = self._best[0][units].amin(1)
        held.bound_keys[1, units] = self._best[1][units].amax(1)
        held.bounds[:, units] = plain.value_of(held.bound_keys[:, units])

    def _find_ties(self) -> None:
        """Find the units whose bounds are the value of several images, where plain operations must ask for the mix too."""
        if self._offer is None:
            tied = torch.zeros(len(self.unit_keys), dtype=torch.bool, device=self._device)
            for best, bound in zip(self._best, self._held.bound_keys, strict=True):
                tied |= (best >> 32 == (bound >> 32)[:, None]).sum(1) > 1
            self._held.tied = torch.nonzero(tied)[:, 0]

    def check(self) -> None:
        """Wait for the device; raises NotFinite where a value was NaN or infinite."""
        while self._late.pending:
            self._learn(wait=True)
        self._late.send(self._held.status, 0)
        self._learn(wait=True)

    def keys(self) -> State:
        """Packed keys (units, min(k + 1, n)) of both sides, each from its extreme inwards: the mergeable state.

        Waits for the device; raises NotFinite as `check` does.
        """
        self.check()
        self._merge()
        top, bottom = (torch.sort(best, dim=1, descending=side == 0).values for side, best in enumerate(self._best))
        return _unsigned(top), _unsigned(bottom)


def _kernel(device: torch.device, wanted: bool | None) -> _Kernel | None:
    """The kernel where it is wanted; None for plain operations."""
    if wanted is None:
        wanted = device.type == "cuda" and importlib.util.find_spec("triton") is not None and _runs(device)
    if not wanted:
        return None
    from interpretability.extremes import kernel

    return kernel.offer


@functools.cache
def _runs(device: torch.device) -> bool:
    """Whether the kernel can be built here and gives what plain operations give on a few values.

    Batches, with zeros and ties, go on until bounds have chosen for as long as they had not, which has all units merged again.

    Triton needs a C compiler where it runs. As plain operations give the same, a machine without one is told, not refused.
    """
    from interpretability.extremes import kernel

    rng = np.random.default_rng(0)
    keys = rng.integers(2**64, size=2 * kernel.TILE + 1, dtype=np.uint64)
    k, rows = 4, 4 * kernel.ROWS + 1
    n_batches = -(-2 * _FILLING * (k + 1) // rows) + 3
    drawn = np.round(rng.standard_normal((n_batches, rows, len(keys)), dtype=np.float32), 1)
    drawn[..., ::3] = np.maximum(drawn[..., ::3], 0)
    values = torch.from_numpy(drawn).to(device)
    found = []
    for wanted in (True, False):
        selection = DeviceSelection(keys, k, device, kernel=wanted)
        try:
            for index, batch in enumerate(values):
                selection.update(batch, index * rows)
        except Exception as error:  # whatever a compiler may say
            warnings.warn(f"selection on {device} runs without its kernel, and slower: {error}", stacklevel=2)
            return False
        found.append([*selection.keys(), selection.bins, selection.nonpositive])
    same = all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    if not same:
        warnings.warn(
            f"selection on {device} runs without its kernel, and slower: its results are wrong there", stacklevel=2
        )
    return same
