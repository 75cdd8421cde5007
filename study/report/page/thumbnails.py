"""Small images of the page: every one is embedded once, in sheets that units share."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from interpretability import arguments

Thumbnail = Callable[[int, int], Image.Image]  # (row of the manifest, side in pixels) -> square image
SHEET = 1536  # pixels of a sheet's side: what every browser decodes, and about what the first screen and the first cards show
QUALITY = 60  # of WebP: a quarter fewer bytes than JPEG of quality 70, with less error
METHOD = 6  # the slowest of WebP, with the fewest bytes


@dataclass(frozen=True)
class Sheets:
    """Thumbnails of `images` (rows of the manifest): number i lies in sheet i // per_sheet, row by row."""

    images: tuple[int, ...]
    columns: int
    per_sheet: int
    uris: tuple[str, ...]


def make_sheets(first: Iterable[int], images: Iterable[int], size: int, thumbnail: Thumbnail) -> Sheets:
    """Sheets of square thumbnails: those that the page shows first in their order, then the other images in the manifest's.

    `size` is a multiple of 16, so that no block of WebP spans two images.
    """
    leading = dict.fromkeys(int(image) for image in first)
    rows = (*leading, *sorted({int(image) for image in images} - leading.keys()))
    columns = SHEET // size
    per_sheet = columns * columns
    uris: list[str] = []
    threads = arguments.threads(None)
    at_once = threads * per_sheet  # few sheets: one of pixels is ten times its file
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(rows), at_once):
            together = range(begin, min(begin + at_once, len(rows)), per_sheet)
            drawn = [_sheet(rows[start : start + per_sheet], size, columns, thumbnail) for start in together]
            uris += (f"data:image/webp;base64,{base64.b64encode(file).decode()}" for file in pool.map(encoded, drawn))
    return Sheets(rows, columns, per_sheet, tuple(uris))


def _sheet(images: Sequence[int], size: int, columns: int, thumbnail: Thumbnail) -> Image.Image:
    sheet = Image.new("RGB", (columns * size, -(-len(images) // columns) * size), "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.paste(_square(thumbnail, image, size), (column * size, row * size))
    return sheet


def encoded(sheet: Image.Image) -> bytes:
    """A sheet as WebP; the same bytes on every processor of a kind."""
    buffer = io.BytesIO()
    sheet.save(buffer, format="WEBP", quality=QUALITY, method=METHOD)
    return buffer.getvalue()


def _square(thumbnail: Thumbnail, image: int, size: int) -> Image.Image:
    """Square thumbnail of exactly this size, whatever the source gives."""
    square = thumbnail(image, size).convert("RGB")
    return square if square.size == (size, size) else square.resize((size, size), Image.Resampling.BICUBIC)
