"""Encoded images as pixels."""

from __future__ import annotations

import functools
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

MODE_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
Image.MAX_IMAGE_PIXELS = 100_000_000  # Pillow refuses a picture of more than twice as many as a decompression bomb


def decode(content: bytes) -> NDArray[np.uint8]:
    """RGB pixels (height, width, 3) of an encoded picture: rotated as its EXIF says, alpha laid over white.

    16-bit grey is scaled to 8 bits, CMYK and palettes are converted. Raises an error for what is no whole picture.
    """
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        picture = ImageOps.exif_transpose(opened)
        if picture.mode in MODE_16_BIT:
            picture = Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return np.asarray(picture.convert("RGB"))


_FRAME, _SCAN, _APP1 = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDA, 0xE1  # markers of a JPEG


def is_plain_jpeg(content: bytes) -> bool:
    """Whether a picture is a JPEG in grey or in three components of 8 bits, without data (Exif, XMP) that may turn it."""
    place, frame = 2, False
    if content[:2] != b"\xff\xd8":
        return False
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4])
        if marker == _SCAN:
            return frame
        if marker == _APP1:
            return False
        if marker in _FRAME:
            frame = content[place + 4] == 8 and content[place + 9] in (1, 3)
        place += 2 + length
    return False


def decode_quickly(content: bytes) -> NDArray[np.uint8]:
    """The pixels of `decode`, for content that `decode` is known to read; plain JPEGs by torchvision, which takes less time."""
    if not (is_plain_jpeg(content) and _decoders_agree()):
        return decode(content)
    try:
        return _by_torchvision(content)
    except RuntimeError:  # torchvision refuses some flaws that Pillow passes over
        return decode(content)


def _by_torchvision(content: bytes) -> NDArray[np.uint8]:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    picture = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return picture.permute(1, 2, 0).numpy()


@functools.cache
def _decoders_agree() -> bool:
    """Whether both packages bring JPEG libraries that give the same pixels: tried on noise in every usual coding.

    False too for a torchvision without one: it is to leave in a later release, which only costs time here.
    """
    warnings.filterwarnings("ignore", "The image decoding and encoding capabilities of TorchVision")
    noise = np.random.default_rng(0).integers(256, size=(75, 101, 3), dtype=np.uint8)
    codings: list[tuple[str, dict[str, Any]]] = [("RGB", {"subsampling": each}) for each in (0, 1, 2)]
    codings += [("RGB", {"progressive": True}), ("RGB", {"keep_rgb": True}), ("L", {})]
    for mode, options in codings:
        file = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(file, "JPEG", quality=80, **options)
        content = file.getvalue()
        try:
            other = _by_torchvision(content)
        except (ImportError, RuntimeError):
            return False
        if not np.array_equal(other, decode(content)):
            return False
    return True
