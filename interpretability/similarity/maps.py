"""Feature maps of a network on a CPU made into features in one pass each, where operations on whole maps would take several.

Maps (n, channels, height, width) float32 are read as they come from convolutions there, channels last. Features are flat and
lie channel by channel, as they do on a GPU.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TILE = 16  # positions whose values change places together: a cache line of each channel


def unit_maps(maps: Tensor, channels: Tensor, scales: Tensor, epsilon: float) -> Tensor:
    """These channels of maps, each position divided by its length over all channels + epsilon, times a scale a channel.

    (n, channels x positions).
    """
    values = _channels_last(maps)
    out = np.empty((len(values), len(channels) * values.shape[1]), dtype=np.float32)
    _unit(values, channels.numpy(), scales.numpy(), epsilon, out)
    return torch.from_numpy(out)


def centred_maps(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maps less their means over positions and divided by the root of their number (n, channels x positions); the means and
    variances (n, channels).
    """
    values = _channels_last(maps)
    count, positions, channels = values.shape
    out = np.empty((count, channels * positions), dtype=np.float32)
    means, variances = (np.empty((count, channels), dtype=np.float32) for _ in range(2))
    _centre(values, out, means, variances)
    return torch.from_numpy(out), torch.from_numpy(means), torch.from_numpy(variances)


def pooled_squares(maps: Tensor, window: Tensor, stride: int, padding: int, epsilon: float) -> Tensor:
    """Roots of the squares of maps added with the weights of a moving window (side, side), plus epsilon; zeros around."""
    values = _channels_last(maps).reshape(len(maps), *maps.shape[2:], maps.shape[1])
    side = len(window)
    height, width = ((length + 2 * padding - side) // stride + 1 for length in maps.shape[2:])
    out = np.empty((len(maps), height, width, maps.shape[1]), dtype=np.float32)
    _pool(values, np.ascontiguousarray(window.numpy()), stride, padding, epsilon, out)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _channels_last(maps: Tensor) -> NDArray[np.float32]:
    """(n, positions, channels)."""
    return maps.detach().permute(0, 2, 3, 1).contiguous().flatten(1, 2).numpy()


@numba.njit(nogil=True, cache=True, fastmath=True)
def _unit(maps, channels, scales, epsilon, out):  # noqa: ANN001, ANN202
    positions, every = maps.shape[1], maps.shape[2]
    inverse = np.empty(_TILE, dtype=np.float32)
    for image in range(len(maps)):
        for start in range(0, positions, _TILE):
            size = min(_TILE, positions - start)
            for i in range(size):
                values = maps[image, start + i]
                total = np.float32(0)
                for c in range(every):
                    total += values[c] * values[c]
                inverse[i] = np.float32(1 / (np.sqrt(np.float64(total)) + epsilon))
            for c in range(len(channels)):
                channel, scale, first = channels[c], scales[c], c * positions + start
                for i in range(size):
                    out[image, first + i] = maps[image, start + i, channel] * inverse[i] * scale


@numba.njit(nogil=True, cache=True, fastmath=True)
def _centre(maps, out, means, variances):  # noqa: ANN001, ANN202
    positions, channels = maps.shape[1], maps.shape[2]
    scale = np.float32(1 / np.sqrt(positions))
    sums = np.empty(channels, dtype=np.float64)
    for image in range(len(maps)):
        sums[:] = 0
        for p in range(positions):
            for c in range(channels):
                sums[c] += maps[image, p, c]
        for c in range(channels):
            means[image, c] = sums[c] / positions
        sums[:] = 0
        for start in range(0, positions, _TILE):
            size = min(_TILE, positions - start)
            for c in range(channels):
                mean, first, total = means[image, c], c * positions + start, np.float32(0)
                for i in range(size):
                    centred = maps[image, start + i, c] - mean
                    total += centred * centred
                    out[image, first + i] = centred * scale
                sums[c] += total
        for c in range(channels):
            variances[image, c] = sums[c] / positions


@numba.njit(nogil=True, cache=True, fastmath=True)
def _pool(maps, window, stride, padding, epsilon, out):  # noqa: ANN001, ANN202
    height, width, channels = maps.shape[1:]
    for image in range(len(maps)):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                sums = out[image, y, x]
                sums[:] = np.float32(epsilon)
                for dy in range(len(window)):
                    row = y * stride + dy - padding
                    if not 0 <= row < height:
                        continue
                    for dx in range(len(window)):
                        column = x * stride + dx - padding
                        if not 0 <= column < width:
                            continue
                        weight, values = window[dy, dx], maps[image, row, column]
                        for c in range(channels):
                            sums[c] += weight * values[c] * values[c]
                for c in range(channels):
                    sums[c] = np.sqrt(sums[c])
