"""Local contrast and sparseness of feature maps: simple facts of a unit that might explain its score (IMI, appendix B.4).

contrast            mean absolute difference of a position to its four neighbours (a border of zeros around the map),
                    summed over the four, averaged over positions and images; only for maps with height and width
pixel_sparseness    share of positions with a value of at most 0, averaged over images
channel_sparseness  share of images on which no position is above 0

IMI measures them on the validation images; here on images of the study. Its notebook guesses the axes of a map from
their lengths, which fails for narrow layers and for CLIP's vision transformer; here the layout is the traced one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer
from interpretability.schema import MAP_STATISTICS

VERSION = 1


def contrast(maps: Tensor) -> Tensor:
    """Local contrast (images, channels) of maps (images, channels, height, width)."""
    framed = pad(maps, (1, 1, 1, 1))
    inside = framed[..., 1:-1, 1:-1]
    around = (framed[..., :-2, 1:-1], framed[..., 2:, 1:-1], framed[..., 1:-1, :-2], framed[..., 1:-1, 2:])
    return torch.stack([(inside - neighbour).abs().mean(dim=(-2, -1)) for neighbour in around]).sum(dim=0)


class MapStatistics(Capture):
    """A capture that adds up the statistics of every unit's maps over batches; every map is read by itself."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch_size: int, device: torch.device) -> None:
        super().__init__(model, layers, batch_size, device, shortcut=False)
        self.totals = torch.zeros((len(MAP_STATISTICS), self.n_units), dtype=torch.float64, device=device)
        self.n_images = 0
        self._of_images = torch.empty((len(MAP_STATISTICS), *self.buffer.shape), device=device)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        super().keep(layer, start, value)
        images = value.movedim((layer.batch_axis, layer.channel_axis), (0, 1))
        # a longer batch axis holds windows of images, as in `units.unit_values`
        dark = images.movedim(1, -1).reshape(self._size, -1, layer.width) <= 0
        spatial = value.dim() == 4 and len(images) == self._size
        block = slice(self._row, self._row + self._size), slice(start, start + layer.width)
        self._of_images[0][block] = contrast(images.float()) if spatial else torch.nan
        self._of_images[1][block] = dark.float().mean(dim=1)
        self._of_images[2][block] = dark.all(dim=1).float()

    @torch.no_grad()
    def add(self, batch: Tensor) -> None:
        """Take in a prepared batch (images, C, H, W)."""
        self(batch)
        self.totals += self._of_images[:, : len(batch)].double().sum(dim=1)
        self.n_images += len(batch)

    def means(self) -> NDArray[np.float64]:
        """Statistics (3, units) averaged over the images; contrast is NaN where maps have no height and width."""
        return (self.totals / self.n_images).cpu().numpy()
