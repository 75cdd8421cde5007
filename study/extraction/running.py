"""A network on its way through the images: what it has selected so far, saved and taken up again."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from study.errors import StudyError
from study.extraction.columns import Columns, DeviceColumns
from study.extraction.forward import Forward
from study.extraction.job import (
    KEPT,
    NEAR_COSINES,
    NEAR_UNITS,
    SUFFIX,
    Extracted,
    Extraction,
    FileFacts,
    LayerFacts,
    Seat,
    State,
    Timing,
    extremes_and_moments,
)
from study.extraction.left_out import facts_of
from study.extraction.windows import DeviceWindows, NetworkWindows, tensors_of_columns
from study.files.store import WorkStore
from study.files.tables import write_parquet
from study.images.ahead import decoders
from study.images.feed import ImageRows
from study.log import logger
from study.networks.forms import written
from study.networks.precisions import FALLBACK, unless_asked
from study.workers.device import device
from study.workers.placement import device_kind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.cuda import Event

    from interpretability.extremes.moments import Moments
    from interpretability.extremes.on_gpu import DeviceSelection
    from interpretability.extremes.selection import Extremes, NotFinite
    from interpretability.networks.preprocessing import Preprocessing
    from interpretability.networks.replayed import Recorder

log = logger("activations")

_COLUMNS = pa.schema([("layer", pa.large_string()), ("unit", pa.int64()), ("values", pa.list_(pa.float32()))])
REFUSED = "refused"  # tensor of the file of a first pass: numbers of units
_SLOTS = (0, 1)  # states are saved in turn, so that a kill while one is written leaves the other


class Clock:
    """Seconds by what they were spent on. A GPU is not waited for: what it did is counted once it is known.

    `prepare` is compiling and recording, with the batch in which that happens; it is no part of `forward`.
    """

    def __init__(self) -> None:
        self._seconds = {"prepare": 0.0, "forward": 0.0, "select": 0.0}
        self._under_way: list[tuple[str, Event, Event]] = []

    def __getitem__(self, name: str) -> float:
        while self._under_way and self._under_way[0][2].query():
            what, start, end = self._under_way.pop(0)
            self._seconds[what] += start.elapsed_time(end) / 1000
        return self._seconds[name]

    @contextlib.contextmanager
    def __call__(self, name: str) -> Generator[None]:
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


@dataclass(frozen=True)
class Refused:
    """A network must see the images once more: the windows of some of its units were not exact."""

    n_units: int


class Running:
    """One network in a pass: its capture and what it has selected so far. `close` takes its hooks away."""

    def __init__(
        self, seat: Seat, images: ImageRows, store: WorkStore, batch_size: int, recorder: Recorder | None = None
    ) -> None:
        import torch

        from interpretability.extremes import moments, on_gpu, selection
        from interpretability.networks import capture, precision

        self.seat, self._images, self._store = seat, images, store
        self.clock = Clock()
        state = self._saved()
        self.seen = int(state["seen"][0]) if state else 0
        sides = (state["top"], state["bottom"]) if state else None
        k, there = seat.shared["n_extremes"], device()
        self.overflowed = False
        self.extremes: Extremes | DeviceSelection
        self.moments: Moments | DeviceSelection
        self._offer: Callable[[Tensor, np.ndarray], None]
        if there != "cpu":
            sums = (state["bins"], state["nonpositive"]) if state else None
            both = on_gpu.DeviceSelection(seat.keys, k, there, state=sides, moments=sums, n_images=self.seen)
            self.extremes = self.moments = both
            self._offer = lambda outputs, rows: both.update(outputs, int(rows[0]))
        else:
            extremes = selection.Extremes(seat.keys, k, state=sides, n_images=self.seen)
            counted = moments.Moments(len(seat.keys))
            if state:
                counted.add(state["bins"], state["nonpositive"], self.seen)

            def offer(outputs: Tensor, rows: np.ndarray) -> None:
                extremes.update(outputs.numpy(), rows)
                counted.update(outputs.numpy())

            self.extremes, self.moments, self._offer = extremes, counted, offer
        whole, n = [*seat.kept, *seat.explained, *seat.refused], len(images)
        self.columns = DeviceColumns(whole, n, batch_size, there) if there != "cpu" else Columns(whole, n)
        self.windows = self._begun(n, batch_size, state)
        self.pieces = 1
        if state:
            self.columns.restore(state["columns"])
            self.pieces = int(state["pieces"][0])
            log.info("%s: %d of %d images found in the store", seat.name, self.seen, len(images))
        self._capture = capture.Capture(
            precision.prepared(precision.laid_out(seat.model, seat.precision, there), seat.precision),
            seat.read.layers,
            batch_size,
            torch.device(there),
            precision=seat.precision,
            pieces=self.pieces,
            readers=seat.read.readers,
        )
        self._capture.__enter__()
        n_batches = -(-(len(images) - self.seen) // batch_size)
        self._forward = Forward(self._capture, seat, recorder, n_batches, state)

    def _begun(self, n: int, batch_size: int, state: State | None) -> NetworkWindows | None:
        """Windows where an earlier run left them; none where no condition needs them, or a first pass had them."""
        seat, there = self.seat, device()
        if not seat.windows or seat.refused:
            return None
        sizes = seat.windows, seat.keys, n, seat.n_tasks
        if there == "cpu":
            return NetworkWindows(*sizes, state=state)
        return DeviceWindows(*sizes, batch_size, there, threads=max(1, decoders(there)), state=state)

    def close(self) -> Preprocessing:
        """Take the hooks away; returns the view of the network."""
        self._forward.close()
        self._capture.__exit__(None, None, None)
        return self.seat.view

    def step(self, rows: np.ndarray, batch: Tensor) -> None:
        """Take in a prepared batch whose first images are the given rows."""
        from interpretability.extremes import selection

        seat = self.seat
        with self.clock("prepare" if self._forward.prepares else "forward"):
            outputs = self._forward(batch)[: len(rows)]
        if self._capture.pieces > self.pieces:
            self.pieces = self._capture.pieces
            log.warning("%s: the device ran out of memory; a batch now runs in %d parts", seat.name, self.pieces)
        with self.clock("select"):
            try:
                self._offer(outputs, rows)
                if len(self.columns):
                    self.columns.take(int(rows[0]), outputs)
                if self.windows is not None:
                    self.windows.take(int(rows[0]), outputs)
            except selection.NotFinite as error:
                raise self._named(error) from None
        self.seen = int(rows[-1]) + 1

    def _named(self, error: NotFinite) -> StudyError:
        """The error with layer and image by name; noted if another precision may hold the value."""
        layer, unit = self.seat.owners[error.unit]
        image = self._images.path(error.image)
        self.overflowed = self.seat.precision == "float16"
        after = "; nor was it finite in float16" if self.seat.precision != self.seat.shared["precision"] else ""
        return StudyError(f"{self.seat.name}: layer {layer}, unit {unit} is {error.value} for image {image}{after}")

    def state(self) -> State:
        """All that is needed to go on, or to end, after `seen` images."""
        from interpretability.extremes import selection

        try:
            top, bottom = self.extremes.keys()
            windows = self.windows.state() if self.windows is not None else {}
        except selection.NotFinite as error:  # a device tells late
            raise self._named(error) from None
        return {
            "seen": np.array([self.seen]),
            "pieces": np.array([self.pieces]),
            "top": top,
            "bottom": bottom,
            "bins": self.moments.bins,
            "nonpositive": self.moments.nonpositive,
            "columns": self.columns.until(self.seen),
            **windows,
            **self._forward.state(),
        }

    @property
    def form(self) -> str:
        """How its batches ran, as `Forward` says."""
        return self._forward.form

    def _saved(self) -> State | None:
        """The furthest of the saved states that are whole; the next one is written in place of the other."""
        from safetensors.numpy import load_file

        states: dict[int, State] = {}
        for slot in _SLOTS:
            path = self._store.find("states", self._slot(slot), SUFFIX)
            if path is not None:
                states[slot] = load_file(path)
        newest = max(states, key=lambda slot: int(states[slot]["seen"][0]), default=_SLOTS[-1])
        self._next_slot = _SLOTS[1 - newest]
        return states.get(newest)

    def save(self) -> None:
        """Keep the state beside the one that was kept last."""
        from safetensors.numpy import save_file

        self._store.write("states", self._slot(self._next_slot), SUFFIX, partial(save_file, self.state()))
        self._next_slot = 1 - self._next_slot

    def _slot(self, slot: int) -> dict[str, Any]:
        return state_key(self.seat.shared, slot, self.seat.precision, second=bool(self.seat.refused))


def state_key(shared: Mapping[str, Any], slot: int, precision: str, *, second: bool = False) -> dict[str, Any]:
    """Ingredients of a saved state; `shared` name the precision that was asked for. `second`: of a pass that looks for what the
    windows of a first one refused.
    """
    ran_in = unless_asked(shared["precision"], precision)
    return {**shared, "slot": slot, **ran_in, **({"second": True} if second else {})}


def first_key(shared: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Ingredients of the file that says what a first pass found, where its windows refused some units."""
    return {**shared, "pass": 1, "ran_in": precision}


