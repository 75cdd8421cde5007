"""The climb: Adam on the spectra of all pictures of a side at once, each step through one transform.

No maintained library does this: Lucent, a fork of which IMI used, has been at rest since 2021. The steps are few and plain, so
they are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.errors import InputError
from interpretability.networks.precision import PRECISIONS
from interpretability.similarity.roots import root
from interpretability.visualisations.canvas import Canvas, largest, lengths
from interpretability.visualisations.diversity import penalty
from interpretability.visualisations.target import Target
from interpretability.visualisations.transforms import Resampling, Transform

_MOMENTA, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, as torch has them
_SMOOTHING, _WINDOW = 0.99, 1000  # of IMI's rule for stopping
_SCALE = 1024.0  # of the objective in float16, whose gradients would else vanish


@dataclass(frozen=True)
class Climbed:
    """Colours (n, 3, side, side), and of each step the largest |gradient| of each picture (steps, n) and the greatest length."""

    colours: Tensor
    largest: NDArray[np.float32]
    lengths: NDArray[np.float64]


class Objective:
    """What is climbed: values divided by the natural range, less `weight` times how alike the pictures are.

    Sums over pictures, so that a picture's gradient does not depend on how many there are.
    """

    def __init__(self, target: Target, canvas: Canvas, span: float, weight: float) -> None:
        self.target, self.canvas, self.span, self.weight = target, canvas, span, weight
        preprocessing = target.preprocessing
        self._mean, self._deviation = (
            torch.tensor(shares, device=target.device).view(3, 1, 1)
            for shares in (preprocessing.mean, preprocessing.std)
        )
        self._scale = _SCALE if target.precision == "float16" else 1.0

    def gradient(self, colours: Tensor, resampling: Resampling) -> Tensor:
        """The gradient by the canvas (n, 3, side, side)."""
        seen = resampling.seen(colours)
        layout = torch.channels_last if seen.device.type == "cpu" else torch.contiguous_format
        batch = ((seen - self._mean) / self._deviation).contiguous(memory_format=layout).requires_grad_(True)
        with torch.enable_grad():
            maps = self.target.maps(batch)
            objective = self.target.values(maps).double().sum() / self.span
            if self.weight:
                objective = objective - self.weight * penalty(maps)
            found = self._by_batch(objective, batch)
        return resampling.back(found / self._deviation)

    def _by_batch(self, objective: Tensor, batch: Tensor) -> Tensor:
        """The gradient by the network's input; zero where nothing of the input gets through to the unit."""
        if not objective.requires_grad:
            return torch.zeros_like(batch)
        self.target.backwards += 1
        (found,) = torch.autograd.grad(objective * self._scale, batch)
        found = found / self._scale
        if PRECISIONS[self.target.precision] is not None:
            # beyond what half precision can hold there is no direction to follow
            return torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        if not torch.isfinite(found).all():
            unit = f"unit {self.target.unit} of layer {self.target.layer.name}"
            raise InputError(f"the gradient of {unit} is not finite; no picture can be made of it")
        return found


@torch.no_grad()
def climb(objective: Objective, start: Tensor, transforms: Sequence[Transform], rate: float) -> Climbed:
    """Follow the gradient for as many steps as there are transforms, from these parameters."""
    canvas, target = objective.canvas, objective.target
    parameters, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    colours = canvas.colours(parameters)
    found, longest = [], []
    for step, transform in enumerate(transforms, 1):
        resampling = Resampling(transform, canvas.crop, canvas.side, target.device)
        by_colours = objective.gradient(colours, resampling)
        found.append(largest(by_colours))
        longest.append(lengths(by_colours))
        _adam(parameters, mean, square, canvas.gradient(colours, by_colours), step, rate)
        colours = canvas.colours(parameters)
    return Climbed(colours, np.stack(found), np.array(longest))


def _adam(parameters: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, step: int, rate: float) -> None:
    """One step of Adam upwards, with roots that are the same on every processor."""
    first, second = _MOMENTA
    mean.mul_(first).add_(gradient, alpha=1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = root(square).mul_((1 - second**step) ** -0.5).add_(_EPSILON)
    parameters.addcdiv_(mean, size, value=rate / (1 - first**step))


def stop_ratio(lengths: NDArray[np.float64]) -> float:
    """IMI's measure of being done: smoothed lengths of the gradient, first half over second half of the last 2,000 steps.

    Its code stops at 1.1 once there are 2,500 steps, and at 20,000 whatever it is; a gradient that no longer changes gives 1. NaN
    below two steps and where no gradient is left.
    Departure: with fewer than 2,000 steps it is of all of them.
    """
    smoothed, current = [], 0.0
    for place, length in enumerate(lengths.tolist()):
        current = length if not place else _SMOOTHING * current + (1 - _SMOOTHING) * length
        smoothed.append(current)
    half = min(_WINDOW, len(smoothed) // 2)
    later = float(np.mean(smoothed[-half:])) if half else 0.0
    return float(np.mean(smoothed[-2 * half : -half])) / later if later else float("nan")
