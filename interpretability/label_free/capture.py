"""Values of units and the locality of their maps, image by image, from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from interpretability.directions.readers import Reader
from interpretability.label_free.locality import locality_of
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, positions_of

VERSION = 1


class LocalityCapture(Capture):
    """A capture that also measures each image's map of every unit; every map is read by itself.

    `local` (2, batch_size, units) holds `peak_energy` and `participation` of the images of the last call, NaN where a map is
    all 0. Those of a layer with a reader are of its directions or latents, at the positions that count, before pooling.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch_size: int,
        device: torch.device | str,
        *,
        precision: str = "float32",
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        super().__init__(model, layers, batch_size, device, precision=precision, shortcut=False, readers=readers)
        self._readers = dict(readers or {})
        self.local = torch.empty((2, *self.buffer.shape), device=self.buffer.device)
        self._first: dict[str, int] = {}  # unit of each layer in the buffer
        end = 0
        for layer in layers:
            self._first[layer.name] = end
            end += getattr(self._readers.get(layer.name), "width", layer.width)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        super().keep(layer, start, value)
        positions = positions_of(value, self._size, layer.batch_axis, layer.channel_axis)
        reader, first = self._readers.get(layer.name), self._first[layer.name]
        whole = slice(0, self._size), slice(0, layer.width), positions
        for images, units, maps in [whole] if reader is None else reader.maps(positions):
            rows = slice(self._row + images.start, self._row + images.stop)
            for place, measured in enumerate(locality_of(maps)):
                self.local[place, rows, first + units.start : first + units.stop] = measured
