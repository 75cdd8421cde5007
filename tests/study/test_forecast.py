"""Who shares a pass, and what the plan says before anything runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from interpretability.errors import InputError
from interpretability.extremes.moments import Moments
from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.extremes.selection import Extremes
from stages import activations
from study.extraction import counting, forecast, grouping, pass_memory
from study.extraction.columns import IMAGES
from study.extraction.job import Extraction
from study.files import store
from study.log import in_words
from study.networks.roster import read_roster
from study.params.whole import load_params


def test_the_budget_is_that_of_the_variable_for_all_workers(monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(grouping, "ask_worker", lambda job: job.run())
    monkeypatch.setattr(grouping, "_free_memory", lambda: 80)
    assert grouping.memory_budget() == 20, "half of what is free, for two workers"
    assert grouping.columns_budget() == 20
    monkeypatch.setenv("MIS_MEMORY_GB", "3")
    assert grouping.memory_budget() == 1.5 * 2**30
    for wrong in ("0", "-1", "much", "nan"):
        monkeypatch.setenv("MIS_MEMORY_GB", wrong)
        with pytest.raises(InputError, match=r"MIS_MEMORY_GB is .*, it must be a number of gigabytes above 0"):
            grouping.memory_budget()


def test_the_planned_memory_is_that_of_the_arrays():
    units, k, batch = 300, 20, 16
    extremes, moments = Extremes(np.arange(units, dtype=np.uint64), k), Moments(units)
    extremes.update(np.random.default_rng(0).normal(size=(batch, units)).astype(np.float32), np.arange(batch))
    held = extremes._buffers.nbytes + moments.bins.nbytes + moments.nonpositive.nbytes + 4 * batch * units
    final = 2 * (k + 1) * 8 * units
    assert grouping.state_bytes(units, k, batch, on_device=False) == held + final
    there = DeviceSelection(np.arange(units, dtype=np.uint64), k, "cpu")
    there.update(torch.zeros((batch, units)), 0)
    tensors = [value for value in vars(there._held).values() if isinstance(value, torch.Tensor)]
    on_device = sum(value.nbytes for value in tensors if len(value) > 2 or value.ndim > 1) + 4 * batch * units
    assert grouping.state_bytes(units, k, batch, on_device=True) == on_device + final


def test_the_planned_files_have_the_size_of_those_that_are_written(finished_study):
    found = finished_study.folder / "activations" / "tiny.safetensors"
    planned = grouping.extremes_bytes(14, 20)
    assert 0 < found.stat().st_size - planned < 2500, "the header is not planned"


def test_counts_are_those_of_a_network_made_by_hand(study):
    # by hand: conv 3 -> 4 (3 x 3, padded) on 32 x 32, a norm, conv 4 -> 6 (1 x 1), mean, linear 6 -> 4
    study.code.mkdir()
    (study.code / "hand.py").write_text(
        "from torch import nn\n\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))\n"
    )
    preprocessing = json.dumps({"crop": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.5] * 3})
    row = {"name": "hand", "constructor": "hand:make", "kwargs": "", "taps": "", "directions": ""}
    row |= {"preprocessing": preprocessing}
    found = counting.CountJob(row, load_params(study.folder / "params.yaml").units, study.code).count()
    assert found["layers"] == [("BatchNorm", 1, 4), ("Conv", 1, 6)], "the first and the last layer are left out"
    assert found["n_units"] == 10
    assert found["n_params"] == (27 * 4 + 4) + 8 + (4 * 6 + 6) + (6 * 4 + 4)
    assert found["flops"] == 2 * (32 * 32 * (27 * 4 + 4 * 6) + 6 * 4)
    assert found["activations"] == 32 * 32 * (4 + 6) + 4
    assert found["map_bytes"] == 4 * 32 * 32 * (4 + 6), "what the second convolution reads and writes"
    assert found["input_size"] == 32


def run_plan(study, capsys):
    flags = study._flags("params.yaml", "images", "code", "models")
    activations.main([*flags, "--plan"])
    return capsys.readouterr().out


def test_the_plan_tells_what_would_run_and_computes_nothing(drawn_study, capsys, monkeypatch):
    drawn_study.params(activations__max_failed=1.0)
    drawn_study.roster(
        {"name": "net"},
        {"name": "other"},
        {"name": "chance", "constructor": "control:chance", "role": "control", "weights": "none"},
    )
    drawn_study.run_models()
    monkeypatch.setenv("MIS_WORKERS", "1")
    told = run_plan(drawn_study, capsys)
    assert "2 networks, 28 units, 60 images; 0 networks are in the store, 2 would run in 2 passes on 1 workers" in told
    assert "pictures decoded 120 times, forward passes 120" in told
    assert "time: about" in told
    assert "forward passes in float32" in told
    assert not (store.WorkStore.open().folder / "extremes").exists()
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "2")
    told = run_plan(drawn_study, capsys)
    assert "pass 1: 2 networks" in told
    assert "pictures decoded 60 times, forward passes 120" in told
    drawn_study.run_activations()
    told = run_plan(drawn_study, capsys)
    assert "found in the store: 2 networks" in told
    assert "0 would run in 0 passes" in told


def test_the_speed_is_that_of_the_precision(drawn_study, monkeypatch):
    drawn_study.params(activations__precision="bfloat16")
    drawn_study.roster({"name": "net"})
    drawn_study.run_models()
    seen, usual = [], torch.nn.Conv2d.forward

    def forward(self, batch):
        out = usual(self, batch)
        seen.append(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    [extraction] = extractions_of(drawn_study)
    cost = grouping.NetworkCost("net", flops=1_000_000, activations=2000)
    rates = forecast.SpeedJob(extraction, cost).run()
    assert set(seen) == {torch.bfloat16}
    assert min(rates.decode, rates.forward) > 0


def test_times_of_networks_follow_their_operations_and_on_a_gpu_their_activations(monkeypatch):
    rates = forecast.Rates(100.0, 2.0, grouping.NetworkCost("typical", flops=10**9, activations=10**6))
    other = grouping.NetworkCost("other", flops=3 * 10**9, activations=10**6)
    monkeypatch.setattr(forecast, "devices", lambda: ["cpu"])
    assert rates.seconds(other) == 6
    monkeypatch.setattr(forecast, "devices", lambda: ["cuda:0"])
    assert rates.seconds(other) == pytest.approx(2 * (3 + 1.4) / (1 + 1.4))
    assert rates.seconds(grouping.NetworkCost("unknown", reason="none")) == 0


def extractions_of(study):
    params = load_params(study.folder / "params.yaml")
    roster = read_roster(study.folder / "models" / "roster.csv").to_dict("records")
    folders = [study.folder / name for name in ("images", "models", "code", "out")]
    return [Extraction(row, params, *folders) for row in roster]


def test_columns_that_are_kept_are_planned(drawn_study, capsys, monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "1")
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "2")
    drawn_study.roster({"name": "net"}, {"name": "other"})
    drawn_study.run_models()
    assert "activations.keep" not in run_plan(drawn_study, capsys)
    drawn_study.params(activations__keep=["net/middle/*", "*/norm/0"])
    told = run_plan(drawn_study, capsys)
    # all 6 units of a layer of one network and one unit of both, 60 images, 4 bytes each
    assert "and 1.92 kB of the columns that activations.keep and texts name" in told
    extractions = extractions_of(drawn_study)
    costs = grouping.network_costs(extractions, 60)
    assert [cost.columns for cost in costs] == [7 * 60 * 4, 60 * 4]
    assert costs[0].memory - costs[1].memory == 2 * 6 * 60 * 4, "twice, while they are written"
    assert [cost.beside for cost in costs] == [0, 0]
    monkeypatch.setattr(grouping, "devices", lambda: ["cuda:0"])
    there = grouping.network_costs(extractions, 60)
    waiting = 4 * IMAGES
    assert there[0].memory - there[1].memory == 6 * waiting, "a GPU gathers them for one journey"
    # what is pinned comes in powers of 2: room for 7 columns is that for 8
    assert [cost.beside for cost in there] == [7 * 2 * 60 * 4 + 8 * waiting, 2 * 60 * 4 + waiting]


def test_what_a_pass_on_a_gpu_holds_is_that_of_its_parts():
    def need(memory, weights, maps, batch, view, beside=0):
        return grouping.NetworkCost(
            "", memory=memory, weights=weights, maps=maps, batch=batch, view=view, beside=beside
        )

    networks = [need(100, 20, 1000, 7, "a"), need(200, 30, 4000, 7, "a", beside=50), need(300, 40, 500, 9, "b")]
    held, views = 600 + 90, 7 + 9
    # two batches of bytes and one of float32 a view, and the maps of the network with the largest
    assert pass_memory.device_bytes(networks, graphs=False) == held + views * (2 + 4) + 4000
    # a pool as large, the batch that recordings read, and one a network until it is recorded
    assert pass_memory.device_bytes(networks, graphs=True) == held + views * (2 + 4 + 4) + 4 * (7 + 7 + 9) + 2 * 4000
    assert pass_memory.host_bytes(networks, 4) == 50 + 4 * (8 + 16), "7 and 9 bytes are pinned as 8 and 16"
    assert [pass_memory.pinned(size) for size in (0, 1, 2, 3, 4, 5, 1024, 1025)] == [0, 1, 2, 4, 4, 8, 1024, 2048]
    assert pass_memory.device_bytes([], graphs=True) == pass_memory.host_bytes([], 4) == 0
    # weights, and the batch as bytes and as float32, in a process of its own
    assert pass_memory.ahead_bytes(20, 7) == 2**29 + 20 + 7 + 28


def test_networks_are_counted_with_what_a_gpu_holds_of_them(drawn_study, monkeypatch):
    drawn_study.roster({"name": "net"}, {"name": "other"})
    drawn_study.run_models()
    extractions = extractions_of(drawn_study)
    settings, [here, _] = extractions[0].params.activations, grouping.network_costs(extractions, 60)
    assert (here.weights, here.maps, here.batch, here.ahead) == (0, 0, 0, 0)
    monkeypatch.setattr(grouping, "devices", lambda: ["cuda:0"])
    [there, _] = grouping.network_costs(extractions, 60)
    count = counting.CountJob(extractions[0].row, extractions[0].params.units, extractions[0].code).count()
    assert there.weights == 4 * count["n_params"]
    assert there.maps == settings.batch_size * count["map_bytes"]
    assert there.batch == settings.batch_size * 3 * count["input_size"] ** 2
    assert there.ahead == 0, "is not compiled"
    monkeypatch.setattr(grouping, "is_compiled", lambda extraction, n_images, kind: (n_images, kind) == (60, "cuda:0"))
    [there, _] = grouping.network_costs(extractions, 60)
    assert there.ahead == 2**29 + there.weights + 5 * there.batch


def test_windows_are_planned(drawn_study, capsys, monkeypatch):
    monkeypatch.setenv("MIS_WORKERS", "1")
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "2")
    drawn_study.roster({"name": "net"}, {"name": "other"})
    drawn_study.run_models()
    assert "activations.windows" not in run_plan(drawn_study, capsys)
    drawn_study.params(activations__windows=["net/hard85"], tasks__conditions=["natural", "hard85"])
    # two windows, which keep all of 60 images, of each of 14 units
    of_network = 14 * 2 * (61 * 8 + 32)
    assert f"and {in_words(of_network)} of memory for the windows of activations.windows" in run_plan(
        drawn_study, capsys
    )
    extractions = extractions_of(drawn_study)
    costs = grouping.network_costs(extractions, 60)
    assert [cost.windows for cost in costs] == [of_network, 0]
    assert costs[0].memory - costs[1].memory == 2 * of_network, "twice, while they are saved"
    monkeypatch.setattr(grouping, "devices", lambda: ["cuda:0"])
    there = grouping.network_costs(extractions, 60)
    waiting = 14 * 4 * IMAGES
    assert there[0].memory - there[1].memory == waiting, "values of all units gather for one journey"
    assert [cost.beside for cost in there] == [2 * of_network + 16 * 4 * IMAGES, 0], "14 units, pinned as 16"


def test_the_plan_warns_of_a_disk_that_is_too_small(drawn_study, capsys, monkeypatch):
    drawn_study.roster({"name": "net"})
    drawn_study.run_models()
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: usage)
    assert "That is more than is free: point MIS_STORE to a larger disk" in run_plan(drawn_study, capsys)
