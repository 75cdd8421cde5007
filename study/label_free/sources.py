"""Values of units over a sample of images, batch by batch: of a network, of a table or planted units, or dealt anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from study.extraction.activation_table import table_values
from study.extraction.controls import planted_layers
from study.images.ahead import decoders
from study.images.feed import Chosen, Feed, ImageRows
from study.images.manifest import ImageSet, rows_in_batches
from study.images.packs import Pack, fits, pack_files_here
from study.label_free.parameters import LabelFreeParams
from study.log import logger
from study.networks.building import load_network
from study.networks.precisions import FALLBACK, noted_precision, or_fallback, refuse_overflow
from study.networks.readout import open_units
from study.networks.roster import RosterRow, is_computed, is_table
from study.workers.device import device, exact

if TYPE_CHECKING:
    from interpretability.networks.capture import Capture

log = logger("label_free")

Reads = TypeVar("Reads", bound="Capture")
Result = TypeVar("Result")


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

    row         its own, or that of the network whose values are dealt anew
    precision   of a network
    """

    row: RosterRow
    params: LabelFreeParams
    models: Path
    code: Path
    precision: str

    @classmethod
    def noted(cls, row: RosterRow, params: LabelFreeParams, activations: Path, models: Path, code: Path) -> Source:
        """A source in the precision in which the stage `activations`, whose out is given, ended with it."""
        precision = noted_precision(params.activations.precision, row["name"], activations)
        return cls(row, params, models, code, precision)

    def held(self, run: Callable[[Source], Result]) -> Result:
        """What a function of this source gives; where float16 does not hold its values, of the same source in FALLBACK."""
        told = "%s: float16 does not hold all its values; its pass starts again in %s", self.row["name"], FALLBACK
        return or_fallback(
            self.precision, lambda precision: run(replace(self, precision=precision)), lambda: log.warning(*told)
        )

    def batches(self, images: ImageSet, sample: NDArray[np.int32], *, local: bool = True) -> Iterator[Batch]:
        """Values of all units, in batches of activations.batch_size images of the sample; without `local` of no maps."""
        if not is_computed(self.row):
            return self._network(images, sample, local)
        return self._computed(
            table_values(self.row, images, sample) if is_table(self.row) else self._planted(images, sample)
        )

    def _planted(self, images: ImageSet, sample: NDArray[np.int32]) -> NDArray[np.float32]:
        layers = planted_layers(self.row, images, self.params.seed)
        return np.concatenate([layer.values[sample] for layer in layers], axis=1)

    def _computed(self, values: NDArray[np.float32]) -> Iterator[Batch]:
        for places in rows_in_batches(len(values), self.params.activations.batch_size):
            yield Batch(places.astype(np.int64), values[places])

    def _network(self, images: ImageSet, sample: NDArray[np.int32], local: bool) -> Iterator[Batch]:
        from interpretability.label_free.capture import LocalityCapture
        from interpretability.networks.capture import Capture as Plain

        for places, values, capture in self.captured(images, sample, LocalityCapture if local else Plain):
            measured = capture.local[:, : len(places)] if isinstance(capture, LocalityCapture) else None
            yield Batch(places, values[: len(places)], measured)

    def captured(
        self, images: ImageSet, sample: NDArray[np.int32], kind: type[Reads]
    ) -> Iterator[tuple[NDArray[np.int64], Any, Reads]]:
        """Of a network, batch by batch: places in the sample, values (activations.batch_size, units) of which the first are
        theirs, and the capture that has read them. Raises Overflow for values that float16 does not hold.
        """
        import torch

        network = load_network(self.row, self.models, self.code, self.params.seed)
        view, settings = network.preprocessing, self.params.activations
        seen: ImageRows = images
        if fits(view, settings.pack):
            seen = Pack(images, pack_files_here(images, settings.pack))
        found = open_units(network, self.row, seen, self.params, device(), self.precision)
        model, read = found.model, found.read
        feed = Feed(Chosen(seen, sample), [view], settings.batch_size, device(), threads=decoders(device()))
        there = torch.device(device())
        if there.type == "cuda":
            exact(device())
        capture = kind(model, read.layers, settings.batch_size, there, precision=found.precision, readers=read.readers)
        with capture:
            for places, batches in feed:
                values = capture(view.normalised(batches[view]))
                refuse_overflow(values, found.precision)
                yield places.astype(np.int64), values, capture
