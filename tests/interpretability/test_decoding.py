"""What the bytes of a picture become, whatever the mode: levels, transparency, metadata, frames and turns."""

import io
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from interpretability import images
from interpretability.errors import InputError
from interpretability.images import decode, decode_quickly, read_picture
from tests.conftest import encoded
from tests.helpers.pngs import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, png, samples

WHITE = 255
NOISE = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)


def clear(*levels):
    return chunk(b"tRNS", samples(*levels))


# Files of one row, and the grey levels (or colours) of its pixels.
ROWS = {
    "16 bits": (png([samples(1000, 40000, 65535)], 16, GREY), [3, 156, 255]),
    "16 bits, one level transparent": (png([samples(1000, 40000, 1000)], 16, GREY, clear(1000)), [WHITE, 156, WHITE]),
    "16 bits, neighbours of the transparent level": (
        png([samples(999, 1000, 1001)], 16, GREY, clear(1000)),
        [3, WHITE, 3],
    ),
    "8 bits, one level transparent": (png([bytes([7, 8, 255])], 8, GREY, clear(7)), [WHITE, 8, 255]),
    "4 bits": (png([b"\x0f\x5a"], 4, GREY), [0, 255, 85, 170]),
    "4 bits, one level transparent": (png([b"\x0f\x5a"], 4, GREY, clear(5)), [0, 255, WHITE, 170]),
    "2 bits, one level transparent": (png([b"\x1b"], 2, GREY, clear(1)), [0, WHITE, 170, 255]),
    "1 bit, black transparent": (png([b"\xa0"], 1, GREY, clear(0), width=4), [WHITE] * 4),
    "1 bit, white transparent": (png([b"\xa0"], 1, GREY, clear(1), width=4), [WHITE, 0, WHITE, 0]),
    "grey with alpha of 8 bits": (png([bytes([0, 0, 0, 255, 0, 128])], 8, GREY_ALPHA), [WHITE, 0, 127]),
    "grey with alpha of 16 bits": (png([samples(0, 0, 0, 65535, 51400, 65535)], 16, GREY_ALPHA), [WHITE, 0, 200]),
    "colours of 16 bits": (png([samples(65535, 0, 256, 0, 32768, 255)], 16, RGB), [[255, 0, 1], [0, 128, 0]]),
    "colours of 16 bits, one transparent": (
        png([samples(300, 0, 200, 300, 512, 200)], 16, RGB, clear(300, 0, 200)),
        [[WHITE] * 3, [1, 2, 0]],
    ),
    "colours of 8 bits, one transparent": (
        png([bytes([1, 2, 3, 1, 2, 4])], 8, RGB, clear(1, 2, 3)),
        [[WHITE] * 3, [1, 2, 4]],
    ),
    "colours with alpha of 16 bits": (
        png([samples(65535, 0, 0, 0, 65535, 0, 0, 65535)], 16, RGBA),
        [[WHITE] * 3, [255, 0, 0]],
    ),
    "a palette of 2 bits with opacities": (
        png([b"\x1b"], 2, PALETTE, chunk(b"PLTE", bytes(range(12))), chunk(b"tRNS", b"\x00\xff")),
        [[WHITE] * 3, [3, 4, 5], [6, 7, 8], [9, 10, 11]],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_levels_and_transparency_of_png(name):
    content, wanted = ROWS[name]
    found = decode(content)
    assert found.shape == (1, len(wanted), 3)
    np.testing.assert_array_equal(found[0], [level if isinstance(level, list) else [level] * 3 for level in wanted])
    np.testing.assert_array_equal(decode_quickly(content), found)


@pytest.mark.parametrize("name", ROWS)
def test_a_fine_transparent_level_is_noted(name):
    depths = {name.split(" bit")[0].rpartition(" ")[2]}
    assert read_picture(ROWS[name][0]).fine_levels == ("transparent" in name and depths <= {"2", "4", "16"})


# A colour in each mode that Pillow has, and what it is in RGB.
MODES = {
    "1": (1, [255] * 3),
    "L": (77, [77] * 3),
    "P": (0, [9, 8, 7]),
    "RGB": ((1, 2, 3), [1, 2, 3]),
    "RGBA": ((255, 0, 0, 128), [255, 127, 127]),
    "RGBa": ((128, 0, 0, 128), [255, 127, 127]),
    "RGBX": ((1, 2, 3, 4), [1, 2, 3]),
    "LA": ((0, 128), [127] * 3),
    "La": ((64, 128), [190] * 3),
    "PA": ((0, 0), [255] * 3),
    "CMYK": ((0, 255, 255, 0), [255, 0, 0]),
    "YCbCr": ((255, 128, 128), [255] * 3),
    "HSV": ((0, 255, 255), [255, 0, 0]),
    "LAB": ((255, 128, 128), [255] * 3),
    "I": (40000, [156] * 3),
    "I;16": (40000, [156] * 3),
    "I;16B": (40000, [156] * 3),
    "I;16L": (40000, [156] * 3),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_its_colours(mode, monkeypatch):
    given, wanted = MODES[mode]
    picture = Image.new(mode, (2, 2), given)
    if mode in ("P", "PA"):
        picture.putpalette([9, 8, 7])
    picture.format = None
    monkeypatch.setattr(images.Image, "open", lambda *_, **__: picture)  # no format holds them all
    np.testing.assert_allclose(decode(b"")[1, 1].astype(int), wanted, atol=1)


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.full((2, 2), 0.5, dtype=np.float32), "its pixels are floating-point numbers"),
        (np.full((2, 2), 70000, dtype=np.int32), "its levels reach from 70000 to 70000, but only 0 to 65535"),
        (np.full((2, 2), -1, dtype=np.int32), "its levels reach from -1 to -1, but only 0 to 65535"),
    ],
    ids=["floating point", "too large", "negative"],
)
def test_levels_that_would_be_narrowed_are_refused(pixels, told):
    with pytest.raises(InputError, match=told):
        decode(encoded(Image.fromarray(pixels), "TIFF"))


