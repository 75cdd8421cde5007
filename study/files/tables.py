"""Reading and writing tables: atomic, sorted by the caller, and the same bytes for the same content."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from interpretability.files import atomic_path
from study.errors import StudyError


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_bytes(path, text.encode())


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
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
    write_text(path, shown.to_csv(index=False, float_format="%.6g", lineterminator="\n").replace("\r", "\\r"))


def read_csv(path: str | os.PathLike[str], columns: Sequence[str] = (), text: Collection[str] = ()) -> pd.DataFrame:
    """CSV as a table. A column becomes numbers if all its filled cells are, except those named in `text`.

    Columns of names belong in `text`: a layer may be called 0.10 and a network 007. An empty cell is empty text, or a
    missing number. Raises StudyError for a missing file, a row of another length and missing `columns`.
    """
    if not Path(path).is_file():
        raise StudyError(
            f"{path}: no such file. If you gave its name, correct it; if a stage writes it, run `dvc repro`."
        )
    frame = _cells(path)
    for name in frame.columns.difference(list(text)):
        filled = frame[name][frame[name] != ""]
        if len(filled) and not pd.to_numeric(filled, errors="coerce").isna().any():
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise StudyError(f"{path}: column {', '.join(missing)} is missing; it has {', '.join(frame.columns)}.")
    return frame


def _cells(path: str | os.PathLike[str]) -> pd.DataFrame:
    """All cells of a CSV as text; blank lines are skipped."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no CSV in UTF-8: {error}") from None
    if not rows:
        raise StudyError(f"{path} is empty; it needs at least a header.")
    header, *body = rows
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise StudyError(f"{path}: the header names column {', '.join(doubled)} twice.")
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise StudyError(
                f"{path}: row {number} ({','.join(row)[:80]}) has {len(row)} cells, the header has {len(header)}. A cell "
                'with a comma or quote in it is written in quotes, and quotes inside are doubled: "{""num_classes"": 10}"'
            )
    return pd.DataFrame(body, columns=header, dtype="str")


def write_parquet(path: str | os.PathLike[str], frame: pd.DataFrame, schema: pa.Schema | None = None) -> None:
    """Parquet without index and without library metadata, so that equal tables are equal bytes."""
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd")


def read_parquet(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Parquet as a table, or the named columns of it; text comes back as Python strings."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    with pq.ParquetFile(path) as file:
        if columns is not None:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise StudyError(
                    f"{path}: column {', '.join(missing)} is missing; it has {', '.join(file.schema_arrow.names)}."
                )
        return file.read(columns=None if columns is None else list(columns)).to_pandas()


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
    return json.loads(Path(path).read_text())


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
