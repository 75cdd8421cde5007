"""What a network sees of a picture."""

import json
import math
import resource
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import v2

from interpretability.errors import InputError
from interpretability.networks import preprocessing
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


RIGHT = {"crop": 32, "resize": 40, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
WRONG = {
    "crop above resize": (
        {"resize": 20},
        'resize 20 is smaller than crop 32; take a larger resize, or write "mode": "border"',
    ),
    "interpolation": ({"interpolation": "lanczos"}, "interpolation is 'lanczos', allowed: bicubic, bilinear, nearest"),
    "interpolation, nearly": ({"interpolation": "Bicubic"}, "nearest, did you mean bicubic"),
    "interpolation, no text": ({"interpolation": 3}, "interpolation is 3, allowed: bicubic"),
    "mode": ({"mode": "stretch"}, "mode is 'stretch', allowed: center, border, squash"),
    "mode, British": ({"mode": "centre"}, "squash, did you mean center"),
    "mode, a list": ({"mode": ["center"]}, r"mode is \['center'\], allowed"),
    "unknown key": ({"size": 3}, "'size' is no key of it, did you mean resize"),
    "unknown key, far": ({"colour": 3}, "'colour' is no key of it; the keys are crop, resize, mean, std"),
    "capital key": ({"Crop": 32}, "'Crop' is no key of it, did you mean crop"),
    "crop as text": ({"crop": "32"}, "crop is '32', it must be a whole number of pixels from 1 to 4096"),
    "crop true": ({"crop": True}, "crop is True, it must be a whole number"),
    "resize true": ({"resize": True}, "resize is True, it must be a whole number"),
    "crop false": ({"crop": False}, "crop is False, it must be a whole number"),
    "crop null": ({"crop": None}, "crop is None, it must be a whole number"),
    "crop with a fraction": ({"crop": 32.5}, "crop is 32.5, it must be a whole number"),
    "crop as a float": ({"crop": 32.0}, "crop is 32.0, it must be a whole number"),
    "crop of two sides": ({"crop": [32, 32]}, r"crop is \[32, 32\], it must be a whole number"),
    "crop 0": ({"crop": 0}, "crop is 0, it must be a whole number of pixels from 1"),
    "crop negative": ({"crop": -5}, "crop is -5, it must be"),
    "crop huge": ({"crop": 10**30, "resize": 16000}, r"crop is 10{30}, it must be"),
    "resize huge": ({"resize": 20000}, "resize is 20000, it must be a whole number of pixels from 1 to 16384"),
    "mean of letters": ({"mean": ["a", 0, 0]}, r"mean is \['a', 0, 0\], it must be a list of three finite numbers"),
    "mean of one": ({"mean": 0.5}, "mean is 0.5, it must be a list of three"),
    "mean of two": ({"mean": [0.5, 0.5]}, "it must be a list of three finite numbers, for red, green and blue"),
    "mean of four": ({"mean": [0.5] * 4}, "it must be a list of three"),
    "mean true": ({"mean": [True, 0.5, 0.5]}, r"mean is \[True, 0.5, 0.5\], it must be"),
    "mean null": ({"mean": None}, "mean is None, it must be"),
    "mean nan": ({"mean": [float("nan"), 0.5, 0.5]}, r"mean is \[nan, 0.5, 0.5\], it must be a list of three finite"),
    "mean infinite": ({"mean": [float("inf"), 0.5, 0.5]}, r"mean is \[inf, "),
    "mean beyond floats": ({"mean": [10**400, 0.5, 0.5]}, "it must be a list of three finite numbers"),
    "mean below 0": ({"mean": [-0.1, 0.5, 0.5]}, "its numbers must be from 0 to 1"),
    "mean of bytes": (
        {"mean": [123.675, 116.28, 103.53]},
        'for colours in 0..1; divide by 255, or write "scale": 255 if mean and std are for colours in 0..255',
    ),
    "mean beyond bytes": ({"mean": [300, 0, 0]}, "its numbers must be from 0 to 1[.]"),
    "std nan": ({"std": [0.5, float("nan"), 0.5]}, r"std is \[0.5, nan, 0.5\], it must be"),
    "std infinite": ({"std": [0.5, 0.5, float("inf")]}, r"std is \[0.5, 0.5, inf\], it must be"),
    "std 0": ({"std": [1, 0, 1]}, r"std is \[1, 0, 1\], its numbers must be from 0.001 to 1"),
    "std negative": ({"std": [-0.2, 0.2, 0.2]}, "its numbers must be from 0.001 to 1"),
    "std of bytes": ({"std": [58.395, 57.12, 57.375]}, r"from 0.001 to 1 for colours in 0..1; divide by 255"),
    "scale": ({"scale": 256}, r"scale is 256, allowed: 1 .*, 255"),
    "scale true": ({"scale": True}, "scale is True, allowed"),
    "scale as text": ({"scale": "255"}, "scale is '255', allowed"),
    "bytes that are none": ({"scale": 255}, r'must be from 0.255 to 255 for colours in 0..255, as "scale": 255 says'),
    "bytes beyond": ({"scale": 255, "mean": [256, 0, 0], "std": [1, 1, 1]}, "its numbers must be from 0 to 255 for"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    changes, message = WRONG[name]
    with pytest.raises(InputError, match=message) as told:
        given(**changes)
    assert str(told.value).startswith("row: preprocessing {")
    assert str(told.value).endswith('"std": [0.5, 0.5, 0.5]}'), "an example stands at the end"
    if all(math.isfinite(value) for value in changes.values() if isinstance(value, float)):
        with pytest.raises(InputError) as from_text:
            Preprocessing.parse(json.dumps({**RIGHT, **changes}), "row")
        assert str(from_text.value).partition("not understood")[2] == str(told.value).partition("not understood")[2]


@pytest.mark.parametrize("missing", RIGHT)
def test_a_key_that_is_missing_is_named(missing):
    with pytest.raises(InputError, match=rf"not understood: {missing} is missing\. Write JSON such as"):
        Preprocessing.parse({key: value for key, value in RIGHT.items() if key != missing}, "row")


def test_everything_wrong_is_told_at_once():
    with pytest.raises(InputError) as told:
        Preprocessing.parse('{"crop": true, "mean": [NaN, 0, 0], "std": [0.5, 0.5, Infinity], "Resize": 8}', "resnet")
    for part in ("resize is missing", "did you mean resize", "crop is True", "mean is [nan", "std is [0.5, 0.5, inf]"):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"crop": ', "it is no JSON"),
        ("", "it is no JSON"),
        ("[224]", "it is a JSON list, not an object with keys"),
        ("null", "it is a JSON NoneType, not an object"),
        ("224", "it is a JSON int, not an object"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"crop": ' + "9" * 5000 + "}", "it is no JSON"),
        ('{"crop": 224, "crop": 32}', "'crop' is given twice"),
        ("{'crop': 224}", "it is no JSON"),
        (b"{}", "it is of type bytes, not text or a mapping"),
        (None, "it is of type NoneType"),
        ({3: 4}, "3 is no key of it"),
    ],
)
def test_what_is_no_preprocessing_names_the_row_and_is_shown_in_short(text, message):
    with pytest.raises(InputError, match=message) as told:
        Preprocessing.parse(text, "resnet")
    assert str(told.value).startswith("resnet: preprocessing ")
    assert len(str(told.value)) < 700


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"std": [0.003921569] * 3}, {"std": (0.003921569,) * 3}),  # of networks for colours in 0..255
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"mode": "border", "resize": 20}, {"mode": "border", "resize": 20}),
        ({"mode": "squash", "resize": 1}, {"mode": "squash", "resize": 1}),
        ({"scale": 1}, {}),
        ({"scale": 255, "mean": [255, 0, 51], "std": [51, 1, 255]}, {"mean": (1, 0, 0.2), "std": (0.2, 1 / 255, 1)}),
        (
            {"crop": np.int64(8), "mean": np.full(3, 0.25), "std": (0.5,) * 3},
            {"crop": 8, "mean": (0.25,) * 3, "std": (0.5,) * 3},
        ),
    ],
)
def test_what_is_right_is_read(changes, found):
    read = given(**changes)
    assert read == replace(given(), **found)
    assert Preprocessing.parse(read.dumps(), "row") == read


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            '{"resize": 256, "crop": 224, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1.0, 0.5]}',
            '{"crop": 224, "interpolation": "bilinear", "mean": [0, 0, 0], "mode": "center", "resize": 256, '
            '"std": [1, 1.0, 0.5]}',
        ),
        (
            '{"resize": 8, "crop": 8, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "mode": "squash"}',
            '{"crop": 8, "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406], "mode": "squash", "resize": 8, '
            '"std": [0.229, 0.224, 0.225]}',
        ),
    ],
)
def test_numbers_are_written_as_they_were(text, written):
    assert Preprocessing.parse(text, "row").dumps() == written


