"""One pass of several networks over the images: every picture is decoded once for all of them.

Glue between files (stages.pipeline) and selection (stages.science); the stage `activations` says who sits together. That
never changes a result: each network has its own state, its own files in the work store, and its own failure.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.loading import load_network
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import Progress, logger
from stages.pipeline.params import Params
from stages.pipeline.pictures import ImageSet, open_images, rows_in_batches
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import write_parquet
from stages.pipeline.workers import Failure, device, devices, guarded

log = logger("activations")
_SHARD = 65_536  # images whose selection is kept as one store file: a kill costs at most these, of one pass
_ON_A_GPU = 8  # networks that share each picture there, where decoding takes longer than most networks do

Extracted = tuple[list[dict[str, Any]], dict[str, np.ndarray], list[dict[str, Any]]]
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """One roster row and all that its extraction needs."""

    row: dict[str, Any]
    params: Params
    images: Path
    models: Path
    code: Path
    out: Path
    base_layers: tuple[dict[str, Any], ...] = ()  # of the network that a permuted control starts from
    listed: tuple[unit_lists.Unit, ...] = ()  # units whose whole column is kept, besides those of activations.keep


def grouped(views: Sequence[str], most: int) -> list[list[int]]:
    """Places of networks by pass, at most `most` in each; those with the same view of a picture sit together."""
    first = {view: place for place, view in reversed(list(enumerate(views)))}
    order = sorted(range(len(views)), key=lambda place: (first[views[place]], place))
    return [order[start : start + most] for start in range(0, len(order), most)]


def networks_a_pass(n_networks: int) -> int:
    """From MIS_NETWORKS_PER_PASS; else one on a CPU, where decoding is cheap beside a forward pass, more on a GPU.

    Never so many that a worker has nothing to do.
    """
    text = os.environ.get("MIS_NETWORKS_PER_PASS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise StudyError(f"MIS_NETWORKS_PER_PASS is {text!r}, it must be a whole number of at least 1")
    workers = devices()
    most = int(text) if text else 1 if workers[0] == "cpu" else _ON_A_GPU
    return max(1, min(most, -(-n_networks // len(workers))))


@dataclass(frozen=True)
class Seat:
    """One network of a pass, ready to run; `shared` are the ingredients of its shards in the work store."""

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


def extract(jobs: Sequence[Job]) -> list[Extracted | Failure]:
    """Layers, extremes and statistics of every network of a pass, or why there are none."""
    params = jobs[0].params
    images = open_images(jobs[0].images, params.images.root)
    found: dict[int, Any] = {place: guarded(partial(_seat, images=images), job) for place, job in enumerate(jobs)}
    seats = {place: seat for place, seat in found.items() if not isinstance(seat, Failure)}
    if len(seats) > 1:
        log.info("%s share each picture, %d units", ", ".join(seat.name for seat in seats.values()),
                 sum(len(seat.keys) for seat in seats.values()))  # fmt: skip
    states: dict[int, State] = {}
    # shards hold whole batches, so that no batch, and no sum over one, depends on the size of a shard
    batch_size = params.activations.batch_size
    shard = max(1, _SHARD // batch_size) * batch_size
    for start in range(0, len(images), shard):
        part = start, min(start + shard, len(images))
        for place, state in _shard(seats, images, batch_size, part).items():
            if isinstance(state, Failure):
                found[place] = state
                del seats[place]
            else:
                states[place] = (
                    _merged(states[place], state, params.activations.n_extremes) if place in states else state
                )
    for place, seat in seats.items():
        found[place] = guarded(partial(_finished, seat, states[place], n_images=len(images)), jobs[place])
    return [found[place] for place in range(len(jobs))]


def _seat(job: Job, images: ImageSet) -> Seat:
    """Load a network and find its units."""
    import torch

    from stages.science import preprocessing, selection, taps, units
    from stages.science.tasks import unit_keys

    given, rules, name = job.params.activations, job.params.units, job.row["name"]
    network = load_network(job.row, job.models, job.code, job.params.seed)
    model, prepare = network.model.to(device()), network.preprocessing
    first = prepare.batch([images.pixels(row) for row in range(min(4, len(images)))], device())
    found = taps.find_taps([path for path, _ in model.named_modules()], job.row["taps"])
    layers = units.find_layers(
        model, first[:3], layer_types=rules.layer_types, drop_first_last=rules.drop_first_last,
        norm_act=rules.norm_act, taps=found,
    )  # fmt: skip
    units.check_independence(model, layers, first)
    layers, directions, digest = _directed(job.row, model, first, layers, rules)
    width = {layer.name: layer.width if directions is None else directions.shape[1] for layer in layers}
    keys = np.concatenate([unit_keys(job.params.seed, name, layer, np.arange(n)) for layer, n in width.items()])
    owners = [(layer, unit) for layer, n in width.items() for unit in range(n)]
    kept = unit_lists.places(name, owners, given.keep, job.listed)
    shared = {
        "images": images.digest, "weights": network.digest, "preprocessing": prepare.dumps(), "seed": job.params.seed,
        "model": name, "constructor": job.row["constructor"], "directions": digest, "n_extremes": given.n_extremes,
        "batch_size": given.batch_size, "units": asdict(rules), "keep": [list(owners[place]) for place in kept],
        "taps": job.row["taps"], "torch": torch.__version__, "device": device_kind(),
        "versions": [units.VERSION, selection.VERSION, preprocessing.VERSION],
    }  # fmt: skip
    matrix = None if directions is None else torch.from_numpy(directions).to(device())
    return Seat(name, model, prepare, layers, width, keys, owners, kept, matrix, shared)


def device_kind() -> str:
    """Name of the kind of device of this process."""
    if device() == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device())


def _directed(row: dict[str, Any], model: Any, batch: Any, layers: list[Any], rules: Any) -> tuple[list[Any], Any, str]:
    """The layer and matrix of a row with `directions`: units are then linear combinations of the layer's units."""
    if not row["directions"]:
        return layers, None, ""
    from stages.pipeline.tables import sha256_file
    from stages.science.taps import find_taps
    from stages.science.units import find_layers

    name, path = networks.parse_directions(row["directions"])
    everything = find_layers(
        model, batch[:3], layer_types=rules.layer_types, drop_first_last=False, norm_act=rules.norm_act,
        taps=find_taps([path for path, _ in model.named_modules()], row["taps"]),
    )  # fmt: skip
    chosen = [layer for layer in everything if layer.name == name]
    if not chosen:
        raise StudyError(
            f"directions name layer {name!r}, which is none of {', '.join(each.name for each in everything)}"
        )
    return chosen, networks.load_directions(path, name, chosen[0].width), sha256_file(path)