def has_fallen_back(store: WorkStore, shared: Mapping[str, Any]) -> bool:
    """Whether an earlier run has left a state of this network in FALLBACK, or what its first pass found."""
    left = [("states", state_key(shared, slot, FALLBACK, second=second)) for slot in _SLOTS for second in (False, True)]
    left.append(("windows", first_key(shared, FALLBACK)))
    return any(store.find(phase, key, SUFFIX) is not None for phase, key in left)


def forget(store: WorkStore, shared: Mapping[str, Any]) -> None:
    """Remove the states of a network, which needs them no more once it has ended."""
    for precision in dict.fromkeys((shared["precision"], FALLBACK)):
        for slot in _SLOTS:
            for second in (False, True):
                store.remove("states", state_key(shared, slot, precision, second=second), SUFFIX)


def _found(running: Running, columns: np.ndarray) -> tuple[State, np.ndarray]:
    """What windows of a network hold, and the units that have not all of theirs exactly; `columns` of those that a first pass
    refused.
    """
    seat = running.seat
    if running.windows is not None:
        return running.windows.found()
    content = {name: np.array(value) for name, value in seat.first.items()}
    if seat.refused:
        units = list(seat.refused)
        again = tensors_of_columns(seat.windows, columns, seat.keys[units], seat.n_tasks)
        for name, part in again.items():
            content[name][units] = part
    return content, np.empty(0, dtype=np.int64)