# --------------------------------------------------------------------------- metadata

PLAIN = encoded(Image.fromarray(NOISE))
LARGE = {
    "profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3_000_000))),
    "text": chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 3_000_000)),
    "international text": chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(b"a" * 3_000_000)),
}


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", LARGE)
def test_large_metadata_cost_no_picture(kind, place):
    at = 33 if place == "before" else len(PLAIN) - 12  # behind the header, or before the end
    np.testing.assert_array_equal(decode(PLAIN[:at] + LARGE[kind] + PLAIN[at:]), NOISE)


def test_metadata_are_bounded(monkeypatch):
    monkeypatch.setattr(images, "_MOST_TEXT", 2_000_000)
    with pytest.raises(ValueError, match="too large"):
        decode(PLAIN[:33] + LARGE["text"] + PLAIN[33:])


def test_limits_of_pillow_are_put_back_when_the_last_thread_is_done():
    usual = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES)
    inside, leave = threading.Barrier(5), threading.Event()

    def hold():
        with images._limits():
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    with images._limits():
        pass
    assert PngImagePlugin.MAX_TEXT_CHUNK == images._MOST_TEXT, "others are inside"
    leave.set()
    for thread in threads:
        thread.join()
    assert usual == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_cut_pictures_are_refused_whatever_others_allow(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises((OSError, SyntaxError)):
        decode(PLAIN[: len(PLAIN) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_costs_no_picture_but_is_noted(kind):
    image = Image.fromarray(NOISE)
    plain = encoded(image, kind)
    odd = encoded(image, kind, exif=b"Exif\0\0no such order of bytes")
    found = read_picture(odd)
    assert found.odd_exif
    assert not read_picture(plain).odd_exif
    np.testing.assert_array_equal(found.pixels, decode(plain))
    np.testing.assert_array_equal(decode_quickly(odd), found.pixels)


# --------------------------------------------------------------------------- frames and formats

COLOURS = ("red", "lime", "blue")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF", "MPO"])
def test_the_first_of_several_frames_is_the_picture(kind):
    frames = [Image.new("RGB", (16, 12), colour) for colour in COLOURS]
    options = {"PNG": {"default_image": False}, "WEBP": {"lossless": True}}.get(kind, {})
    whole = read_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.abs(whole.pixels[5, 5].astype(int) - [255, 0, 0]).max() <= 3
    assert whole.several_frames == (kind != "MPO"), "a camera's JPEG has previews"
    assert not read_picture(encoded(frames[0], "JPEG" if kind == "MPO" else kind)).several_frames


def test_a_broken_second_frame_costs_no_picture():
    frames = [Image.fromarray(np.roll(NOISE, shift)) for shift in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole, cut = read_picture(content), read_picture(content[: len(content) // 2])
    np.testing.assert_array_equal(cut.pixels, whole.pixels)
    assert cut.several_frames


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "PCX", "SGI"])
def test_formats_that_are_no_pictures_here_are_not_read(kind):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind)
    with pytest.raises(images.Image.UnidentifiedImageError):
        decode(buffer.getvalue())


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)], ids=["wide", "tall"])
def test_thin_pictures_are_read_as_they_are(size):
    pixels = np.random.default_rng(1).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(pixels))), pixels)
