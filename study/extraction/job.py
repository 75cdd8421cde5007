"""One network of the extraction: what it needs, what determines its numbers, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from interpretability.schema import MOST_TASKS
from study.extraction import windows
from study.extraction.compiling import is_compiled
from study.extraction.left_out import LeftOutFacts
from study.files.store import WorkStore
from study.images import packs as packing
from study.images.manifest import ImageSet
from study.images.packs import fits
from study.networks import files, unit_lists
from study.networks.directions import directions_digest
from study.networks.readout import DirectionFacts, Readout
from study.networks.roster import RosterRow
from study.params.activations import Activations
from study.params.fields import number
from study.params.parts import SeedAndImages
from study.params.units import Units
from study.workers.jobs import kind_of_workers

if TYPE_CHECKING:
    from torch import nn

    from interpretability.networks.preprocessing import Preprocessing

VERSION = 4  # of the files in the work store
_ELSEWHERE = 2  # of what other devices than the CPU compute, and other precisions than float32
SUFFIX, KEPT = ".safetensors", ".parquet"
NEAR_UNITS, NEAR_COSINES = "near_units", "near_cosines"  # tensors of networks that are read in directions

State = dict[str, np.ndarray]


class LayerFacts(TypedDict):
    """One layer of a network: its name, type, number among the layers, depth from 0 to 1, its units, and the first of the
    layers that it repeats channel for channel (itself, if it repeats none).
    """

    layer: str
    layer_type: str
    layer_index: int
    depth: float
    width: int
    cluster: str


class LayerRow(LayerFacts):
    """A layer of one network, whose units start at `offset` in the network's file."""

    model: str
    offset: int


class DirectionRow(DirectionFacts):
    """Directions of one layer of one network."""

    model: str


class LabelRow(TypedDict):
    """What a planted unit detects."""

    model: str
    layer: str
    unit: int
    label: str


class Timing(TypedDict, total=False):
    """Whether a network was computed now; then the seconds of its pass, and those of its own forward passes."""

    computed: bool
    seconds: float
    forward: float


class NetworkFacts(TypedDict):
    """What the stage needs of one network or control. `left_out`: layers that give no units; `pieces`: parts in which a batch
    ran for want of memory; `form`: `compiled` or `compiled in part`, if so; `ran_in`: its precision where it is not the study's,
    else empty; `directions`: what is read in place of units, one row a layer.
    """

    layers: list[LayerRow]
    left_out: list[LeftOutFacts]
    labels: list[LabelRow]
    directions: list[DirectionRow]
    device: str
    pieces: int
    ran_in: str
    form: NotRequired[str]
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class ExplainedUnits:
    """Units for which texts are made, of `explanations`."""

    units: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SizeOfWindows:
    """How many queries a window holds, and how many explanations it must lie behind, of `tasks`."""

    n_tasks: int = number(2, MOST_TASKS)
    n_explanations: int = number(1)

    @property
    def sizes(self) -> tuple[int, int]:
        return self.n_tasks, self.n_explanations


@dataclass(frozen=True, kw_only=True)
class ExtractionParams(SeedAndImages):
    """What the extremes of units depend on."""

    units: Units
    activations: Activations
    explanations: ExplainedUnits
    tasks: SizeOfWindows


class FileFacts(TypedDict):
    """What the file of a network says of it, in this order: layers, those without units, directions, columns kept, parts a batch
    ran in, kind of device, the precision that it really ran in, and whether it ran compiled.
    """

    layers: list[LayerFacts]
    left_out: list[LeftOutFacts]
    directions: list[DirectionFacts]
    n_kept: int
    pieces: int
    device: str
    precision: str
    form: NotRequired[str]


@dataclass(frozen=True)
class Extracted:
    """Files of a network in the work store (`kept` if it has columns to keep, `explained` if texts name units of it), and what is
    known of it."""

    layers: list[LayerFacts]
    left_out: list[LeftOutFacts]
    directions: list[DirectionFacts]
    n_kept: int
    pieces: int
    device: str
    precision: str
    path: Path
    kept: Path | None
    explained: Path | None
    timing: Timing
    form: str = "plain"


@dataclass(frozen=True)
class Extraction:
    """One roster row and all that its extraction needs."""

    row: RosterRow
    params: ExtractionParams
    images: Path
    models: Path
    code: Path
    out: Path
    base_layers: tuple[LayerRow, ...] = ()  # of the network that a permuted control starts from
    listed: tuple[unit_lists.Unit, ...] = ()  # units whose whole column is kept, besides those of activations.keep
    packed: tuple[Path, ...] = ()  # files of the pack that this network sees in place of the images
    explained: unit_lists.Named = unit_lists.NONE  # units with texts, whose whole column is kept for these

    @property
    def name(self) -> str:
        return self.row["name"]

    @property
    def windows(self) -> tuple[str, ...]:
        """Harder conditions whose images are found for all units."""
        return windows.conditions_of(self.params.activations.windows, self.name)


