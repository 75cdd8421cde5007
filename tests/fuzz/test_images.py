"""Bytes of pictures: whole ones of many kinds that were damaged, and any bytes. Each is a picture, or has a reason why not."""

import itertools
import zlib

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from interpretability.colour import CHOICES
from interpretability.images import decode, decode_quickly
from study.errors import StudyError
from study.images.finding import inspect_file
from study.images.members import Member
from study.images.sources import Source
from tests.conftest import encoded
from tests.helpers import profiles
from tests.helpers.fuzzing import attempt, fuzzed
from tests.helpers.pngs import GREY, PALETTE, RGB, chunk, png, samples

PIXELS = np.random.default_rng(0).integers(256, size=(20, 24, 3), dtype=np.uint8)
FRAMES = [Image.fromarray(np.roll(PIXELS, shift)) for shift in range(3)]
MOVING = {"save_all": True, "append_images": FRAMES[1:]}
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "a description"
P3, INKS = profiles.rgb(profiles.P3), profiles.inks(range(100, 20, -5))
OPTIONS = {
    "PNG": [{}, {"icc_profile": P3}, {"exif": EXIF}, MOVING],
    "JPEG": [
        {},
        {"icc_profile": P3, "exif": EXIF},
        {"progressive": True, "quality": 30},
        {"subsampling": 2, "restart_marker_rows": 1},
    ],
    "WEBP": [{}, {"lossless": True, "icc_profile": P3}, {"exif": EXIF}, MOVING],
    "GIF": [{}, MOVING],
    "TIFF": [{}, {"compression": "tiff_lzw", "icc_profile": P3}, {"compression": "jpeg"}],
    "BMP": [{}],
    "AVIF": [{"exif": EXIF}],
    "JPEG2000": [{}],
    "PPM": [{}],
    "MPO": [MOVING],
}
WHOLE = [encoded(FRAMES[0], kind, **options) for kind, several in OPTIONS.items() for options in several]
WHOLE += [encoded(FRAMES[0].convert(mode)) for mode in ("L", "LA", "RGBA", "1", "P")]
WHOLE += [encoded(FRAMES[0].convert(mode), "JPEG", quality=80) for mode in ("L", "CMYK")]
WHOLE += [
    encoded(FRAMES[0].convert("CMYK"), "JPEG", icc_profile=INKS),
    encoded(Image.fromarray(PIXELS.astype(np.float32)[..., 0]), "TIFF"),
    encoded(Image.fromarray(PIXELS.astype(np.int32)[..., 0]), "TIFF"),
    png([samples(*range(9))] * 5, 16, GREY, chunk(b"tRNS", samples(3))),
    png([samples(*range(9))] * 5, 16, RGB, chunk(b"tRNS", samples(3, 4, 5))),
    png([bytes(6)] * 4, 2, PALETTE, chunk(b"PLTE", bytes(9)), chunk(b"tRNS", b"\0\x80")),
    png(
        [bytes(6)] * 4, 4, GREY, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'tiff:Orientation="5"'))
    ),
]
# Pillow warns of much that it passes over
pytestmark = pytest.mark.filterwarnings("ignore")
SUFFIX = itertools.cycle(["a.jpg", "b.png", "c.webp"])


@pytest.fixture(scope="module", autouse=True)
def _few_pixels():
    """A limit of pixels so low that a claim to have them is seen to be bounded by it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interpretability.images._MOST_PIXELS", 2_000_000)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


def tried(reader, folder, content, colour):
    """The picture, as the stage of images takes it: it may have a reason, but raises nothing."""
    name = next(SUFFIX)
    (folder / name).write_bytes(content)

    def inspected():
        found = inspect_file(Source("folder", folder), Member(name), colour)
        if found.reason:
            assert "\n" not in found.reason
            assert len(found.reason) < 400
            raise StudyError(found.reason)
        return found

    if found := attempt(reader, inspected):
        pixels = decode(content, colour)
        assert pixels.shape == (found.height, found.width, 3)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(decode_quickly(content, colour), pixels)


@fuzzed(
    st.integers(0, len(WHOLE) - 1),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([None, None, 0, 1, 8]), st.binary(max_size=8)), max_size=4),
    st.sampled_from([None, None, None, 0.3, 0.99]),
    st.sampled_from(CHOICES),
)
def test_damaged_pictures(folder, index, patches, cut, colour):
    content = WHOLE[index]
    for where, gone, patch in patches:
        place = int(where * len(content))
        content = content[:place] + patch + content[place + (len(patch) if gone is None else gone) :]
    tried("pictures, damaged", folder, content[: None if cut is None else int(cut * len(content))], colour)


KINDS = [
    b"tRNS",
    b"PLTE",
    b"iCCP",
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"gAMA",
    b"pHYs",
    b"sRGB",
    b"IHDR",
    b"IDAT",
]
CONTENTS = st.binary(max_size=40) | st.binary(max_size=30).map(lambda text: b"key\0\0" + zlib.compress(text * 1000))
PLAIN = [png([bytes(9)] * 4, depth, kind) for depth, kind in ((8, GREY), (16, GREY), (8, RGB), (1, GREY), (4, PALETTE))]


@fuzzed(
    st.integers(0, len(PLAIN) - 1),
    st.lists(st.tuples(st.sampled_from(KINDS), CONTENTS, st.booleans()), min_size=1, max_size=4),
    st.sampled_from(CHOICES),
)
def test_pngs_with_any_chunks(folder, index, chunks, colour):
    content = PLAIN[index]
    for kind, text, early in chunks:
        place = 33 if early else len(content) - 12
        content = content[:place] + chunk(kind, text) + content[place:]
    tried("pictures, PNG of any chunks", folder, content, colour)


HEADS = [
    b"",
    b"Exif\0\0MM\0*\0\0\0\x08",
    b"Exif\0\0II*\0\x08\0\0\0",
    b"ICC_PROFILE\0\1\1",
    b"MPF\0MM\0*\0\0\0\x08",
    b"JFIF\0",
    b"Adobe\0",
]
HEADS += [b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"]
JPEGS = [encoded(FRAMES[0].convert(mode), "JPEG") for mode in ("RGB", "L", "CMYK")]


@fuzzed(
    st.integers(0, len(JPEGS) - 1),
    st.lists(
        st.tuples(st.integers(0xE0, 0xEF) | st.integers(0xC0, 0xFE), st.sampled_from(HEADS), st.binary(max_size=60)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(CHOICES),
)
def test_jpegs_with_any_segments(folder, index, segments, colour):
    extra = b"".join(
        bytes([0xFF, marker]) + (len(head + text) + 2).to_bytes(2, "big") + head + text
        for marker, head, text in segments
    )
    tried("pictures, JPEG of any segments", folder, JPEGS[index][:2] + extra + JPEGS[index][2:], colour)


@fuzzed(
    st.sampled_from([("RGB", P3), ("L", profiles.grey()), ("CMYK", INKS), ("RGB", profiles.BUILT_IN)]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=6),
)
def test_damaged_profiles(folder, given, patches):
    mode, profile = given
    for where, patch in patches:
        place = int(where * len(profile))
        profile = profile[:place] + patch + profile[place + len(patch) :]
    kind = "JPEG" if mode == "CMYK" else "PNG"
    tried("pictures, damaged profiles", folder, encoded(FRAMES[0].convert(mode), kind, icc_profile=profile), "srgb")


@fuzzed(st.sampled_from([b"", *(content[:12] for content in WHOLE)]), st.binary(max_size=300), st.sampled_from(CHOICES))
def test_any_bytes(folder, head, content, colour):
    tried("pictures, any bytes", folder, head + content, colour)