class _Dropped(Exception):
    """A network failed in a sweep: there is nothing to store."""


def _shard(
    seats: Mapping[int, Seat], images: ImageSet, batch_size: int, part: tuple[int, int]
) -> dict[int, State | Failure]:
    """States of all networks for images part[0] to part[1] - 1: those in the store, and the others from one sweep.

    The store files of the others stay locked meanwhile, always in the order of their paths, so that two processes on one
    store neither do the same work nor wait for each other in a circle.
    """
    from safetensors.numpy import load_file, save_file

    store, suffix = WorkStore.open(), ".safetensors"
    named = {place: {**seat.shared, "start": part[0], "stop": part[1]} for place, seat in seats.items()}
    together: list[int] = []
    swept: dict[int, State | Failure] = {}
    found: dict[int, State | Failure] = {}

    def hold(left: list[int]) -> None:
        if not left:
            if together:
                swept.update(_sweep({place: seats[place] for place in together}, images, batch_size, part))
            return
        place, entered = left[0], False

        def make(path: Path) -> None:
            nonlocal entered
            entered = True
            together.append(place)
            hold(left[1:])
            state = swept[place]
            if isinstance(state, Failure):
                raise _Dropped
            save_file(state, path)

        try:
            found[place] = load_file(store.fetch("activations", named[place], suffix, make))
        except _Dropped:
            found[place] = swept[place]
        if not entered:
            hold(left[1:])

    hold(sorted(seats, key=lambda place: store.path("activations", named[place], suffix)))
    return found


