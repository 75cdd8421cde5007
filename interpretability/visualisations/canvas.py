"""Pictures as a spectrum: smooth at the start, with colours as natural pictures have them, and gradients on all scales.

The parameters are a two-dimensional real spectrum of each of three decorrelated colours, on a canvas that is larger than the
picture by a margin on all sides. Divided by frequency, turned into places, mixed to red, green and blue, and squashed to 0..1
they are colours. The formulas are those of lucid and Lucent, which IMI used (its appendix A.4).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.randomness import generator

# square root of the covariance of colours of natural pictures, from lucid; rows are red, green, blue
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_QUIET = 4.0  # divides what the spectrum gives, so that the start is near grey


def margin_of(crop: int, share: float) -> int:
    """Pixels that a canvas has on each side of a picture."""
    return round(crop * share)


class Canvas:
    """The way from parameters (n, 3, side, side // 2 + 1, 2) to colours (n, 3, side, side) in 0..1, and back for gradients."""

    def __init__(self, crop: int, margin: int, device: torch.device) -> None:
        self.crop, self.margin, self.side = crop, margin, crop + 2 * margin
        self.device = device
        rows = np.fft.fftfreq(self.side)[:, None]
        columns = np.fft.rfftfreq(self.side)[None]
        frequencies = np.maximum(np.sqrt(rows**2 + columns**2), 1 / self.side)
        scale = (1 / (frequencies * _QUIET)).astype(np.float32)
        self._scale = torch.from_numpy(scale[..., None]).to(device)
        # a real picture's spectrum is written down by half: columns between the first and the middle one stand for two
        twice = np.full((1, columns.shape[1]), 2.0)
        twice[:, 0] = 1
        if self.side % 2 == 0:
            twice[:, -1] = 1
        self._back = torch.from_numpy((scale * twice).astype(np.float32)[..., None]).to(device)
        mixed = _COLOURS / np.linalg.norm(_COLOURS, axis=0).max()
        self._colours = torch.from_numpy(mixed.astype(np.float32)).to(device)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the parameters of one picture."""
        return 3, self.side, self.side // 2 + 1, 2

    def noise(self, seed: int, pictures: range, deviation: float) -> Tensor:
        """Starting parameters of some pictures: normal, of the same draws for each deviation."""
        draws = [
            generator(seed, "noise", picture).standard_normal(self.shape, dtype=np.float32) for picture in pictures
        ]
        return torch.from_numpy(np.stack(draws) * np.float32(deviation)).to(self.device)

    def colours(self, parameters: Tensor) -> Tensor:
        """Red, green and blue (n, 3, side, side) in 0..1."""
        spectrum = torch.view_as_complex(parameters * self._scale)
        places = torch.fft.irfft2(spectrum, s=(self.side, self.side), norm="ortho")
        return torch.sigmoid(self._mixed(self._colours, places))

    def gradient(self, colours: Tensor, gradient: Tensor) -> Tensor:
        """The gradient by the parameters, given that by the colours that they make."""
        inner = self._mixed(self._colours.T.contiguous(), gradient * colours * (1 - colours))
        return torch.view_as_real(torch.fft.rfft2(inner, norm="ortho")) * self._back

    def _mixed(self, matrix: Tensor, values: Tensor) -> Tensor:
        return (matrix @ values.flatten(2)).view(values.shape)

    def stored(self, colours: Tensor) -> Tensor:
        """The middle of the canvas as bytes (n, 3, crop, crop), rounded.

        Departure: IMI's code cuts off in place of rounding, which darkens by half a level.
        """
        inside = slice(self.margin, self.margin + self.crop)
        return (colours[:, :, inside, inside] * 255).round().to(torch.uint8)


def largest(gradient: Tensor) -> NDArray[np.float32]:
    """Largest |gradient| of each picture."""
    return gradient.abs().flatten(1).amax(dim=1).cpu().numpy()


def lengths(gradient: Tensor) -> float:
    """Length of the longest gradient of a batch, from sums of float64."""
    return math.sqrt(float(gradient.double().square().flatten(1).sum(dim=1).max()))
