"""The images of one side of one unit and seed set: one job, one file of the work store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from interpretability.randomness import key64
from interpretability.schema import UNREACHABLE
from interpretability.visualisations.settings import Natural, Settings, Side
from study.files.store import WorkStore
from study.images.manifest import ImageSet, open_images
from study.log import logger
from study.networks.precisions import FALLBACK, Overflow, or_fallback, unless_asked
from study.networks.roster import NetworkJob
from study.params.visualisations import Visualisations, diversity_of
from study.visualisations.medians import median_of, natural_range, shared_ingredients, stored_median
from study.visualisations.naming import Chosen, Unit
from study.visualisations.opening import Opened, opened
from study.visualisations.parameters import Folders, VisualisationParams
from study.workers.device import device
from study.workers.jobs import kind_of_workers
from study.workers.placement import device_kind

if TYPE_CHECKING:
    from interpretability.visualisations.making import Made

log = logger("visualisations")

VERSION = 1  # of the files in the work store
SUFFIX = ".safetensors"
# what a file says of its images, besides the tensors pixels, values and diverse
NUMBERS = (
    *("median", "extreme", "ratio_best", "ratio_weakest", "kept_after_shift", "start", "gradient", "weight", "passes"),
    *("stop_ratio", "alike", "position_bound", "in_imi"),
)
_PHASE = "visualisations"


def settings_of(group: Visualisations) -> Settings:
    """How images are made, by the library's names; what params.yaml does not name is as in IMI."""
    diversity = cast("Any", diversity_of(group.diversity))
    return Settings(n_images=group.n_images, steps=group.steps, rate=group.rate, diversity=diversity)


@dataclass(frozen=True)
class MakingJob(NetworkJob):
    """File of the images of one side of `unit` and one seed set; `chosen` names all units of its network."""

    chosen: Chosen
    unit: Unit
    side: Side
    seed_set: int
    params: VisualisationParams
    folders: Folders

    @property
    def name(self) -> str:
        return f"{self.row['name']}/{self.unit.layer}/{self.unit.unit} {self.side} of seed set {self.seed_set}"

    def run(self) -> Path:
        images = open_images(self.folders.images, self.params.images.root, quick=True)
        natural = self.natural(median_of(self.unit, self.chosen, self.params, self.folders, images))
        make = partial(self._write, natural=natural)
        ingredients = self._ingredients(images, natural, device_kind(device()))
        return WorkStore.open().fetch(_PHASE, ingredients, SUFFIX, make)

    def is_stored(self, images: ImageSet) -> bool:
        """Whether its file lies in the work store; its bytes are not looked at. Computes nothing."""
        kind = kind_of_workers()
        median = stored_median(self.unit, self.chosen, self.params, self.folders, images, kind)
        if median is None:
            return False
        return WorkStore.open().path(_PHASE, self._ingredients(images, self.natural(median), kind), SUFFIX).is_file()

    def natural(self, median: float) -> Natural:
        """What there is to beat."""
        low, middle, high = natural_range(self.unit.low, median, self.unit.high)
        return Natural(middle, low, high)

    def _ingredients(self, images: ImageSet, natural: Natural, kind: str) -> dict[str, Any]:
        from interpretability.visualisations import making

        shared = shared_ingredients(self.row, self.params, self.folders, images, kind)
        return {
            **shared,
            "layer": self.unit.layer,
            "unit": self.unit.unit,
            "side": self.side,
            "seed_set": self.seed_set,
            "natural": asdict(natural),
            "settings": asdict(settings_of(self.params.visualisations)),
            "versions": [*shared["versions"], VERSION, making.VERSION],
        }

    def _write(self, path: Path, natural: Natural) -> None:
        import torch
        from safetensors.numpy import save_file

        from interpretability.networks.modules import has_attention

        network = opened(self.row, self.params, self.folders)
        told = "%s: float16 does not hold all its values or gradients; its images are made in %s", self.name, FALLBACK
        make = partial(self._made, network, natural)
        precision, made = or_fallback(network.precision, make, lambda: log.warning(*told))
        numbers = self._numbers(made, natural, in_imi=not has_attention(network.model))
        tensors = {
            "pixels": made.pixels,
            "values": made.values,
            "diverse": made.diverse,
            "numbers": np.array([numbers[name] for name in NUMBERS]),
        }
        where = [device_kind(device()), torch.backends.cpu.get_cpu_capability()]
        where += unless_asked(self.params.activations.precision, precision).values()
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()},
            path,
            {"status": made.status, "made_on": " ".join(where)},
        )

    def _made(self, network: Opened, natural: Natural, precision: str) -> tuple[str, Made]:
        """The precision and the images. Raises Overflow where float16 gives none, or such as cannot be read."""
        from interpretability.visualisations.making import NotFinite, make_images
        from interpretability.visualisations.target import Target

        unit = self.unit
        settings = settings_of(self.params.visualisations)
        key = key64("made images", self.params.seed, self.row["name"], unit.layer, unit.unit, self.side, self.seed_set)
        target = Target(
            network.model,
            network.layer(unit.layer),
            unit.unit,
            network.view,
            network.read.readers.get(unit.layer),
            device=device(),
            precision=precision,
        )
        try:
            with target:
                made = make_images(target, natural, self.side, settings, key)
        except NotFinite:
            if precision == "float16":
                raise Overflow from None
            raise
        if made.status == UNREACHABLE and precision == "float16":  # whose range gradients may have left on their way
            raise Overflow
        return precision, made

    def _numbers(self, made: Made, natural: Natural, *, in_imi: bool) -> dict[str, float]:
        known = {"median": natural.median, "extreme": natural.extreme(self.side), "in_imi": float(in_imi)}
        return {name: known[name] if name in known else float(getattr(made, name)) for name in NUMBERS}


@dataclass(frozen=True)
class Result:
    """What the file of a job holds."""

    pixels: NDArray[np.uint8]
    values: NDArray[np.float32]
    diverse: NDArray[np.bool_]
    numbers: dict[str, float]
    status: str
    made_on: str

    @classmethod
    def read(cls, path: Path) -> Result:
        from safetensors import safe_open

        with safe_open(path, "numpy") as file:
            note = file.metadata()
            tensors = {name: file.get_tensor(name) for name in ("pixels", "values", "diverse", "numbers")}
        numbers = dict(zip(NUMBERS, tensors["numbers"].tolist(), strict=True))
        return cls(tensors["pixels"], tensors["values"], tensors["diverse"], numbers, note["status"], note["made_on"])

    def best_and_weakest(self, side: Side) -> tuple[float, float]:
        """Values of the best and the weakest image; NaN where there are none."""
        if not len(self.values):
            return float("nan"), float("nan")
        low, high = float(self.values.min()), float(self.values.max())
        return (high, low) if side == "max" else (low, high)
