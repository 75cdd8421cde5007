"""Values of units over a sample of images, batch by batch: of a network, of planted units, or dealt to the images anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.extraction.activation_table import columns_of_images
from study.extraction.controls import planted_layers
from study.extraction.table_blocks import open_blocks
from study.images.ahead import decoders
from study.images.feed import Feed, ImageRows
from study.images.manifest import ImageSet, rows_in_batches
from study.images.packs import Pack, fits, pack_files_here
from study.label_free.parameters import LabelFreeParams
from study.networks.activation_tables import source_of
from study.networks.building import load_network
from study.networks.directions import directed
from study.networks.roster import RosterRow, is_computed, is_table
from study.workers.device import device, exact

if TYPE_CHECKING:
    from torch import Tensor, nn

    from interpretability.directions.readers import Reader
    from interpretability.networks.layers import Layer


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
        if not is_computed(self.row):
            return self._network(images, sample, local)
        return self._computed(_table(self.row, images, sample) if is_table(self.row) else self._planted(images, sample))

    def _planted(self, images: ImageSet, sample: NDArray[np.int32]) -> NDArray[np.float32]:
        layers = planted_layers(self.row, images, self.params.seed)
        return np.concatenate([layer.values[sample] for layer in layers], axis=1)

    def _computed(self, values: NDArray[np.float32]) -> Iterator[Batch]:
        for places in rows_in_batches(len(values), self.params.activations.batch_size):
            yield Batch(places.astype(np.int64), values[places])

    def _network(self, images: ImageSet, sample: NDArray[np.int32], local: bool) -> Iterator[Batch]:
        import torch

        from interpretability.label_free.capture import LocalityCapture
        from interpretability.networks.capture import Capture

        network = load_network(self.row, self.models, self.code, self.params.seed)
        model, view = network.model.to(device()), network.preprocessing
        settings = self.params.activations
        first = view.batch([images.pixels(index) for index in range(min(4, len(images)))], device())
        layers, readers = self._read(model, first)
        seen: ImageRows = images
        if fits(view, settings.pack):
            seen = Pack(images, pack_files_here(images, settings.pack))
        feed = Feed(Chosen(seen, sample), [view], settings.batch_size, device(), threads=decoders(device()))
        there = torch.device(device())
        if there.type == "cuda":
            exact(device())
        kind = LocalityCapture if local else Capture
        with kind(model, layers, settings.batch_size, there, precision=settings.precision, readers=readers) as capture:
            for places, batches in feed:
                values = capture(view.normalised(batches[view]))[: len(places)]
                measured = capture.local[:, : len(places)] if isinstance(capture, LocalityCapture) else None
                yield Batch(places.astype(np.int64), values, measured)

    def _read(self, model: nn.Module, first: Tensor) -> tuple[list[Layer], dict[str, Reader]]:
        """The layers of a network, and readers of those that are read in other directions."""
        import torch

        from interpretability.directions.codes import Code
        from interpretability.directions.readers import CodeReader
        from interpretability.networks.layers import find_layers
        from interpretability.networks.taps import find_taps

        taps = find_taps([path for path, _ in model.named_modules()], self.row["taps"])
        found = find_layers(model, first[:3], taps=taps, **asdict(self.params.units))
        layers, directions = directed(self.row, model, first, found, self.params.units)
        if directions is None:
            return layers, {}
        code = Code(encoder=torch.from_numpy(np.ascontiguousarray(directions.T)))
        return layers, {layers[0].name: CodeReader(code, device=first.device)}


def _table(row: RosterRow, images: ImageSet, sample: NDArray[np.int32]) -> NDArray[np.float32]:
    """Values (images of the sample, units) of a table of activations."""
    source = source_of(row)
    columns = columns_of_images(source, [images.path(image) for image in range(len(images))])[sample]
    blocks = open_blocks(source.file, len(images))
    numbers = np.sort(blocks.numbers)
    values = np.empty((len(sample), len(numbers)), dtype=np.float32)
    for given, part in blocks.read():
        values[:, np.searchsorted(numbers, given)] = part[:, columns].T
    return values


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
