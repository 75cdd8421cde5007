"""One pass of several networks over the images: every picture is decoded once for all of them.

`grouping` says who sits together. That
never changes a result: each network has its own state, its own files in the work store, and its own failure.

A network's extremes are one file of the work store, found by a fingerprint of everything that determines them without
loading the network. While a pass runs, the state of each network is saved every few minutes; since the selection has one
total order and its sums are exact, it does not matter where.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from study.errors import StudyError
from study.extraction.job import KEPT, SUFFIX, Extracted, Job, Seat, ingredients, sees_pack
from study.extraction.running import Running, finish, forget
from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.feed import Feed, Pictures
from study.images.manifest import ImageSet, open_images
from study.images.packs import Pack, pack_here
from study.log import Progress, logger
from study.networks import building, unit_lists
from study.networks.building import load_network
from study.workers.device import Failure, device, exact, guarded
from study.workers.placement import device_kind

log = logger("activations")


_SAVE_EVERY = 300.0  # seconds between saved states: a kill costs at most these of a pass


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
        with store.locked("extremes", missing.values(), SUFFIX):
            ended = {place: each for place in missing if (each := _lookup(store, missing[place]))}
            for place in ended:
                forget(store, missing[place])  # in case whoever ended it was killed before that
            missing = {place: each for place, each in missing.items() if place not in ended}
            found |= ended
            if missing:
                found |= _run({place: jobs[place] for place in missing}, missing, _source(jobs[0], images), store)
    return [found[place] for place in range(len(jobs))]


def _source(job: Job, images: ImageSet) -> Pictures:
    """What a network sees: its pictures, or their pack (which is not at hand where a damaged file had seemed whole)."""
    if guarded(sees_pack, job) is not True:
        return images
    return Pack(images, job.packed or pack_here(images, job.params.activations.pack))


def _lookup(store: WorkStore, shared: Mapping[str, Any]) -> Extracted | None:
    """What the store holds of a network, if it is whole."""
    path = store.find("extremes", shared, SUFFIX)
    if path is None:
        return None
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["facts"])
    kept = store.find("kept", shared, KEPT) if facts["n_kept"] else None
    if facts["n_kept"] and kept is None:
        return None
    return {**facts, "path": path, "kept": kept, "computed": False}


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
            found[place] = guarded(partial(finish, running[place], store=store, seconds=spent), jobs[place])
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

    from interpretability.networks import capture, taps
    from interpretability.networks.layers import find_layers
    from interpretability.randomness import unit_keys

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
    layers = find_layers(model, first[:3], taps=found, **asdict(rules))
    capture.check_independence(model, layers, first)
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
    from interpretability.networks.layers import find_layers
    from interpretability.networks.taps import find_taps

    name, path = building.parse_directions(row["directions"])
    taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
    everything = find_layers(model, batch[:3], taps=taps, **{**asdict(rules), "drop_first_last": False})
    chosen = [layer for layer in everything if layer.name == name]
    if not chosen:
        raise StudyError(
            f"directions name layer {name!r}, which is none of {', '.join(each.name for each in everything)}"
        )
    return chosen, building.load_directions(path, name, chosen[0].width)
