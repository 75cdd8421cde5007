"""Values of units and the locality of their maps, image by image, from one forward pass."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from interpretability.label_free.locality import locality_of
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, positions_of

VERSION = 1


class LocalityCapture(Capture):
    """A capture that also measures each image's map of every unit; every map is read by itself, `shortcut` or not."""

    _may_follow = False

    @cached_property
    def local(self) -> Tensor:
        """`peak_energy` and `participation` (2, batch_size, units) of the images of the last call, NaN where a map is all 0.

        Those of a layer with a reader are of its directions or latents, at the positions that count, before pooling.
        """
        with torch.inference_mode(False):  # to be written to by later calls in any mode
            return torch.empty((2, *self.buffer.shape), device=self.buffer.device)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        super().keep(layer, start, value)
        positions = positions_of(value, self._size, layer.batch_axis, layer.channel_axis)
        reader, first = self._readers.get(layer.name), self._first[layer.name]
        whole = slice(0, self._size), slice(0, layer.width), positions
        for images, units, maps in [whole] if reader is None else reader.maps(positions):
            rows = slice(self._row + images.start, self._row + images.stop)
            for place, measured in enumerate(locality_of(maps)):
                self.local[place, rows, first + units.start : first + units.stop] = measured
