"""Selection on a device gives the keys of the selection on the CPU, and moments without rounding between batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interpretability.extremes.moments import Moments
from interpretability.extremes.on_gpu import DeviceExtremes, DeviceMoments
from interpretability.extremes.selection import Extremes, NotFinite, pack

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KEYS = np.random.default_rng(0).integers(2**64, size=40, dtype=np.uint64)


def some_values(kind, n, units):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(n, units)).astype(np.float32)
    if kind == "sparse":
        values = np.maximum(values - np.float32(1.6), 0)
    if kind == "few":
        values = np.round(values)  # many ties, -0 beside 0
    return values


def offered(extremes, values, batch, device):
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        images = np.arange(start, start + len(part), dtype=np.int32)
        extremes.update(torch.from_numpy(part).to(device) if device else part, images)
    return extremes


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["continuous", "sparse", "few"])
@pytest.mark.parametrize(("n", "k", "batch", "chunk"), [(300, 20, 32, 64), (300, 20, 100, 30), (15, 20, 8, 64)])
def test_keys_are_those_of_a_full_sort(device, kind, n, k, batch, chunk):
    values = some_values(kind, n, 40)
    top, bottom = offered(DeviceExtremes(KEYS, k, device, chunk=chunk), values, batch, device).keys()
    every = np.sort(pack(values.T, np.arange(n), KEYS[:, None]), axis=1)
    np.testing.assert_array_equal(top, every[:, ::-1][:, : k + 1])
    np.testing.assert_array_equal(bottom, every[:, : k + 1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("first", ["host", "device"])
def test_a_state_is_continued_on_the_other_kind_of_device(device, first):
    values, k = some_values("sparse", 200, 40), 20
    whole = offered(Extremes(KEYS, k), values, 50, None).keys()
    began = Extremes(KEYS, k) if first == "host" else DeviceExtremes(KEYS, k, device)
    began = offered(began, values[:90], 30, device if first == "device" else None)
    state = {"state": began.keys(), "n_images": 90}
    ended = DeviceExtremes(KEYS, k, device, **state) if first == "host" else Extremes(KEYS, k, **state)
    rest, images = values[90:], np.arange(90, 200, dtype=np.int32)
    ended.update(torch.from_numpy(rest).to(device) if first == "host" else rest, images)
    assert ended.n_images == 200
    for mine, theirs in zip(ended.keys(), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_by_image_and_unit(device, bad):
    values = some_values("continuous", 60, 40)
    values[41, 7] = values[41, 9] = values[50, 0] = bad
    with pytest.raises(NotFinite) as error:
        offered(DeviceExtremes(KEYS, 5, device, chunk=32), values, 10, device).keys()
    assert (error.value.image, error.value.unit) == (41, 7)
    np.testing.assert_equal(error.value.value, bad)


@pytest.mark.parametrize("device", DEVICES)
def test_moments_are_exact_between_batches(device):
    values = some_values("continuous", 400, 40) * np.float32(1e3) ** np.arange(-6, 34, dtype=np.float32).clip(max=6)
    usual, there, backwards = Moments(40), DeviceMoments(40, device), DeviceMoments(40, device)
    for start in range(0, 400, 50):
        usual.update(values[start : start + 50])
        there.update(torch.from_numpy(values[start : start + 50]).to(device))
        backwards.update(torch.from_numpy(values[350 - start : 400 - start]).to(device))
    np.testing.assert_array_equal(there.bins, backwards.bins)
    np.testing.assert_array_equal(there.nonpositive, usual.nonpositive)
    counted = Moments(40)
    counted.add(there.bins, there.nonpositive, there.n_images)
    for mine, theirs in zip(counted.mean_variance(), usual.mean_variance(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
