"""What other programs and people say of concepts in images: presence, probabilities of a guide, and labels that are known.

A folder holds any number of tables, CSV or Parquet, with the columns text, image and probability (gold: label). An image goes by
its path as in the manifest, or by its row there. Parquet with numbers in number columns is read without turning them into text,
so that tables of many millions of rows fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from study.errors import StudyError
from study.explanations.images import Probing
from study.files import casts
from study.files.cells import check_columns, read_cells
from study.files.parquet_cells import is_parquet, parquet_cells
from study.files.tables import opened_parquet
from study.files.unread import tell_unread

PROBABILITY, LABEL = "probability", "label"
_IN_UNIT = "a number from 0 to 1"
_SUFFIXES = (".csv", ".parquet")
_ROW = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)


@dataclass(frozen=True)
class Said:
    """All rows of the tables of a folder, ordered by text, then image.

    folder  of the tables
    texts   that they speak of, sorted
    text    number in `texts`, image (row of the manifest), value and weight of each row, of equal length; weights are 1 but for
            gold whose table says otherwise
    """

    folder: Path
    texts: tuple[str, ...]
    text: NDArray[np.int64]
    image: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]

    def of(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Images and values of a text; none where nothing is said of it."""
        place = int(np.searchsorted(np.array(self.texts, dtype=object), text)) if self.texts else 0
        if place == len(self.texts) or self.texts[place] != text:
            return self.image[:0], self.value[:0]
        rows = slice(*np.searchsorted(self.text, [place, place + 1]))
        return self.image[rows], self.value[rows]


@dataclass(frozen=True)
class _Part:
    """Rows of one file; `row` is that which a spreadsheet shows."""

    path: Path
    texts: list[str]
    text: NDArray[np.int64]
    image: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    row: NDArray[np.int64]


