"""Pictures that people see: encoded anew, under names that tell neither their class nor their row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageOps

from interpretability.randomness import key64
from study.files.tables import write_csv
from study.images.made import Pictures
from study.images.manifest import ImageSet
from study.log import Progress, logger

log = logger("pictures")

SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}
QUALITY = 85  # of jpeg and webp where nobody names one
_PACKED_AGAIN = 1  # level of zlib of a png that is written again; Pillow writes others at 6
_FULL_COLOUR = 90  # JPEG quality from which colours keep the full resolution
_COLUMNS = ["file", "width", "height", "bytes", "sha256"]


def picture_problems(kind: str, quality: int | None) -> Iterator[str]:
    """What is wrong with a format and a quality, in the words of a command line."""
    if kind not in SUFFIX:
        yield f"--format is {kind}; it must be one of {', '.join(SUFFIX)}"
    if quality is not None and kind == "png":
        yield f"--quality is {quality}, but --format is png, which loses nothing; name jpeg or webp, or no quality"
    if quality is not None and not 1 <= quality <= 100:
        yield f"--quality is {quality}; it must be from 1 to 100"


@dataclass(frozen=True)
class Encoding:
    """How pictures are written.

    kind     png | jpeg | webp
    quality  1 to 100, of jpeg and webp. JPEG below 90 keeps a quarter of the colour samples (4:2:0), from 90 on all of them
    size     centre squares of at most this many pixels a side, as people saw them in IMI (224), never enlarged; 0: whole
    seed     of the study; names are keyed by it
    """

    kind: str
    quality: int
    size: int
    seed: int

    def file(self, row: int, *, again: bool = False) -> str:
        """Place of an image in the folder: 16 hex digits keyed by seed and row of the manifest; another one of the file that
        holds the picture `again`.

        Rows are sorted by path, so in a data set of classes a row tells the class, and that of a made image tells its unit. The
        key is no secret: who knows the seed and this code can compute the names, so a page that hides them (as `experiment`
        does) names its pictures anew.
        """
        what = "picture again" if again else "picture"
        return f"images/{key64('psychophysics', what, self.seed, int(row)):016x}.{SUFFIX[self.kind]}"

    def encode(self, image: Image.Image, *, again: bool = False) -> tuple[bytes, int, int]:
        """Bytes, width and height of the picture that is shown. No name, date, place or profile goes along.

        again  other bytes for the same look: the quality next to this one, or the same pixels packed otherwise
        """
        if self.size:
            side = min(self.size, *image.size)
            image = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
        options: dict[str, Any] = {}
        if self.kind != "png":
            options["quality"] = self.quality + (0 if not again else 1 if self.quality == 1 else -1)
        elif again:
            options["compress_level"] = _PACKED_AGAIN
        if self.kind == "jpeg":
            options["subsampling"] = 0 if self.quality >= _FULL_COLOUR else 2
        buffer = io.BytesIO()
        image.save(buffer, self.kind, **options)
        return buffer.getvalue(), *image.size


def write_pictures(
    folder: Path,
    images: ImageSet | Pictures,
    rows: Iterable[int],
    encoding: Encoding,
    *,
    again: Iterable[int] = (),
    paths: bool = False,
) -> None:
    """Write images as files of `folder`, those of `again` once more as files of their own, and images.csv: image (row of the
    manifest; made images follow its last row), path where `paths`, file, width, height, bytes, sha256; ordered by row.

    Files are written in the order of their names: times and places of files on the disk tell no order of rows either.
    """
    (folder / "images").mkdir()
    kinds = ((rows, False), (again, True))
    named = {
        encoding.file(row, again=twice): (row, twice) for each, twice in kinds for row in {int(row) for row in each}
    }
    progress = Progress(log, len(named), "pictures", every=5.0)
    written = []
    for file, (row, twice) in sorted(named.items()):
        content, width, height = encoding.encode(Image.fromarray(images.pixels(row)), again=twice)
        (folder / file).write_bytes(content)  # the folder as a whole is atomic
        digest = hashlib.sha256(content).hexdigest()
        written.append((row, images.path(row) if paths else "", file, width, height, len(content), digest))
        progress.step()
    table = pd.DataFrame(written, columns=["image", "path", *_COLUMNS]).sort_values("image", kind="stable")
    write_csv(folder / "images.csv", table[["image", *(["path"] if paths else []), *_COLUMNS]])
