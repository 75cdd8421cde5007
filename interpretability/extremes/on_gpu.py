"""Selection and moments where the values are: the same keys and sums as `interpretability.extremes.selection`, on a GPU.

Values never leave the device. Those of a chunk of images become packed keys at once, and a full chunk is merged into the
k + 1 best of each side by one `torch.topk` over all units. The keys are the uint64 ones of `selection` with the sign bit
flipped, because torch sorts signed integers; `keys` gives them back. So a state begun on one kind of device can be
continued on the other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.extremes.moments import BIN_BITS, LOWEST, N_BINS
from interpretability.extremes.selection import MIX_1, MIX_2, NotFinite, unpack

CHUNK = 1024  # images whose keys wait for the next merge: 8 KiB a unit
_SIGN = np.uint64(1 << 63)
_LOW = 0xFFFFFFFF
_INFINITE = 0x7F800000  # bits of a float32 from which on it is no finite number, the sign left out


def _signed(keys: NDArray[np.uint64], device: torch.device | str) -> Tensor:
    return torch.from_numpy((keys ^ _SIGN).view(np.int64)).to(device)


def _unsigned(keys: Tensor) -> NDArray[np.uint64]:
    return keys.cpu().numpy().view(np.uint64) ^ _SIGN


class DeviceExtremes:
    """Running selection for units with the given keys (uint64); k images a side. See `selection.Extremes`.

    Memory on the device: 8 (CHUNK + 2 (k + 1)) bytes a unit, and about as much again while a chunk is merged.
    """

    def __init__(
        self,
        unit_keys: NDArray[np.uint64],
        k: int,
        device: torch.device | str,
        *,
        chunk: int = CHUNK,
        state: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None,
        n_images: int = 0,
    ) -> None:
        if k < 1:
            raise InputError("{k} is {given}, it must be at least 1", "k", given=k)
        self.unit_keys = np.ascontiguousarray(unit_keys, dtype=np.uint64)
        self.k, self.n_images, self._kept = k, n_images, k + 1
        mixed = torch.from_numpy(self.unit_keys.view(np.int64)).to(device)
        self._low, self._high = mixed & _LOW, (mixed >> 32) & _LOW
        self._fresh = torch.empty((len(self.unit_keys), chunk), dtype=torch.int64, device=device)
        self._images = np.empty(chunk, dtype=np.int32)
        self._filled = 0
        self._infinite = torch.zeros((), dtype=torch.bool, device=device)
        empty = np.empty((len(self.unit_keys), 0), dtype=np.uint64)
        self._best = [_signed(side, device) for side in state or (empty, empty)]

    def update(self, values: Tensor, images: NDArray[np.integer]) -> None:
        """Offer a batch: values (images, units) float32 on the device and the image numbers, each image once.

        Raises NotFinite for NaN or infinite values, at the latest with the next merge, so that most batches need not
        wait for the device.
        """
        if values.shape != (len(images), len(self.unit_keys)):
            raise InputError(
                "{values} has shape {shape}; it must be (images, units), here {expected}",
                "values",
                shape=tuple(values.shape),
                expected=(len(images), len(self.unit_keys)),
            )
        numbers = np.ascontiguousarray(narrowed(np.asarray(images), np.int32, "images"))
        for start in range(0, len(images), self._fresh.shape[1]):
            rows = slice(start, start + self._fresh.shape[1])
            self._offer(values[rows], numbers[rows])

    def _offer(self, values: Tensor, images: NDArray[np.int32]) -> None:
        if self._filled + len(images) > self._fresh.shape[1]:
            self._merge()
        here = slice(self._filled, self._filled + len(images))
        self._fresh[:, here] = self._packed(values, images).T
        self._images[here] = images
        self._infinite |= ~torch.isfinite(values).all()
        self._filled += len(images)
        self.n_images += len(images)

    def _packed(self, values: Tensor, images: NDArray[np.int32]) -> Tensor:
        """Signed keys (images, units). Products of 32-bit numbers wrap in 64 bits, and their low halves are right."""
        bits = (values.float() + 0.0).contiguous().view(torch.int32).to(torch.int64)  # -0 becomes 0
        ordered = bits ^ ((bits >> 63) & 0x7FFFFFFF)
        numbers = torch.from_numpy(images.astype(np.int64))
        if values.is_cuda:
            numbers = numbers.pin_memory()  # travels without waiting for what the device has still to do
        h = numbers.to(values.device, non_blocking=True)[:, None] ^ self._low
        h = ((h ^ (h >> 16)) * int(MIX_1)) & _LOW
        h = ((h ^ (h >> 13)) * int(MIX_2)) & _LOW
        return (ordered << 32) | (h ^ (h >> 16) ^ self._high)

    def _merge(self) -> None:
        """Take what has gathered into the best of both sides."""
        if not self._filled:
            return
        fresh = self._fresh[:, : self._filled]
        if bool(self._infinite):
            self._tell(fresh)
        for side, best in enumerate(self._best):
            joined = torch.cat([best, fresh], dim=1)
            count = min(self._kept, joined.shape[1])
            self._best[side] = torch.topk(joined, count, dim=1, largest=side == 0, sorted=False).values
        self._filled = 0

    def _tell(self, fresh: Tensor) -> None:
        """Raise NotFinite for the first value that is none, in the order of images, then of units."""
        high = fresh.T >> 32
        bits = high ^ ((high >> 63) & 0x7FFFFFFF)
        position = int(torch.nonzero(((bits & 0x7FFFFFFF) >= _INFINITE).reshape(-1))[0])
        row, unit = divmod(position, fresh.shape[0])
        value = unpack(_unsigned(fresh[unit, row]), self.unit_keys[unit])[0]
        raise NotFinite(int(self._images[row]), unit, float(value))

    def keys(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Packed keys (units, min(k + 1, n)) of both sides, each from its extreme inwards: the mergeable state."""
        self._merge()
        top, bottom = (torch.sort(best, dim=1, descending=side == 0).values for side, best in enumerate(self._best))
        return _unsigned(top), _unsigned(bottom)


