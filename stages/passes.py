"""One pass of several networks over the images: every picture is decoded once for all of them.

Glue between files (stages.pipeline) and selection (stages.science); the stage `activations` says who sits together. That
never changes a result: each network has its own state, its own files in the work store, and its own failure.

A network's extremes are one file of the work store, found by a fingerprint of everything that determines them without
loading the network. While a pass runs, the state of each network is saved every few minutes; since the selection has one
total order and its sums are exact, it does not matter where.
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import packing
from stages.decoding import Feed, Pictures, decoders
from stages.errors import StudyError
from stages.loading import load_network
from stages.packing import Pack, fits, pack_here
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import Progress, logger
from stages.pipeline.params import Params
from stages.pipeline.pictures import ImageSet, open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import sha256_file, write_parquet
from stages.pipeline.workers import Failure, device, device_kind, exact, guarded, kind_of_workers

log = logger("activations")
VERSION = 1  # of the files in the work store
_SAVE_EVERY = 300.0  # seconds between saved states: a kill costs at most these of a pass
_SUFFIX, _KEPT = ".safetensors", ".parquet"
_SLOTS = (0, 1)  # states are saved in turn, so that a kill while one is written leaves the other

Extracted = dict[str, Any]
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


# ---- what is in the store


def ingredients(job: Job, images: ImageSet, kind: str) -> dict[str, Any]:
    """Everything that determines the extremes of a network on this kind of device, without loading it."""
    import torch

    from stages.science import preprocessing, selection, taps, units

    given, name = job.params.activations, job.row["name"]
    return {
        "images": images.digest, "weights": job.row["sha256"], "preprocessing": job.row["preprocessing"],
        "seed": job.params.seed, "model": name, "constructor": job.row["constructor"], "kwargs": job.row["kwargs"],
        "code": networks.code_digest(job.row, job.code), "directions": _directions_digest(job.row),
        "taps": job.row["taps"], "n_extremes": given.n_extremes, "batch_size": given.batch_size,
        "precision": given.precision, "pack": given.pack if packs(job) else 0, "units": asdict(job.params.units),
        "keep": [entry for entry in given.keep if fnmatchcase(name, entry.split("/")[0])],
        "listed": [list(unit) for unit in job.listed], "device": kind,
        "packages": {each: version(each) for each in ("torchvision", "timm", "pillow")}, "torch": torch.__version__,
        "versions": [VERSION, packing.VERSION, *(each.VERSION for each in (units, taps, selection, preprocessing))],
    }  # fmt: skip


def packs(job: Job) -> bool:
    """Whether a network sees the pack of the study in place of its pictures."""
    from stages.science.preprocessing import Preprocessing

    return fits(Preprocessing.parse(job.row["preprocessing"], job.row["name"]), job.params.activations.pack)


def _directions_digest(row: Mapping[str, Any]) -> str:
    if not row["directions"]:
        return ""
    layer, path = networks.parse_directions(row["directions"])
    return f"{layer} {sha256_file(path)}"


def stored(job: Job, images: ImageSet, store: WorkStore) -> bool:
    """Whether the extremes of a network lie in the store; their bytes are not looked at."""
    return store.path("extremes", ingredients(job, images, kind_of_workers()), _SUFFIX).is_file()


def extract(jobs: Sequence[Job]) -> list[Extracted | Failure]:
    """Store files and facts of every network of a pass, or why there are none; what the store holds is not computed.

    All see the same source: the pictures, or their pack. Files of networks that run stay locked meanwhile, so that two
    processes on one store do no work twice.
    """
    params = jobs[0].params
    images = open_images(jobs[0].images, params.images.root, quick=True)
    store = WorkStore.open()
    asked = partial(ingredients, images=images, kind=device_kind(device()))
    named = {place: guarded(asked, job) for place, job in enumerate(jobs)}
    found: dict[int, Any] = {place: each for place, each in named.items() if isinstance(each, Failure)}
    named = {place: each for place, each in named.items() if place not in found}
    found |= {place: each for place in named if (each := _lookup(store, named[place]))}
    missing = {place: named[place] for place in named if place not in found}
    if missing:
        with store.locked("extremes", missing.values(), _SUFFIX):
            ended = {place: each for place in missing if (each := _lookup(store, missing[place]))}
            for place in ended:
                _forget(store, missing[place])  # in case whoever ended it was killed before that
            missing = {place: each for place, each in missing.items() if place not in ended}
            found |= ended
            if missing:
                found |= _run({place: jobs[place] for place in missing}, missing, _source(jobs[0], images), store)
    return [found[place] for place in range(len(jobs))]


def _source(job: Job, images: ImageSet) -> Pictures:
    """What a network sees: its pictures, or their pack (which is not at hand where a damaged file had seemed whole)."""
    if guarded(packs, job) is not True:
        return images
    return Pack(images, job.packed or pack_here(images, job.params.activations.pack))


def _lookup(store: WorkStore, shared: Mapping[str, Any]) -> Extracted | None:
    """What the store holds of a network, if it is whole."""
    path = store.find("extremes", shared, _SUFFIX)
    if path is None:
        return None
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["facts"])
    kept = store.find("kept", shared, _KEPT) if facts["n_kept"] else None
    if facts["n_kept"] and kept is None:
        return None
    return {**facts, "path": path, "kept": kept, "computed": False}


# ---- one pass


def _run(
    jobs: Mapping[int, Job], named: Mapping[int, dict[str, Any]], images: Pictures, store: WorkStore
) -> dict[int, Extracted | Failure]:
    """One pass of the networks that the store lacks. A network that fails leaves, and the others go on."""
    batch_size, n = next(iter(jobs.values())).params.activations.batch_size, len(images)
    found: dict[int, Extracted | Failure] = {}
    running: dict[int, Running] = {}
    try:
        for place, job in jobs.items():
            begun = guarded(partial(_begin, images=images, shared=named[place], store=store), job)
            if isinstance(begun, Failure):
                found[place] = begun
            else:
                running[place] = begun
            del begun  # nothing but `running` holds a network, so that one that leaves gives its memory back
        if device().startswith("cuda"):
            exact(device())  # code of a network may have set other arithmetic while it was loaded
        if len(running) > 1:
            log.info("%s share each picture, %d units", ", ".join(each.seat.name for each in running.values()),
                     sum(len(each.seat.keys) for each in running.values()))  # fmt: skip
        start = min((each.seen for each in running.values()), default=n)
        feed = Feed(images, [each.seat.prepare for each in running.values()], batch_size, device(), start=start,
                    threads=decoders(device()))  # fmt: skip
        names = ", ".join(each.seat.name for each in running.values())
        progress = Progress(log, n, f"{names}: images", found=start, every=20)
        began = saved = time.monotonic()
        for rows, batches in feed:
            prepared = {view: view.normalised(batch) for view, batch in batches.items()}
            for place in list(running):
                if running[place].seen > rows[0]:
                    continue  # this network goes on further behind
                result = guarded(partial(running[place].step, rows), prepared[running[place].seat.prepare])
                if isinstance(result, Failure):
                    found[place] = result
                    _leave(running, place, feed)
            progress.step(len(rows), note=_shares(running.values(), feed, time.monotonic() - began))
            if not running:
                break
            if time.monotonic() - saved > _SAVE_EVERY:
                for place in list(running):
                    result = guarded(Running.save, running[place])  # a device may tell only now of a bad value
                    if isinstance(result, Failure):
                        found[place] = result
                        _leave(running, place, feed)
                saved = time.monotonic()
        spent = time.monotonic() - began
        for place in list(running):
            found[place] = guarded(partial(_finish, running[place], store=store, seconds=spent), jobs[place])
            running.pop(place).close()
    finally:
        for each in running.values():
            each.close()
    return found


def _leave(running: dict[int, Running], place: int, feed: Feed) -> None:
    """Take a network out of the pass, and give back the memory of its device."""
    view = running.pop(place).close()
    gc.collect()  # some networks hold themselves
    if all(other.seat.prepare != view for other in running.values()):
        feed.drop(view)


def _shares(running: Iterable[Running], feed: Feed, passed: float) -> str:
    """Where the time of a pass went, in percent."""
    forward, select = (sum(each.clock[name] for each in running) for name in ("forward", "select"))
    parts = {"pictures": feed.waited, "forward": forward, "selection": select}
    return ", ".join(f"{100 * seconds / max(passed, 1e-9):.0f}% {name}" for name, seconds in parts.items())


def _begin(job: Job, images: Pictures, shared: dict[str, Any], store: WorkStore) -> Running:
    """A network ready to take in pictures, where an earlier run left it."""
    return Running(_seat(job, images, shared), images, store, job.params.activations.batch_size)


def _seat(job: Job, images: Pictures, shared: dict[str, Any]) -> Seat:
    """Load a network and find its units."""
    import torch

    from stages.science import taps, units
    from stages.science.tasks import unit_keys

    given, rules, name = job.params.activations, job.params.units, job.row["name"]
    network = load_network(job.row, job.models, job.code, job.params.seed)
    if job.row["weights"] in ("hub", "none") and network.digest != job.row["sha256"]:
        raise StudyError(
            f"{name}: its weights are not those that the stage `models` saw ({job.row['weights']}); run "
            "`dvc repro --force models` to take them as they are now"
        )
    model, prepare = network.model.to(device()), network.preprocessing
    first = prepare.batch([images.pixels(row) for row in range(min(4, len(images)))], device())
    found = taps.find_taps([path for path, _ in model.named_modules()], job.row["taps"])
    layers = units.find_layers(model, first[:3], taps=found, **asdict(rules))
    units.check_independence(model, layers, first)
    layers, directions = _directed(job.row, model, first, layers, rules)
    width = {layer.name: layer.width if directions is None else directions.shape[1] for layer in layers}
    keys = np.concatenate([unit_keys(job.params.seed, name, layer, np.arange(n)) for layer, n in width.items()])
    owners = [(layer, unit) for layer, n in width.items() for unit in range(n)]
    kept = unit_lists.places(name, owners, given.keep, job.listed)
    matrix = None if directions is None else torch.from_numpy(directions).to(device())
    return Seat(name, model, prepare, layers, width, keys, owners, kept, matrix, shared)


def _directed(row: dict[str, Any], model: Any, batch: Any, layers: list[Any], rules: Any) -> tuple[list[Any], Any]:
    """The layer and matrix of a row with `directions`: units are then linear combinations of the layer's units."""
    if not row["directions"]:
        return layers, None
    from stages.science.taps import find_taps
    from stages.science.units import find_layers

    name, path = networks.parse_directions(row["directions"])
    taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
    everything = find_layers(model, batch[:3], taps=taps, **{**asdict(rules), "drop_first_last": False})
    chosen = [layer for layer in everything if layer.name == name]
    if not chosen:
        raise StudyError(
            f"directions name layer {name!r}, which is none of {', '.join(each.name for each in everything)}"
        )
    return chosen, networks.load_directions(path, name, chosen[0].width)