# --------------------------------------------------------------------------- thin pictures


def shapes(n):
    """Pictures of noise, half of it black and white, wide and tall, with the settings to show them with."""
    rng = np.random.default_rng(0)
    for i in range(n):
        short = int(rng.integers(1, 50))
        size = (short, int(short * rng.uniform(1, 30)) + 1)
        resize = int(rng.integers(2, 80))
        mode, crop = (("center", rng.integers(1, resize + 1)), ("border", resize + rng.integers(1, 20)))[i % 2]
        pixels = rng.integers(0, 256, (*(size if rng.random() < 0.5 else size[::-1]), 3), dtype=np.uint8)
        pixels = pixels if rng.random() < 0.5 else np.where(pixels > 127, 255, 0).astype(np.uint8)
        yield pixels, Preprocessing(int(crop), resize, HALF, HALF, ("bicubic", "bilinear", "nearest")[i % 3], mode)


HALF = (0.5, 0.5, 0.5)


def test_what_is_made_of_a_part_is_what_a_crop_of_the_whole_shows(monkeypatch):
    apart = {"bicubic": 2, "bilinear": 1, "nearest": 0}  # grey levels; torch rounds its weights more
    n_equal = 0
    for pixels, view in shapes(600):
        monkeypatch.setattr(preprocessing, "LARGE", 2**25)
        whole = view.fit(pixels)
        monkeypatch.setattr(preprocessing, "LARGE", 0)
        part = view.fit(pixels)
        assert part.shape == whole.shape
        difference = (part.int() - whole.int()).abs().max().item()
        assert difference <= apart[view.interpolation], (pixels.shape, view)
        n_equal += difference == 0
    assert n_equal > 250