class DeviceMoments:
    """Exact moments of each unit on the device: `bins`, `nonpositive` and `n_images` as in `selection.Moments`.

    A batch is summed in float64, in the order in which the device sums; batch sums are added without rounding.
    """

    def __init__(self, n_units: int, device: torch.device | str) -> None:
        self._bins = torch.zeros((2, N_BINS, n_units), dtype=torch.int64, device=device)
        self._nonpositive = torch.zeros(n_units, dtype=torch.int64, device=device)
        self.n_images = 0

    @property
    def bins(self) -> NDArray[np.int64]:
        return self._bins.cpu().numpy()

    @property
    def nonpositive(self) -> NDArray[np.int64]:
        return self._nonpositive.cpu().numpy()

    def update(self, values: Tensor) -> None:
        """Count a batch of values (images, units)."""
        exact = values.double()
        rest = torch.stack([exact.sum(dim=0), exact.square_().sum(dim=0)])
        self._nonpositive += (values <= 0).sum(dim=0)
        for _ in range(3):  # 53 bits touch at most three bins
            _, exponent = torch.frexp(rest)
            index = torch.clamp((exponent.to(torch.int64) - 1 - LOWEST) // BIN_BITS, 0, N_BINS - 1)
            scale = torch.ldexp(torch.ones_like(rest), LOWEST + index * BIN_BITS)
            piece = torch.trunc(rest / scale)
            self._bins.scatter_add_(1, index[:, None], piece.to(torch.int64)[:, None])
            rest = rest - piece * scale
        self.n_images += len(values)

    def add(self, bins: NDArray[np.int64], nonpositive: NDArray[np.int64], n_images: int) -> None:
        """Count another part of the images, from its `bins`, `nonpositive` and `n_images`."""
        self._bins += torch.from_numpy(bins).to(self._bins.device)
        self._nonpositive += torch.from_numpy(nonpositive).to(self._bins.device)
        self.n_images += n_images
