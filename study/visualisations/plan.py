"""What will be made and how long it takes, from a few steps of some units of each network on a worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interpretability.visualisations.settings import Natural
from study.images.manifest import open_images
from study.log import clock, logger
from study.visualisations.job import MakingJob, settings_of
from study.visualisations.medians import sample_of, values_of
from study.visualisations.naming import Chosen, Unit, chosen_units
from study.visualisations.opening import opened
from study.visualisations.parameters import Folders, VisualisationParams
from study.visualisations.run import jobs_of
from study.workers.device import Failure, device
from study.workers.jobs import ask_worker, devices

log = logger("visualisations")

_BESIDE = 2  # steps that a side takes besides those of its passes
PROBED = 6  # units of a network at most whose steps are timed, spread over its depth


@dataclass(frozen=True)
class Rates:
    """Seconds of one network on a worker: until it is open, of the pass for medians, and of a step of the timed units, by their
    layer_index, without and with diversity.
    """

    ready: float
    medians: float
    depths: tuple[int, ...]
    plain: tuple[float, ...]
    diverse: tuple[float, ...]

    def step(self, unit: Unit) -> tuple[float, float]:
        """Seconds of a step of a unit, without and with diversity: between those of timed units around it."""
        of = [np.interp(unit.layer_index, self.depths, seconds) for seconds in (self.plain, self.diverse)]
        return float(of[0]), float(of[1])


@dataclass(frozen=True)
class ProbeJob:
    """Rates of one network. Makes nothing that is kept."""

    chosen: Chosen
    params: VisualisationParams
    folders: Folders
    size: float = 1.0

    @property
    def name(self) -> str:
        return self.chosen.row["name"]

    def run(self) -> Rates:
        from interpretability.visualisations.cost import seconds_a_step
        from interpretability.visualisations.target import Target

        params, began = self.params, time.perf_counter()
        network = opened(self.chosen.row, params, self.folders)
        ready = time.perf_counter() - began
        rows = sample_of(params, len(network.images))
        some = rows[: params.activations.batch_size]
        values_of(network, self.chosen, params, some)  # the first pass compiles
        began = time.perf_counter()
        values_of(network, self.chosen, params, some)
        medians = (time.perf_counter() - began) * len(rows) / len(some)
        settings, timed = settings_of(params.visualisations), _spread(self.chosen.units)
        costs = []
        for unit in timed:
            reader = network.read.readers.get(unit.layer)
            place = network.layer(unit.layer), unit.unit, network.view, reader
            with Target(network.model, *place, device=device(), precision=network.precision) as target:
                costs.append(seconds_a_step(target, Natural((unit.low + unit.high) / 2, unit.low, unit.high), settings))
        depths = tuple(unit.layer_index for unit in timed)
        return Rates(ready, medians, depths, tuple(cost.plain for cost in costs), tuple(cost.diverse for cost in costs))


def _spread(units: Sequence[Unit]) -> list[Unit]:
    """Some units spread evenly over the layers of all."""
    by_layer = list({unit.layer_index: unit for unit in units}.values())
    places = np.linspace(0, len(by_layer) - 1, min(PROBED, len(by_layer)))
    return [by_layer[place] for place in sorted({round(place) for place in places.tolist()})]


def plan_text(params: VisualisationParams, folders: Folders) -> str:
    """All in words and a table."""
    group = params.visualisations
    if not group.units:
        return "visualisations.units names no unit: nothing would be made"
    images = open_images(folders.images, params.images.root)
    chosen, left_out = chosen_units(group.units, folders)
    jobs = jobs_of(params, folders, chosen)
    waiting = [job for job in jobs if not job.is_stored(images)]
    n_units = sum(len(each.units) for each in chosen)
    lines = [
        f"{n_units:,} units of {len(chosen)} networks, {group.n_sets} seed sets of {group.n_images} images a side: "
        f"{len(jobs) * group.n_images:,} images of {len(jobs):,} sides, {len(jobs) - len(waiting):,} of which are in the store; "
        f"{group.steps:,} steps a pass, learning rate {group.rate:g}, diversity {group.diversity}",
        f"{'network':40s} {'sides':>7s} {'ms a step':>11s} {'time':>12s}",
    ]
    if left_out:
        lines.insert(1, f"{len(left_out):,} units that are named get no images, first: {left_out[0]['reason']}")
    total = 0.0
    for each in chosen:
        mine = [job for job in waiting if job.chosen is each]
        if not mine:
            continue
        rates = ask_worker(ProbeJob(each, params, folders))
        if isinstance(rates, Failure):
            lines.append(f"  {each.row['name']:38s} cannot be timed: {rates.reason}")
            continue
        seconds = rates.ready + rates.medians + sum(_seconds(job, rates) for job in mine)
        total += seconds
        steps = [rates.step(job.unit)[0] * 1000 for job in mine]
        lines.append(
            f"  {each.row['name']:38s} {len(mine):7,d} {f'{min(steps):.3g}-{max(steps):.3g}':>11s} {clock(seconds):>12s}"
        )
    workers = devices()
    usual, most = _passes(params)
    passes = f"; a side counted with {usual} passes, as is usual, of {most} at most" if most > usual else ""
    lines.append(
        f"about {clock(total / len(workers))} on {len(workers)} workers ({workers[0]}), besides their start{passes}"
    )
    return "\n".join(lines)


def _passes(params: VisualisationParams) -> tuple[int, int]:
    """Passes of a side, as is usual and at most."""
    from interpretability.visualisations.cost import most_passes, typical_passes

    settings = settings_of(params.visualisations)
    return typical_passes(settings), most_passes(settings)


def _seconds(job: MakingJob, rates: Rates) -> float:
    """Seconds of one side: its passes, and what looks for a start and reads what is stored, which is worth a few steps."""
    settings, (plain, diverse) = settings_of(job.params.visualisations), rates.step(job.unit)
    usual, _ = _passes(job.params)
    first = plain if settings.is_adaptive or not settings.diversity else diverse
    return settings.steps * (first + (usual - 1) * diverse) + _BESIDE * plain
