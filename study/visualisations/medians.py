"""Medians of units over a keyed sample of the natural images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.randomness import generator
from study.errors import StudyError
from study.files.store import WorkStore
from study.images import packs as packing
from study.images.feed import Chosen as Rows
from study.images.feed import Feed
from study.images.manifest import ImageSet
from study.log import logger
from study.networks.directions import directions_digest
from study.networks.files import identity
from study.networks.precisions import FALLBACK, unless_asked
from study.networks.roster import RosterRow
from study.visualisations.naming import Chosen, Unit
from study.visualisations.opening import Opened, opened, precision_of
from study.visualisations.parameters import Folders, VisualisationParams
from study.workers.device import device
from study.workers.placement import device_kind

log = logger("visualisations")

PHASE = "medians"  # of the work store
VERSION = 1  # of its files
SUFFIX = ".npy"


def sample_of(params: VisualisationParams, n_images: int) -> NDArray[np.int32]:
    """Rows of the manifest over which medians are taken, ascending."""
    wanted = params.visualisations.n_natural or n_images
    drawn = generator(params.seed, "natural images beside made ones").permutation(n_images)[:wanted]
    return np.sort(drawn).astype(np.int32)


def shared_ingredients(
    row: RosterRow, params: VisualisationParams, folders: Folders, images: ImageSet, kind: str
) -> dict[str, Any]:
    """What determines the values of a network's units on this kind of device, besides which units they are."""
    import torch

    from interpretability.networks import preprocessing, taps
    from interpretability.networks.layers import UNITS_VERSION

    return {
        "images": images.digest,
        "seed": params.seed,
        "model": row["name"],
        "weights": identity(row),
        "preprocessing": row["preprocessing"],
        "constructor": row["constructor"],
        "kwargs": row["kwargs"],
        "code": row.get("code", ""),
        "directions": directions_digest(row),
        "taps": row["taps"],
        "pass": asdict(params.activations)
        | unless_asked(params.activations.precision, precision_of(row, params, folders)),
        "units": asdict(params.units),
        "device": kind,
        "packages": {package: version(package) for package in ("torchvision", "timm", "pillow")},
        "torch": torch.__version__,
        "versions": [packing.VERSION, UNITS_VERSION, taps.VERSION, preprocessing.VERSION],
    }


def median_of(unit: Unit, chosen: Chosen, params: VisualisationParams, folders: Folders, images: ImageSet) -> float:
    """Median of one of the chosen units of a network, found in the work store.

    If it is not there, one pass computes those of all chosen units that lack theirs, and stores each by itself.
    """
    store, kind = WorkStore.open(), device_kind(device())
    shared = _shared(chosen, params, folders, images, kind)
    found = store.find(PHASE, _of_unit(shared, unit), SUFFIX)
    if found is None:
        # needed next, and another worker may hold the lock of the medians meanwhile
        opened(chosen.row, params, folders)
        with store.locked(PHASE, [shared], SUFFIX):  # of the network, whichever units are chosen
            lacking = [each for each in chosen.units if store.find(PHASE, _of_unit(shared, each), SUFFIX) is None]
            if lacking:
                _store(store, shared, Chosen(chosen.row, tuple(lacking)), params, folders)
        found = store.path(PHASE, _of_unit(shared, unit), SUFFIX)
    return float(np.load(found, allow_pickle=False))


def stored_median(
    unit: Unit, chosen: Chosen, params: VisualisationParams, folders: Folders, images: ImageSet, kind: str
) -> float | None:
    """The same, for a kind of device that need not be here; None where the work store lacks it. Computes nothing."""
    found = WorkStore.open().find(PHASE, _of_unit(_shared(chosen, params, folders, images, kind), unit), SUFFIX)
    return None if found is None else float(np.load(found, allow_pickle=False))


def _shared(
    chosen: Chosen, params: VisualisationParams, folders: Folders, images: ImageSet, kind: str
) -> dict[str, Any]:
    """What determines the medians of a network, besides which units they are of."""
    sample = sample_of(params, len(images))
    return {
        **shared_ingredients(chosen.row, params, folders, images, kind),
        "sample": hashlib.sha256(sample.astype("<i4").tobytes()).hexdigest(),
        "version": VERSION,
    }


def _of_unit(shared: Mapping[str, Any], unit: Unit) -> dict[str, Any]:
    """What determines the median of a unit; the other chosen units are no part of it."""
    return {**shared, "of": [unit.layer, unit.unit]}


def _store(
    store: WorkStore, shared: Mapping[str, Any], chosen: Chosen, params: VisualisationParams, folders: Folders
) -> None:
    """Compute the medians of the chosen units in one pass, and write a file each."""
    network = opened(chosen.row, params, folders)
    values = _finite_values(network, chosen, params, sample_of(params, len(network.images)))
    found = np.median(values.astype(np.float64), axis=0)
    for unit, median in zip(chosen.units, found.tolist(), strict=True):
        store.write(PHASE, _of_unit(shared, unit), SUFFIX, partial(_write, median=median))


def _finite_values(
    network: Opened, chosen: Chosen, params: VisualisationParams, rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """As `values_of`; those of units that float16 does not hold are of another pass, in FALLBACK."""
    values = values_of(network, chosen, params, rows)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(bad) and network.precision == "float16":
        log.warning(
            "%s: float16 does not hold all values of %d units; their medians are found in %s",
            *(chosen.row["name"], len(bad), FALLBACK),
        )
        some = Chosen(chosen.row, tuple(chosen.units[place] for place in bad))
        values[:, bad] = values_of(replace(network, precision=FALLBACK), some, params, rows)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(bad):
        unit = chosen.units[bad[0]]
        raise StudyError(
            f"{chosen.row['name']}: layer {unit.layer}, unit {unit.unit} has values that are not finite on natural images; take "
            "it out of visualisations.units"
        )
    return values


def _write(path: Path, median: float) -> None:
    with open(path, "wb") as file:
        np.save(file, np.float64(median))


def values_of(
    network: Opened, chosen: Chosen, params: VisualisationParams, rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Values (images, units) of the chosen units on some natural images.

    Every layer is read by itself, so that the values of a unit do not depend on which others are chosen.
    """
    from interpretability.networks.capture import Capture

    settings, names = params.activations, list(dict.fromkeys(unit.layer for unit in chosen.units))
    layers = [network.layer(name) for name in names]
    starts = dict(zip(names, np.cumsum([0, *(network.read.width[name] for name in names)]), strict=False))
    columns = [int(starts[unit.layer]) + unit.unit for unit in chosen.units]
    readers = {name: reader for name, reader in network.read.readers.items() if name in names}
    found = np.empty((len(rows), len(columns)), dtype=np.float32)
    feed = Feed(Rows(network.images, rows), [network.view], settings.batch_size, device())
    options: dict[str, Any] = {"precision": network.precision, "readers": readers, "shortcut": False}
    with Capture(network.model, layers, settings.batch_size, device(), **options) as capture:
        for places, batches in feed:
            values = capture(network.view.normalised(batches[network.view]))[: len(places)]
            found[places] = values[:, columns].cpu().numpy()
    return found


def natural_range(low: float, median: float, high: float) -> tuple[float, float, float]:
    """Lowest, median and highest value of a unit: the pass over all images and that over the sample may round differently, and
    the median stays between the two.
    """
    return low, min(max(median, low), high), high
