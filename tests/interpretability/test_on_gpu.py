"""Selection on a device gives the keys and the moments of the CPU to the byte, in any batches and however late it tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from interpretability.errors import InputError
from interpretability.extremes import late, on_gpu
from interpretability.extremes.held import add_exactly
from interpretability.extremes.moments import N_BINS, Moments
from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.extremes.selection import Extremes, NotFinite, pack

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KEYS = np.random.default_rng(0).integers(2**64, size=40, dtype=np.uint64)


def some_values(kind, n, units):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(n, units)).astype(np.float32)
    if kind == "zeros":  # 95 % of them
        values = np.maximum(values - np.float32(1.645), 0)
    if kind == "rounded":  # many ties, -0 beside 0
        values = np.round(values, 1)
    return values


def offered(selection, values, batch, device, start=0):
    for first in range(0, len(values), batch):
        selection.update(torch.from_numpy(values[first : first + batch]).to(device), start + first)
    return selection


def on_cpu(values, k, batch):
    extremes, moments = Extremes(KEYS, k), Moments(len(KEYS))
    for first in range(0, len(values), batch):
        part = values[first : first + batch]
        extremes.update(part, np.arange(first, first + len(part)))
        moments.update(part)
    return extremes, moments


def assert_same(selection, extremes, moments):
    assert selection.n_images == extremes.n_images
    for mine, theirs in zip(selection.keys(), extremes.keys(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(selection.bins, moments.bins)
    np.testing.assert_array_equal(selection.nonpositive, moments.nonpositive)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["continuous", "zeros", "rounded"])
@pytest.mark.parametrize(
    ("n", "k", "batch"), [(900, 3, 32), (900, 3, 7), (1500, 20, 100), (15, 20, 8), (1500, 5, 300), (2600, 30, 256)]
)
def test_lists_and_sums_are_those_of_the_cpu(device, kind, n, k, batch):
    values = some_values(kind, n, 40)
    selection = offered(DeviceSelection(KEYS, k, device), values, batch, device)
    extremes, moments = on_cpu(values, k, batch)
    assert_same(selection, extremes, moments)
    every = np.sort(pack(values.T, np.arange(n), KEYS[:, None]), axis=1)
    np.testing.assert_array_equal(selection.keys()[0], every[:, ::-1][:, : k + 1])


def test_slots_that_fill_up_are_merged_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 32)
    rising = np.sort(some_values("continuous", 700, 40), axis=0)  # every value is the best so far
    rising[:, ::2] = rising[::-1, ::2]
    rising[:, 5] = some_values("zeros", 700, 1)[:, 0]
    selection = offered(DeviceSelection(KEYS, 3, "cpu"), rising, 8, "cpu")
    extremes, moments = on_cpu(rising, 3, 8)
    assert selection.merges > 20
    assert_same(selection, extremes, moments)


@pytest.mark.parametrize("far_behind", [1, 2, 100])
def test_a_device_that_tells_late_changes_nothing(monkeypatch, far_behind):
    waits = []

    class Behind:
        """An event that has passed once so many more were recorded, or when it is waited for."""

        recorded = 0

        def record(self):
            Behind.recorded += 1
            self.number = Behind.recorded

        def query(self):
            return Behind.recorded >= self.number + far_behind

        def synchronize(self):
            if not self.query():
                waits.append(self.number)

    monkeypatch.setattr(late, "_Always", Behind)
    monkeypatch.setattr(on_gpu, "CHUNK", 128)
    values = some_values("zeros", 3000, 40)
    selection = offered(DeviceSelection(KEYS, 3, "cpu"), values, 32, "cpu")
    while_offered = len(waits)
    assert_same(selection, *on_cpu(values, 3, 32))
    assert (while_offered == 0) == (far_behind < 3), "only a host more than two batches ahead waits"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("first", ["host", "device"])
@pytest.mark.parametrize("seen", [60, 540])
def test_a_state_is_continued_on_the_other_kind_of_device(device, first, seen):
    values, k = some_values("zeros", 900, 40), 5
    whole = on_cpu(values, k, 30)
    began, sums = on_cpu(values[:seen], k, 30)
    if first == "device":
        began = sums = offered(DeviceSelection(KEYS, k, device), values[:seen], 30, device)
    state, counted = began.keys(), (sums.bins, sums.nonpositive)
    if first == "host":
        ended = DeviceSelection(KEYS, k, device, state=state, moments=counted, n_images=seen)
        assert_same(offered(ended, values[seen:], 30, device, seen), *whole)
        return
    extremes, moments = Extremes(KEYS, k, state=state, n_images=seen), Moments(40)
    moments.add(*counted, seen)
    for start in range(seen, 900, 30):
        extremes.update(values[start : start + 30], np.arange(start, start + 30))
        moments.update(values[start : start + 30])
    for mine, theirs in zip((*extremes.keys(), moments.bins), (*whole[0].keys(), whole[1].bins), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("image", [0, 41, 599])
def test_values_that_are_not_finite_are_named_by_image_and_unit(device, bad, image):
    values = some_values("zeros", 600, 40)
    values[image, 7] = bad
    values[image, 9] = values[image + 1 :, 0] = np.nan
    selection = DeviceSelection(KEYS, 3, device)
    with pytest.raises(NotFinite) as error:
        offered(selection, values, 10, device).keys()
    assert (error.value.image, error.value.unit) == (image, 7)
    np.testing.assert_equal(error.value.value, bad)
    with pytest.raises(NotFinite, match=f"unit column 7 for image {image} "):
        selection.check()  # as often as it is asked


@pytest.mark.parametrize(
    ("values", "first", "says"),
    [
        (
            torch.zeros(3, 39),
            0,
            r"values has shape \(3, 39\) of torch.float32; it must be \(images, units\), here \(any, 40\)",
        ),
        (torch.zeros(3, 40, dtype=torch.float16), 0, "of torch.float16; it must be .* of torch.float32"),
        (
            torch.zeros(3, 40),
            2**31 - 2,
            "first is 2147483646 for 3 images; numbers of images must lie from 0 to 2147483647",
        ),
    ],
)
def test_what_cannot_be_offered_is_refused(values, first, says):
    with pytest.raises(InputError, match=says):
        DeviceSelection(KEYS, 3, "cpu").update(values, first)


@pytest.mark.parametrize("device", DEVICES)
def test_sums_are_exact_between_batches(device):
    values = some_values("continuous", 400, 40) * np.float32(1e3) ** np.arange(-13, 27, dtype=np.float32).clip(max=12)
    there, backwards = DeviceSelection(KEYS, 3, device), DeviceSelection(KEYS, 3, device)
    for start in range(0, 400, 50):
        there.update(torch.from_numpy(values[start : start + 50]).to(device), start)
        backwards.update(torch.from_numpy(values[350 - start : 400 - start]).to(device), 350 - start)
    assert_same(there, *on_cpu(values, 3, 50))
    np.testing.assert_array_equal(there.bins, backwards.bins)


@pytest.mark.parametrize(
    "number", [0.0, 2.0**-298, -(2.0**-149), 1.0, -3.7e38, 2.0**256, float(np.pi * 1e30), 2.0**-64]
)
def test_bins_hold_a_number_without_rounding(number):
    bins = torch.zeros((2, N_BINS, 1), dtype=torch.int64)
    add_exactly(bins, torch.tensor([[number], [-number]], dtype=torch.float64))
    exact = [sum(int(piece) << 32 * place for place, piece in enumerate(side[:, 0])) for side in bins]
    assert exact == [int(number * 2.0**352), -int(number * 2.0**352)]


class Bytes(TorchDispatchMode):
    """Counts what operations read and write, each tensor once; views cost nothing, and indices touch what they name."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        if not function.is_view:
            indexed = {
                torch.ops.aten.index_put_.default: arguments[1:],
                torch.ops.aten.index.Tensor: (*arguments[1:], out),
            }
            parts = indexed.get(function, (arguments, named, out))
            tensors = [one for one in tree_leaves(parts) if isinstance(one, torch.Tensor)]
            self.total += sum(one.numel() * one.element_size() for one in tensors)
        return out


@pytest.mark.parametrize(("kind", "at_most"), [("continuous", 115), ("zeros", 320)])
def test_bytes_of_plain_operations_late(kind, at_most):
    """Bounds about 20 bytes a value, places of bad ones 13, moments 70; where bounds are tied, the keys of those units beside."""
    k, n, units = 3, 18 * 256, 1000
    keys = np.random.default_rng(2).integers(2**64, size=units, dtype=np.uint64)
    values = some_values(kind, n + 256, units)
    selection = offered(DeviceSelection(keys, k, "cpu"), values[:n], 256, "cpu")
    with Bytes() as counted:
        selection.update(torch.from_numpy(values[n:]), n)
    a_value = counted.total / (256 * units)
    assert 60 < a_value < at_most, a_value
