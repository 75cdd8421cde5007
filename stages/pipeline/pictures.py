"""Pictures of a study: finding them, decoding them, and handing them out by row of the manifest."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.errors import ChangedInput, StudyError
from stages.pipeline.sources import SUFFIXES, Member, Source, shards
from stages.pipeline.tables import read_json, read_parquet

NO_PICTURE = "not a picture file"  # the beginning of a reason that counts nothing as broken
MEMBERS = "members.parquet"  # where in a tar file or data set each picture lies
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


@dataclass(frozen=True)
class Found:
    """One file of a folder: a row of the manifest, or the reason why it is none."""

    path: str
    label: str
    width: int = 0
    height: int = 0
    digest: str = ""
    reason: str = ""


def inspect(source: Source, member: Member) -> Found:
    """Read and fully decode one member of a source."""
    name = member.path
    if name.encode("utf-8", "replace") != os.fsencode(name):
        readable = name.encode("utf-8", "backslashreplace").decode()
        return Found(readable, "", reason="the name is not written in UTF-8; rename the file or its folder")
    if member.reason:
        return Found(name, member.label, reason=member.reason)
    if source.kind != "timm" and not name.lower().endswith(SUFFIXES):
        return Found(name, member.label, reason=f"{NO_PICTURE} ({', '.join(SUFFIXES)})")
    if source.kind == "folder" and source.root is not None and not (source.root / name).is_file():
        return Found(name, member.label, reason="no regular file (a broken link, a pipe or a device)")
    try:
        content = source.read(member)
    except OSError as error:
        return Found(name, member.label, reason=f"cannot be read ({error.strerror or error})")
    if not content:
        return Found(name, member.label, reason="empty file")
    try:
        height, width, _ = decode(content).shape
    except UnidentifiedImageError:
        return Found(name, member.label, reason="cannot be decoded (its content is no picture)")
    except Exception as error:  # a decoder may raise anything on broken data; the file and the reason are recorded
        text = " ".join(str(error).split())
        return Found(name, member.label, reason=f"cannot be decoded ({type(error).__name__}: {text})")
    return Found(name, member.label, width, height, hashlib.sha256(content).hexdigest())


def open_source(kind: str, root: str, reader: str = "", split: str = "") -> Source:
    """The source of a study; `root` is images.root, before which goes MIS_IMAGES. Raises StudyError if nothing is there."""
    place = os.environ.get("MIS_IMAGES") or root
    if not place:
        if kind == "timm":
            return Source(kind, None, reader, split)
        raise StudyError(
            f"images.source is {kind}, but neither the variable MIS_IMAGES nor images.root in params.yaml names one. "
            "For example: MIS_IMAGES=/path/to/pictures dvc repro"
        )
    path = Path(place).expanduser()
    setting = "the variable MIS_IMAGES" if os.environ.get("MIS_IMAGES") else "images.root in params.yaml"
    if kind == "folder" and not path.is_dir():
        raise StudyError(f"the image folder {place} does not exist or is no folder; correct {setting}")
    if kind != "folder" and not path.exists():
        raise StudyError(f"{place} does not exist; correct {setting}")
    return Source(kind, path, reader, split)


@dataclass(frozen=True)
class ImageSet:
    """Pictures of a finished `images` stage, by manifest row.

    quick: decode with torch's help, for stages that use torch anyway; the pixels are the same.
    """

    folder: Path
    root: str
    quick: bool = False

    @cached_property
    def manifest(self) -> pd.DataFrame:
        return read_parquet(self.folder / "manifest.parquet")

    @cached_property
    def digest(self) -> str:
        """Digest of all picture digests in order: changes when any picture, or their order, does."""
        return hashlib.sha256("".join(self.manifest["digest"]).encode()).hexdigest()

    @cached_property
    def factors(self) -> pd.DataFrame | None:
        """Factor table of generated scenes, None for photographs."""
        path = self.folder / "factors.parquet"
        return read_parquet(path) if path.is_file() else None

    @cached_property
    def _packed(self) -> NDArray[np.uint8] | None:
        path = self.folder / "pixels.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    @cached_property
    def source(self) -> Source:
        """Where the encoded pictures lie."""
        found = read_json(self.folder / "summary.json")
        return open_source(found["source"], self.root, found.get("reader", ""), found.get("split", ""))

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        """Fields of the members and the digests of their contents, by row."""
        path = self.folder / MEMBERS
        places = read_parquet(path, ["shard", "place", "size"]).to_dict("list") if path.is_file() else {}
        return {"path": self.manifest["path"].tolist(), **places, "digest": self.manifest["digest"].tolist()}

    def _member(self, row: int) -> Member:
        return Member(**{name: values[row] for name, values in self._columns.items() if name != "digest"})

    def __len__(self) -> int:
        return int(read_json(self.folder / "summary.json")["n"])

    def path(self, row: int) -> str:
        """Name of a picture in the manifest."""
        return str(self._columns["path"][row])

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3) of one picture.

        Raises StudyError if a file is not the one that the manifest describes.
        """
        if self._packed is not None:
            return np.asarray(self._packed[row])
        member, digest = self._member(row), self._columns["digest"][row]
        try:
            content = self.source.read(member)
        except (FileNotFoundError, IndexError):
            raise ChangedInput(f"{member.path} is gone from {_PLACES[self.source.kind]} since the manifest was written. "
                             f"{_REBUILD}") from None  # fmt: skip
        if hashlib.sha256(content).hexdigest() != digest:
            raise ChangedInput(
                f"{member.path} has changed since the manifest was written (its sha256 differs). {_REBUILD}"
            )
        return decode_quickly(content) if self.quick else decode(content)

    def thumbnail(self, row: int, size: int) -> Image.Image:
        """Centre square of a picture, `size` pixels wide."""
        return ImageOps.fit(Image.fromarray(self.pixels(row)), (size, size), Image.Resampling.LANCZOS)


_REBUILD = "Put it back, or take the pictures as they are now: dvc repro --force images && dvc repro"
_PLACES = {"folder": "the image folder", "tar": "the tar files", "timm": "the data set"}


def open_images(folder: str | os.PathLike[str], root: str = "", *, quick: bool = False) -> ImageSet:
    """Pictures described by an out of the `images` stage; `root` is images.root of the parameters."""
    return ImageSet(Path(folder), root, quick)


def check_unchanged(images: ImageSet) -> None:
    """Quick check before long work: every file of the manifest is there. `pixels` compares the digests."""
    if images._packed is not None or images.source.kind == "timm":
        return
    root = images.source.root
    assert root is not None
    if images.source.kind == "tar":
        there = {path.name if root.is_file() else path.relative_to(root).as_posix() for path in shards(root)}
        missing = sorted(set(images._columns["shard"]) - there)
        if missing and not root.is_file():
            raise ChangedInput(f"the tar file {missing[0]} is gone since the manifest was written. {_REBUILD}")
        return
    missing = [path for path in images._columns["path"] if not (root / path).is_file()]
    if missing:
        raise ChangedInput(
            f"{missing[0]} is gone from the image folder since the manifest was written ({len(missing)} of "
            f"{len(images)} pictures are). {_REBUILD}"
        )


def rows_in_batches(n: int, size: int) -> Sequence[NDArray[np.int32]]:
    """Manifest rows in fixed batches: part of the definition of the numbers, so never changed by workers or shards."""
    return [np.arange(start, min(start + size, n), dtype=np.int32) for start in range(0, n, size)]
