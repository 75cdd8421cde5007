"""A network opened once a process, for all of its units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from study.images.feed import ImageRows
from study.images.manifest import open_images
from study.images.packs import Pack, fits, pack_files_here
from study.networks.building import load_network
from study.networks.precisions import noted_precision
from study.networks.readout import Readout, open_units
from study.networks.roster import RosterRow
from study.visualisations.parameters import Folders, VisualisationParams
from study.workers.device import device, exact, when_moved

if TYPE_CHECKING:
    from torch import nn

    from interpretability.networks.layers import Layer
    from interpretability.networks.preprocessing import Preprocessing


@dataclass(frozen=True)
class Opened:
    """A network on the device of this process, how its units are read, the natural images as it sees them, and its precision."""

    model: nn.Module
    view: Preprocessing
    read: Readout
    images: ImageRows
    precision: str

    def layer(self, name: str) -> Layer:
        """A layer by its name in tables."""
        return next(layer for layer in self.read.layers if layer.name == name)


def opened(row: RosterRow, params: VisualisationParams, folders: Folders) -> Opened:
    """The network of a row of the roster; the last one stays open."""
    return _opened(json.dumps(row, sort_keys=True), params, folders, device(), precision_of(row, params, folders))


def precision_of(row: RosterRow, params: VisualisationParams, folders: Folders) -> str:
    """The precision in which the stage `activations` ended with a network."""
    return noted_precision(params.activations.precision, row["name"], folders.activations)


@lru_cache(maxsize=1)
def _opened(text: str, params: VisualisationParams, folders: Folders, there: str, precision: str) -> Opened:
    row: RosterRow = json.loads(text)
    if there.startswith("cuda"):
        exact(there)
    images: ImageRows = open_images(folders.images, params.images.root, quick=True)
    network = load_network(row, folders.models, folders.code, params.seed)
    side = params.activations.pack
    if fits(network.preprocessing, side):
        whole = open_images(folders.images, params.images.root, quick=True)
        images = Pack(whole, pack_files_here(whole, side))
    found = open_units(network, row, images, params, there, precision)
    return Opened(found.model, found.view, found.read, images, found.precision)


when_moved(_opened.cache_clear)
