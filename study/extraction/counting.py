"""What a network will cost, before it is loaded: its units and the arithmetic of one forward pass.

Networks are built without weights on torch's meta device, where tensors have shapes and no content, and traced once: a
second or less each, no memory, no network access. Counts are kept in the work store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from study.files.store import WorkStore
from study.files.tables import read_json, write_json
from study.log import Progress, logger
from study.networks import building
from study.params.units import Units
from study.workers.device import Failure
from study.workers.jobs import run_jobs

log = logger("counting")


VERSION = 2  # of what is counted


@dataclass(frozen=True)
class Job:
    row: dict[str, Any]
    rules: Units
    code: Path


def count(job: Job) -> dict[str, Any]:
    """Facts of one network: input_size, n_params, flops of one forward pass of one image (two a multiply-add), n_units,
    `layers` as [layer type, number of layers, units], and `widths`, the units of each layer by its name.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from interpretability.networks.layers import find_layers
    from interpretability.networks.preprocessing import Preprocessing
    from interpretability.networks.taps import find_taps

    with torch.device("meta"):
        model = building.constructor(job.row, job.code)(**json.loads(job.row["kwargs"] or "{}")).eval()
        model.requires_grad_(
            False
        )  # the counter follows gradients even where none are kept, and fails on some networks
        resolved = job.row["preprocessing"] or building.resolve_preprocessing(job.row, model)
        size = Preprocessing.parse(resolved, str(job.row["name"])).crop
        taps = find_taps([path for path, _ in model.named_modules()], job.row["taps"])
        layers = find_layers(model, torch.empty((3, 3, size, size)), taps=taps, **asdict(job.rules))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty((1, 3, size, size)))
    kinds: dict[str, list[int]] = {}
    for layer in layers:
        kind = kinds.setdefault(layer.layer_type, [0, 0])
        kind[0] += 1
        kind[1] += layer.width
    return {
        "input_size": size, "n_params": sum(p.numel() for p in model.parameters()),
        "flops": counter.get_total_flops(), "n_units": sum(layer.width for layer in layers),
        "layers": [[kind, *numbers] for kind, numbers in sorted(kinds.items())],
        "widths": {layer.name: layer.width for layer in layers},
    }  # fmt: skip


def _counted(job: Job) -> dict[str, Any]:
    """`count`, from the store if it is there."""
    from interpretability.networks.layers import UNITS_VERSION

    shared = {
        **{name: job.row[name] for name in ("name", "constructor", "kwargs", "preprocessing", "taps")},
        "code": building.code_digest(job.row, job.code), "units": asdict(job.rules), "versions": [VERSION, UNITS_VERSION],
        "packages": {each: version(each) for each in ("torch", "torchvision", "timm")},
    }  # fmt: skip
    return read_json(WorkStore.open().fetch("counts", shared, ".json", partial(_write, job)))


def _write(job: Job, path: Path) -> None:
    write_json(path, count(job))


def count_all(jobs: Sequence[Job]) -> list[dict[str, Any] | Failure]:
    """Facts of every network, or why there are none."""
    progress, found = Progress(log, len(jobs), "networks counted"), dict[int, dict[str, Any] | Failure]()
    for place, result in run_jobs(_counted, jobs, [job.row["name"] for job in jobs], probe=True, on_cpu=True):
        found[place] = result
        progress.step(note=jobs[place].row["name"])
    return [found[place] for place in range(len(jobs))]
