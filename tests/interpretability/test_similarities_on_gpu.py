"""Tasks of a block on a device: the numbers of the CPU, few launches, and one wait."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from interpretability.margins import distance_margins, distance_values
from interpretability.similarity import features, maps, on_gpu, registry
from interpretability.similarity.backends import dists
from interpretability.similarity.table import FeatureTable, rounds
from tests.helpers import random_weights as given
from tests.helpers.rules import ROOT

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
K, WIDTH = 9, 3000
LIMIT = 20  # launches of a block
VGG = 224**2 * 64 + 112**2 * 128 + 56**2 * 256 + 28**2 * 512 + 14**2 * 512  # numbers of a row of lpips-vgg
VIEWS = {"view", "split", "split_with_sizes", "slice", "select", "unsqueeze", "expand", "permute", "transpose", "t"}
VIEWS |= {"_unsafe_view", "alias", "detach", "reshape", "empty", "empty_strided", "lift_fresh", "unbind"}


class Counted(TorchDispatchMode):
    """Counts what a device would be asked to do: operations that are no views and allocate not only."""

    def __init__(self):
        super().__init__()
        self.launches = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in VIEWS:
            self.launches.append(name)
        return func(*args, **(kwargs or {}))


def some_rows(width=WIDTH, n=30):
    return torch.from_numpy(np.random.default_rng(0).random((n, width), dtype=np.float32))


def some_tasks(count=7, n=30, k=K):
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(n)[: 2 * (k + 1)] for _ in range(count)]).astype(np.int32)


@pytest.fixture(params=[2**31, 5 * WIDTH * 4, 1], ids=["together", "in groups", "one by one"])
def room(request, monkeypatch):
    monkeypatch.setattr(on_gpu, "ROOM", request.param)


def judge(name, device="cpu", size=32):
    """A similarity without its network; DISTS with weights of its sums."""
    kept = registry.options_of(registry.family_of(name))
    chosen = {key: value for key, value in given.options(device=device, size=size).items() if key in kept}
    made = registry.create(name, given.Shown(given.pictures()), check=False, **chosen)
    weights = np.random.default_rng(2).random((2, sum(dists.CHANNELS)))
    vars(made)["_weights"] = weights / weights.sum()
    return made


def dists_rows(size=32, n=30):
    return some_rows(int(dists.Dists._edges(size)[-1]) + 2 * sum(dists.CHANNELS), n)


# ---- numbers


@pytest.mark.parametrize("device", DEVICES)
def test_margins_of_distances_are_those_of_double_precision(device, room):
    rows, tasks = some_rows(), some_tasks()
    exact = rows.double().numpy()
    expected = [2 * (exact[t[-2]] - exact[t[-1]]) @ (exact[t[:K]].mean(0) - exact[t[K : 2 * K]].mean(0)) for t in tasks]
    found = on_gpu.distance_margins(rows.to(device), tasks, K).cpu().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(distance_margins(rows.numpy(), tasks[None], K)[0], expected, atol=1e-5)
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("device", DEVICES)
def test_equal_sides_and_equal_queries_tie(device):
    tasks = np.array([[3, 4, 5, 3, 4, 5, 1, 2], [3, 4, 5, 6, 7, 8, 9, 9]], dtype=np.int32)
    assert on_gpu.distance_margins(some_rows().to(device), tasks, 3).tolist() == [0, 0]


@pytest.mark.parametrize("device", DEVICES)
def test_similarities_of_distances_are_those_of_double_precision(device, room):
    rows, tasks = some_rows(), some_tasks()
    exact = rows.double()[torch.from_numpy(tasks).long()]
    expected = -(exact[:, -2:, None] - exact[:, None, :-2]).square().sum(-1).numpy()
    found = on_gpu.distance_values(rows.to(device), tasks, K).cpu().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(distance_values(rows.numpy(), tasks[None], K)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_dists_on_a_device_is_dists_on_the_cpu(device, room, monkeypatch):
    monkeypatch.setattr(dists, "_GROUP", 3)
    rows, tasks = dists_rows(), some_tasks(4)
    expected = judge("dists").values(rows, tasks[None], K, 32)
    there = judge("dists", device)
    found = there._values_there(rows.to(device), tasks, K, there._edges(32))
    np.testing.assert_allclose(found.cpu().numpy(), expected[0], atol=1e-6)
    pairs = there.compare_rows(rows[tasks[0, -2:]].to(device), rows[tasks[0, :-2]].to(device), 32)
    np.testing.assert_allclose(pairs.cpu().numpy(), expected[0, 0], atol=1e-6)


KERNEL = """
import contextlib, numpy as np, torch
from interpretability.similarity import kernel, on_gpu
torch.cuda.device_of = lambda rows: contextlib.nullcontext()
rng = np.random.default_rng(0)
rows = torch.from_numpy(rng.random((9, 600), dtype=np.float32))
tasks = torch.from_numpy(np.stack([rng.permutation(9)[:8] for _ in range(2)]).astype(np.int32))
found = kernel.covariances(rows, tasks, 3, torch.tensor([0, 130, 260, 300]))
parts = [on_gpu.covariances(rows, tasks, 3, layers) for layers in ([(2, 0, 130)], [(1, 260, 40)])]
assert found.shape == (2, 2, 6, 3), found.shape
np.testing.assert_allclose(found, torch.cat(parts, dim=3), rtol=1e-6)
assert kernel.covariances(rows, tasks[:0], 3, torch.tensor([0, 600])).shape == (0, 2, 6, 1)
"""


def test_the_kernel_multiplies_maps_as_torch_does():
    pytest.importorskip("triton")
    switch = {"TRITON_INTERPRET": "1", "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", KERNEL]
    done = subprocess.run(command, cwd=ROOT, env=switch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_features_of_maps_are_the_same_in_both_forms():
    made = torch.randn((2, 6, 9, 10), generator=torch.Generator().manual_seed(0))
    channels, scales = torch.tensor([0, 2, 5]), torch.tensor([0.5, 1, 2])
    for given_maps in (made, made.to(memory_format=torch.channels_last)):
        for kept, each in ((channels, scales), (torch.arange(6), torch.ones(6))):
            mine, theirs = (form.unit_maps(given_maps, kept, each, 1e-10) for form in (maps, on_gpu))
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
        for mine, theirs in zip(maps.centred_maps(given_maps), on_gpu.centred_maps(given_maps), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
        np.testing.assert_allclose(maps.centred_maps(given_maps)[2], made.double().var((2, 3), correction=0), rtol=1e-5)
        window = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        mine, theirs = (form.pooled_squares(given_maps, window, 2, 1, 1e-12) for form in (maps, on_gpu))
        assert mine.shape == (2, 6, 5, 5)
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


# ---- launches and waits: tensors without numbers, for which any wait is an error


@pytest.fixture
def waits(monkeypatch):
    """How often numbers were asked back from the device."""
    asked = []

    def cpu(values):
        asked.append(values.device)
        return torch.zeros(values.shape, dtype=values.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    return asked


@pytest.mark.parametrize("n_units", [1, 8])
def test_a_block_of_lpips_is_a_few_launches_and_one_wait(n_units, waits):
    tasks = np.random.default_rng(0).integers(0, 3200, (n_units, 20, 2 * (K + 1))).astype(np.int32)
    there, rows = judge("lpips-vgg", "meta", 224), torch.empty((3200, VGG), device="meta")
    with Counted() as counted:
        assert there.mean_margins(rows, tasks, K).shape == (n_units, 20)
    groups = -(-20 * n_units // (on_gpu.ROOM // (2 * VGG * 4)))
    assert counted.launches.count("_embedding_bag_forward_only") == groups
    assert len(counted.launches) + len(waits) <= LIMIT, counted.launches
    assert len(waits) == 1


def test_a_block_of_dists_is_a_few_launches_and_one_wait(waits, monkeypatch):
    def kernel(rows, tasks, k, edges):
        kernels.append(edges.device.type)
        return torch.empty((len(tasks), 2, 2 * k, len(edges) - 1), dtype=torch.float64, device=rows.device)

    kernels = []
    monkeypatch.setattr(dists, "_kernel", lambda device: kernel)
    tasks = np.random.default_rng(0).integers(0, 3200, (8, 20, 2 * (K + 1))).astype(np.int32)
    there = judge("dists", "meta", 224)
    rows = torch.empty((3200, int(there._edges(224)[-1]) + 2 * sum(dists.CHANNELS)), device="meta")
    assert there.mean_margins(rows, tasks, K).shape == (8, 20)
    waits.clear(), kernels.clear()
    with Counted() as counted:
        there.mean_margins(rows, tasks, K)
    assert kernels == ["meta"]
    assert len(counted.launches) + len(kernels) + len(waits) <= LIMIT, counted.launches
    assert len(waits) == 1


@pytest.mark.parametrize("name", ["lpips-alex", "dists"])
def test_filling_the_table_waits_for_nothing(name, waits):
    backend = given.opened(name, size=32, check=False)
    if name == "dists":
        vars(backend)["_levels"] = tuple(level.to("meta") for level in backend._levels)
    else:
        vars(backend)["_heads"] = [(channels.to("meta"), roots.to("meta")) for channels, roots in backend._heads]
    backend.model.to("meta")
    backend._device = "meta"
    assert backend._batch == features.BATCH_ON_GPU
    table, images = FeatureTable(given.N, backend._width, "meta"), np.arange(given.N, dtype=np.int32)
    assert table.slots(images, backend._batch, backend._write).tolist() == list(range(given.N))
    assert backend.forwards == given.N
    assert not waits


# ---- the table


def written(images, rows, slots):
    rows[slots] = torch.from_numpy(images).float()[:, None].expand(-1, rows.shape[1])


def test_the_table_keeps_what_was_used_last():
    table = FeatureTable(5, 2, "cpu")
    for asked, new in (([1, 2, 3], 3), ([2, 9], 1), ([4, 7], 2), ([9, 4, 3], 0), ([2, 1, 9, 4, 3], 1)):
        filled = []

        def write(images, rows, slots, filled=filled):
            filled.extend(images.tolist())
            written(images, rows, slots)

        found = table.slots(np.array(asked, dtype=np.int32), 2, write)
        assert table.rows[torch.from_numpy(found).long(), 0].tolist() == asked
        assert len(filled) == new


def test_an_image_that_cannot_be_read_is_not_held():
    def broken(images, rows, slots):
        if 4 in images:
            raise OSError("no picture")
        written(images, rows, slots)

    table = FeatureTable(4, 2, "cpu")
    table.slots(np.array([1, 2], dtype=np.int32), 8, written)
    with pytest.raises(OSError, match="no picture"):
        table.slots(np.array([3, 4, 5], dtype=np.int32), 1, broken)
    found = table.slots(np.array([3, 4, 5, 2], dtype=np.int32), 8, written)
    assert table.rows[torch.from_numpy(found).long(), 1].tolist() == [3, 4, 5, 2]


def test_rounds_hold_what_fits():
    tasks = np.array([[0, 1], [1, 2], [3, 4], [4, 3], [5, 6]], dtype=np.int32)
    assert list(rounds(tasks, 3)) == [(0, 2), (2, 4), (4, 5)]
    assert list(rounds(tasks[:0], 3)) == []
