"""Small images of the page: every one is embedded once, in sheets that units share."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from study.report.page.views import data_uri

Thumbnail = Callable[[int, int], Image.Image]  # (row of the manifest, side in pixels) -> square image
SHEET = 2048  # pixels of a sheet's side: what every browser decodes
QUALITY = 80


@dataclass(frozen=True)
class Sheets:
    """Thumbnails of `images` (rows of the manifest, ascending): number i lies in sheet i // per_sheet, row by row."""

    images: tuple[int, ...]
    columns: int
    per_sheet: int
    uris: tuple[str, ...]


def make_sheets(images: Sequence[int], size: int, thumbnail: Thumbnail) -> Sheets:
    """Sheets of square thumbnails; `size` is a multiple of 16, so that no JPEG block spans two images."""
    rows = tuple(sorted({int(image) for image in images}))
    columns = SHEET // size
    per_sheet = columns * columns
    uris = tuple(
        _sheet(rows[start : start + per_sheet], size, columns, thumbnail) for start in range(0, len(rows), per_sheet)
    )
    return Sheets(rows, columns, per_sheet, uris)


def _sheet(images: Sequence[int], size: int, columns: int, thumbnail: Thumbnail) -> str:
    sheet = Image.new("RGB", (columns * size, -(-len(images) // columns) * size), "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.paste(_square(thumbnail, image, size), (column * size, row * size))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return data_uri(buffer.getvalue(), "image/jpeg")


def _square(thumbnail: Thumbnail, image: int, size: int) -> Image.Image:
    """Square thumbnail of exactly this size, whatever the source gives."""
    square = thumbnail(image, size).convert("RGB")
    return square if square.size == (size, size) else square.resize((size, size), Image.Resampling.BICUBIC)
