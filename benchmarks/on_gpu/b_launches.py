"""Launches beyond a network as a profiler sees them, waits of the host, and whether kept columns arrive whole."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import alone
from benchmarks.launches import KEPT, LIMIT_LAUNCHES, NETWORKS, Counting, begun, in_precision, seat_of, values_of
from interpretability.networks.memory import refusals
from interpretability.networks.precision import arithmetic
from interpretability.networks.preprocessing import Preprocessing, timm_preprocessing
from interpretability.networks.replayed import CudaRecorder
from study.extraction.job import Seat
from study.workers.device import start

SECONDS = 38
_COUNTED = 4  # batches for the profiler
_BETWEEN = 200  # batches that selection takes in between its first ones and its late ones
_WARM = 2  # batches before, in which libraries choose their kernels

Row = tuple[str, str, float, float | None, bool | None]


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows as `benchmarks.gpu` wants them."""
    import timm

    start(device)
    for network, small in zip(NETWORKS, ("test_resnet", "test_vit"), strict=True):
        model = timm.create_model(small if quick else network).eval().requires_grad_(False).to(device)
        view = Preprocessing.parse(timm_preprocessing(model), network)
        seat = seat_of(network, model, view, torch.device(device))
        for precision in ("float32", "float16"):
            rows = _of_network(in_precision(seat, precision), *((2, 4) if quick else (256, 20)), device)
            yield from alone(f"5 launches of {network}, {precision}", rows)
        del model, seat
        gc.collect()
    equal = _refusals_are_told(torch.device(device))
    yield "6 refusals of memory told", "equal", float(equal), 1.0, equal
    if device.startswith("cuda"):
        yield from alone("8 recording goes on", _recording_goes_on(device))


def _of_network(seat: Seat, batch: int, batches: int, device: str) -> Iterator[Row]:
    """Rows of a network over so many batches with kept columns, which travel every 1,024 images."""
    model, view, precision = seat.model, seat.view, seat.precision
    draw = torch.Generator(device).manual_seed(0)
    shape = batch, 3, view.crop, view.crop
    pictures = torch.randint(256, shape, dtype=torch.uint8, device=device, generator=draw)
    ready = view.normalised(pictures)

    def plain() -> None:
        with torch.no_grad(), arithmetic(model, precision, device):
            model(ready)

    plain()  # before anybody has hooked into it
    alone = _launches(plain, device)
    n = (_WARM + 2 * batches + _BETWEEN + _COUNTED) * batch
    running, starts = begun(seat, n, batch), iter(range(0, n, batch))
    expected: list[Tensor] = []

    def step() -> None:
        rows = np.arange(batch) + next(starts)
        running.step(rows, view.normalised(pictures.roll(int(rows[0]), dims=3)))  # other values in every batch
        expected.append(values_of(running)[:, :KEPT].clone())

    def study() -> None:
        running.step(np.arange(batch) + next(starts), view.normalised(pictures))

    def take_in(drawn: Tensor) -> None:
        with mock.patch.object(running, "_forward", mock.Mock(return_value=drawn, prepares=False)):
            running.step(np.arange(batch) + next(starts), ready)
        expected.append(drawn[:, :KEPT].clone())

    waited = {}
    try:
        for _ in range(_WARM):
            step()
        mean, spread = values_of(running).mean(dim=0), values_of(running).std(dim=0)
        for when in ("", "late "):  # while lists fill, and by bounds
            with _waits(device) as waits, event_waits(device) as events:
                for _ in range(batches):
                    step()
            waited[when] = len(waits) + events.idle, events.busy
            for _ in range(0 if when else _BETWEEN):  # as spread out as the values of each unit
                drawn = torch.randn((batch, len(mean)), device=device, generator=draw)
                take_in(drawn.mul_(spread).add_(mean))
        equal = np.array_equal(running.columns.until(running.seen), torch.cat(expected).T.cpu().numpy())
        beyond = sum(_launches(study, device) for _ in range(_COUNTED)) / _COUNTED - alone
    finally:
        running.close()
    what, most = f"{seat.name}, {precision}", batches // 16
    yield f"5 launches of {what} alone", "launches", alone, None, None
    seen = alone > 0 and beyond > 0  # a profiler that is shut out sees nothing
    yield f"5 launches beyond {what}", "launches", beyond, LIMIT_LAUNCHES, seen and beyond <= LIMIT_LAUNCHES
    for when, (idle, busy) in waited.items():
        yield f"6 waits of {when}batches of {what}", "waits", idle, most, idle <= most
        yield f"6 waits for events of {when}batches of {what}, the device at work", "waits", busy, None, None
    yield f"6 kept columns of {what}", "equal", float(equal), 1.0, equal


def _launches(work: Callable[[], object], device: str) -> int:
    """Kernels and copies that some work starts on a GPU; on a CPU operations of torch stand for them."""
    if not device.startswith("cuda"):
        with Counting() as counting:
            work()
        return sum(counting.launches.values())
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        torch.cuda.synchronize(device)
    return sum(event.device_type.name == "CUDA" for event in seen.events() or ())


@dataclass
class EventWaits:
    """Waits of the host for events that had not passed, by what the device had left to do on its stream afterwards."""

    idle: int = 0  # nothing: it stands still until the host is back
    busy: int = 0  # later batches, so that it goes on


@contextmanager
def event_waits(device: str) -> Generator[EventWaits]:
    """Count waits for events, of which torch's debug mode for waits tells nothing."""
    waits, wait = EventWaits(), torch.cuda.Event.synchronize

    def counted(event: torch.cuda.Event) -> None:
        if event.query():
            return
        wait(event)
        if torch.cuda.current_stream(device).query():
            waits.idle += 1
        else:
            waits.busy += 1

    with mock.patch.object(torch.cuda.Event, "synchronize", counted):
        yield waits


@contextmanager
def _waits(device: str) -> Generator[list[str]]:
    """Messages of torch for each time at which the host waits for the GPU."""
    messages: list[str] = []
    if not device.startswith("cuda"):
        yield messages
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield messages
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # not of the warning that this mode is a prototype
    messages += [str(warning.message) for warning in caught if "called a synchronizing" in str(warning.message)]
    for message in messages:
        print(f"the host waited: {message.splitlines()[0]}", flush=True)


def _recording_goes_on(device: str) -> Iterator[Row]:
    """Whether networks are recorded with the recorder of one whose recording failed, and after one that has left."""
    recorder, value = CudaRecorder(device), torch.ones(3, device=device)
    try:
        recorder.record(lambda: value.sum().item())  # waits, which a recording forbids
    except RuntimeError as error:
        print(f"refused, as it should be: {str(error).splitlines()[0]}", flush=True)
    for after in ("a recording that failed", "a graph that was freed"):
        made = torch.zeros(3, device=device)
        work = partial(made.add_, value)
        recorder.warm(work)
        replay = recorder.record(work)
        before = made.clone()
        replay()
        equal = bool(torch.equal(made, before + 1))
        del replay
        yield f"8 recording goes on after {after}", "equal", float(equal), 1.0, equal


def _refusals_are_told(device: torch.device) -> bool:
    """Whether each refusal of memory is told as it happens, as often as torch's statistics count it."""
    before = refusals(device)
    if device.type != "cuda":
        return before == 0

    def counted() -> int:
        return int(torch.cuda.memory_stats_as_nested_dict(device)["num_ooms"])

    in_statistics = counted()
    for _ in range(2):
        try:
            torch.empty(2**45, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError:
            continue
    return refusals(device) - before == counted() - in_statistics == 2
