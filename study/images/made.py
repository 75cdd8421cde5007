"""Images made to excite units, beside the natural ones of a study: their rows start where those of the manifest end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from interpretability.schema import MADE_SIDES
from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.images.manifest import ImageSet

IMAGES, UNITS, PIXELS, NOTE = "images.parquet", "units.parquet", "pixels", "run.json"
MAX, MIN = MADE_SIDES
IMAGE_SCHEMA = pa.schema(
    [
        ("image", pa.int32()),
        ("model", pa.string()),
        ("layer", pa.string()),
        ("unit", pa.int64()),
        ("side", pa.string()),
        ("seed_set", pa.int16()),
        ("position", pa.int16()),
        ("value", pa.float32()),
        ("diverse", pa.bool_()),
        ("digest", pa.string()),
    ]
)
UNIT_SCHEMA = pa.schema(
    [
        *(("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64())),
        *(("layer_type", pa.string()), ("layer_index", pa.int64()), ("depth", pa.float64())),
        *(("seed_set", pa.int16()), ("side", pa.string()), ("status", pa.string())),
        *((name, pa.float64()) for name in ("median", "extreme", "best", "weakest", "ratio_best", "ratio_weakest")),
        *((name, pa.float64()) for name in ("kept_after_shift", "start", "gradient", "weight")),
        *(
            ("passes", pa.int64()),
            ("stop_ratio", pa.float64()),
            ("alike", pa.float64()),
            ("position_bound", pa.bool_()),
            ("in_imi", pa.int64()),
        ),
    ]
)


@dataclass(frozen=True)
class MadeImages:
    """Images that a finished stage `visualisations` made, by number: the first one follows the last natural image."""

    folder: Path

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row an image, in their order: IMAGE_SCHEMA."""
        return read_parquet(self.folder / IMAGES)

    @cached_property
    def units(self) -> pd.DataFrame:
        """A row a unit, seed set and side, also of those of which no image could be made: UNIT_SCHEMA."""
        return read_parquet(self.folder / UNITS)

    @cached_property
    def _note(self) -> dict[str, object]:
        return read_json(self.folder / NOTE)

    @property
    def digest(self) -> str:
        """Digest of the pixels of all images in order."""
        return str(self._note["images"])

    @property
    def manifest(self) -> str:
        """Digest of the natural images beside which they were made."""
        return str(self._note["manifest"])

    @property
    def n_natural(self) -> int:
        """Number of the first made image."""
        return int(str(self._note["n_natural"]))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _places(self) -> tuple[list[str], list[int]]:
        """Of each image its model, and its place among those of this model."""
        models = self.table["model"]
        return models.tolist(), self.table.groupby(models, sort=False).cumcount().tolist()

    @cached_property
    def _opened(self) -> dict[str, NDArray[np.uint8]]:
        return {}

    def pixels(self, image: int) -> NDArray[np.uint8]:
        """RGB pixels (crop, crop, 3) of one image."""
        models, places = self._places
        row = self._row(image)
        if models[row] not in self._opened:
            self._opened[models[row]] = np.load(self.folder / PIXELS / f"{models[row]}.npy", mmap_mode="r")
        return np.asarray(self._opened[models[row]][places[row]])

    def path(self, image: int) -> str:
        """What an image is called: made/MODEL/LAYER/UNIT/SIDE/SEED SET/POSITION."""
        row = self.table.iloc[self._row(image)]
        return f"made/{row['model']}/{row['layer']}/{row['unit']}/{row['side']}/{row['seed_set']}/{row['position']}"

    def _row(self, image: int) -> int:
        row = int(image) - self.n_natural
        if not 0 <= row < len(self):
            raise IndexError(
                f"image {image} was not made: {self.folder} holds {len(self)}, the first is {self.n_natural}"
            )
        return row


def digest_of(pixels: NDArray[np.uint8]) -> str:
    """Digest of the pixels of one image."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def made_digest(digests: Sequence[str]) -> str:
    """Digest of all made images, from theirs in order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def open_made(folder: str | os.PathLike[str] | None, images: ImageSet) -> MadeImages | None:
    """The images that the stage `visualisations` made beside these natural ones; None where it made none, or for no folder.

    Raises StudyError where they were made beside other natural images.
    """
    if folder is None:
        return None
    made = MadeImages(Path(folder))
    if made.manifest != images.digest or made.n_natural != len(images):
        raise StudyError(
            f"{folder} holds images that were made beside other pictures than {images.folder} holds; run `dvc repro`"
        )
    return made if len(made) else None


@dataclass(frozen=True)
class Pictures:
    """All images of a study that explanations may show: the natural ones by row of the manifest, and those made behind them."""

    images: ImageSet
    made: MadeImages | None = None

    @classmethod
    def open(cls, images: ImageSet, folder: str | os.PathLike[str] | None) -> Pictures:
        return cls(images, open_made(folder, images))

    def __len__(self) -> int:
        return self.n_natural + (len(self.made) if self.made is not None else 0)

    @property
    def n_natural(self) -> int:
        return len(self.images)

    def is_made(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.bool_]:
        """Whether each image was made."""
        return np.asarray(rows) >= self.n_natural

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """RGB pixels (height, width, 3) of one image."""
        return self.images.pixels(row) if self.made is None or row < self.n_natural else self.made.pixels(row)

    def path(self, row: int) -> str:
        """Name of an image."""
        return self.images.path(row) if self.made is None or row < self.n_natural else self.made.path(row)

    @cached_property
    def digests(self) -> list[str]:
        """Digest of each image; equal ones are exact copies."""
        natural = self.images.manifest["digest"].tolist()
        return natural if self.made is None else [*natural, *self.made.table["digest"].tolist()]

    def thumbnail(self, row: int, size: int) -> Image.Image:
        """Centre square of an image, `size` pixels wide."""
        if self.made is None or row < self.n_natural:
            return self.images.thumbnail(row, size)
        return ImageOps.fit(Image.fromarray(self.made.pixels(row)), (size, size), Image.Resampling.LANCZOS)
