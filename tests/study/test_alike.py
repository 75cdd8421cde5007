"""Twins and neighbours: which units share their explanations, by hand and beside a slow count of sets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from study.report.page import alike
from study.report.page.listed_units import Listed

KEY = ["layer", "unit", "condition"]
N, K, IMAGES = 4, 3, 60


def tasks_of(rng, n):
    """Random tasks (n, N, 2 K + 2) without a picture twice in a unit."""
    order = np.stack([rng.permutation(IMAGES)[: N * (2 * K + 2)] for _ in range(n)])
    return order.reshape(n, N, 2 * K + 2).astype(np.int32)


def written(folder, tasks, layers=("a",), condition="natural", model="net"):
    """Tasks of a network in the files of the stage, and the list of its units."""
    a_layer = len(tasks) // len(layers)
    units = pd.DataFrame(
        {
            "model": model,
            "layer": np.repeat(layers, a_layer),
            "unit": np.tile(np.arange(a_layer), len(layers)),
            "condition": condition,
        }
    )
    np.save(folder / f"{model}.npy", tasks)
    units[KEY].to_parquet(folder / f"{model}.parquet")
    return Listed(units, np.zeros((len(tasks), N), np.float32), {}, {}, {}, len(tasks), len(tasks))


def sets(tasks):
    """Explanations of each unit as a set of (side, picture)."""
    return [
        {*(("most", i) for i in unit[:, :K].ravel()), *(("least", i) for i in unit[:, K:-2].ravel())} for unit in tasks
    ]


@pytest.mark.parametrize("dense", [alike.DENSE, 0])
def test_shares_are_those_of_sets(tmp_path, monkeypatch, dense):
    monkeypatch.setattr(alike, "DENSE", dense)
    monkeypatch.setattr(alike, "_BLOCK", 7)
    rng = np.random.default_rng(3)
    tasks = tasks_of(rng, 30)
    tasks[20:, :2] = tasks[:10, :2]  # half of their tasks are shared
    tasks[20:, 2:] = tasks[20:, :2]  # and pictures of theirs explain twice
    found = alike.find_alike(written(tmp_path, tasks), tmp_path)
    own = sets(tasks)
    shares = np.array([[len(a & b) / max(len(a), len(b)) for b in own] for a in own])
    np.fill_diagonal(shares, 0)
    assert found.twins == []
    for row in range(30):
        assert found.shares[row].tolist() == np.rint(1000 * np.sort(shares[row])[::-1][: alike.N_NEAR]).tolist()
        told = [other for other, share in zip(found.near[row], found.shares[row], strict=True) if share]
        assert [round(1000 * shares[row][other]) for other in told] == [share for share in found.shares[row] if share]
    assert found.near[25, 0] == 5


def test_the_same_picture_on_the_other_side_is_not_shared(tmp_path):
    tasks = np.arange(N * (2 * K + 2), dtype=np.int32).reshape(1, N, 2 * K + 2).repeat(2, axis=0)
    turned = tasks.copy()
    turned[1, :, :K], turned[1, :, K:-2] = tasks[1, :, K:-2], tasks[1, :, :K]
    assert alike.find_alike(written(tmp_path, tasks), tmp_path).twins == [[0, 1]]
    found = alike.find_alike(written(tmp_path, turned), tmp_path)
    assert found.twins == []
    assert found.shares.tolist() == [[0] * alike.N_NEAR] * 2


def test_twins_share_more_than_four_fifths_and_are_no_neighbours(tmp_path):
    rng = np.random.default_rng(4)
    tasks = np.concatenate([tasks_of(rng, 6), np.zeros((6, N, 2 * K + 2), np.int32)])
    tasks[6:] = tasks[:6]
    # of 24 explanations 19 (79 %) stay shared in the second layer's first unit, 20 (83 %) in its second one
    tasks[6, 0, :5] = 900 + np.arange(5)
    tasks[7, 0, :4] = 900 + np.arange(4)
    listed = written(tmp_path, tasks, layers=("conv", "norm"))
    found = alike.find_alike(listed, tmp_path)
    assert [sorted(group) for group in found.twins] == [[row, row + 6] for row in range(1, 6)]
    assert (found.near[0, 0], found.shares[0, 0]) == (6, 792)
    assert 7 not in found.near[1][found.shares[1] > 0]
    assert alike.twin_share(["net"], tmp_path) == pytest.approx(10 / 12)


def test_a_unit_that_is_there_twice_is_one_neighbour(tmp_path, monkeypatch):
    monkeypatch.setattr(alike, "N_NEAR", 2)
    rng = np.random.default_rng(8)
    tasks = tasks_of(rng, 6)
    # 1 and 2 are twins that share 2 / 3 with 0, the third share with 3 a half
    tasks[1, 0] = tasks[0, 0]
    tasks[2] = tasks[1]
    tasks[3, :, : K // 2] = tasks[0, :, : K // 2]
    found = alike.find_alike(written(tmp_path, tasks), tmp_path)
    assert found.twins == [[1, 2]]
    near = [other for other, share in zip(found.near[0], found.shares[0], strict=True) if share]
    assert near[:1] == [1]
    assert 2 not in near
    assert 3 in near


def test_any_two_of_a_group_are_alike():
    # 1 is like 0 and like 2, which are not alike: a chain is no group
    pairs = [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    assert alike.grouped([np.array(own) for own in pairs]) == [[0, 1], [2, 3]]
    assert alike.grouped([np.array([0]), np.array([1])]) == []


def test_harder_tasks_and_other_networks_are_left_out(tmp_path):
    tasks = tasks_of(np.random.default_rng(5), 4)
    tasks[2:] = tasks[:2]
    hard = written(tmp_path, tasks, condition="hard85")
    assert alike.find_alike(hard, tmp_path).twins == []
    assert math.isnan(alike.twin_share(["net"], tmp_path))
    first, second = (written(tmp_path, tasks[:2], model=name) for name in ("net", "other"))
    both = pd.concat([first.units, second.units], ignore_index=True)
    listed = Listed(both, np.zeros((4, N), np.float32), {}, {}, {}, 4, 4)
    assert alike.find_alike(listed, tmp_path).twins == []


def test_of_a_large_network_some_are_asked(tmp_path, monkeypatch):
    tasks = tasks_of(np.random.default_rng(6), 40)
    tasks[20:] = tasks[:20]
    written(tmp_path, tasks)
    monkeypatch.setattr(alike, "ASKED", 7)
    assert alike.twin_share(["net"], tmp_path) == 1
    tasks[20:] = tasks_of(np.random.default_rng(7), 20)
    written(tmp_path, tasks)
    assert alike.twin_share(["net"], tmp_path) == 0


@pytest.mark.parametrize("read", [1, 7, 1000])
def test_twins_are_found_however_many_units_are_read_at_once(tmp_path, monkeypatch, read):
    tasks = tasks_of(np.random.default_rng(9), 30)
    tasks[24:] = tasks[3:9]
    written(tmp_path, tasks)
    own = sets(tasks)
    twinned = [any(a is not b and len(a & b) / max(len(a), len(b)) > alike.TWIN for b in own) for a in own]
    monkeypatch.setattr(alike, "_READ", read)
    monkeypatch.setattr(alike, "_BLOCK", 4)
    assert alike.twin_share(["net"], tmp_path) == pytest.approx(np.mean(twinned))
