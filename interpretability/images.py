"""Images as pixels: encoded ones, and those of a folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from interpretability import arguments
from interpretability.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MODE_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_MOST_PIXELS = 100_000_000  # Pillow refuses an image of more than twice as many as a decompression bomb
_opening = threading.Lock()


class Images(Protocol):
    """Images by row: how many there are, and the RGB pixels (height, width, 3) uint8 of each."""

    def __len__(self) -> int: ...

    def pixels(self, row: int, /) -> NDArray[np.uint8]: ...


@contextlib.contextmanager
def _most_pixels() -> Generator[None, None, None]:
    """Inside, Pillow opens images of the size that is allowed here. Its limit is one for all of a process: it is put back."""
    with _opening:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _MOST_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


class ImageFolder:
    """The images of a folder and of the folders in it: len(), and pixels(row) -> (height, width, 3) uint8 RGB.

    path   folder; files that end in .jpg, .jpeg, .png or .webp count

    Rows are ordered by the sha256 of a file's path in the folder, so that neighbours have nothing in common; `names` holds
    these paths. An image is decoded when it is asked for: rotated as its EXIF says, alpha laid over white, other colours
    converted. Raises InputError for a folder that is not there or holds no image, and for a file that is no whole image.

    >>> import tempfile
    >>> from PIL import Image
    >>> from interpretability import ImageFolder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (4, 3), "red").save(f"{folder}/red.png")
    ...     images = ImageFolder(folder)
    ...     print(len(images), images.names, images.pixels(0).shape, images.pixels(0)[0, 0].tolist())
    1 ['red.png'] (3, 4, 3) [255, 0, 0]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise arguments.wrong(
                "path", "is of type {kind}; it must be the path of a folder", kind=type(path).__name__
            )
        self.path = Path(path)
        if not self.path.is_dir():
            raise arguments.wrong("path", "is {given}, which is no folder", given=self.path)
        files = (file for file in self.path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        names = [file.relative_to(self.path).as_posix() for file in files]
        if not names:
            raise arguments.wrong(
                "path", "is {given}, which holds no image ({suffixes})", given=self.path, suffixes=", ".join(SUFFIXES)
            )
        self.names = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest())

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """Pixels (height, width, 3) of one image."""
        if not 0 <= row < len(self.names):
            raise arguments.wrong(
                "row", "is {given}; the folder holds {count} images", given=row, count=len(self.names)
            )
        try:
            return decode((self.path / self.names[row]).read_bytes())
        except Exception as error:  # a decoder may raise anything on broken data
            text = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.path / self.names[row]} cannot be read as an image ({text}); remove it") from None


def checked_pixels(pixels: object, row: int) -> NDArray[np.uint8]:
    """Pixels that an object of images gives for a row, if they are (height, width, 3) uint8."""
    array = np.asarray(pixels)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype != np.uint8:
        raise InputError(
            "pixels({row}) of {images} has shape {shape} and values of type {kind}; it must be (height, width, 3) uint8, "
            "RGB from 0 to 255",
            "images",
            row=row,
            shape=array.shape,
            kind=array.dtype,
        )
    return array


def decode(content: bytes) -> NDArray[np.uint8]:
    """RGB pixels (height, width, 3) of an encoded image: rotated as its EXIF says, alpha laid over white.

    16-bit grey is scaled to 8 bits, CMYK and palettes are converted. Raises an error for what is no whole image.
    """
    with _most_pixels():
        file = Image.open(io.BytesIO(content))
    with file:
        file.load()
        image = ImageOps.exif_transpose(file)
        if image.mode in MODE_16_BIT:
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return np.asarray(image.convert("RGB"))


_FRAME, _SCAN, _APP1 = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDA, 0xE1  # markers of a JPEG


def is_plain_jpeg(content: bytes) -> bool:
    """Whether an image is a JPEG in grey or in three components of 8 bits, without data (Exif, XMP) that may turn it."""
    start, frame = 2, False
    if content[:2] != b"\xff\xd8":
        return False
    while start + 10 <= len(content) and content[start] == 0xFF:
        marker, length = content[start + 1], int.from_bytes(content[start + 2 : start + 4])
        if marker == _SCAN:
            return frame
        if marker == _APP1:
            return False
        if marker in _FRAME:
            frame = content[start + 4] == 8 and content[start + 9] in (1, 3)
        start += 2 + length
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

    image: torch.Tensor = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)  # pyright: ignore[reportAssignmentType]
    return image.permute(1, 2, 0).numpy()


@functools.cache
def _decoders_agree() -> bool:
    """Whether both packages bring JPEG libraries that give the same pixels: tried on noise in every usual coding.

    False too for a torchvision without one: it is to leave in a later release, which only costs time here.
    """
    noise = np.random.default_rng(0).integers(256, size=(75, 101, 3), dtype=np.uint8)
    codings: list[tuple[str, dict[str, Any]]] = [("RGB", {"subsampling": kind}) for kind in (0, 1, 2)]
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
