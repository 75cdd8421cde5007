"""Reading and writing tables: atomic, sorted by the caller, and the same bytes for the same content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import StudyError

KEY = ["model", "layer", "unit", "condition"]
FACTS = ["layer_type", "layer_index", "depth", "width"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_bytes(path, text.encode())


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """CSV with header, six significant digits, Unix line ends; missing numbers are empty."""
    shown = frame.copy()
    for name in shown.columns[shown.dtypes == bool]:
        shown[name] = shown[name].astype(int)
    write_text(path, shown.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_csv(path: str | os.PathLike[str], columns: Sequence[str] = ()) -> pd.DataFrame:
    """CSV as a table; empty text stays empty text, and missing columns are an error that names them."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    frame = pd.read_csv(path, keep_default_na=False, na_values={}, dtype=None)
    for name in frame.columns:
        # an empty cell in a column of numbers is a missing number
        if frame[name].dtype == object or pd.api.types.is_string_dtype(frame[name]):
            filled = frame[name][frame[name] != ""]
            numbers = pd.to_numeric(filled, errors="coerce")
            if len(filled) and not numbers.isna().any():
                frame[name] = pd.to_numeric(frame[name], errors="coerce")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise StudyError(f"{path}: column {', '.join(missing)} is missing; it has {', '.join(frame.columns)}.")
    return frame


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


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fresh_folder(path: str | os.PathLike[str]) -> Path:
    """An empty folder at this path: an out of a stage never keeps files of an earlier run."""
    import shutil

    folder = Path(path)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
