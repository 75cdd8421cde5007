"""Selection on a card: milliseconds a batch, merges, and the bytes of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from interpretability.extremes.moments import Moments
from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.extremes.selection import Extremes, NotFinite
from interpretability.randomness import generator
from study.extraction.windows import DeviceWindows, NetworkWindows
from study.workers.device import exact

SECONDS = 27
LATE_MS, LATE_RATIO, MERGES = 0.06, 30.0, 1.0
_TIMED = 48  # late batches timed one by one

Row = tuple[str, str, float, float | None, bool | None]


def keys_of(units: int) -> NDArray[np.uint64]:
    return generator(0, "on gpu", "selection").integers(2**63, size=units).astype(np.uint64)


def drawn(kind: str, batch: int, units: int, device: str) -> torch.Tensor:
    """Values (batch, units): normal, rounded to tenths, or 95 % zeros."""
    values = torch.randn((batch, units), device=device)
    if kind == "rounded":
        return torch.round(values, decimals=1)
    return torch.clamp_(values - 1.6449, min=0) if kind == "zeros" else values


def milliseconds(selection: DeviceSelection, values: torch.Tensor) -> tuple[float, float]:
    """Of the device and of the host for one batch offered after those before it."""
    first = selection.n_images
    if not values.is_cuda:
        began = perf_counter()
        selection.update(values, first)
        taken = 1e3 * (perf_counter() - began)
        return taken, taken
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(values.device)
    busy = torch.empty((4096, 4096), device=values.device)
    torch.mm(
        busy, busy
    )  # milliseconds in which the host gets ahead, so that the device does not wait for it in between
    start.record()
    began = perf_counter()
    selection.update(values, first)
    on_host = 1e3 * (perf_counter() - began)
    end.record()
    end.synchronize()
    return start.elapsed_time(end), on_host


def equal(kind: str, device: str, units: int, k: int, batch: int) -> bool:
    """Whether lists and sums of a stream are those of the CPU, to the byte."""
    keys = keys_of(units)
    there, extremes, moments = DeviceSelection(keys, k, device), Extremes(keys, k, threads=4), Moments(units)
    for first in range(0, 80 * (k + 1), batch):  # filling, then by bounds
        values = drawn(kind, batch, units, device)
        there.update(values, first)
        here = values.cpu().numpy()
        extremes.update(here, np.arange(first, first + batch))
        moments.update(here)
    mine = [*there.keys(), there.bins, there.nonpositive]
    theirs = [*extremes.keys(), moments.bins, moments.nonpositive]
    return all(np.array_equal(one, other) for one, other in zip(mine, theirs, strict=True))


def windows_equal(conditions: tuple[str, ...], device: str, units: int, n_images: int, batch: int) -> bool:
    """Whether windows at inner ranks, whose values travel to the host, are those of a CPU to the byte, saved and restored
    on the way.
    """
    keys, sizes = keys_of(units), (n_images, 20)
    here = NetworkWindows(conditions, keys, *sizes, threads=4)
    there = DeviceWindows(conditions, keys, *sizes, batch, device, threads=4)
    cut = n_images // 2 // batch * batch
    for first in range(0, n_images, batch):
        if first == cut:
            there = DeviceWindows(conditions, keys, *sizes, batch, device, threads=4, state=there.state())
        values = drawn("rounded", batch, units, device)[: n_images - first]
        there.take(first, values)
        here.take(first, values.cpu())
    (mine, refused), (theirs, too) = there.found(), here.found()
    same = all(np.array_equal(mine[name], theirs[name]) for name in theirs)
    return same and mine.keys() == theirs.keys() and np.array_equal(refused, too)


def told(device: str, units: int, k: int, batch: int) -> bool:
    """Whether the first bad value is named by image and unit, while lists fill and later, however late."""
    for at in (0, 80 * (k + 1) // batch):
        for bad in (float("nan"), float("inf"), float("-inf")):
            selection = DeviceSelection(keys_of(units), k, device)
            for number in range(at + 1):
                values = drawn("zeros", batch, units, device)
                if number == at:
                    values[batch // 2 :, units // 2] = values[batch // 2, units - 1] = bad
                selection.update(values, number * batch)
            try:
                selection.keys()
            except NotFinite as error:
                if (error.image, error.unit) == (at * batch + batch // 2, units // 2) and str(error.value) == str(bad):
                    continue
            return False
    return True


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows of acceptance value 7: (what, unit, measured, limit, passed)."""
    units, k, batch, seen = (200, 3, 32, 4000) if quick else (84_000, 200, 256, 640_000)
    torch.manual_seed(0)
    if device.startswith("cuda"):
        exact(device)  # the events that time it are of the device that is set
    filling = 40 * (k + 1) // batch
    warm = DeviceSelection(keys_of(64), k, device)
    for first in range(0, 60 * (k + 1), batch):  # builds the kernel
        warm.update(drawn("normal", batch, 64, device), first)
    firsts = {}
    selection = DeviceSelection(keys_of(units), k, device)
    for kernel, one in ((True, selection), (False, DeviceSelection(keys_of(units), k, device, kernel=False))):
        times = [milliseconds(one, drawn("normal", batch, units, device))[0] for _ in range(filling)]
        firsts[kernel] = float(np.mean(times))
    del one
    merges, counted = 0, 0
    for first in range(selection.n_images, seen, batch):
        before = selection.merges
        selection.update(drawn("normal", batch, units, device), first)
        if first >= seen * 50_000 // 640_000:
            merges, counted = merges + selection.merges - before, counted + 1
    late = np.array([milliseconds(selection, drawn("normal", batch, units, device)) for _ in range(_TIMED)])
    ms, on_host = np.median(late, axis=0)
    selection.check()
    yield "7 selection, late, a batch", "ms", float(ms), LATE_MS, bool(ms <= LATE_MS)
    yield "7 selection, late, on the host", "ms", float(on_host), None, None
    yield "7 selection, while lists fill, a batch", "ms", firsts[True], None, None
    yield "7 selection, plain, while lists fill, a batch", "ms", firsts[False], None, None
    ratio = firsts[False] / ms
    yield "7 selection, first over late", "times", float(ratio), LATE_RATIO, bool(ratio >= LATE_RATIO)
    ratio = firsts[False] / firsts[True]
    yield "7 selection, plain over kernel while lists fill", "times", ratio, 1.0, bool(ratio >= 1)
    rate = 50 * merges / counted
    yield "7 selection, merges in 50 late batches", "merges", rate, MERGES, rate <= MERGES
    few = (70, 3, 32) if quick else (2000, 50, 256)
    for kind in ("normal", "rounded", "zeros"):
        same = float(equal(kind, device, *few))
        yield f"7 selection, {kind}, as on the CPU", "equal", same, 1.0, same == 1.0
    conditions = ("hard85",) if quick else ("hard99", "hard95", "hard85")
    same = float(windows_equal(conditions, device, few[0], 4000 if quick else 20_000, few[2]))
    yield "7 windows at inner ranks, as on the CPU", "equal", same, 1.0, same == 1.0
    named = float(told(device, *few))
    yield "7 selection, bad values told", "equal", named, 1.0, named == 1.0
