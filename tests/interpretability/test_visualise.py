"""Pictures of units from one call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from interpretability import Capture, InputError, find_layers, visualise
from interpretability.networks.preprocessing import Preprocessing
from interpretability.schema import BEATS, BELOW, UNREACHABLE
from interpretability.visualisations.visualise import NOT_COMPARED
from tests.helpers.planted_pixels import scenes

SHOWN = {"crop": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
FEW = {"preprocessing": SHOWN, "n_images": 3, "steps": 16, "rate": 0.1}


class Natural:
    """Scenes by row."""

    def __init__(self, n=40):
        self.shown = scenes(n)[:, :, ::2, ::2].transpose(0, 2, 3, 1)

    def __len__(self):
        return len(self.shown)

    def pixels(self, row):
        return np.ascontiguousarray(self.shown[row])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 2, 3)
    )


@pytest.fixture(scope="module")
def made(network):
    return visualise(network, "3", [4, 1], Natural(), batch_size=16, **FEW)


def test_images_and_values_of_both_sides(network, made):
    assert made.images.shape == (2, 2, 3, 32, 32, 3)
    assert made.values.shape == (2, 2, 3)
    assert made.table[["unit", "side"]].values.tolist() == [[4, "max"], [4, "min"], [1, "max"], [1, "min"]]
    assert set(made.table["status"]) <= {BEATS, BELOW}
    layers = [each for each in find_layers(network.eval(), torch.zeros(3, 3, 32, 32)) if each.name == "3"]
    with Capture(network, layers, 100, "cpu") as capture:
        prepare = Preprocessing.parse(SHOWN, "here")
        read = capture(prepare.batch([*made.images.reshape(-1, 32, 32, 3)])).clone().numpy().reshape(2, 2, 3, 6)
        natural = capture(prepare.batch([Natural().pixels(row) for row in range(40)])).numpy()
    network.train()
    assert np.allclose(made.values, np.stack([read[0, ..., 4], read[1, ..., 1]]), rtol=1e-4, atol=1e-6)
    assert made.table["median"].iloc[0] == pytest.approx(np.median(natural[:, 4]), rel=1e-5)
    assert made.table["extreme"].tolist() == pytest.approx(
        [natural[:, 4].max(), natural[:, 4].min(), natural[:, 1].max(), natural[:, 1].min()], rel=1e-5
    )
    assert (made.values[:, 0].min(axis=1) > made.values[:, 1].max(axis=1)).all()


def test_the_network_comes_back_as_it_was(network, made):
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_units_and_seeds_are_each_their_own(network, made):
    alone = visualise(network, "3", [1], Natural(), **FEW)
    assert np.array_equal(alone.images[0], made.images[1])
    other = visualise(network, "3", [1], Natural(), seed=1, **FEW)
    assert not np.array_equal(other.images, alone.images)


def test_without_natural_images_nothing_is_compared(network):
    found = visualise(network, "3", [4], **FEW)
    assert found.table["status"].tolist() == [NOT_COMPARED] * 2
    assert found.table[["median", "extreme", "ratio_best", "kept_after_shift"]].isna().all(axis=None)
    assert found.values[0, 0].min() > found.values[0, 1].max()


def test_a_dead_unit_is_black_and_said_to_be_unreachable():
    dead = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    nn.init.constant_(dead[0].bias, -1e3)
    found = visualise(dead, "2", [0], **FEW)
    assert found.table["status"].tolist() == [UNREACHABLE] * 2
    assert not found.images.any()
    assert np.isnan(found.values).all()
    with pytest.raises(InputError, match=r"units names 0, which has the value .* for all images"):
        visualise(dead, "2", [0], Natural(), **FEW)


def test_a_place_without_a_listed_type_can_be_named(network):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.out_channels = 8

        def forward(self, batch):
            return batch.relu()

    found = visualise(nn.Sequential(network[0], Named(), network[3]), "1", [2], **FEW)
    assert found.table["layer"].tolist() == ["1", "1"]
