"""Features, and tasks of a whole block, on a device: few launches, and no wait until the caller asks for what was found.

Tasks are solved in groups, which are as large as ROOM allows. How tasks are spread over them changes numbers by rounding alone:
torch may add in another order where a group has another size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from interpretability.similarity.table import sent

ROOM = 2**31  # bytes that what is made of rows may take beside the table


def distance_margins(rows: Tensor, tasks: NDArray[np.int32], n_explanations: int) -> Tensor:
    """Margins (tasks,) float64 under -|x - y|^2 of rows (slots, P) float32, mean aggregation: 2 (q+ - q-) . (mean E+ - mean E-).

    tasks (tasks, 2(K + 1)) name rows. The two vectors of a task are sums of its rows, read straight from the table.
    """
    k = n_explanations
    groups = list(_groups(len(tasks), 2 * rows.shape[1] * rows.element_size()))
    numbers: list[NDArray[np.int32]] = []
    for start, stop in groups:
        part, count = tasks[start:stop], np.arange(stop - start, dtype=np.int32)
        # both sides in turn and with whole weights, so that images on both cancel to 0
        sides = part[:, : 2 * k].reshape(-1, 2, k).swapaxes(1, 2)
        numbers += [part[:, 2 * k :].ravel(), sides.ravel(), 2 * count, 2 * len(part) + 2 * k * count]
        weights = np.ones(part.size, dtype=np.float32)
        weights[1::2] = -1
        numbers.append(weights.view(np.int32))
    there = sent(np.concatenate(numbers), rows.device)
    out = torch.empty(len(tasks), dtype=torch.float64, device=rows.device)
    for start, stop in groups:
        count, named = stop - start, (stop - start) * 2 * (k + 1)
        shown, starts, weights, there = there.split([named, 2 * count, named, len(there) - 2 * (named + count)])
        vectors = functional.embedding_bag(
            shown, rows, starts, mode="sum", per_sample_weights=weights.view(torch.float32)
        )
        torch.sum(vectors[:count].mul_(vectors[count:]), dim=1, dtype=torch.float64, out=out[start:stop])
    return out.mul_(2 / k)


def distance_values(rows: Tensor, tasks: NDArray[np.int32], n_explanations: int) -> Tensor:
    """Similarities -|x - y|^2 (tasks, 2, 2K) float64 of rows (slots, P), from differences: no cancellation."""
    k = n_explanations
    there = sent(tasks, rows.device)
    out = torch.empty((len(tasks), 2, 2 * k), dtype=torch.float64, device=rows.device)
    for start, stop in _groups(len(tasks), (4 * k + 2) * rows.shape[1] * rows.element_size()):
        shown = rows[there[start:stop]]
        for query in range(2):
            apart = shown[:, : 2 * k] - shown[:, 2 * k + query, None]
            torch.sum(apart.square_(), dim=2, dtype=torch.float64, out=out[start:stop, query])
    return out.neg_()


def covariances(rows: Tensor, tasks: Tensor, n_explanations: int, layers: Sequence[tuple[int, int, int]]) -> Tensor:
    """Inner products (tasks, 2, 2K, channels) float64 of the maps of both queries with those of all explanations.

    rows (slots, P) hold maps, channel by channel; layers are (channels, where the first map begins, positions a map).
    tasks (tasks, 2(K + 1)) name rows. In products of torch, for devices without the kernel of Triton that does the same.
    """
    k, places = n_explanations, sum(channels for channels, _, _ in layers)
    out = torch.empty((len(tasks), 2, 2 * k, places), dtype=torch.float64, device=rows.device)
    largest = max(channels * positions for channels, _, positions in layers)
    for start, stop in _groups(len(tasks), 2 * (k + 1) * largest * rows.element_size()):
        # images before tasks: the maps of all tasks and channels then are one batch of products, without a copy
        shown, place = tasks[start:stop].T.reshape(-1), 0
        for channels, first, positions in layers:
            maps = rows[:, first : first + channels * positions].index_select(0, shown)
            maps = maps.view(2 * (k + 1), (stop - start) * channels, positions)
            product = torch.bmm(maps[2 * k :].transpose(0, 1), maps[: 2 * k].permute(1, 2, 0))
            product = product.view(stop - start, channels, 2, 2 * k).permute(0, 2, 3, 1)
            out[start:stop, ..., place : place + channels] = product
            place += channels
    return out


def _groups(count: int, each: int) -> Iterator[tuple[int, int]]:
    """Runs (start, stop) of so many tasks, of as many as ROOM holds if one takes `each` bytes; at least one."""
    size = max(1, ROOM // each)
    for start in range(0, count, size):
        yield start, min(start + size, count)


# ---- features, as in `interpretability.similarity.maps`


def unit_maps(maps: Tensor, channels: Tensor, scales: Tensor, epsilon: float) -> Tensor:
    """These channels of maps, each position divided by its length over all channels + epsilon, times a scale a channel."""
    unit = maps / maps.square().sum(dim=1, keepdim=True).sqrt_().add_(epsilon)
    kept = unit if len(channels) == maps.shape[1] else unit[:, channels]
    return (kept * scales.view(1, -1, 1, 1)).flatten(1)


def centred_maps(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maps less their means over positions and divided by the root of their number; the means and variances."""
    flat = maps.flatten(2)
    mean = flat.mean(dim=2, keepdim=True)
    apart = flat - mean
    variance = apart.square().mean(dim=2)
    return apart.div_(flat.shape[2] ** 0.5).flatten(1), mean[..., 0], variance


def pooled_squares(maps: Tensor, window: Tensor, stride: int, padding: int, epsilon: float) -> Tensor:
    """Roots of the squares of maps added with the weights of a moving window, plus epsilon; zeros around."""
    channels = maps.shape[1]
    weights = window.expand(channels, 1, *window.shape)
    sums = functional.conv2d(maps.square(), weights, stride=stride, padding=padding, groups=channels)
    return sums.add_(epsilon).sqrt_()