class Clock:
    """Seconds by what they were spent on. A GPU is not waited for: what it did is counted once it is known."""

    def __init__(self) -> None:
        self._seconds = {"forward": 0.0, "select": 0.0}
        self._under_way: list[tuple[str, Any, Any]] = []

    def __getitem__(self, name: str) -> float:
        while self._under_way and self._under_way[0][2].query():
            what, start, end = self._under_way.pop(0)
            self._seconds[what] += start.elapsed_time(end) / 1000
        return self._seconds[name]

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if device().startswith("cuda"):
            import torch

            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            yield
            end.record()
            self._under_way.append((name, start, end))
        else:
            began = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - began


class Running:
    """One network in a pass: its capture and what it has selected so far. `close` takes its hooks away."""

    def __init__(self, seat: Seat, images: Pictures, store: WorkStore, batch_size: int) -> None:
        import torch

        from stages.science import device_selection, selection, units

        self.seat, self._images, self._store = seat, images, store
        self.clock = Clock()
        state = self._saved()
        self.seen = int(state["seen"][0]) if state else 0
        sides = {"state": (state["top"], state["bottom"]), "n_images": self.seen} if state else {}
        k, there = seat.shared["n_extremes"], device()
        self._on_device = there != "cpu"
        self.extremes: Any
        self.moments: Any
        if self._on_device:
            self.extremes = device_selection.DeviceExtremes(seat.keys, k, there, **sides)
            self.moments = device_selection.DeviceMoments(len(seat.keys), there)
            if seat.shared["precision"] != "float32":  # tensor cores read maps channel by channel
                seat.model.to(memory_format=torch.channels_last)
        else:
            self.extremes = selection.Extremes(seat.keys, k, **sides)
            self.moments = selection.Moments(len(seat.keys))
        self.columns = np.empty((len(seat.kept), len(images)), dtype=np.float32)
        self._kept = torch.tensor(seat.kept, dtype=torch.long, device=there)
        self.pieces = 1
        if state:
            self.moments.add(state["bins"], state["nonpositive"], self.seen)
            self.columns[:, : self.seen] = state["columns"]
            self.pieces = int(state["pieces"][0])
            log.info("%s: %d of %d images found in the store", seat.name, self.seen, len(images))
        self._capture = units.Capture(
            seat.model, seat.layers, batch_size, torch.device(there),
            precision=seat.shared["precision"], pieces=self.pieces,
        )  # fmt: skip
        self._capture.__enter__()

    def close(self) -> Any:
        """Take the hooks away; returns the view of the network."""
        self._capture.__exit__(None, None, None)
        return self.seat.prepare

    def step(self, rows: np.ndarray, batch: Any) -> None:
        """Take in a prepared batch whose first images are the given rows."""
        from stages.science import selection

        seat = self.seat
        with self.clock("forward"):
            values = self._capture(batch)[: len(rows)]
            values = values if seat.matrix is None else values @ seat.matrix
        if self._capture.pieces > self.pieces:
            self.pieces = self._capture.pieces
            log.warning("%s: the device ran out of memory; a batch now runs in %d parts", seat.name, self.pieces)
        with self.clock("select"):
            try:
                if self._on_device:
                    self.extremes.update(values, rows)
                    self.moments.update(values)
                    if seat.kept:  # else the device is not waited for
                        self.columns[:, rows] = values[:, self._kept].T.cpu().numpy()
                else:
                    host = values.numpy()
                    self.extremes.update(host, rows)
                    self.moments.update(host)
                    self.columns[:, rows] = host[:, seat.kept].T
            except selection.NotFinite as error:
                raise self._told(error) from None
        self.seen = int(rows[-1]) + 1

    def _told(self, error: Any) -> StudyError:
        layer, unit = self.seat.owners[error.unit]
        image = self._images.path(error.image)
        hint = "; float16 holds no value above 65504, try bfloat16 or float32 in activations.precision"
        return StudyError(
            f"{self.seat.name}: layer {layer}, unit {unit} is {error.value} for image {image}"
            f"{hint if self.seat.shared['precision'] == 'float16' else ''}"
        )

    def state(self) -> State:
        """All that is needed to go on, or to end, after `seen` images."""
        from stages.science import selection

        try:
            top, bottom = self.extremes.keys()
        except selection.NotFinite as error:  # a device tells late
            raise self._told(error) from None
        return {
            "seen": np.array([self.seen]), "pieces": np.array([self.pieces]), "top": top, "bottom": bottom,
            "bins": self.moments.bins, "nonpositive": self.moments.nonpositive,
            "columns": np.ascontiguousarray(self.columns[:, : self.seen]),
        }  # fmt: skip

    def _saved(self) -> State | None:
        """The furthest of the saved states that are whole; the next one is written in place of the other."""
        from safetensors.numpy import load_file

        states = {}
        for slot in _SLOTS:
            path = self._store.find("states", {**self.seat.shared, "slot": slot}, _SUFFIX)
            if path is not None:
                states[slot] = load_file(path)
        newest = max(states, key=lambda slot: int(states[slot]["seen"][0]), default=_SLOTS[-1])
        self._next_slot = _SLOTS[1 - newest]
        return states.get(newest)

    def save(self) -> None:
        """Keep the state beside the one that was kept last."""
        from safetensors.numpy import save_file

        slot = {**self.seat.shared, "slot": self._next_slot}
        self._store.write("states", slot, _SUFFIX, partial(save_file, self.state()))
        self._next_slot = 1 - self._next_slot


