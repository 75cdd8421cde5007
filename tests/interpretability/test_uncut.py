"""Pictures that are what a crop leaves: networks and similarities that crop others take them whole."""

import numpy as np
import pytest
import torch
from PIL import Image

from interpretability.networks.network import Network
from interpretability.networks.preprocessing import Preprocessing
from interpretability.similarity import registry
from interpretability.similarity.backends.dreamsim import DreamSim
from tests.helpers import random_weights as given

FULL, CROP = 64, 56  # as 256 and 224
BORDER = (FULL - CROP) // 2
PARTS = ("center", "border", "squash")


@pytest.fixture(scope="module")
def pictures():
    """Whole pictures, and behind them the centres of the same."""
    whole = list(given.pictures(FULL, 4))[:3]
    return whole, [picture[BORDER:-BORDER, BORDER:-BORDER].copy() for picture in whole]


class Both:
    def __init__(self, pictures):
        self._all = [*pictures[0], *pictures[1]]

    def __len__(self):
        return len(self._all)

    def pixels(self, row):
        return self._all[row]


def is_centre(row):
    return row >= 3


@pytest.mark.parametrize("mode", PARTS)
def test_a_network_sees_an_uncut_picture_as_it_is(pictures, mode):
    prepare = Preprocessing(CROP, FULL if mode == "center" else CROP - 8, (0.5,) * 3, (0.25,) * 3, mode=mode)
    centre = pictures[1][0]
    seen = prepare.fit(centre, uncut=True)
    np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), centre)
    batch = prepare.batch([pictures[0][0], centre], uncut=[False, True].__getitem__)
    torch.testing.assert_close(batch[1], prepare.normalised(seen[None])[0], rtol=0, atol=0)
    torch.testing.assert_close(batch[0], prepare.batch([pictures[0][0]])[0], rtol=0, atol=0)


def test_of_an_uncut_picture_of_another_size_nothing_is_cut_off(pictures):
    prepare = Preprocessing(CROP, FULL, (0.5,) * 3, (0.25,) * 3)
    large = np.kron(pictures[1][1], np.ones((2, 2, 1), dtype=np.uint8))
    seen = prepare.fit(large, uncut=True).permute(1, 2, 0).numpy().astype(float)
    assert np.abs(seen - pictures[1][1]).mean() < 2
    assert np.abs(prepare.fit(large).permute(1, 2, 0).numpy().astype(float) - pictures[1][1]).mean() > 5


class Blurred(torch.nn.Module):
    """Pictures at an eighth of their size, in the form of a timm network."""

    def forward_features(self, batch):
        return torch.nn.functional.avg_pool2d(batch, 8)

    def forward_head(self, features, pre_logits):
        return features


def encoder(images, **options):
    network = Network("net", Blurred(), Preprocessing(CROP, FULL, (0.5,) * 3, (0.25,) * 3), "0")
    return registry.create("encoder", images, network=network, **options)


def lpips(images, **options):
    return registry.create(
        "lpips-squeeze", images, weights=given.options()["weights"], size=CROP, check=False, **options
    )


@pytest.mark.parametrize("opened", [encoder, lpips])
def test_a_similarity_compares_an_uncut_picture_whole(pictures, opened):
    """The centre of a picture, uncut, is to it what the picture is: queries 0 and its centre tie, whatever explains."""
    task = np.array([[[1, 2, 0, 3]]], dtype=np.int32)
    assert opened(Both(pictures), uncut=is_centre).margins(task, 1)[0, 0] == pytest.approx(0, abs=1e-6)
    assert abs(opened(Both(pictures)).margins(task, 1)[0, 0]) > 1e-4


def test_dreamsim_shows_an_uncut_picture_whole(pictures):
    similarity = DreamSim("dreamsim", Both(pictures), uncut=is_centre)
    image = Image.fromarray(np.kron(pictures[1][0], np.ones((4, 4, 1), dtype=np.uint8)))
    assert image.size == (224, 224)
    np.testing.assert_array_equal(np.asarray(similarity.view(image, uncut=True)), np.asarray(image))
    assert not np.array_equal(np.asarray(similarity.view(image)), np.asarray(image))
    assert [similarity.is_uncut(row) for row in (0, 3)] == [False, True]
