"""Facts of the feature maps of some networks' units over some images; the stage `sensitivity` writes what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interpretability.schema import MAP_STATISTICS
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_parquet, write_parquet
from study.images.manifest import ImageSet, open_images, rows_in_batches
from study.log import Progress, logger
from study.networks.building import load_network
from study.networks.roster import NetworkJob, is_computed, is_table, read_roster, rows_of
from study.params.parts import SeedAndImages
from study.params.sensitivity import Sensitivity
from study.params.units import Units
from study.workers.device import device
from study.workers.jobs import run_all_or_stop

if TYPE_CHECKING:
    from interpretability.networks.network import Network

log = logger("sensitivity")

COLUMNS = ["model", "layer", "unit", "contrast", "pixel_sparseness", "channel_sparseness", "n_images"]
_KINDS = {"model": str, "layer": str, "unit": np.int64, "n_images": np.int64}


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """How many images pass together, of `activations`."""

    batch_size: int


@dataclass(frozen=True, kw_only=True)
class MapParams(SeedAndImages):
    """What feature maps depend on."""

    units: Units
    activations: BatchSize
    sensitivity: Sensitivity


@dataclass(frozen=True)
class FeatureMapJob(NetworkJob):
    """File of the statistics of the feature maps of one network."""

    params: MapParams
    images: Path
    models: Path
    code: Path

    def run(self) -> Path:
        import torch

        from interpretability.networks import feature_maps, preprocessing
        from interpretability.networks.layers import UNITS_VERSION

        params, row = self.params, self.row
        images = open_images(self.images, params.images.root)
        n_images = min(params.sensitivity.map_images, len(images))
        network = load_network(row, self.models, self.code, params.seed)
        ingredients = {
            "images": images.digest,
            "n_images": n_images,
            "weights": network.digest,
            "preprocessing": network.preprocessing.dumps(),
            "model": row["name"],
            "built": network.built,
            "batch_size": params.activations.batch_size,
            "units": asdict(params.units),
            "taps": row["taps"],
            "torch": torch.__version__,
            "device": device().split(":")[0],
            "versions": [feature_maps.VERSION, UNITS_VERSION, preprocessing.VERSION],
        }
        write = partial(self._write, network, images, n_images)
        return WorkStore.open().fetch("maps", ingredients, ".parquet", write)

    def _write(self, network: Network, images: ImageSet, n_images: int, path: Path) -> None:
        import torch

        from interpretability.networks.feature_maps import MapStatistics
        from interpretability.networks.layers import find_layers
        from interpretability.networks.taps import find_taps

        model, view = network.model.to(device()), network.preprocessing
        first = view.batch([images.pixels(row) for row in range(min(3, len(images)))], device())
        taps = find_taps([path for path, _ in model.named_modules()], self.row["taps"])
        layers = find_layers(model, first, taps=taps, **asdict(self.params.units))
        size = self.params.activations.batch_size
        progress = Progress(log, n_images, f"{self.name}: images", every=20)
        measured = MapStatistics(model, layers, size, torch.device(device()))
        with measured:
            for rows in rows_in_batches(n_images, size):
                measured.add(view.batch([images.pixels(int(row)) for row in rows], device()))
                progress.step(len(rows))
        owners = [(layer.name, unit) for layer in layers for unit in range(layer.width)]
        table = pd.DataFrame(owners, columns=["layer", "unit"])
        table[list(MAP_STATISTICS)] = measured.means().T
        write_parquet(path, table.assign(n_images=n_images))


def feature_map_table(params: MapParams, images: Path, models: Path, code: Path) -> pd.DataFrame:
    """Contrast and sparseness of every unit of the networks in sensitivity.map_models: COLUMNS.

    The first sensitivity.map_images images of the manifest enter, whose order is random.
    """
    rows = {row["name"]: row for row in rows_of(read_roster(models / "roster.csv"))}
    chosen = params.sensitivity.map_models
    if unknown := [name for name in chosen if name not in rows]:
        raise StudyError(
            f"sensitivity.map_models names {unknown[0]!r}, which is no network that could be loaded; allowed: "
            + ", ".join(name for name, row in rows.items() if not is_computed(row))
        )
    if computed := [name for name in chosen if is_computed(rows[name])]:
        kind = "table" if is_table(rows[computed[0]]) else "control"
        raise StudyError(f"sensitivity.map_models names the {kind} {computed[0]!r}, which has no feature maps")
    jobs = [FeatureMapJob(rows[name], params, images, models, code) for name in chosen]
    paths = run_all_or_stop(jobs, "feature maps", log, probe=True)
    parts = [read_parquet(path).assign(model=job.name) for job, path in zip(jobs, paths, strict=True)]
    empty = pd.DataFrame({name: pd.Series(dtype=_KINDS.get(name, np.float64)) for name in COLUMNS})
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else empty
