"""Units that are plain functions of pixels, so that it is known which pictures excite them, and natural pictures for them."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability.networks.layers import Layer
from interpretability.networks.preprocessing import Preprocessing
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.scenes import render
from interpretability.visualisations.settings import Natural

SIZE = 64
DEGREES, CYCLES = 30, 6  # of planted gratings: from the rows' axis, and over the whole picture
PLAIN = Preprocessing(SIZE, SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def grating(degrees: float, cycles: float, phase: float, size: int = SIZE) -> Tensor:
    """A grating (size, size) of -1 to 1; its waves run along the direction that `degrees` names."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    angle = math.radians(degrees)
    along = math.cos(angle) * places[None] + math.sin(angle) * places[:, None]
    return torch.cos(2 * math.pi * cycles / SIZE * along + phase)


class Colour(nn.Module):
    """The mean of a mix of the colour channels."""

    def __init__(self, *mix: float) -> None:
        super().__init__()
        self.register_buffer("mix", torch.tensor(mix).view(1, 3, 1, 1))

    def forward(self, batch: Tensor) -> Tensor:
        return (batch * self.mix).sum(dim=1, keepdim=True)


class Energy(nn.Module):
    """What a pair of filters in quadrature finds of one orientation and frequency, whatever the phase and the place."""

    def __init__(self, side: int = 21, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        places = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
        window = torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * (side / 5) ** 2))
        waves = [window * grating(DEGREES, CYCLES, phase, side) for phase in (0.0, math.pi / 2)]
        kernels = torch.stack([wave - window * wave.sum() / window.sum() for wave in waves])
        self.register_buffer("kernels", kernels[:, None].float())

    def forward(self, batch: Tensor) -> Tensor:
        found = nn.functional.conv2d(batch.mean(dim=1, keepdim=True), self.kernels, stride=self.stride)
        return found.square().sum(dim=1, keepdim=True)


class Matched(nn.Module):
    """The product with one grating of a fixed phase."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("template", grating(DEGREES, CYCLES, 0.3).float())

    def forward(self, batch: Tensor) -> Tensor:
        return (batch.mean(dim=1, keepdim=True) * self.template).mean(dim=(2, 3), keepdim=True)

    @property
    def optimum(self) -> float:
        """Of all pictures: white where the grating is above 0, black elsewhere."""
        return float(self.template.clamp(min=0).mean())


def layer_of(width: int = 1, name: str = "0") -> Layer:
    """The output (n, channels, rows, columns) of a module as a layer."""
    return Layer(name, "Other", 0, 0.0, width, name, 0, "output", 0, 1)


def as_network(unit: nn.Module) -> nn.Module:
    return nn.Sequential(unit).eval()


def scenes(n: int, seed: int = 0) -> NDArray[np.uint8]:
    """Natural pictures (n, 3, SIZE, SIZE) uint8: drawn scenes."""
    return np.ascontiguousarray(
        render(draw_factors(n, seed=seed, stream="planted", n_categories=24), SIZE).transpose(0, 3, 1, 2)
    )


@torch.no_grad()
def natural_of(
    network: nn.Module, pictures: NDArray[np.uint8], preprocessing: Preprocessing = PLAIN, unit: int = 0
) -> Natural:
    """What is known of a unit of a network's output over pictures (n, 3, size, size) uint8."""
    batch = preprocessing.normalised(torch.from_numpy(pictures))
    values = network(batch)[:, unit].flatten(1).double().mean(dim=1).numpy()
    return Natural(float(np.median(values)), float(values.min()), float(values.max()))


def orientation(picture: NDArray[np.uint8]) -> float:
    """Degrees (0 to 180) of the strongest grating in a picture (size, size, 3)."""
    grey = torch.from_numpy(picture.astype(np.float64).mean(axis=2))
    grey = grey - grey.mean()
    best = (-1.0, 0.0)
    for degrees in range(0, 180, 10):
        for cycles in range(3, 10):
            power = sum(float((grey * grating(degrees, cycles, phase)).sum()) ** 2 for phase in (0.0, math.pi / 2))
            best = max(best, (power, float(degrees)))
    return best[1]
