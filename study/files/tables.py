"""Reading and writing tables: atomic, sorted by the caller, and the same bytes for the same content."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.files import atomic_path
from study.errors import StudyError
from study.files.cells import check_columns, read_cells
from study.files.json_files import parse_json


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_bytes(path, text.encode())


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """`csv_text` of a table as a file, whole or not at all."""
    write_text(path, csv_text(frame))


def csv_text(frame: pd.DataFrame) -> str:
    """CSV with header, six significant digits, Unix line ends; missing numbers are empty."""
    shown = frame.copy()
    for name in shown.columns[shown.dtypes == np.dtype(bool)]:
        shown[name] = shown[name].astype(int)
    for name in shown.columns[shown.dtypes == np.dtype(object)]:
        # pandas formats the floats of float columns only, not those beside empty text
        shown[name] = [
            f"{cell:.6g}" if isinstance(cell, float) and not math.isnan(cell) else cell for cell in shown[name]
        ]
    # the writer leaves a carriage return inside a cell bare, and readers would take it for the end of the row
    return shown.to_csv(index=False, float_format="%.6g", lineterminator="\n").replace("\r", "\\r")


def read_csv(path: str | os.PathLike[str], columns: Sequence[str] = (), text: Collection[str] = ()) -> pd.DataFrame:
    """CSV as a table. A column becomes numbers if all its filled cells are, except those named in `text`.

    Columns of names belong in `text`: a layer may be called 0.10 and a network 007. An empty cell is empty text, or a
    missing number. Tables that other programs wrote are read where they are certain (`read_cells`), and `rows_shown` says
    which row of the file a row is. Raises StudyError for a missing file, a row of another length, missing `columns`, and a
    comma in a number.
    """
    if not Path(path).is_file():
        what = "is a folder, not a table" if Path(path).is_dir() else "no such file"
        raise StudyError(f"{path}: {what}. If you gave its name, correct it; if a stage writes it, run `dvc repro`.")
    frame, separator = read_cells(path, {*columns, *text})
    for name in frame.columns.difference(list(text)):
        filled = frame[name][frame[name] != ""]
        if len(filled) and not pd.to_numeric(filled, errors="coerce").isna().any():
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
        elif separator != ",":
            _refuse_commas(path, filled)
    check_columns(path, list(frame.columns), columns)
    return frame


def rows_shown(table: pd.DataFrame | pd.Series) -> NDArray[np.int64]:
    """Rows of the file as a spreadsheet shows them, of a table that `read_csv` read or of any of its rows."""
    return table.index.to_numpy(np.int64) + 2


def _refuse_commas(path: str | os.PathLike[str], cells: pd.Series) -> None:
    """Refuse a column that holds numbers if a comma is read as a point: 1,234 may be either."""
    comma = cells.str.fullmatch(r"[+-]?\d+,\d+")
    if comma.any() and not pd.to_numeric(cells.where(~comma, "0"), errors="coerce").isna().any():
        raise StudyError(
            f"{path}: row {rows_shown(cells[comma])[0]}: {cells.name} is {cells[comma].iloc[0]!r}; a number has a point, no "
            "comma: 1,234 may be 1.234 or 1234. Replace the commas of this column"
        )


def write_parquet(path: str | os.PathLike[str], frame: pd.DataFrame, schema: pa.Schema | None = None) -> None:
    """Parquet without index and without library metadata, so that equal tables are equal bytes."""
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd")


def read_parquet(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Parquet as a table, or the named columns of it; text comes back as Python strings."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    with opened_parquet(path) as file:
        check_columns(path, file.schema_arrow.names, columns or ())
        table = file.read(columns=None if columns is None else list(columns))
        return table.replace_schema_metadata(None).to_pandas()  # without what pandas notes in files of its own


@contextmanager
def opened_parquet(path: str | os.PathLike[str], *, buffer: int = 0) -> Generator[pq.ParquetFile]:
    """A Parquet file to read from; what Arrow says of a damaged one becomes a StudyError.

    buffer: bytes read at once, for files of which a row group does not fit into memory; 0 reads row groups whole
    """
    try:
        with pq.ParquetFile(path, buffer_size=buffer, pre_buffer=not buffer) as file:
            yield file
    except StudyError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if getattr(error, "errno", None):  # the disk says so, not the content
            raise
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StudyError(
            f"{path} is no Parquet file, or damaged: {told}. Write or download it again, or run `dvc repro` if a stage writes it"
        ) from None


def list_column(frame_column: pd.Series, width: int, dtype: type = np.float32) -> np.ndarray:
    """A column of equally long lists as a matrix (rows, width)."""
    if len(frame_column) == 0:
        return np.empty((0, width), dtype=dtype)
    return np.stack(frame_column.to_numpy()).astype(dtype, copy=False)


def _plain(value: Any) -> Any:
    """JSON-ready copy: numpy scalars become numbers, floats six significant digits."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in JSON; leave the key out")
        return float(f"{value:.6g}")
    return value


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(_plain(content), sort_keys=True, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    return parse_json(path)


def copy_notes(folder: Path, names: Sequence[str], notes: Path | None) -> None:
    """Copies of a stage's small tables in a folder of their own, so that later stages need not fetch its large files."""
    if notes is None:
        return
    target = fresh_folder(notes)
    for name in names:
        write_bytes(target / name, (folder / name).read_bytes())


def fresh_folder(path: str | os.PathLike[str]) -> Path:
    """An empty folder at this path: an out of a stage never keeps files of an earlier run."""
    import shutil

    folder = Path(path)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
