"""Contrast and sparseness of feature maps, histograms of values, and their relation to scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from interpretability import schema
from interpretability.analysis import histograms, map_correlations
from interpretability.networks.feature_maps import MapStatistics, contrast
from interpretability.networks.layers import find_layers


def test_contrast_of_a_map_by_hand():
    # 1 2      neighbours of 1: 2, 3, and two zeros outside: 1 + 2 + 1 + 1 = 5; of 2: 1, 4, 0, 0: 1 + 2 + 2 + 2 = 7
    # 3 4      of 3: 1, 4, 0, 0: 2 + 1 + 3 + 3 = 9; of 4: 2, 3, 0, 0: 2 + 1 + 4 + 4 = 11; mean (5 + 7 + 9 + 11) / 4 = 8
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert contrast(maps).tolist() == [[8.0, 0.0]]


class _Net(nn.Module):
    """A 1x1 convolution with two channels, x and -x, then a linear layer over its channels-last maps and a head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.token = nn.Linear(2, 2, bias=False)
        self.head = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
            self.token.weight.copy_(torch.eye(2))

    def forward(self, x):
        maps = self.token(self.conv(x).permute(0, 2, 3, 1))
        return self.head(maps.mean(dim=(1, 2)))


def test_statistics_add_up_over_batches_and_know_the_layout():
    model = _Net().eval()
    images = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 4.0]]], [[[-1.0, -1.0], [-1.0, -1.0]]]])
    layers = find_layers(model, images, layer_types=["Conv", "Linear"], drop_first_last=False)
    with MapStatistics(model, layers, 2, torch.device("cpu")) as measured:
        measured.add(images[:2])
        measured.add(images[2:])
    assert [layer.name for layer in layers] == ["conv", "token", "head"]
    found = pd.DataFrame(measured.means().T, columns=schema.MAP_STATISTICS)
    # contrast of x: 8; of the map with one 4: each of its two neighbours 4, itself 4 * 4 = 16, so 24 / 4 = 6; of minus
    # ones: two outside neighbours each, 2; mean 16 / 3. The same for -x, and in the channels-last layer.
    np.testing.assert_allclose(found["contrast"][:4], 16 / 3)
    # x is at most 0 at none, 3 / 4 and all positions; -x at all, all and none
    np.testing.assert_allclose(found["pixel_sparseness"][:4], [1.75 / 3, 2 / 3] * 2)
    np.testing.assert_allclose(found["channel_sparseness"][:4], [1 / 3, 2 / 3] * 2)
    # the head has one value an image: no contrast
    assert np.isnan(found["contrast"][4])


def units_with_maps(n=6):
    i = np.arange(n)
    maps = pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": i,
            "contrast": np.nan,
            "pixel_sparseness": i / 10,
            "channel_sparseness": 0.0,
        }
    )
    annotated = pd.DataFrame(
        {"model": "m", "layer": "l", "unit": i, "condition": "natural", "mis": i / 10, "his": 1 - i / 10}
    )
    return maps, pd.concat([annotated, annotated.assign(condition="hard85")])


def test_correlations_take_a_unit_once_and_leave_out_what_is_not_defined():
    units = map_correlations.map_units(*units_with_maps())
    assert len(units) == 6
    found = map_correlations.map_correlations(units, "b").set_index(["statistic", "backend"])
    assert found.loc[("pixel_sparseness", "human"), ["n_units", "spearman"]].tolist() == [6, -1.0]
    assert found.loc[("pixel_sparseness", "b"), "spearman"] == 1.0
    # vectors have no contrast; a statistic that never varies has no correlation
    assert found.loc[("contrast", "human"), "n_units"] == 0
    assert np.isnan(found.loc[("channel_sparseness", "human"), "spearman"])
    assert np.isnan(found.loc[("channel_sparseness", "human"), "p"])
    few = map_correlations.map_correlations(units.head(4), "b").set_index(["statistic", "backend"])
    row = few.loc[("pixel_sparseness", "human")]
    assert row["n_units"] == 4
    assert np.isnan([row["spearman"], row["p"]]).all()


def test_a_histogram_is_scaled_by_the_largest_value_and_its_shares_are_one():
    values = np.concatenate([np.linspace(-2, 2, 401), [4.0]])
    found = histograms.activation_histogram(values)
    assert found["share"].sum() == pytest.approx(1)
    assert found["low"].iloc[0] == -0.5
    assert found["high"].iloc[-1] == 1.0
    # the 402 values rise from -.5 to .5 in steps of .0025, the last is 1: percentile 5 is at place .05 * 401 = 20.05
    assert found["p5"].iloc[0] == pytest.approx(-0.5 + 0.0025 * 20.05)
    assert found["p95"].iloc[0] == pytest.approx(-0.5 + 0.0025 * 380.95)
    assert histograms.activation_histogram(np.zeros(5))["share"].sum() == 1


def test_peaks_are_counted():
    draw = np.random.default_rng(0)
    assert histograms.activation_histogram(draw.normal(size=20_000))["n_peaks"].iloc[0] == 1
    two = np.concatenate([draw.normal(-5, 1, 10_000), draw.normal(5, 1, 3000)])  # the lower one counts too
    assert histograms.activation_histogram(two)["n_peaks"].iloc[0] == 2
