"""Facts of the feature maps of some networks' units over some images; the stage `sensitivity` writes what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_parquet, write_parquet
from study.images.manifest import open_images, rows_in_batches
from study.log import Progress, logger
from study.networks.building import load_network
from study.networks.roster import read_roster
from study.params.parts import ImageRoot
from study.params.sensitivity import Sensitivity
from study.params.units import Units
from study.workers.device import Failure, device
from study.workers.jobs import run_jobs

log = logger("sensitivity")


COLUMNS = ["model", "layer", "unit", "contrast", "pixel_sparseness", "channel_sparseness", "n_images"]


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """How many images pass together, of `activations`."""

    batch_size: int


@dataclass(frozen=True, kw_only=True)
class MapParams:
    """What feature maps depend on."""

    seed: int
    images: ImageRoot
    units: Units
    activations: BatchSize
    sensitivity: Sensitivity


@dataclass(frozen=True)
class _Job:
    row: dict[str, Any]
    params: MapParams
    images: Path
    models: Path
    code: Path


def map_table(params: MapParams, images: Path, models: Path, code: Path) -> pd.DataFrame:
    """Contrast and sparseness of every unit of the networks in sensitivity.map_models: COLUMNS.

    The first sensitivity.map_images images of the manifest enter, whose order is random.
    """
    roster = read_roster(models / "roster.csv").set_index("name", drop=False)
    chosen = params.sensitivity.map_models
    if unknown := [name for name in chosen if name not in roster.index]:
        raise StudyError(
            f"sensitivity.map_models names {unknown[0]!r}, which is no network that could be loaded; allowed: "
            + ", ".join(roster["name"][~roster["constructor"].str.startswith("control:")])
        )
    if planted := [name for name in chosen if roster.loc[name, "constructor"].startswith("control:")]:
        raise StudyError(f"sensitivity.map_models names the control {planted[0]!r}, which has no feature maps")
    jobs = [_Job(roster.loc[name].to_dict(), params, images, models, code) for name in chosen]
    found: dict[int, pd.DataFrame] = {}
    for place, result in run_jobs(_measure, jobs, list(chosen), probe=True):
        if isinstance(result, Failure):
            raise StudyError(f"feature maps of {chosen[place]}: {result.reason}")
        found[place] = read_parquet(result).assign(model=chosen[place])
    parts = [found[place] for place in range(len(jobs))]
    empty = pd.DataFrame({name: pd.Series(dtype=_KINDS.get(name, np.float64)) for name in COLUMNS})
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else empty


_KINDS = {"model": str, "layer": str, "unit": np.int64, "n_images": np.int64}


def _measure(job: _Job) -> Path:
    """Stored statistics of one network."""
    import torch

    from interpretability import schema
    from interpretability.networks import feature_maps, preprocessing, taps
    from interpretability.networks.layers import UNITS_VERSION, find_layers

    given, rules, name = job.params, job.params.units, job.row["name"]
    images = open_images(job.images, given.images.root)
    n_images = min(given.sensitivity.map_images, len(images))
    network = load_network(job.row, job.models, job.code, given.seed)
    model, prepare = network.model.to(device()), network.preprocessing
    ingredients = {
        "images": images.digest, "n_images": n_images, "weights": network.digest, "preprocessing": prepare.dumps(),
        "model": name, "constructor": job.row["constructor"], "batch_size": given.activations.batch_size,
        "units": asdict(rules), "taps": job.row["taps"], "torch": torch.__version__, "device": device().split(":")[0],
        "versions": [feature_maps.VERSION, UNITS_VERSION, preprocessing.VERSION],
    }  # fmt: skip

    def make(path: Path) -> None:
        first = prepare.batch([images.pixels(row) for row in range(min(3, len(images)))], device())
        layers = find_layers(
            model, first, layer_types=rules.layer_types, drop_first_last=rules.drop_first_last,
            norm_act=rules.norm_act, taps=taps.find_taps([path for path, _ in model.named_modules()], job.row["taps"]),
        )  # fmt: skip
        size = given.activations.batch_size
        progress = Progress(log, n_images, f"{name}: images", every=20)
        with feature_maps.MapStatistics(model, layers, size, torch.device(device())) as measured:
            for rows in rows_in_batches(n_images, size):
                measured.add(prepare.batch([images.pixels(int(row)) for row in rows], device()))
                progress.step(len(rows))
        owners = [(layer.name, unit) for layer in layers for unit in range(layer.width)]
        table = pd.DataFrame(owners, columns=["layer", "unit"])
        table[list(schema.MAP_STATISTICS)] = measured.means().T
        write_parquet(path, table.assign(n_images=n_images))

    return WorkStore.open().fetch("maps", ingredients, ".parquet", make)
