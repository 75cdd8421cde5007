"""Which networks share a pass, and which pass begins first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.extraction import grouping, ordering
from study.extraction.grouping import NetworkCost
from study.extraction.job import Extraction
from study.extraction.written import Written
from study.params.whole import load_params
from tests.helpers.rules import ROOT

GIGABYTE = 10**9


def test_networks_of_a_pass_fit_into_every_limit_together():
    views, sizes = list("aabaa"), [(3.0,), (3.0,), (1.0,), (9.0,), (2.0,)]
    assert ordering.grouped_by_view(views, 8, sizes, [6.0]) == [[0, 1], [3], [4, 2]], (
        "the one that is too large runs alone"
    )
    assert ordering.grouped_by_view(views, 8, sizes, [100.0]) == [[0, 1, 3, 4, 2]]
    assert ordering.grouped_by_view(views, 2, sizes, [100.0]) == [[0, 1], [3, 4], [2]]
    two = [(size, 10 - size) for (size,) in sizes]
    assert ordering.grouped_by_view(views, 8, two, [100.0, 9.0]) == [[0], [1, 3], [4], [2]]


def test_the_longest_pass_begins_first_and_equal_ones_as_they_come():
    assert ordering.longest_first([[0], [1, 2], [3], [4]], [2.0, 3.0, 1.0, 5.0, 4.0]) == [[3], [1, 2], [4], [0]]
    assert ordering.longest_first([[0], [1]], [1.0, ordering.UNKNOWN]) == [[1], [0]], "who knows how long it takes"


def extraction(name, preprocessing):
    row = {"name": name, "preprocessing": json.dumps(preprocessing)}
    return Extraction(row, load_params(ROOT / "params.yaml"), *([ROOT] * 4))


def cost(gflop, *, memory=1.0, beside=0):
    return NetworkCost("", 1, int(gflop * 1e9), 0, memory * GIGABYTE, 0, beside * GIGABYTE)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(grouping, "devices", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(grouping, "memory_budget", lambda: 4.0 * GIGABYTE)
    monkeypatch.setattr(grouping, "columns_budget", lambda: 3.0 * GIGABYTE)


def planned(costs, most=8):
    extractions = [extraction(str(index), {"crop": 224}) for index in range(len(costs))]
    return grouping.planned_passes(extractions, [False] * len(costs), most, costs)


def test_a_pass_of_several_networks_is_a_small_part_of_what_a_worker_does(two_gpus):
    # 48 of work, 24 a worker: a pass of several has at most 6
    assert planned([cost(gflop) for gflop in (1, 20, 4, 8, 2, 3, 1, 1, 8)]) == [[1], [3], [8], [5, 4, 0], [2], [6, 7]]


def test_kept_columns_limit_a_pass_beside_the_memory_of_its_gpu(two_gpus):
    few = [cost(0.001, memory=0.1, beside=beside) for beside in (2, 2, 1, 0)] + [cost(100, memory=0.1)]
    assert planned(few) == [[4], [1, 2, 3], [0]]
    assert planned([cost(0.001, memory=2), cost(0.001, memory=2), cost(0.001, memory=2), cost(100, memory=1)]) == [
        [3],
        [0, 1],
        [2],
    ]


def test_maps_and_batches_limit_a_pass_of_a_gpu(two_gpus, monkeypatch):
    monkeypatch.setenv("MIS_CUDA_GRAPHS", "on")
    small = [replace(cost(0.001, memory=0.1), maps=GIGABYTE, view="a", batch=GIGABYTE // 100) for _ in range(4)]
    last = [cost(100, memory=0.1)]
    # 2.1 GB once, .14 of each network: 4 of them fit into 4 GB, with twice the maps none beside another
    assert planned([*small, *last]) == [[4], [0, 1, 2, 3]]
    assert planned([*(replace(each, maps=2 * GIGABYTE) for each in small), *last]) == [[4], [0], [1], [2], [3]]
    monkeypatch.setenv("MIS_CUDA_GRAPHS", "off")
    assert planned([*(replace(each, maps=2 * GIGABYTE) for each in small), *last]) == [[4], [0, 1, 2, 3]]
    # 4 GB, of which compiling one of them takes 1.7
    monkeypatch.setenv("MIS_CUDA_GRAPHS", "on")
    assert planned([*(replace(each, ahead=17 * GIGABYTE // 10) for each in small), *last]) == [[4], [0], [1], [2], [3]]
    # 4 pinned buffers of 2^25 bytes for 2 * 10^7, .13 GB a view: two views fit into .3 GB beside the GPU
    monkeypatch.setenv("MIS_DECODERS", "2")
    monkeypatch.setattr(grouping, "columns_budget", lambda: 0.3 * GIGABYTE)
    apart = [replace(each, batch=GIGABYTE // 50, view=str(place)) for place, each in enumerate(small)]
    assert planned([*apart, *last]) == [[4], [0, 1], [2, 3]]
    together = [replace(each, batch=GIGABYTE // 50) for each in small]
    assert planned([*together, *last]) == [[4], [0, 1, 2, 3]]


def test_a_network_that_cannot_be_counted_begins_alone_and_first(two_gpus):
    unknown = NetworkCost("", reason="no idea")
    assert planned([cost(1), unknown, cost(1)])[0] == [1]


def test_without_costs_passes_come_as_the_roster_has_them():
    assert planned([]) == []
    extractions = [extraction(name, {"crop": crop}) for name, crop in (("a", 224), ("b", 256), ("c", 224))]
    assert grouping.planned_passes(extractions, [False, True, False], 8, []) == [[0, 2], [1]]


def test_written_numbers_are_those_of_convolutions_products_and_whole_attention():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.Linear(8, 24)

        def forward(self, x):
            tokens = self.norm(self.conv(x)).flatten(2).transpose(1, 2)  # 64 positions
            q, k, v = self.linear(tokens).chunk(3, dim=-1)
            return functional.scaled_dot_product_attention(q, k, v) @ v.transpose(1, 2)

    for device in ("cpu", "meta"):
        with torch.device(device), torch.no_grad():
            net, picture = Net().eval(), torch.zeros((1, 3, 32, 32))
            with Written() as written:
                net(picture)
        assert written.activations == 64 * (8 + 24 + 8 + 64), "not the 64 x 64 inside attention"


def test_maps_are_counted_for_as_long_as_they_live():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 10), nn.Linear(10, 10)

        def forward(self, x):
            x = self.first(x)  # 10 numbers of each of 8 rows
            y = self.second(x).relu_()  # 10 more, in place
            x = x + y  # 30 while it is made, then 20
            del y
            return self.second(x.view(4, 20).view(8, 10)).sum(), self.second.weight.t() + 1

    for device in ("cpu", "meta"):
        with torch.device(device), torch.no_grad():
            net, rows = Net(), torch.zeros((8, 4))
            with Written() as written:
                found = net(rows)
        assert written.peak == 4 * 8 * 30
        # the sum, and all of a weight made anew; its view is none
        assert written.alive == 4 * (1 + 100)
        del found
        assert written.alive == 0
