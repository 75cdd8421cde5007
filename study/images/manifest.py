"""Images of a finished study, handed out by row of the manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from interpretability.colour import AS_IS
from interpretability.images import decode, decode_quickly
from study.errors import ChangedInput
from study.files.tables import read_json, read_parquet
from study.images.members import Member
from study.images.sources import Source, open_source, shard_name, shards

MEMBERS = "members.parquet"  # where in a tar file or data set each image lies


@dataclass(frozen=True)
class ImageSet:
    """Images of a finished `images` stage, by manifest row.

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
        """Digest of all image digests in order: changes when any image, or their order, or how they are decoded does."""
        return set_digest(self.manifest["digest"].tolist(), self.summary)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What the stage says of its images as a whole."""
        return read_json(self.folder / "summary.json")

    @cached_property
    def factors(self) -> pd.DataFrame | None:
        """Factor table of generated scenes, None for photographs."""
        path = self.folder / "factors.parquet"
        return read_parquet(path) if path.is_file() else None

    @cached_property
    def packed(self) -> NDArray[np.uint8] | None:
        """Pixels of all images where the stage has drawn them, None for photographs."""
        path = self.folder / "pixels.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    @cached_property
    def source(self) -> Source:
        """Where the encoded images lie."""
        summary = self.summary
        return open_source(summary["source"], self.root, summary.get("reader", ""), summary.get("split", ""))

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Fields of the members and the digests of their contents, by row."""
        path = self.folder / MEMBERS
        members = read_parquet(path, ["shard", "place", "size"]).to_dict("list") if path.is_file() else {}
        fields = {str(name): values for name, values in members.items()}
        return {"path": self.manifest["path"].tolist(), **fields, "digest": self.manifest["digest"].tolist()}

    def _member(self, row: int) -> Member:
        return Member(**{name: values[row] for name, values in self.columns.items() if name != "digest"})

    def __len__(self) -> int:
        return int(self.summary["n"])

    def path(self, row: int) -> str:
        """Name of an image in the manifest."""
        return str(self.columns["path"][row])

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3) of one image.

        Raises StudyError if a file is not the one that the manifest describes.
        """
        if self.packed is not None:
            return np.asarray(self.packed[row])
        member, digest = self._member(row), self.columns["digest"][row]
        try:
            content = self.source.read(member)
        except (FileNotFoundError, IndexError):
            raise ChangedInput(
                f"{member.path} is gone from {_PLACES[self.source.kind]} since the manifest was written. {_REBUILD}"
            ) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise ChangedInput(
                f"{member.path} has changed since the manifest was written (its sha256 differs). {_REBUILD}"
            )
        return (decode_quickly if self.quick else decode)(content, self.summary.get("colour", AS_IS))

    def thumbnail(self, row: int, size: int) -> Image.Image:
        """Centre square of an image, `size` pixels wide."""
        return ImageOps.fit(Image.fromarray(self.pixels(row)), (size, size), Image.Resampling.LANCZOS)


def set_digest(digests: Sequence[str], summary: Mapping[str, Any]) -> str:
    """Digest of images in their order, and of what a summary says of their decoding where that changes pixels."""
    decoding = "".join(f" {key} {summary[key]}" for key in ("colour", "decoding") if key in summary)
    return hashlib.sha256(("".join(digests) + decoding).encode()).hexdigest()


_REBUILD = "Put it back, or take the pictures as they are now: dvc repro --force images && dvc repro"
_PLACES = {"folder": "the image folder", "tar": "the tar files", "timm": "the data set"}


def open_images(folder: str | os.PathLike[str], root: str = "", *, quick: bool = False) -> ImageSet:
    """Images described by an out of the `images` stage; `root` is images.root of the parameters."""
    return ImageSet(Path(folder), root, quick)


def check_unchanged(images: ImageSet) -> None:
    """Quick check before long work: every file of the manifest is there. `pixels` compares the digests."""
    if images.packed is not None or images.source.kind == "timm":
        return
    root = images.source.root
    assert root is not None
    if images.source.kind == "tar":
        there = {shard_name(path, root) for path in shards(root)}
        missing = sorted(set(images.columns["shard"]) - there)
        if missing and not root.is_file():
            raise ChangedInput(f"the tar file {missing[0]} is gone since the manifest was written. {_REBUILD}")
        return
    missing = [path for path in images.columns["path"] if not (root / path).is_file()]
    if missing:
        raise ChangedInput(
            f"{missing[0]} is gone from the image folder since the manifest was written ({len(missing)} of "
            f"{len(images)} pictures are). {_REBUILD}"
        )


def rows_in_batches(n: int, size: int) -> Sequence[NDArray[np.int32]]:
    """Manifest rows in fixed batches: part of the definition of the numbers, so never changed by workers or shards."""
    return [np.arange(start, min(start + size, n), dtype=np.int32) for start in range(0, n, size)]
