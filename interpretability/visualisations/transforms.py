"""One draw of shift, size and angle a step, as one resampling from the canvas to exactly the picture's size.

A network sees the size that it knows, whatever is drawn, and its own crop. Resampling is bilinear; beyond the canvas all is
black, as in IMI's code. It is a sparse matrix whose rows, and whose transpose's rows, are added up in one order, so that the
backward pass is reproducible on a GPU too, where that of torch's own resampling is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from interpretability.randomness import generator
from interpretability.visualisations.settings import Settings


@dataclass(frozen=True)
class Transform:
    """A picture's place on the canvas: shifted by `first` (pixels down, right), scaled, turned, and shifted by `second`."""

    first: tuple[int, int]
    scale: float
    degrees: int
    second: tuple[int, int]


PLAIN = Transform((0, 0), 1.0, 0, (0, 0))


def draw(settings: Settings, crop: int, seed: int) -> list[Transform]:
    """A transform for each step, the same for all pictures; shifts are centred, so that a picture stays in its middle."""
    if not settings.transforms:
        return [PLAIN] * settings.steps
    draws = generator(seed, "transforms")
    spans = [round(share * crop) // 2 for share in settings.jitter]
    shifts = [draws.integers(-span, span + 1, (settings.steps, 2)).tolist() for span in spans]
    scales = draws.integers(0, len(settings.scales), settings.steps).tolist()
    angles = draws.integers(-settings.rotation, settings.rotation + 1, settings.steps).tolist()
    return [
        Transform((first[0], first[1]), settings.scales[scale], degrees, (second[0], second[1]))
        for first, scale, degrees, second in zip(shifts[0], scales, angles, shifts[1], strict=True)
    ]


class Resampling:
    """The sparse matrix of one transform, from canvas pixels to picture pixels."""

    def __init__(self, transform: Transform, crop: int, side: int, device: torch.device) -> None:
        self.crop, self.side = crop, side
        sources, weights = _corners(transform, crop, side)
        # rows of the transpose: what each canvas pixel gives to, in the order of the picture's pixels
        flat = sources.ravel()
        order = np.argsort(flat, kind="stable")
        ends = np.searchsorted(flat[order], np.arange(side * side + 1, dtype=flat.dtype.newbyteorder("=")))
        self._sources, self._weights = self._there(sources, device, np.int32), torch.from_numpy(weights).to(device)
        self._targets = self._there(order // 4, device, np.int32)
        self._given = torch.from_numpy(weights.ravel()[order]).to(device)
        self._starts = self._there(ends[:-1], device, np.int32)

    def _there(self, values: NDArray[Any], device: torch.device, kind: type) -> Tensor:
        return torch.from_numpy(values.astype(kind)).to(device)

    def seen(self, colours: Tensor) -> Tensor:
        """Pictures (n, 3, crop, crop) of canvases (n, 3, side, side)."""
        rows = colours.reshape(-1, self.side**2).T.contiguous()
        out = F.embedding_bag(self._sources, rows, per_sample_weights=self._weights, mode="sum")
        return out.T.reshape(*colours.shape[:2], self.crop, self.crop)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient by canvases (n, 3, side, side), given that by pictures."""
        rows = gradient.reshape(-1, self.crop**2).T.contiguous()
        out = F.embedding_bag(self._targets, rows, self._starts, per_sample_weights=self._given, mode="sum")
        return out.T.reshape(*gradient.shape[:2], self.side, self.side)


def _corners(transform: Transform, crop: int, side: int) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """For each pixel of the picture the four canvas pixels around its place (crop * crop, 4), and their weights."""
    angle = math.radians(transform.degrees)
    cosine, sine = math.cos(angle) / transform.scale, math.sin(angle) / transform.scale
    places = np.arange(crop) - (crop - 1) / 2
    down, right = (places - shift for shift in transform.second)
    # the inverse of what moves the picture: where on the canvas a pixel comes from
    rows = cosine * down[:, None] + sine * right[None] - transform.first[0] + (side - 1) / 2
    columns = cosine * right[None] - sine * down[:, None] - transform.first[1] + (side - 1) / 2
    top, left = np.floor(rows), np.floor(columns)
    lower, outer = rows - top, columns - left
    kind = np.uint16 if side * side <= 2**16 else np.int64  # small whole numbers are sorted fastest
    sources = np.empty((crop, crop, 4), dtype=kind)
    weights = np.empty((crop, crop, 4), dtype=np.float32)
    for corner, (below, beside) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        row, column = top + below, left + beside
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        share = (lower if below else 1 - lower) * (outer if beside else 1 - outer)
        sources[..., corner] = np.clip(row, 0, side - 1) * side + np.clip(column, 0, side - 1)
        weights[..., corner] = np.where(inside, share, 0)
    return sources.reshape(-1, 4), weights.reshape(-1, 4)
