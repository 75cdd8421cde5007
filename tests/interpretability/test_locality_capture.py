"""Locality of the maps of units and latents from the pass that reads their values."""

import numpy as np
import pytest
import torch

from interpretability import Code, encode, find_layers
from interpretability.directions.readers import CodeReader, UnitReader
from interpretability.label_free.capture import LocalityCapture
from interpretability.networks.capture import Capture


@pytest.fixture
def network():
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 6, 3), torch.nn.Conv2d(6, 4, 1)
    return torch.nn.Sequential(*parts).eval()


def expected(maps):
    """Energy at the peak and participation of maps (images, positions, channels), one after the other."""
    found = np.full((2, maps.shape[0], maps.shape[2]), np.nan)
    for image in range(maps.shape[0]):
        for unit in range(maps.shape[2]):
            energy = maps[image, :, unit].double().numpy() ** 2
            if energy.sum():
                found[:, image, unit] = energy.max() / energy.sum(), energy.sum() ** 2 / (energy**2).sum() / len(energy)
    return found


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize(("activation", "k"), [("topk", 2), ("relu", 0), ("linear", 0)])
def test_values_are_those_of_a_plain_capture_and_places_those_of_the_codes(network, pooling, activation, k):
    images = torch.rand(7, 3, 20, 20)  # 256 positions a block hold less than one image, and 7 are no whole piece
    layers = find_layers(network, images[:3], drop_first_last=False)
    code = Code(encoder=torch.randn(9, 6), activation=activation, k=k)
    last = f"{layers[-1].name}"
    readers = {layers[1].name: CodeReader(code, pooling), last: UnitReader(4, pooling)}
    with Capture(network, layers, 7, "cpu", shortcut=False, readers=readers) as plain:
        values = plain(images).clone()
    with LocalityCapture(network, layers, 7, "cpu", readers=readers) as capture:
        assert torch.equal(capture(images), values)
    maps = []
    for module in (network[0], network[2], network[3]):
        module.register_forward_hook(lambda *given: maps.append(given[-1].flatten(2).transpose(1, 2)))
    with torch.no_grad():
        network(images)
    shown = [maps[0], encode(code, maps[1]), maps[2]]
    whole = np.concatenate([expected(part.detach()) for part in shown], axis=2)
    assert capture.local.shape == (2, 7, 5 + 9 + 4)
    np.testing.assert_allclose(capture.local.numpy(), whole, rtol=2e-4)


def test_batches_in_parts_give_the_same(network):
    images = torch.rand(6, 3, 12, 12)
    layers = find_layers(network, images[:3], drop_first_last=False)
    whole = LocalityCapture(network, layers, 6, "cpu")
    whole(images)
    parts = LocalityCapture(network, layers, 6, "cpu")
    parts.pieces = 3
    parts(images)
    torch.testing.assert_close(parts.local, whole.local)
