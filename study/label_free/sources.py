"""Values of units over a sample of images, batch by batch: of a network, of a table or planted units, or dealt anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.extraction.activation_table import table_values
from study.extraction.controls import planted_layers
from study.images.ahead import decoders
from study.images.feed import Feed, ImageRows
from study.images.manifest import ImageSet
from study.images.packs import Pack, fits, pack_files_here
from study.label_free.parameters import LabelFreeParams
from study.networks.building import load_network
from study.networks.directions import directed
from study.networks.roster import RosterRow, is_computed, is_table
from study.workers.device import device, exact


@dataclass(frozen=True)
class Batch:
    """Some images of the sample: their places in it, values (images, units), and `peak_energy` and `participation` of the maps
    (2, images, units) where there are maps. Tensors of the device, or arrays.
    """

    places: NDArray[np.int64]
    values: Any
    local: Any | None = None


@dataclass(frozen=True)
class Source:
    """Where the values of one row of the roster come from.

    row   its own, or that of the network whose values are dealt anew
    """

    row: RosterRow
    params: LabelFreeParams
    models: Path
    code: Path

    def batches(self, images: ImageSet, sample: NDArray[np.int32], *, local: bool = True) -> Iterator[Batch]:
        """Values of all units, in batches of activations.batch_size images of the sample; without `local` of no maps."""
        return self._computed(images, sample) if is_computed(self.row) else self._network(images, sample, local)

    def _computed(self, images: ImageSet, sample: NDArray[np.int32]) -> Iterator[Batch]:
        if is_table(self.row):
            values = table_values(self.row, images, sample)
        else:
            layers = planted_layers(self.row, images, self.params.seed)
            values = np.concatenate([layer.values[sample] for layer in layers], axis=1)
        for start in range(0, len(sample), size := self.params.activations.batch_size):
            places = np.arange(start, min(start + size, len(sample)))
            yield Batch(places, values[places])

    def _network(self, images: ImageSet, sample: NDArray[np.int32], local: bool) -> Iterator[Batch]:
        import torch

        from interpretability.label_free.capture import LocalityCapture
        from interpretability.networks.capture import Capture
        from interpretability.networks.layers import find_layers
        from interpretability.networks.taps import find_taps

        network = load_network(self.row, self.models, self.code, self.params.seed)
        model, view = network.model.to(device()), network.preprocessing
        settings = self.params.activations
        first = view.batch([images.pixels(index) for index in range(min(4, len(images)))], device())
        taps = find_taps([path for path, _ in model.named_modules()], self.row["taps"])
        found = find_layers(model, first[:3], taps=taps, **asdict(self.params.units))
        layers, directions = directed(self.row, model, first, found, self.params.units)
        matrix = None if directions is None else torch.from_numpy(directions).to(device())
        seen: ImageRows = images
        if fits(view, settings.pack):
            seen = Pack(images, pack_files_here(images, settings.pack))
        feed = Feed(Chosen(seen, sample), [view], settings.batch_size, device(), threads=decoders(device()))
        if device().startswith("cuda"):
            exact(device())
        there = torch.device(device())
        kind = LocalityCapture if local else Capture
        with kind(model, layers, settings.batch_size, there, precision=settings.precision) as capture:
            for places, batches in feed:
                values = capture(view.normalised(batches[view]))[: len(places)]
                measured = capture.local[:, : len(places)] if isinstance(capture, LocalityCapture) else None
                if matrix is not None:
                    values, measured = values @ matrix, None
                yield Batch(places.astype(np.int64), values, measured)


@dataclass(frozen=True)
class Chosen:
    """Some of the images, numbered anew."""

    images: ImageRows
    rows: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self.images.pixels(int(self.rows[row]))

    def path(self, row: int) -> str:
        return self.images.path(int(self.rows[row]))