@dataclass(frozen=True)
class Seat:
    """One network of a pass, ready to run; `shared` are the ingredients of its files in the work store.

    `read` says what is read of the network; `clusters` names the first layer in the cluster of each; `owners` names layer and
    number of each unit; `kept` are the indices of the units whose column is kept, `explained` those of further units with texts.
    `precision`: the one asked for, or the one that a network falls back to. `windows`: harder conditions whose images are found
    for all units, `n_tasks` a condition and side; `refused`: units of which a first pass could not, whose columns the second
    keeps, and `first` is what that pass found of the others.
    """

    name: str
    model: nn.Module
    view: Preprocessing
    read: Readout
    clusters: dict[str, str]
    keys: np.ndarray
    owners: list[tuple[str, int]]
    kept: list[int]
    explained: list[int]
    shared: dict[str, Any]
    precision: str
    windows: tuple[str, ...] = ()
    n_tasks: int = 0
    refused: tuple[int, ...] = ()
    first: Mapping[str, np.ndarray] = field(default_factory=dict)


def ingredients(extraction: Extraction, images: ImageSet, kind: str) -> dict[str, Any]:
    """Everything that determines the extremes of a network on this kind of device, without loading it."""
    import torch

    from interpretability.extremes import selection
    from interpretability.networks import clusters, preprocessing, taps
    from interpretability.networks.layers import UNITS_VERSION

    row, params, settings = extraction.row, extraction.params, extraction.params.activations
    return {
        "images": images.digest,
        "weights": files.identity(row),
        "preprocessing": row["preprocessing"],
        "seed": params.seed,
        "model": row["name"],
        "constructor": row["constructor"],
        "kwargs": row["kwargs"],
        "code": row.get("code", ""),
        "directions": directions_digest(row),
        "taps": row["taps"],
        "n_extremes": settings.n_extremes,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "pack": settings.pack if sees_pack(extraction) else 0,
        "units": asdict(params.units),
        "keep": [entry for entry in settings.keep if fnmatchcase(row["name"], entry.split("/")[0])],
        "listed": [list(unit) for unit in extraction.listed],
        # texts change the files of their own networks alone
        **({"explained": asdict(extraction.explained)} if extraction.explained else {}),
        **({"windows": _windows_of(extraction)} if extraction.windows else {}),
        # compiled kernels round otherwise
        **({"compiled": True} if is_compiled(extraction, len(images), kind) else {}),
        "device": kind,
        "packages": {package: version(package) for package in ("torchvision", "timm", "pillow")},
        "torch": torch.__version__,
        "versions": [
            VERSION,
            packing.VERSION,
            UNITS_VERSION,
            *(module.VERSION for module in (clusters, taps, selection, preprocessing)),
            *(() if (kind, settings.precision) == ("cpu", "float32") else (_ELSEWHERE,)),
        ],
    }


def _windows_of(extraction: Extraction) -> dict[str, Any]:
    """What the windows of a network depend on, beside its images."""
    from interpretability.extremes.windows import VERSION as VERSION_OF_WINDOWS

    return {
        "conditions": list(extraction.windows),
        "n_tasks": extraction.params.tasks.n_tasks,
        "version": VERSION_OF_WINDOWS,
    }


def sees_pack(extraction: Extraction) -> bool:
    """Whether a network sees the pack of the study in place of its images."""
    from interpretability.networks.preprocessing import Preprocessing

    view = Preprocessing.parse(extraction.row["preprocessing"], extraction.name)
    return fits(view, extraction.params.activations.pack)


def is_stored(extraction: Extraction, images: ImageSet, store: WorkStore) -> bool:
    """Whether the extremes of a network lie in the store; their bytes are not looked at."""
    return store.path("extremes", ingredients(extraction, images, kind_of_workers()), SUFFIX).is_file()


def extremes_and_moments(state: State, keys: np.ndarray, k: int, n: int) -> State:
    """Extremes and statistics of all units from their state over all n images."""
    from interpretability.extremes import selection
    from interpretability.extremes.moments import Moments

    moments = Moments(len(keys))
    moments.add(state["bins"], state["nonpositive"], n)
    ranked = selection.ranked(state["top"], state["bottom"], keys, k)
    mean, variance = moments.mean_variance()
    content = {
        **vars(ranked),
        "min": ranked.bottom_values[:, 0],
        "max": ranked.top_values[:, 0],
        "mean": mean,
        "variance": variance,
        "nonpositive": moments.nonpositive / n,
    }
    return {name: np.ascontiguousarray(value) for name, value in content.items()}