class _Running:
    """One network in a sweep: its capture and what it has selected so far."""

    def __init__(self, seat: Seat, capture: Any, part: tuple[int, int]) -> None:
        from stages.science import selection

        self.seat, self.capture, self.start = seat, capture, part[0]
        self.extremes = selection.Extremes(seat.keys, seat.shared["n_extremes"])
        self.moments = selection.Moments(len(seat.keys))
        self.columns = np.empty((len(seat.kept), part[1] - part[0]), dtype=np.float32)

    def step(self, rows: np.ndarray, batch: Any, images: ImageSet) -> None:
        """Take in a prepared batch whose first images are the given rows of the shard."""
        from stages.science import selection

        seat = self.seat
        values = self.capture(batch)[: len(rows)]
        values = (values if seat.matrix is None else values @ seat.matrix).cpu().numpy()
        try:
            self.extremes.update(values, rows + self.start)
        except selection.NotFinite as error:
            layer, unit = seat.owners[error.unit]
            image = images.manifest["path"][int(rows[error.row]) + self.start]
            raise StudyError(f"{seat.name}: layer {layer}, unit {unit} is {error.value} for image {image}") from None
        self.moments.update(values)
        self.columns[:, rows] = values[:, seat.kept].T

    def state(self) -> State:
        top, bottom = self.extremes.keys()
        return {
            "top": top, "bottom": bottom, "bins": self.moments.bins, "nonpositive": self.moments.nonpositive,
            "columns": self.columns,
        }  # fmt: skip


def _sweep(
    seats: Mapping[int, Seat], images: ImageSet, batch_size: int, part: tuple[int, int]
) -> dict[int, State | Failure]:
    """One sweep over a shard. A network that fails leaves, and the others go on."""
    import torch

    from stages.science import units

    names = ", ".join(seat.name for seat in seats.values())
    progress = Progress(log, part[1] - part[0], f"{names}: images", every=20)
    failed: dict[int, State | Failure] = {}
    with contextlib.ExitStack() as stack:
        running = {
            place: _Running(
                seat,
                stack.enter_context(units.Capture(seat.model, seat.layers, batch_size, torch.device(device()))),
                part,
            )
            for place, seat in seats.items()
        }
        for rows in rows_in_batches(part[1] - part[0], batch_size):
            # a short batch is filled up, so that every image goes through the same kernels
            pictures = [images.pixels(int(row) + part[0]) for row in rows]
            pictures += [pictures[-1]] * (batch_size - len(rows))
            batches = {}
            for place in list(running):
                prepare = running[place].seat.prepare
                if prepare not in batches:
                    batches[prepare] = prepare.batch(pictures, device())
                result = guarded(partial(running[place].step, rows, images=images), batches[prepare])
                if isinstance(result, Failure):
                    failed[place] = result
                    del running[place]
            progress.step(len(rows))
            if not running:
                break
    return failed | {place: each.state() for place, each in running.items()}


def _merged(first: State, second: State, k: int) -> State:
    """State of two neighbouring ranges of images: merged one by one, so that memory does not grow with their number."""
    from stages.science import selection

    top, bottom = selection.merge_keys([(state["top"], state["bottom"]) for state in (first, second)], k)
    sums = {name: first[name] + second[name] for name in ("bins", "nonpositive")}
    return {**sums, "top": top, "bottom": bottom, "columns": np.concatenate([first["columns"], second["columns"]], 1)}


def _finished(seat: Seat, state: State, job: Job, n_images: int) -> Extracted:
    """Layers and extremes of a network from its state; whole columns are written beside them."""
    if seat.kept:
        rows = [seat.owners[place] for place in seat.kept]
        write_parquet(
            job.out / "kept" / f"{seat.name}.parquet",
            pd.DataFrame(
                {"layer": [r[0] for r in rows], "unit": [r[1] for r in rows], "values": list(state["columns"])}
            ),
        )
    described = [
        {"layer": layer.name, "layer_type": layer.layer_type, "layer_index": layer.layer_index, "depth": layer.depth,
         "width": seat.width[layer.name]}
        for layer in seat.layers
    ]  # fmt: skip
    return described, summarised(state, seat.keys, job.params.activations.n_extremes, n_images), []


def summarised(state: State, keys: np.ndarray, k: int, n: int) -> State:
    """Extremes and statistics of all units from their state over all n images."""
    from stages.science import selection

    moments = selection.Moments(len(keys))
    moments.add(state["bins"], state["nonpositive"], n)
    top, bottom = selection.merge_keys([(state["top"], state["bottom"])], k)
    ranked = selection.ranked(top, bottom, keys, k)
    mean, variance = moments.mean_variance()
    return {
        **vars(ranked), "min": ranked.bottom_values[:, 0], "max": ranked.top_values[:, 0],
        "mean": mean, "variance": variance, "nonpositive": moments.nonpositive / n,
    }  # fmt: skip