def test_pictures_of_usual_shapes_are_resized_as_a_whole(monkeypatch):
    monkeypatch.setattr(preprocessing, "part_of", None)
    view = Preprocessing(224, 256, HALF, HALF)
    for height, width in ((300, 400), (100, 5000), (40, 20_000), (20_000, 40), (3000, 4000)):
        assert view.fit(np.zeros((height, width, 3), dtype=np.uint8)).shape == (3, 224, 224)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("mode", ["center", "border", "squash"])
@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 1_000_000)])
def test_a_thin_picture_takes_little_memory(interpolation, mode, shape):
    view = Preprocessing(224, 200 if mode == "border" else 256, HALF, HALF, interpolation, mode)
    pixels = np.zeros((*shape, 3), dtype=np.uint8)
    middle = (shape[0] // 2, shape[1] // 2)
    pixels[middle] = 255
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = view.fit(pixels)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300, "megabytes"
    assert found.shape == (3, 224, 224)
    assert mode == "squash" or found.max() > 100, "the middle is shown, large"


def test_on_a_cpu_batches_lie_channels_last():
    view = Preprocessing(crop=8, resize=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    batch = view.batch([np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8) for i in range(2)])
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert not batch.is_contiguous()


def test_bytes_are_those_of_torchvision():
    for pixels, view in shapes(300):
        for given in (pixels, np.repeat(pixels, 2, axis=1)[:, ::2], _unwriteable(pixels)):
            image = torch.from_numpy(given.copy()).permute(2, 0, 1)
            size = [side * view.resize // min(image.shape[1:]) for side in image.shape[1:]]
            mode = v2.InterpolationMode(view.interpolation)
            expected = v2.functional.center_crop(
                v2.functional.resize(image, size, mode, antialias=True), [view.crop] * 2
            )
            assert torch.equal(view.fit(given), expected), (pixels.shape, view)
            np.testing.assert_array_equal(view.seen(given), expected.permute(1, 2, 0).numpy())


def _unwriteable(pixels):
    pixels = pixels.copy()
    pixels.flags.writeable = False
    return pixels


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(1, 5), (3, 224), (7, 32), (40, 64)])
def test_normalising_by_rows_gives_the_bits_of_the_plain_form(size, layout):
    (n, crop), view = size, Preprocessing(size[1], size[1], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stacked = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, crop, crop), dtype=np.uint8))
    levels = [torch.tensor(shares).view(3, 1, 1) * 255 for shares in (view.mean, view.std)]
    expected = stacked.float().sub(levels[0]).div(levels[1])
    assert torch.equal(view.normalised(stacked.contiguous(memory_format=layout)), expected)
