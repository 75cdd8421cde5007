"""Images as pixels: encoded ones, and those of a folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import threading
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from interpretability import arguments
from interpretability.colour import AS_IS, CHOICES, SRGB, Profile, read_profile, to_srgb
from interpretability.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Formats that are read, whatever the suffix. Of the others that Pillow knows, some take any bytes for a picture, and one runs
# a program on them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")
VERSION = 2  # of decoding; 1 took a transparent level of other than 8 bits for another one
_MOST_PIXELS = 100_000_000  # Pillow refuses an image of more than twice as many as a decompression bomb
_MOST_TEXT = (
    64 * 2**20
)  # bytes of one text or profile of a PNG, unpacked; Pillow's limit of one million is below real profiles
_MOST_LEVEL = 2**16 - 1
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_SCALES = {"L;2": 85, "L;4": 17}  # from levels of 2 and 4 bits to 8
_FINE = (*_SCALES, "I;16B", "RGB;16B")
_ORIENTATION = 0x0112  # of Exif
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Images(Protocol):
    """Images by row: how many there are, and the RGB pixels (height, width, 3) uint8 of each."""

    def __len__(self) -> int: ...

    def pixels(self, row: int, /) -> NDArray[np.uint8]: ...


class _Limits:
    """While any thread is inside, Pillow opens what is allowed here: its limits are one for all of a process, and put back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._usual = threading.Lock(), 0, (None, 0, False)

    @contextlib.contextmanager
    def __call__(self) -> Generator[None, None, None]:
        with self._lock:
            if not self._inside:
                self._usual = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES)
                self._set(_MOST_PIXELS, _MOST_TEXT, False)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._set(*self._usual)

    @staticmethod
    def _set(pixels: int | None, text: int, truncated: bool) -> None:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES = pixels, text, truncated


_limits = _Limits()