def finish(running: Running, extraction: Extraction, store: WorkStore, seconds: float) -> Extracted | Refused:
    """The files of a network, written from its state over all images; or, where its windows refused units, a file for the pass
    that looks for these.
    """
    from safetensors.numpy import save_file

    from interpretability.networks.precision import used

    seat, state = running.seat, running.state()
    kept, n_kept, n_columns = None, len(seat.kept), len(seat.kept) + len(seat.explained)
    harder, refused = _found(running, state["columns"][n_columns:])
    if len(refused):
        first = {**harder, REFUSED: refused}
        store.write("windows", first_key(seat.shared, seat.precision), SUFFIX, partial(save_file, first))
        forget(store, seat.shared)
        return Refused(len(refused))
    if n_kept:
        kept = _columns(store, "kept", seat, seat.kept, state["columns"][:n_kept])
    explained = None
    if "explained" in seat.shared:
        explained = _columns(store, "explained", seat, seat.explained, state["columns"][n_kept:n_columns])
    described: list[LayerFacts] = [
        {
            "layer": layer.name,
            "layer_type": layer.layer_type,
            "layer_index": layer.layer_index,
            "depth": layer.depth,
            "width": seat.read.width[layer.name],
            "cluster": seat.clusters[layer.name],
        }
        for layer in seat.read.layers
    ]
    facts: FileFacts = {
        "layers": described,
        "left_out": facts_of(seat.read.left_out),
        "directions": seat.read.directions,
        "n_kept": n_kept,
        "pieces": running.pieces,
        "device": device_kind(device()),
        "precision": used(seat.precision, device()),
    }
    if form := written(running.form):
        facts["form"] = form
    content = extremes_and_moments(state, seat.keys, extraction.params.activations.n_extremes, running.seen)
    content |= _nearest(seat) | harder
    # one entry of metadata: the library writes several in any order
    path = store.write(
        "extremes", seat.shared, SUFFIX, partial(save_file, content, metadata={"facts": json.dumps(facts)})
    )
    forget(store, seat.shared)
    store.remove("windows", first_key(seat.shared, seat.precision), SUFFIX)
    timing: Timing = {"computed": True, "seconds": seconds, "forward": running.clock["forward"]}
    return Extracted(**facts, path=path, kept=kept, explained=explained, timing=timing)


def _nearest(seat: Seat) -> State:
    """Units nearest to each direction, -1 where none is known; nothing for a network whose units are read as they are."""
    from interpretability.directions.nearest import N_NEAREST, nearest_units

    if not seat.read.axes:
        return {}
    units = np.full((len(seat.keys), N_NEAREST), -1, dtype=np.int32)
    cosines = np.full((len(seat.keys), N_NEAREST), np.nan, dtype=np.float32)
    start = 0
    for layer, width in seat.read.width.items():
        if layer in seat.read.axes:
            part = slice(start, start + width)
            units[part], cosines[part] = nearest_units(seat.read.axes[layer])
        start += width
    return {NEAR_UNITS: units, NEAR_COSINES: cosines}


def _columns(store: WorkStore, phase: str, seat: Seat, indices: Sequence[int], columns: np.ndarray) -> Path:
    """File of the whole columns (units, images) of some units."""
    owners = [seat.owners[index] for index in indices]
    table = pd.DataFrame(
        {
            "layer": pd.Series([layer for layer, _ in owners], dtype="str"),
            "unit": pd.Series([unit for _, unit in owners], dtype=np.int64),
            "values": pd.Series(list(columns), dtype=object),
        }
    )
    # the schema only where there is no row that tells it
    return store.write(
        phase, seat.shared, KEPT, partial(write_parquet, frame=table, schema=None if owners else _COLUMNS)
    )
