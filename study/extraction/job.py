"""One network of the extraction: what it needs, what determines its numbers, and how it sits in a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from interpretability.files import sha256_file
from study.files.store import WorkStore
from study.images import packs as packing
from study.images.manifest import ImageSet
from study.images.packs import fits
from study.networks import building, unit_lists
from study.params.activations import Activations
from study.params.parts import ImageRoot
from study.params.units import Units
from study.workers.jobs import kind_of_workers

VERSION = 1  # of the files in the work store
SUFFIX, KEPT = ".safetensors", ".parquet"


Extracted = dict[str, Any]
State = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ExtractionParams:
    """What the extremes of units depend on."""

    seed: int
    images: ImageRoot
    units: Units
    activations: Activations


@dataclass(frozen=True)
class Job:
    """One roster row and all that its extraction needs."""

    row: dict[str, Any]
    params: ExtractionParams
    images: Path
    models: Path
    code: Path
    out: Path
    base_layers: tuple[dict[str, Any], ...] = ()  # of the network that a permuted control starts from
    listed: tuple[unit_lists.Unit, ...] = ()  # units whose whole column is kept, besides those of activations.keep
    packed: tuple[Path, ...] = ()  # files of the pack that this network sees in place of the pictures


@dataclass(frozen=True)
class Seat:
    """One network of a pass, ready to run; `shared` are the ingredients of its files in the work store."""

    name: str
    model: Any
    prepare: Any
    layers: list[Any]
    width: dict[str, int]
    keys: np.ndarray
    owners: list[tuple[str, int]]
    kept: list[int]
    matrix: Any
    shared: dict[str, Any]


def ingredients(job: Job, images: ImageSet, kind: str) -> dict[str, Any]:
    """Everything that determines the extremes of a network on this kind of device, without loading it."""
    import torch

    from interpretability.extremes import selection
    from interpretability.networks import preprocessing, taps
    from interpretability.networks.layers import UNITS_VERSION

    given, name = job.params.activations, job.row["name"]
    return {
        "images": images.digest, "weights": job.row["sha256"], "preprocessing": job.row["preprocessing"],
        "seed": job.params.seed, "model": name, "constructor": job.row["constructor"], "kwargs": job.row["kwargs"],
        "code": building.code_digest(job.row, job.code), "directions": _directions_digest(job.row),
        "taps": job.row["taps"], "n_extremes": given.n_extremes, "batch_size": given.batch_size,
        "precision": given.precision, "pack": given.pack if sees_pack(job) else 0, "units": asdict(job.params.units),
        "keep": [entry for entry in given.keep if fnmatchcase(name, entry.split("/")[0])],
        "listed": [list(unit) for unit in job.listed], "device": kind,
        "packages": {each: version(each) for each in ("torchvision", "timm", "pillow")}, "torch": torch.__version__,
        "versions": [VERSION, packing.VERSION, UNITS_VERSION, *(each.VERSION for each in (taps, selection, preprocessing))],
    }  # fmt: skip


def sees_pack(job: Job) -> bool:
    """Whether a network sees the pack of the study in place of its pictures."""
    from interpretability.networks.preprocessing import Preprocessing

    return fits(Preprocessing.parse(job.row["preprocessing"], job.row["name"]), job.params.activations.pack)


def _directions_digest(row: Mapping[str, Any]) -> str:
    if not row["directions"]:
        return ""
    layer, path = building.parse_directions(row["directions"])
    return f"{layer} {sha256_file(path)}"


def stored(job: Job, images: ImageSet, store: WorkStore) -> bool:
    """Whether the extremes of a network lie in the store; their bytes are not looked at."""
    return store.path("extremes", ingredients(job, images, kind_of_workers()), SUFFIX).is_file()


def summarised(state: State, keys: np.ndarray, k: int, n: int) -> State:
    """Extremes and statistics of all units from their state over all n images."""
    from interpretability.extremes import selection
    from interpretability.extremes.moments import Moments

    moments = Moments(len(keys))
    moments.add(state["bins"], state["nonpositive"], n)
    ranked = selection.ranked(state["top"], state["bottom"], keys, k)
    mean, variance = moments.mean_variance()
    content = {
        **vars(ranked), "min": ranked.bottom_values[:, 0], "max": ranked.top_values[:, 0],
        "mean": mean, "variance": variance, "nonpositive": moments.nonpositive / n,
    }  # fmt: skip
    return {name: np.ascontiguousarray(value) for name, value in content.items()}
