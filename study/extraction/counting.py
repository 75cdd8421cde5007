"""What a network will cost, before it is loaded: its units and the arithmetic of one forward pass.

Networks are built without weights on torch's meta device, where tensors have shapes and no content, and traced once: a
second or less each, no memory, no network access. Counts are kept in the work store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from study.extraction.left_out import LeftOutFacts, facts_of, words
from study.files.store import WorkStore
from study.files.tables import read_json, write_json
from study.log import logger
from study.networks import building, own_code
from study.networks.constructors import Constructor
from study.networks.direction_cells import taken_apart
from study.networks.directions import directions_digest
from study.networks.readout import chosen_layers, n_directions
from study.networks.roster import NetworkJob, RosterRow
from study.params.units import Units
from study.workers.device import Failure
from study.workers.jobs import run_all

if TYPE_CHECKING:
    from torch import Tensor, nn

    from interpretability.networks.layers import Layer

log = logger("counting")

_COPIES = 2  # of the weights of directions: encoder and decoder

VERSION = 6  # of what is counted


class NetworkCount(TypedDict):
    """Size of the input, parameters, operations of one forward pass of one image (two a multiply-add), and units.

    `activations`: numbers that convolutions and matrix products write for one image, and `map_bytes`: the most memory that maps
    of one image take at a time in float32, as `Written` counts them.
    `layers` holds layer type, number of layers and units; `left_out` the layers that give none; `widths` the units, directions or
    latents of each layer by its name, which `n_units` counts. Operations of directions are among `flops`; `direction_bytes` is
    the memory that they take.
    """

    input_size: int
    n_params: int
    flops: int
    activations: int
    map_bytes: int
    n_units: int
    layers: list[tuple[str, int, int]]
    left_out: list[LeftOutFacts]
    widths: dict[str, int]
    direction_bytes: int


@dataclass(frozen=True)
class CountJob(NetworkJob):
    """Counts of one network, from the store if they are there."""

    rules: Units
    code: Path

    def run(self) -> NetworkCount:
        from interpretability.networks.layers import UNITS_VERSION

        row = self.row
        ingredients = {
            "name": row["name"],
            "constructor": row["constructor"],
            "kwargs": row["kwargs"],
            "preprocessing": row["preprocessing"],
            "taps": row["taps"],
            "code": row.get("code") or own_code.record_unseen(row, self.code),
            "units": asdict(self.rules),
            "directions": directions_digest(row),
            "versions": [VERSION, UNITS_VERSION],
            "packages": {package: version(package) for package in ("torch", "torchvision", "timm")},
        }
        return read_json(WorkStore.open().fetch("counts", ingredients, ".json", self._write))

    def _write(self, path: Path) -> None:
        write_json(path, self.count())

    def count(self) -> NetworkCount:
        """The counts, computed now."""
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from interpretability.directions.encoding import POSITIONS
        from interpretability.networks.layers import survey
        from interpretability.networks.taps import find_taps
        from study.extraction.written import Written

        row = self.row
        with torch.device("meta"):
            model = building.whole(Constructor.of(row, self.code)(), row).eval()
            # the counter follows gradients even where none are kept, and fails on some networks
            model.requires_grad_(False)
            size = building.preprocessing_of(row, model).crop
            taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
            try:
                found = survey(model, torch.empty((3, 3, size, size)), taps=taps, **asdict(self.rules))
            except Exception as error:
                raise building.forward_failure(error, row["name"], (3, 3, size, size)) from error
            read = [(layer, layer.name, layer.width) for layer in found.layers]
            if row["directions"]:
                chosen = chosen_layers(row, model, torch.empty((3, 3, size, size)), self.rules, found.layers)
                read = [(layer, *each) for layer, each in zip(chosen, n_directions(row, chosen).items(), strict=True)]
            picture = torch.empty((1, 3, size, size))
            with FlopCounterMode(display=False) as counter, Written() as written, torch.no_grad():
                model(picture)
        by_type: dict[str, list[int]] = {}
        for layer, _, n in read:
            by_type.setdefault(layer.layer_type, []).append(n)
        products = (
            _products(row, model, [layer for layer, _, _ in read], [n for _, _, n in read], size)
            if row["directions"]
            else 0
        )
        return {
            "input_size": size,
            "n_params": sum(value.numel() for value in model.parameters()),
            "flops": counter.get_total_flops() + products,
            "activations": written.activations,
            "map_bytes": written.peak,
            "n_units": sum(n for _, _, n in read),
            "layers": [(kind, len(widths), sum(widths)) for kind, widths in sorted(by_type.items())],
            "left_out": facts_of(found.left_out),
            "widths": {name: n for _, name, n in read},
            "direction_bytes": 0
            if not row["directions"]
            else sum(_COPIES * 4 * layer.width * n + 4 * POSITIONS * n for layer, _, n in read),
        }


def _products(row: RosterRow, model: nn.Module, layers: Sequence[Layer], numbers: Sequence[int], size: int) -> int:
    """Operations that directions of an image take: at each position for codes and maxima, once a layer for means."""
    import torch

    from interpretability.networks.capture import Capture

    class Positions(Capture):
        """Counts the positions of each layer."""

        def keep(self, layer: Layer, start: int, value: Tensor) -> None:
            found.append(value.numel() // layer.width)

    cell = taken_apart(row["directions"])
    if cell.kind == "units":
        return 0
    found: list[int] = []
    if cell.kind == "code" or cell.pooling == "max":
        Positions(model, layers, 1, "meta", shortcut=False)(torch.empty((1, 3, size, size), device="meta"))
    else:
        found = [1] * len(layers)
    return sum(2 * n * layer.width * width for n, layer, width in zip(found, layers, numbers, strict=True))


def count_networks(jobs: Sequence[CountJob]) -> list[NetworkCount | Failure]:
    """Counts of every network, or why there are none."""
    return run_all(jobs, "networks counted", log, probe=True, on_cpu=True)


def log_left_out(jobs: Sequence[CountJob], counts: Sequence[NetworkCount | Failure]) -> None:
    """Say in the log which layers of which networks give no units."""
    for job, count in zip(jobs, counts, strict=True):
        if not isinstance(count, Failure) and (said := words(count["left_out"], len(count["widths"]))):
            log.warning("%s: %s", job.name, said)
