"""Values of units over images from a table in CSV or Parquet, a block of units at a time, every number checked.

CSV: a header `k,a_1,...,a_n`, then a row a unit: its number and its n values, separated by commas. Parquet: a column of whole
numbers, `unit` or `k`, and a column `values` of lists of n numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds
from numpy.typing import NDArray

from interpretability.casts import fits
from study.errors import StudyError
from study.files import casts
from study.files.parquet_cells import is_parquet
from study.files.tables import opened_parquet

Block = tuple[NDArray[np.int64], NDArray[np.float32]]  # numbers of units (units,), values (units, images)

_VALUES = 1 << 22  # of a block: 16 MiB as float32
_BUFFER = 1 << 20  # bytes of a Parquet file read at once
_LONGEST = 1 << 26  # bytes of a line: more than a million values
_BOM = b"\xef\xbb\xbf"
_NUMBERS = ("unit", "k")


@dataclass(frozen=True)
class Blocks(ABC):
    """A table of values over n images, whose numbers of units are known and each of its own."""

    path: Path
    n: int
    numbers: NDArray[np.int64]

    @staticmethod
    @abstractmethod
    def numbers_of(path: Path, n: int) -> pd.Series:
        """The numbers of the units, by row, once the table has columns for n images."""

    @abstractmethod
    def read(self) -> Iterator[Block]:
        """The units of the table in its order, so many at a time that 2^22 values are in memory at most."""


def open_blocks(path: Path, n: int) -> Blocks:
    """A table of values over n images. Raises StudyError naming file, row, column and value, here or while blocks are read."""
    kind = _Parquet if is_parquet(path) else _Csv
    numbers = kind.numbers_of(path, n)
    if numbers.empty:
        raise StudyError(f"{path} has no units; it needs at least one row")
    second = numbers.duplicated()
    casts.refuse(path, numbers, second, "k", "the number of one unit alone; it stands in a row above, too")
    return kind(path, n, numbers.to_numpy())


def _right(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are finite, in float32 too."""
    right = np.isfinite(values)
    return right if values.dtype == np.float32 else right & fits(values, np.float32)