def _forget(store: WorkStore, shared: Mapping[str, Any]) -> None:
    """Remove the states of a network, which needs them no more once it has ended."""
    for slot in _SLOTS:
        store.remove("states", {**shared, "slot": slot}, _SUFFIX)


def _finish(running: Running, job: Job, store: WorkStore, seconds: float) -> Extracted:
    """Write the files of a network from its state over all images."""
    from safetensors.numpy import save_file

    seat, state = running.seat, running.state()
    kept = None
    if seat.kept:
        rows = [seat.owners[place] for place in seat.kept]
        table = pd.DataFrame(
            {"layer": [r[0] for r in rows], "unit": [r[1] for r in rows], "values": list(state["columns"])}
        )
        kept = store.write("kept", seat.shared, _KEPT, partial(write_parquet, frame=table))
    described = [
        {"layer": layer.name, "layer_type": layer.layer_type, "layer_index": layer.layer_index, "depth": layer.depth,
         "width": seat.width[layer.name]}
        for layer in seat.layers
    ]  # fmt: skip
    facts = {"layers": described, "n_kept": len(seat.kept), "pieces": running.pieces, "device": device_kind(device())}
    content = summarised(state, seat.keys, job.params.activations.n_extremes, running.seen)
    # one entry of metadata: the library writes several in any order
    path = store.write(
        "extremes", seat.shared, _SUFFIX, partial(save_file, content, metadata={"facts": json.dumps(facts)})
    )
    _forget(store, seat.shared)
    timing = {"computed": True, "seconds": seconds, "forward": running.clock["forward"]}
    return {**facts, "path": path, "kept": kept, **timing}


def summarised(state: State, keys: np.ndarray, k: int, n: int) -> State:
    """Extremes and statistics of all units from their state over all n images."""
    from stages.science import selection

    moments = selection.Moments(len(keys))
    moments.add(state["bins"], state["nonpositive"], n)
    ranked = selection.ranked(state["top"], state["bottom"], keys, k)
    mean, variance = moments.mean_variance()
    content = {
        **vars(ranked), "min": ranked.bottom_values[:, 0], "max": ranked.top_values[:, 0],
        "mean": mean, "variance": variance, "nonpositive": moments.nonpositive / n,
    }  # fmt: skip
    return {name: np.ascontiguousarray(value) for name, value in content.items()}
