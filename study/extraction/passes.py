"""One pass of several networks over the images: every image is decoded once for all of them.

`grouping` says who sits together. That never changes a result: each network has its own state, its own files in the work
store, and its own failure.

A network's extremes are one file of the work store, found by a fingerprint of everything that determines them without
loading the network. While a pass runs, the state of each network is saved every few minutes; since the selection has one
total order and its sums are exact, it does not matter where.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.extraction.forward import recorder
from study.extraction.grouping import check_columns
from study.extraction.job import KEPT, SUFFIX, Extracted, Extraction, Seat, ingredients, sees_pack
from study.extraction.running import REFUSED, Refused, Running, finish, first_key, forget, has_fallen_back
from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.feed import Feed, ImageRows
from study.images.manifest import ImageSet, open_images
from study.images.packs import Pack, pack_files_here
from study.log import Progress, logger
from study.networks import unit_lists
from study.networks.building import load_network
from study.networks.precisions import FALLBACK
from study.networks.readout import open_units
from study.workers.device import Failure, device, exact, guarded
from study.workers.placement import device_kind

if TYPE_CHECKING:
    from interpretability.networks.preprocessing import Preprocessing

log = logger("activations")

_SAVE_EVERY = 300.0  # seconds between saved states: a kill costs at most these of a pass


def extract(extractions: Sequence[Extraction]) -> list[Extracted | Failure]:
    """Store files and facts of every network of a pass, or why there are none; what the store holds is not computed.

    All see the same source: the images, or their pack. Files of networks that run stay locked meanwhile, so that two
    processes on one store do no work twice.
    """
    images = open_images(extractions[0].images, extractions[0].params.images.root, quick=True)
    store = WorkStore.open()
    ask = partial(ingredients, images=images, kind=device_kind(device()))
    results: dict[int, Extracted | Failure] = {}
    keys: dict[int, dict[str, Any]] = {}  # ingredients of the networks that have no result yet
    for index, extraction in enumerate(extractions):
        key = guarded(ask, extraction)
        known = key if isinstance(key, Failure) else _find(store, key)
        if known is not None:
            results[index] = known
        elif not isinstance(key, Failure):
            keys[index] = key
    if keys:
        with store.locked("extremes", keys.values(), SUFFIX):
            ended = {index: known for index, key in keys.items() if (known := _find(store, key))}
            for index in ended:
                forget(store, keys.pop(index))  # in case whoever ended it was killed before that
            results |= ended
            if keys:
                source = _source(extractions[0], images)
                passes = [_Pass({index: extractions[index] for index in keys}, source, store)]
                for now in passes:  # which grow: one after another, as long as a network has something left to do
                    results |= now.run(keys)
                    for left, precision in ((now.overflowed, FALLBACK), (now.refused, now.precision)):
                        if left:
                            again = {index: extractions[index] for index in left}
                            passes.append(_Pass(again, source, store, precision))
    return [results[index] for index in range(len(extractions))]


def _source(extraction: Extraction, images: ImageSet) -> ImageRows:
    """What a network sees: its images, or their pack (which is not at hand where a damaged file had seemed whole)."""
    if guarded(sees_pack, extraction) is not True:
        return images
    return Pack(images, extraction.packed or pack_files_here(images, extraction.params.activations.pack))


def _find(store: WorkStore, key: Mapping[str, Any]) -> Extracted | None:
    """What the store holds of a network, if it is whole."""
    path = store.find("extremes", key, SUFFIX)
    if path is None:
        return None
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["facts"])
    kept = store.find("kept", key, KEPT) if facts["n_kept"] else None
    if facts["n_kept"] and kept is None:
        return None
    explained = store.find("explained", key, KEPT) if "explained" in key else None
    if "explained" in key and explained is None:
        return None
    facts = {"precision": key["precision"], **facts}  # files of before it was noted are of networks that ran as asked
    return Extracted(**facts, path=path, kept=kept, explained=explained, timing={"computed": False})


class _Pass:
    """One pass of the networks that the store lacks, in their own or another precision. A network that fails leaves, and the
    others go on; `overflowed` are those that failed because float16 does not hold their values, `refused` those that must see the
    images once more, because windows of theirs are not exact.
    """

    def __init__(
        self, extractions: Mapping[int, Extraction], images: ImageRows, store: WorkStore, precision: str = ""
    ) -> None:
        self._extractions, self._images, self._store = extractions, images, store
        self.precision = precision
        self.overflowed: list[int] = []
        self.refused: list[int] = []
        self._batch_size = next(iter(extractions.values())).params.activations.batch_size
        self._running: dict[int, Running] = {}
        self._results: dict[int, Extracted | Failure] = {}
        self._recorder = recorder()

    def run(self, keys: Mapping[int, dict[str, Any]]) -> dict[int, Extracted | Failure]:
        """Results by index; `keys` are the ingredients of each network."""
        try:
            for index, extraction in self._extractions.items():
                begun = guarded(partial(self._begin, key=keys[index]), extraction)
                if isinstance(begun, Failure):
                    self._results[index] = begun
                else:
                    self._running[index] = begun
                del begun  # nothing but `_running` holds a network, so that one that leaves gives its memory back
            if device().startswith("cuda"):
                exact(device())  # code of a network may have set other arithmetic while it was loaded
            seconds = self._over_images()
            for index in list(self._running):
                end = partial(finish, self._running[index], store=self._store, seconds=seconds)
                ended = guarded(end, self._extractions[index])
                if isinstance(ended, Refused):
                    self.refused.append(index)
                    log.warning(
                        "%s: %d units have windows that are not exact; their columns are kept in a second pass",
                        *(self._extractions[index].name, ended.n_units),
                    )
                else:
                    self._results[index] = ended
                self._close(index)
        finally:
            for running in self._running.values():
                running.close()
        return self._results

    def _begin(self, extraction: Extraction, key: dict[str, Any]) -> Running:
        """A network ready to take in images, where an earlier run left it."""
        precision = self.precision or (FALLBACK if has_fallen_back(self._store, key) else "")
        seat = _seat(extraction, self._images, key, precision, self._store)
        if seat.refused:  # before a pass that would end for want of memory
            check_columns(seat.name, len(seat.refused), len(self._images))
        return Running(seat, self._images, self._store, self._batch_size, self._recorder)

    def _over_images(self) -> float:
        """Show all images to the networks; returns the seconds that it took."""
        n, names = len(self._images), ", ".join(running.seat.name for running in self._running.values())
        if len(self._running) > 1:
            n_units = sum(len(running.seat.keys) for running in self._running.values())
            log.info("%s share each picture, %d units", names, n_units)
        start = min((running.seen for running in self._running.values()), default=n)
        views = [running.seat.view for running in self._running.values()]
        feed = Feed(self._images, views, self._batch_size, device(), start=start, threads=decoders(device()))
        progress = Progress(log, n, f"{names}: images", found=start, every=20)
        began = saved = time.monotonic()
        for rows, batches in feed:
            prepared = {view: view.normalised(batch) for view, batch in batches.items()}
            for index in list(self._running):
                if self._running[index].seen > rows[0]:
                    continue  # this network goes on further behind
                step = guarded(partial(self._running[index].step, rows), prepared[self._running[index].seat.view])
                self._leave_if_failed(index, step, feed)
            progress.step(len(rows), note=_shares(self._running.values(), feed, time.monotonic() - began))
            if not self._running:
                break
            if time.monotonic() - saved > _SAVE_EVERY:
                for index in list(self._running):  # a device may tell only now of a bad value
                    self._leave_if_failed(index, guarded(Running.save, self._running[index]), feed)
                saved = time.monotonic()
        return time.monotonic() - began

    def _leave_if_failed(self, index: int, result: Failure | None, feed: Feed) -> None:
        """Take a network that failed out of the pass, and give back the memory of its device."""
        if result is None:
            return
        self._results[index] = result
        view = self._close(index)
        gc.collect()  # some networks hold themselves
        if all(other.seat.view != view for other in self._running.values()):
            feed.drop(view)

    def _close(self, index: int) -> Preprocessing:
        """Let a network go; returns its view."""
        running = self._running.pop(index)
        if running.overflowed:
            self.overflowed.append(index)
            forget(self._store, running.seat.shared)
            log.warning("%s: float16 does not hold all its values; it starts again in %s", running.seat.name, FALLBACK)
        return running.close()


def _shares(running: Iterable[Running], feed: Feed, passed: float) -> str:
    """Where the time of a pass went, in percent."""
    forward, select = (sum(network.clock[name] for network in running) for name in ("forward", "select"))
    parts = {"pictures": feed.waited, "forward": forward, "selection": select}
    return ", ".join(f"{100 * seconds / max(passed, 1e-9):.0f}% {name}" for name, seconds in parts.items())


def _seat(extraction: Extraction, images: ImageRows, key: dict[str, Any], precision: str, store: WorkStore) -> Seat:
    """A network that is loaded, and its units; in the precision of the study unless one is given."""
    from safetensors.numpy import load_file

    from interpretability.networks.clusters import layer_clusters
    from interpretability.randomness import network_keys

    row, params, name = extraction.row, extraction.params, extraction.name
    network = load_network(row, extraction.models, extraction.code, params.seed)
    found = open_units(network, row, images, params, device(), precision)
    read, settings = found.read, params.activations
    clusters, width = layer_clusters(found.model, found.first, read.layers), read.width
    keys = network_keys(params.seed, name, width.items())
    owners = [(layer, unit) for layer, n in width.items() for unit in range(n)]
    kept = unit_lists.indices_of(name, owners, settings.keep, extraction.listed)
    known = set(kept)
    explained = [index for index in extraction.explained.indices(name, owners) if index not in known]
    before = store.find("windows", first_key(key, found.precision), SUFFIX) if extraction.windows else None
    first = load_file(before) if before else {}
    return Seat(
        *(name, found.model, found.view, read, clusters, keys, owners, kept, explained, key, found.precision),
        windows=extraction.windows,
        n_tasks=params.tasks.n_tasks,
        refused=tuple(first.pop(REFUSED, np.empty(0, dtype=np.int64)).tolist()),
        first=first,
    )
