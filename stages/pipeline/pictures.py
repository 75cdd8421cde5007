"""Pictures of a study: finding them, decoding them, and handing them out by row of the manifest."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.errors import StudyError
from stages.pipeline.tables import read_json, read_parquet

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
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


@dataclass(frozen=True)
class Found:
    """One file of a folder: a row of the manifest, or the reason why it is none."""

    path: str
    label: str
    width: int = 0
    height: int = 0
    digest: str = ""
    reason: str = ""


def list_folder(root: Path) -> list[str]:
    """Relative paths (with /) of all files at any depth, ordered by the sha256 of the path; hidden ones are left out.

    Links to folders are followed, except back to a folder that holds them.
    """
    names = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        above = {os.path.realpath(each) for each in (folder, *Path(folder).parents)}
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) not in above
        ]
        inside = Path(folder).relative_to(root)
        names += [(inside / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).hexdigest())


def inspect(root: Path, name: str) -> Found:
    """Read and fully decode one file. Its label is the name of the folder that holds it."""
    if name.encode("utf-8", "replace") != os.fsencode(name):
        readable = name.encode("utf-8", "backslashreplace").decode()
        return Found(readable, "", reason="the name is not written in UTF-8; rename the file or its folder")
    label = Path(name).parent.name
    if not name.lower().endswith(SUFFIXES):
        return Found(name, label, reason=f"not a picture file ({', '.join(SUFFIXES)})")
    if not (root / name).is_file():
        return Found(name, label, reason="no regular file (a broken link, a pipe or a device)")
    try:
        content = (root / name).read_bytes()
    except OSError as error:
        return Found(name, label, reason=f"cannot be read ({error.strerror})")
    if not content:
        return Found(name, label, reason="empty file")
    try:
        height, width, _ = decode(content).shape
    except UnidentifiedImageError:
        return Found(name, label, reason="cannot be decoded (its content is no picture)")
    except Exception as error:  # a decoder may raise anything on broken data; the file and the reason are recorded
        text = " ".join(str(error).split())
        return Found(name, label, reason=f"cannot be decoded ({type(error).__name__}: {text})")
    return Found(name, label, width, height, hashlib.sha256(content).hexdigest())


def images_root(root: str) -> Path:
    """Folder of the pictures: MIS_IMAGES, else images.root. Raises StudyError if there is none."""
    place = os.environ.get("MIS_IMAGES") or root
    if not place:
        raise StudyError(
            "images.source is folder, but neither the variable MIS_IMAGES nor images.root in params.yaml names one. "
            "For example: MIS_IMAGES=/path/to/pictures dvc repro"
        )
    folder = Path(place).expanduser()
    if not folder.is_dir():
        setting = "the variable MIS_IMAGES" if os.environ.get("MIS_IMAGES") else "images.root in params.yaml"
        raise StudyError(f"the image folder {place} does not exist or is no folder; correct {setting}")
    return folder


@dataclass(frozen=True)
class ImageSet:
    """Pictures of a finished `images` stage, by manifest row."""

    folder: Path
    root: str

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
    def _root(self) -> Path:
        return images_root(self.root)

    @cached_property
    def _entries(self) -> tuple[list[str], list[str]]:
        return self.manifest["path"].tolist(), self.manifest["digest"].tolist()

    def __len__(self) -> int:
        return int(read_json(self.folder / "summary.json")["n"])

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3) of one picture.

        Raises StudyError if a file is not the one that the manifest describes.
        """
        if self._packed is not None:
            return np.asarray(self._packed[row])
        path, digest = self._entries[0][row], self._entries[1][row]
        try:
            content = (self._root / path).read_bytes()
        except FileNotFoundError:
            raise StudyError(
                f"{path} is gone from the image folder since the manifest was written. {_REBUILD}"
            ) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise StudyError(f"{path} has changed since the manifest was written (its sha256 differs). {_REBUILD}")
        return decode(content)

    def thumbnail(self, row: int, size: int) -> Image.Image:
        """Centre square of a picture, `size` pixels wide."""
        return ImageOps.fit(Image.fromarray(self.pixels(row)), (size, size), Image.Resampling.LANCZOS)


_REBUILD = "Put it back, or take the folder as it is now: dvc repro --force images && dvc repro"


def open_images(folder: str | os.PathLike[str], root: str = "") -> ImageSet:
    """Pictures described by an out of the `images` stage; `root` is images.root of the parameters."""
    return ImageSet(Path(folder), root)


def check_unchanged(images: ImageSet) -> None:
    """Quick check before long work: every file of the manifest is there. `pixels` compares the digests."""
    if images._packed is not None:
        return
    missing = [path for path in images.manifest["path"] if not (images._root / path).is_file()]
    if missing:
        raise StudyError(
            f"{len(missing)} pictures of the manifest are gone from the image folder, {missing[0]} first. {_REBUILD}"
        )


def rows_in_batches(n: int, size: int) -> Sequence[NDArray[np.int32]]:
    """Manifest rows in fixed batches: part of the definition of the numbers, so never changed by workers or shards."""
    return [np.arange(start, min(start + size, n), dtype=np.int32) for start in range(0, n, size)]