def read_said(folder: Path, column: str, paths: Sequence[str]) -> Said:
    """The tables of a folder, whose values are in `column` (PROBABILITY or LABEL); a pair of text and image once over all files.

    paths: of all images of the study, by row of the manifest. Raises StudyError naming file, row and column for an empty text,
    an image that the study does not have, a probability outside [0, 1], a label other than 0 and 1, and a pair that stands twice.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
    tell_unread(folder, files, _SUFFIXES)
    rows = {path: row for row, path in enumerate(paths)}
    parts = [_part(path, column, rows) for path in files]
    texts = sorted({text for part in parts for text in part.texts})
    number = {text: place for place, text in enumerate(texts)}
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return Said(folder, (), none, none, np.empty(0), np.empty(0))
    text = np.concatenate(
        [np.array([number[each] for each in part.texts], dtype=np.int64)[part.text] for part in parts]
    )
    image = np.concatenate([part.image for part in parts])
    key = text * len(paths) + image
    order = np.argsort(key, kind="stable")
    doubled = np.flatnonzero(np.diff(key[order]) == 0)
    if len(doubled):
        # the second of the first pair in the order of the files
        place = doubled[np.argmin(order[doubled + 1])]
        _refuse_doubled(parts, int(order[place]), int(order[place + 1]), texts[text[order[place]]], column)
    value, weight = (np.concatenate(rows) for rows in zip(*((part.value, part.weight) for part in parts), strict=True))
    return Said(folder, tuple(texts), text[order], image[order], value[order], weight[order])


def _refuse_doubled(parts: Sequence[_Part], first: int, second: int, text: str, column: str) -> None:
    ends = np.cumsum([len(part.row) for part in parts])

    def place(number: int) -> tuple[Path, int]:
        index = int(np.searchsorted(ends, number, side="right"))
        part = parts[index]
        return part.path, int(part.row[number - ends[index] + len(part.row)])

    (here, row), (there, before) = place(second), place(first)
    raise StudyError(
        f"{here}: row {row}: text {text[:80]!r} and this image stand there already, in row {before} of {there.name}; each pair "
        f"has one {column}. Remove one of the rows"
    )


def _part(path: Path, column: str, rows: Mapping[str, int]) -> _Part:
    wanted, optional = ["text", "image", column], ["weight"] if column == LABEL else []
    typed = _typed(path, column) if is_parquet(path) else None
    if typed is not None:
        cells, every = typed, list(typed.columns)
    elif is_parquet(path):
        cells, every = parquet_cells(path, [*wanted, *optional])
    else:
        cells, _ = read_cells(path, [*wanted, *optional])
        every = list(cells.columns)
    check_columns(path, every, wanted)
    if extra := [name for name in every if name not in (*wanted, *optional)]:
        known = ", ".join([*wanted, *optional])
        raise StudyError(f"{path}: column {', '.join(extra)} is not known; it takes {known} and no other")
    if cells.empty:
        raise StudyError(f"{path} has no rows; remove it, or fill it")
    text, texts = pd.factorize(casts.phrases(path, cells["text"], "text"))
    image, value = images_of(path, cells["image"], rows), _values(path, cells[column], column)
    weight = _weights(path, cells["weight"]) if "weight" in cells.columns else np.ones(len(cells))
    shown = cells.index.to_numpy(np.int64) + 2
    return _Part(path, list(map(str, texts)), text.astype(np.int64), image, value, weight, shown)


def _typed(path: Path, column: str) -> pd.DataFrame | None:
    """A table whose text is text and whose other columns are numbers without gaps; None for any other, which is read as text."""
    with opened_parquet(path) as file:
        schema = file.schema_arrow
        if sorted(schema.names) != sorted(("text", "image", column)):
            return None
        kinds = {name: schema.field(name).type for name in schema.names}
        numbers = pa.types.is_integer(kinds["image"]) and (
            pa.types.is_floating(kinds[column]) or pa.types.is_integer(kinds[column])
        )
        if not numbers or not (pa.types.is_string(kinds["text"]) or pa.types.is_large_string(kinds["text"])):
            return None
        table = file.read()
        if any(each.null_count for each in table.columns):
            return None
        coded = table["text"].combine_chunks().dictionary_encode()
        text = pd.Categorical.from_codes(coded.indices.to_numpy(), coded.dictionary.to_pylist())
        return pd.DataFrame({"text": text, "image": table["image"].to_numpy(), column: table[column].to_numpy()})


def _values(path: Path, cells: pd.Series, name: str) -> NDArray[np.float64]:
    if cells.dtype.kind in "fiu":
        numbers = cells.to_numpy(np.float64)
    elif name == LABEL:
        return casts.truth(path, cells, name).to_numpy(np.float64)
    else:
        numbers = casts.numbers(path, cells, name, words=_IN_UNIT).to_numpy(np.float64)
    fits = ((numbers == 0) | (numbers == 1)) if name == LABEL else ((numbers >= 0) & (numbers <= 1))
    casts.refuse(path, cells, ~fits, name, "0 or 1" if name == LABEL else _IN_UNIT)  # NaN, too
    return numbers


def _weights(path: Path, cells: pd.Series) -> NDArray[np.float64]:
    """Weights of gold labels: 1 / probability that the image became one, up to a factor; 1 where empty."""
    numbers = casts.numbers(path, cells, "weight")
    casts.refuse(path, cells, numbers <= 0, "weight", "a number above 0, or empty")
    return numbers.fillna(1.0).to_numpy(np.float64)


def images_of(path: Path, cells: pd.Series, rows: Mapping[str, int]) -> NDArray[np.int64]:
    """Rows of the manifest that cells name by path or by number. A path goes before a number of the same spelling."""
    words = (
        f"an image of the study: its path as in data/images/manifest.parquet, or its row there, 0 to {len(rows) - 1}"
    )
    if cells.dtype.kind in "iu":
        numbers = cells.to_numpy()
        casts.refuse(path, cells, (numbers < 0) | (numbers >= len(rows)), "image", words)
        return numbers.astype(np.int64)
    codes, names = pd.factorize(cells)
    found = np.array([_image(str(name).strip(), rows) for name in names], dtype=np.int64)
    casts.refuse(path, cells, (found < 0)[codes], "image", words)
    return found[codes]


def _image(name: str, rows: Mapping[str, int]) -> int:
    """Row of the manifest; -1 for what is no image of the study."""
    row = rows.get(name)
    if row is not None:
        return row
    spelled = casts.id_of(name)
    return int(spelled) if _ROW.fullmatch(spelled) and int(spelled) < len(rows) else -1


def row_of(said: Said, concept: str, images: Probing, key: str) -> NDArray[np.float32]:
    """Values (n,) of a concept over the probing images.

    Raises StudyError for a concept that the tables lack, or say nothing of in some of the images; `key` is the parameter that
    asks for them.
    """
    image, value = said.of(concept)
    if not len(image):
        raise StudyError(
            f"{said.folder} has no row of the text {concept!r}, but {key} is file; give a value for every image, or choose "
            "another source"
        )
    place = images.places(image)
    row = np.full(len(images), np.nan, dtype=np.float32)
    row[place[place >= 0]] = value[place >= 0]
    missing = np.flatnonzero(np.isnan(row))
    if len(missing):
        raise StudyError(
            f"{said.folder}: text {concept!r} has no value for {len(missing)} of {len(images)} images, the first is row "
            f"{images.rows[missing[0]]} of data/images/manifest.parquet; give one for each, so that none is left out unsaid"
        )
    return row