def _units_at_once(n: int) -> int:
    return max(1, _VALUES // n)


class _Csv(Blocks):
    @staticmethod
    def numbers_of(path: Path, n: int) -> pd.Series:
        with path.open("rb") as file:
            _check_header(path, _line(path, file, 1).removeprefix(_BOM), n)
            cells = {row: line.partition(b",")[0].decode("utf-8", "replace") for row, line in _rows(path, file)}
        found = pd.Series(cells, dtype="str")
        found.index = pd.Index(found.index.to_numpy(np.int64) - 2)  # as `rows_shown` counts
        return casts.whole(path, found, "k")

    def read(self) -> Iterator[Block]:
        most = _units_at_once(self.n)
        values = np.empty((min(most, len(self.numbers)), self.n), dtype=np.float32)
        filled = done = 0
        with self.path.open("rb") as file:
            _line(self.path, file, 1)
            for row, line in _rows(self.path, file):
                values[filled] = _values(self.path, row, line, self.n)
                filled += 1
                if filled == len(values) or done + filled == len(self.numbers):
                    yield self.numbers[done : done + filled], values[:filled]
                    done, filled = done + filled, 0


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Rows below the header with their number, the header being 1; blank ones count, but are not given."""
    row = 2
    while line := _line(path, file, row):
        if stripped := line.strip():
            yield row, stripped
        row += 1


def _line(path: Path, file: BinaryIO, row: int) -> bytes:
    line = file.readline(_LONGEST)
    if len(line) == _LONGEST:
        raise StudyError(f"{path}: row {row} has more than {_LONGEST >> 20} MiB; is this a table of CSV, a row a unit?")
    return line


def _check_header(path: Path, line: bytes, n: int) -> None:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise StudyError(
            f"{path}: the header is no text in UTF-8; save the table as CSV UTF-8, or as Parquet"
        ) from None
    names = [name.strip().removeprefix('"').removesuffix('"') for name in text.split(",")]
    if names[0] != "k":
        shown = ", ".join(names[:3])[:80]
        raise StudyError(
            f"{path}: the header begins with {shown!r}, it must be k,a_1,...,a_{n}, separated by commas: the number of a unit, "
            "and its value for each image"
        )
    if len(names) != n + 1:
        raise StudyError(
            f"{path} has {len(names) - 1:,} columns of values, but the study has {n:,} images; there must be one for each. A "
            "table over other images needs a study of these images"
        )
    wrong = [place for place, name in enumerate(names) if place and name != f"a_{place}"]
    if wrong:
        raise StudyError(
            f"{path}: column {wrong[0] + 1} of the header is {names[wrong[0]][:80]!r}, it must be a_{wrong[0]}"
        )


def _values(path: Path, row: int, line: bytes, n: int) -> NDArray[np.float32]:
    """The n values of a row, in float32."""
    cells = line.split(b",")[1:]
    if len(cells) != n:
        raise StudyError(
            f"{path}: row {row} has {len(cells):,} values, the header has {n:,}; a number has a point, no comma. Is the file "
            "cut off?"
        )
    try:
        if b"_" in line:  # which Python lets stand between digits
            raise ValueError
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.full(n, np.nan)
    if not (_right(values).all()):
        raise _bad_cell(path, row, cells)
    return values.astype(np.float32)


def _bad_cell(path: Path, row: int, cells: list[bytes]) -> StudyError:
    """The first cell of a row that is no finite number of float32."""
    allowed = f"a finite number, at most {np.finfo(np.float32).max:.3g} in size"
    for place, cell in enumerate(cells, start=1):
        text = cell.decode("utf-8", "replace").strip()
        try:
            number = np.nan if "_" in text else float(text)
        except ValueError:
            number = np.nan
        if not (_right(np.array(number))):
            return StudyError(f"{path}: row {row}: a_{place} is {text[:80]!r}, it must be {allowed}")
    raise AssertionError("a row was refused whose cells are all right")


class _Parquet(Blocks):
    @staticmethod
    def numbers_of(path: Path, n: int) -> pd.Series:
        with opened_parquet(path) as file:
            schema = file.schema_arrow
            name = _number_column(path, schema)
            kind = schema.field("values").type
            listed = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
            if not listed or not (kinds.is_floating(kind.value_type) or kinds.is_integer(kind.value_type)):
                raise StudyError(f"{path}: column values holds {kind}; it must hold lists of {n:,} numbers")
            column = file.read([name]).column(0)
        shown = pd.Series(["" if value is None else str(value) for value in column.to_pylist()], dtype="str")
        return casts.whole(path, shown, name)

    def read(self) -> Iterator[Block]:
        done = 0
        with opened_parquet(self.path, buffer=_BUFFER) as file:
            for batch in file.iter_batches(batch_size=_units_at_once(self.n), columns=["values"], use_threads=False):
                yield self.numbers[done : done + len(batch)], _matrix(self.path, done, batch.column(0), self.n)
                done += len(batch)


def _number_column(path: Path, schema: pa.Schema) -> str:
    names = [name for name in _NUMBERS if name in schema.names]
    doubled = {name for name in (*_NUMBERS, "values") if schema.names.count(name) > 1}
    if len(names) != 1 or "values" not in schema.names or doubled:
        raise StudyError(
            f"{path}: it has the columns {', '.join(schema.names)[:200]}; it must have unit (or k), whole numbers, and values, "
            "lists of numbers, each once"
        )
    if not kinds.is_integer(schema.field(names[0]).type):
        raise StudyError(f"{path}: column {names[0]} holds {schema.field(names[0]).type}; it must hold whole numbers")
    return names[0]


def _matrix(path: Path, first: int, lists: pa.Array, n: int) -> NDArray[np.float32]:
    """Lists of n numbers each as float32 (rows, n); `first` is the place of the first one in the file."""
    if lists.null_count:
        place = first + int(np.flatnonzero(lists.is_null().to_numpy(zero_copy_only=False))[0])
        raise StudyError(f"{path}: row {place + 2}: values is missing, it must be a list of {n:,} numbers")
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != n).any():
        place = int(np.flatnonzero(lengths != n)[0])
        raise StudyError(
            f"{path}: row {first + place + 2}: values has {lengths[place]:,} numbers, but the study has {n:,} images; there must "
            "be one for each"
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), n)
    bad = np.argwhere(~(_right(values)))
    if len(bad):
        row, column = bad[0]
        raise StudyError(
            f"{path}: row {first + row + 2}: number {column + 1} of values is {values[row, column]}, it must be finite, at most "
            f"{np.finfo(np.float32).max:.3g} in size"
        )
    return values.astype(np.float32, copy=False)
