"""Which networks share a pass, and what the whole extraction will take: time, memory and disk, before it begins."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.extraction.arithmetic import used_by_workers, warning
from study.extraction.grouping import (
    NetworkCost,
    extremes_bytes,
    in_store,
    network_costs,
    networks_per_pass,
    planned_passes,
)
from study.extraction.job import Extraction, Timing, sees_pack
from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.feed import Feed
from study.images.manifest import ImageSet, open_images
from study.images.packs import pack_bytes
from study.log import clock, in_words, logger
from study.networks import building
from study.networks.constructors import Constructor
from study.workers.device import Failure, device, guarded
from study.workers.jobs import ask_worker, devices

log = logger("activations")

_PROBE_IMAGES, _PROBE_BATCH = 64, 8


@dataclass(frozen=True)
class Rates:
    """Measured on the machine at hand, for one worker: images decoded and fitted a second, and seconds that one network takes for
    a picture.
    """

    decode: float
    forward: float
    typical: NetworkCost

    def seconds(self, cost: NetworkCost) -> float:
        """Of a network for a picture: by operations on a CPU, on a GPU also by the numbers that it writes."""
        if devices()[0] == "cpu":
            return self.forward * cost.flops / self.typical.flops
        return self.forward * (cost.work if cost.flops else 0.0) / self.typical.work


@dataclass(frozen=True)
class SpeedJob:
    """Rates of a worker: it decodes some images, and runs a few batches of one network, with any weights, in the arithmetic of
    the study.
    """

    extraction: Extraction
    cost: NetworkCost
    name: str = "speed"
    size: float = 1.0

    def run(self) -> Rates:
        import torch

        from interpretability.networks.precision import arithmetic, laid_out, prepared
        from interpretability.networks.preprocessing import Preprocessing

        row, params, there = self.extraction.row, self.extraction.params, device()
        images = open_images(self.extraction.images, params.images.root, quick=True)
        precision = params.activations.precision
        network = building.whole(Constructor.of(row, self.extraction.code)(), row).eval().to(there)
        network = prepared(laid_out(network, precision, there), precision)
        view = Preprocessing.parse(row["preprocessing"], row["name"])
        some = min(_PROBE_IMAGES, len(images))
        feed, began = Feed(images, [view], some, "cpu", threads=decoders(there)), time.perf_counter()
        next(iter(feed))
        decode = some / (time.perf_counter() - began)
        size = _PROBE_BATCH if there == "cpu" else params.activations.batch_size
        batch = torch.zeros((size, 3, view.crop, view.crop), device=there)
        seconds = []
        with torch.no_grad(), arithmetic(network, precision, there):
            for _ in range(4):
                began = time.perf_counter()
                network(batch)
                if there.startswith("cuda"):
                    torch.cuda.synchronize(there)
                seconds.append(time.perf_counter() - began)
        return Rates(decode, float(np.median(seconds[1:])) / size, self.cost)


@dataclass(frozen=True)
class Forecast:
    """What would run: `passes` holds indices of `costs`, as do `stored` and `packed` (which see a pack of squares of `side`
    pixels). `k`: images that are kept of each side of a unit. `precision`: the one that the study asks for, and the one that its
    workers use.
    """

    costs: Sequence[NetworkCost]
    passes: Sequence[Sequence[int]]
    stored: Collection[int]
    packed: Collection[int]
    n_images: int
    k: int
    side: int
    precision: tuple[str, str]
    rates: Rates | None

    @property
    def running(self) -> list[NetworkCost]:
        return [self.costs[index] for indices in self.passes for index in indices]

    @property
    def decodes(self) -> int:
        return self.n_images * (sum(indices[0] not in self.packed for indices in self.passes) + bool(self.packed))

    def text(self, store: Path) -> str:
        """All in words and a table."""
        said = warning(*self.precision)
        return "\n".join([*self._table(), "", *self._sizes(store), *self._time(), *([said] if said else [])])

    def _table(self) -> list[str]:
        lines = [f"{'network':40s} {'units':>9s} {'GFLOP':>8s} {'state':>9s} {'extremes':>9s}  "]
        for number, indices in enumerate(self.passes, 1):
            if len(indices) > 1:
                memory = in_words(sum(self.costs[index].memory for index in indices))
                lines.append(f"pass {number}: {len(indices)} networks, {memory} of states")
            lines += [self._line(self.costs[index]) for index in indices]
        if self.stored:
            lines.append(f"found in the store: {len(self.stored)} networks")
            lines += [self._line(self.costs[index]) for index in sorted(self.stored)]
        unknown = [cost for cost in self.costs if cost.reason]
        return lines + [f"  {cost.name:38s} cannot be estimated and runs alone: {cost.reason}" for cost in unknown]

    def _line(self, cost: NetworkCost) -> str:
        return (
            f"  {cost.name:38s} {cost.n_units:9,d} {cost.flops / 1e9:8.3g} {in_words(cost.memory):>9s} "
            f"{in_words(extremes_bytes(cost.n_units, self.k)):>9s}"
        )

    def _sizes(self, store: Path) -> list[str]:
        workers = devices()
        pack = pack_bytes(self.n_images, self.side) if self.packed else 0
        extremes = sum(extremes_bytes(cost.n_units, self.k) for cost in self.running)
        columns = sum(cost.columns for cost in self.running)
        windows = sum(cost.windows for cost in self.running)
        saved = max((self._state_bytes(indices) for indices in self.passes), default=0) * len(workers)
        disk = next(folder for folder in (store, *store.parents) if folder.exists())
        free = shutil.disk_usage(disk).free
        lines = [
            f"{len(self.costs)} networks, {sum(cost.n_units for cost in self.costs):,} units, {self.n_images:,} images; "
            f"{len(self.stored)} networks are in the store, {len(self.running)} would run in {len(self.passes)} passes on "
            f"{len(workers)} workers ({workers[0]})",
            f"pictures decoded {self.decodes:,} times, forward passes {len(self.running) * self.n_images:,}",
            f"disk: {in_words(extremes)} of extremes, kept once for work store, DVC cache and data/activations if they lie on "
            f"one file system, and up to {in_words(saved)} of states meanwhile; {in_words(free)} are free at {disk}",
        ]
        if columns:
            lines.append(
                f"and {in_words(columns)} of the columns that activations.keep and texts name, which also lie in memory"
            )
        if windows:
            lines.append(
                f"and {in_words(windows)} of memory for the windows of activations.windows, all networks together"
            )
        if pack:
            lines.append(f"and {in_words(pack)} of packed pictures, once")
        if extremes + saved + columns + pack > free:
            lines.append(
                "That is more than is free: point MIS_STORE to a larger disk, or lower activations.n_extremes, "
                "activations.pack or the units of activations.keep and explanations.units"
            )
        return lines

    def _state_bytes(self, indices: Sequence[int]) -> int:
        """Two saved states of each network of a pass."""
        costs = [self.costs[index] for index in indices]
        return sum(2 * (state_file_bytes(cost.n_units, self.k) + cost.columns + cost.windows) for cost in costs)

    def _time(self) -> list[str]:
        if self.rates is None or not self.running:
            return []
        workers, rates = devices(), self.rates
        forward = sum(rates.seconds(cost) for cost in self.running) * self.n_images
        speed = rates.typical.flops / rates.forward
        decode = self.decodes / rates.decode
        alone, used = decoders(workers[0]) == 0, self.precision[1]
        total = (forward + decode if alone else max(forward, decode)) / len(workers)
        return [
            f"time: about {clock(total)}, of which decoding {clock(decode / len(workers))} ({rates.decode:,.0f} pictures/s) "
            f"and forward passes in {used} {clock(forward / len(workers))} ({rates.typical.name}: {speed / 1e9:,.0f} "
            f"GFLOP/s) a worker{', one after the other' if alone else ', side by side'}, as measured just now on one worker"
        ]


def state_file_bytes(n_units: int, k: int) -> int:
    """Size of a saved state."""
    from interpretability.extremes.moments import N_BINS

    return n_units * (2 * (k + 1) * 8 + 2 * N_BINS * 8 + 8)


def forecast(extractions: Sequence[Extraction], images: ImageSet) -> str:
    """What would run, how long and how large, in words and a table."""
    if not extractions:
        return "The roster has no networks, only controls; they take a moment."
    settings, store = extractions[0].params.activations, WorkStore.open()
    costs = network_costs(extractions, len(images))
    stored = {index for index, one in enumerate(extractions) if in_store(one, images, store)}
    missing = [index for index in range(len(extractions)) if index not in stored]
    packed = [guarded(sees_pack, extractions[index]) is True for index in missing]
    passes = planned_passes(
        [extractions[index] for index in missing],
        packed,
        networks_per_pass(len(missing) or 1),
        [costs[index] for index in missing],
    )
    return Forecast(
        costs,
        [[missing[i] for i in part] for part in passes],
        stored,
        {index for index, sees in zip(missing, packed, strict=True) if sees},
        len(images),
        settings.n_extremes,
        settings.pack,
        (settings.precision, used_by_workers(settings.precision)),
        _rates(extractions, costs, missing),
    ).text(store.folder)


def _rates(extractions: Sequence[Extraction], costs: Sequence[NetworkCost], missing: Sequence[int]) -> Rates | None:
    """Rates of a worker with the network in the middle by its work, which stands for all; weights do not matter."""
    known = sorted((index for index in missing if costs[index].flops), key=lambda index: costs[index].work)
    if not known:
        return None
    typical = known[len(known) // 2]
    rates = ask_worker(SpeedJob(extractions[typical], costs[typical]))
    if isinstance(rates, Failure):
        log.warning("the speed of this machine could not be measured: %s", rates.reason)
        return None
    return rates


def timing_table(timings: Mapping[str, Timing], n_images: int) -> str:
    """The networks that ran: seconds of their pass, images a second, share of the forward passes."""
    ran = {name: (t.get("seconds", 0.0), t.get("forward", 0.0)) for name, t in timings.items() if t.get("computed")}
    lines = [f"{len(timings)} networks and controls, {len(ran)} of them computed now"]
    for name, (seconds, forward) in sorted(ran.items(), key=lambda item: -item[1][0]):
        rate, share = n_images / max(seconds, 1e-9), forward / max(seconds, 1e-9)
        lines.append(f"  {name:38s} {clock(seconds):>13s} {rate:9,.1f} images/s {share:6.0%} forward")
    return "\n".join(lines)