class ImageFolder:
    """The images of a folder and of the folders in it: len(), and pixels(row) -> (height, width, 3) uint8 RGB.

    path    folder; files that end in .jpg, .jpeg, .png or .webp count
    colour  as_is: the numbers of a picture count, whatever its colour profile, as for timm and torchvision; srgb: those of
            an embedded ICC profile are converted to sRGB

    Rows are ordered by the sha256 of a file's path in the folder, so that neighbours have nothing in common; `names` holds
    these paths. An image is decoded when it is asked for: rotated as its EXIF says, alpha laid over white, other colours
    converted; the first frame of an animation. A profile that cannot be applied is warned of, and ignored. Raises InputError
    for a folder that is not there or holds no image, and for a file that is no whole image.

    >>> import tempfile
    >>> from PIL import Image
    >>> from interpretability import ImageFolder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (4, 3), "red").save(f"{folder}/red.png")
    ...     images = ImageFolder(folder)
    ...     print(len(images), images.names, images.pixels(0).shape, images.pixels(0)[0, 0].tolist())
    1 ['red.png'] (3, 4, 3) [255, 0, 0]
    """

    def __init__(self, path: str | os.PathLike[str], *, colour: str = AS_IS) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise arguments.wrong(
                "path", "is of type {kind}; it must be the path of a folder", kind=type(path).__name__
            )
        if colour not in CHOICES:
            raise arguments.wrong(
                "colour", "is {given!r}; allowed: {choices}", given=colour, choices=", ".join(CHOICES)
            )
        self.path, self.colour = Path(path), colour
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
            picture = read_picture((self.path / self.names[row]).read_bytes(), self.colour, look=False)
        except Exception as error:  # a decoder may raise anything on broken data
            text = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.path / self.names[row]} cannot be read as an image ({text}); remove it") from None
        if picture.profile and picture.profile.problem:
            warnings.warn(
                f"{self.path / self.names[row]}: its colour profile cannot be applied ({picture.profile.problem}); its colours "
                "are taken as they are",
                stacklevel=2,
            )
        return picture.pixels


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


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and what was found beside its pixels.

    pixels          (height, width, 3) uint8 RGB
    several_frames  whether it is the first of several, as of an animation; the further ones of a camera's JPEG (previews,
                    the other eye) do not count
    odd_exif        whether its Exif data cannot be read, so that nothing says how to turn it
    fine_levels     whether a transparent level was given with other than 8 bits
    profile         the embedded colour profile, where one was asked for
    """

    pixels: NDArray[np.uint8]
    several_frames: bool = False
    odd_exif: bool = False
    fine_levels: bool = False
    profile: Profile | None = None


def decode(content: bytes, colour: str = AS_IS) -> NDArray[np.uint8]:
    """RGB pixels (height, width, 3) of an encoded picture: rotated as its EXIF says, alpha laid over white.

    The first frame of an animation. 16-bit grey is scaled to 8 bits, CMYK and palettes are converted. An embedded colour
    profile is ignored (`colour` as_is), as timm and torchvision do, or applied (srgb). Raises an error, of any kind, for what
    is no whole picture.
    """
    return read_picture(content, colour, look=False).pixels


def read_picture(content: bytes, colour: str = AS_IS, *, look: bool = True) -> Picture:
    """A picture decoded as `decode` does it, and what it is; `look` reads the colour profile even if it is not applied."""
    with _limits(), Image.open(io.BytesIO(content), formats=FORMATS) as file:
        several = _has_more(file)
        samples = str(file.tile[0][3]) if file.format == "PNG" and file.tile else ""
        file.load()
        turn, odd_exif = _turn(file)
        alpha, clear = _alpha(file, samples), file.info.pop("transparency", None)
        image, profile = _paint(_in_8_bits(file)), None
        content_of_profile = file.info.get("icc_profile")
        if content_of_profile and colour == SRGB:
            image, profile = to_srgb(image, content_of_profile)
        elif content_of_profile and look:
            profile = read_profile(content_of_profile, image.mode)
        image = image if image.mode == "RGB" else image.convert("RGB")
        if alpha is not None:
            image.putalpha(alpha)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        pixels = np.asarray(image if turn is None else image.transpose(turn))
        return Picture(pixels, several, odd_exif, clear is not None and samples in _FINE, profile)


def _has_more(file: Image.Image) -> bool:
    try:
        return bool(getattr(file, "is_animated", False)) and file.format != "MPO"
    except Exception:  # what lies behind the first frame may be anything; it is not read
        return True


def _turn(file: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """How a picture is to be turned, and whether that cannot be read."""
    try:
        exif = file.getexif()
        if _ORIENTATION not in exif and (content := file.info.get("exif")):
            Image.Exif().load(content)  # where opening has tried it in vain, it is not tried again
        return _TURNS.get(exif.get(_ORIENTATION, 1)), False
    except Exception:  # bytes of any kind may stand there; the pixels are whole without them
        return None, True


def _alpha(image: Image.Image, samples: str) -> Image.Image | None:
    """Opacity (mode L) of the pixels, None where all are opaque.

    A picture without alpha may call one level or colour transparent. `samples` says how a PNG holds its levels: such a level
    counts as the file has it, before it is scaled to 8 bits.
    """
    if image.mode in _WITH_ALPHA:
        return image.getchannel(len(image.getbands()) - 1)
    clear = image.info.get("transparency")
    if clear is None:
        return None
    if image.mode == "P":
        return image.convert("RGBA").getchannel("A")
    levels = np.asarray(image)
    if image.mode == "1":
        opaque = levels != bool(clear)
    elif image.mode == "RGB":
        opaque = (levels != [level >> 8 if samples in _FINE else level & 255 for level in clear]).any(axis=-1)
    else:
        opaque = levels != clear * _SCALES.get(samples, 1)
    return Image.fromarray(np.where(opaque, np.uint8(255), np.uint8(0)))


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits by their upper 8; pictures of 8 bits as they are."""
    if image.mode == "F":
        raise InputError(
            "its pixels are floating-point numbers, of which nobody says which is white; save it with 8 or 16 bits"
        )
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > _MOST_LEVEL:
        raise InputError(
            "its levels reach from {low} to {high}, but only 0 to {most} (16 bits) are read; save it with 8 or 16 bits",
            low=int(levels.min()),
            high=int(levels.max()),
            most=_MOST_LEVEL,
        )
    return Image.fromarray((levels >> 8).astype(np.uint8))


def _paint(image: Image.Image) -> Image.Image:
    """Pixels without alpha in one of the modes L, RGB and CMYK, which are those of colour profiles."""
    if image.mode in ("RGBa", "La"):  # colours that were multiplied by the alpha
        image = image.convert(image.mode.upper())
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")


# markers of a JPEG
_FRAME, _SCAN, _APP1, _APP2 = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDA, 0xE1, 0xE2


def is_plain_jpeg(content: bytes, colour: str = AS_IS) -> bool:
    """Whether an image is a JPEG in grey or in three components of 8 bits, without data that change its pixels: those that
    may turn it (Exif, XMP) and, where it counts, a colour profile.
    """
    start, frame = 2, False
    if content[:2] != b"\xff\xd8":
        return False
    while start + 10 <= len(content) and content[start] == 0xFF:
        marker, length = content[start + 1], int.from_bytes(content[start + 2 : start + 4])
        if marker == _SCAN:
            return frame
        if marker == _APP1 or (marker == _APP2 and colour != AS_IS):
            return False
        if marker in _FRAME:
            frame = content[start + 4] == 8 and content[start + 9] in (1, 3)
        start += 2 + length
    return False


def decode_quickly(content: bytes, colour: str = AS_IS) -> NDArray[np.uint8]:
    """The pixels of `decode`, for content that `decode` is known to read; plain JPEGs by torchvision, which takes less time."""
    if not (is_plain_jpeg(content, colour) and _decoders_agree()):
        return decode(content, colour)
    try:
        return _by_torchvision(content)
    except RuntimeError:  # torchvision refuses some flaws that Pillow passes over
        return decode(content, colour)


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
