"""What a network sees of a picture."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import v2

from interpretability.errors import InputError
from interpretability.networks.preprocessing import Preprocessing
from study.networks.building import resolve_preprocessing

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def given(**changes):
    return Preprocessing.parse(
        {"crop": 32, "resize": 40, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], **changes}, "row"
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_agrees_with_torchvision(interpolation):
    mode = v2.InterpolationMode(interpolation)
    steps = [
        v2.ToImage(),
        v2.Resize(40, mode, antialias=True),
        v2.CenterCrop(32),
        v2.ToDtype(torch.float32, scale=True),
    ]
    expected = v2.Compose([*steps, v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])])(PICTURE)
    torch.testing.assert_close(given(interpolation=interpolation).batch([PICTURE])[0], expected, atol=1e-5, rtol=1e-5)


def test_a_border_fills_up_what_is_smaller_than_the_crop():
    """As timm shows pictures to networks with a crop share above 1."""
    bordered = given(mode="border", resize=24)
    expected = create_transform(32, interpolation="bicubic", mean=bordered.mean, std=bordered.std, crop_pct=32 / 24)(
        Image.fromarray(PICTURE)
    )
    found = bordered.batch([PICTURE])[0]
    black = (0 - torch.tensor(bordered.mean)) / torch.tensor(bordered.std)
    for part in (np.s_[:, :4], np.s_[:, -4:]):
        torch.testing.assert_close(found[part], black[:, None, None].expand(3, 4, 32))
    # Pillow and torchvision resize alike to one level of 255
    torch.testing.assert_close(found, expected, atol=1.01 / 255 / 0.2, rtol=0)


def test_a_crop_share_above_one_is_shown_with_a_border():
    row = {"name": "volo", "constructor": "volo_d4_448.sail_in1k", "kwargs": ""}
    with torch.device("meta"):
        model = timm.create_model(row["constructor"])
    found = Preprocessing.parse(resolve_preprocessing(row, model), "row")
    assert (found.mode, found.crop, found.resize) == ("border", 448, 389)


def test_squash_keeps_the_whole_picture():
    marked = np.zeros((10, 40, 3), dtype=np.uint8)
    marked[:, -10:] = 255  # the right quarter, which a central crop of 10 would lose
    squashed = given(mode="squash", crop=8).fit(marked)
    assert squashed.shape == (3, 8, 8)
    assert squashed[:, :, -1].min() > 200


def test_pictures_of_the_right_size_pass_untouched():
    picture = PICTURE[:32, :32]
    expected = (torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    batch = given(resize=32, mean=[0.5] * 3, std=[0.5] * 3).batch([picture, picture])
    torch.testing.assert_close(batch[1], expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(batch[:1], given(resize=32, mean=[0.5] * 3, std=[0.5] * 3).batch([picture]))


def test_survives_json():
    assert Preprocessing.parse(given().dumps(), "row") == given()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize": 20}, "resize 20 is smaller than crop 32"),
        ({"interpolation": "lanczos"}, "allowed: bicubic, bilinear, nearest"),
        ({"mode": "stretch"}, "allowed: center, border, squash"),
        ({"std": [1, 0, 1]}, "std positive"),
        ({"size": 3}, "not understood"),
        ({"crop": "32"}, "crop and resize are whole numbers"),
        ({"mean": ["a", 0, 0]}, "lists of numbers"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        given(**changes)


def test_broken_json_names_the_row():
    with pytest.raises(InputError, match="resnet: preprocessing"):
        Preprocessing.parse('{"crop": ', "resnet")
    with pytest.raises(InputError, match="resnet: preprocessing"):
        Preprocessing.parse("[224]", "resnet")
    assert json.loads(given().dumps())["crop"] == 32


def test_on_a_cpu_batches_lie_channels_last():
    view = Preprocessing(crop=8, resize=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    batch = view.batch([np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8) for i in range(2)])
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert not batch.is_contiguous()
