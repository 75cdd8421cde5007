"""Values of units and the locality of their maps, image by image, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interpretability.label_free.locality import locality_of
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer

VERSION = 1


class LocalityCapture(Capture):
    """A capture that also measures each image's map of every unit; every map is read by itself.

    `local` (2, batch_size, units) holds `peak_energy` and `participation` of the images of the last call, NaN where a map is all 0.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch_size: int,
        device: torch.device | str,
        *,
        precision: str = "float32",
    ) -> None:
        super().__init__(model, layers, batch_size, device, precision=precision, shortcut=False)
        self.local = torch.empty((2, *self.buffer.shape), device=self.buffer.device)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        super().keep(layer, start, value)
        maps = value.movedim((layer.batch_axis, layer.channel_axis), (0, -1))
        maps = maps.reshape(self._size, -1, layer.width)  # windows of images are regrouped, as in `unit_values`
        there = slice(self._row, self._row + self._size), slice(start, start + layer.width)
        self.local[0][there], self.local[1][there] = locality_of(maps)
