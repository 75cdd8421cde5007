"""The cells of a Parquet file as text, as the CSV of the same table would hold them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from study.errors import StudyError
from study.files.casts import refuse
from study.files.tables import opened_parquet

_MARK = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its first bytes, or is meant to be by its name."""
    with open(path, "rb") as file:
        return file.read(len(_MARK)) == _MARK or path.suffix.lower() == ".parquet"


def parquet_cells(path: Path, known: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """The known columns as text, missing cells empty, and the names of all columns. Rows are numbered as in a CSV.

    Numbers are written as Python writes them, so 1.0 stays 1.0 (`casts.id_of` makes them ids); bytes are UTF-8; truth is
    True or False. Raises StudyError for a file that is no Parquet, a known column that stands twice or holds lists, and
    bytes that are no text.
    """
    with opened_parquet(path) as file:
        names: list[str] = list(file.schema_arrow.names)
        read = [place for place, name in enumerate(names) if name.strip() in known]
        table = (
            file.read().select(read) if len(set(names)) < len(names) else file.read([names[place] for place in read])
        )
        stripped = [name.strip() for name in table.column_names]
        doubled = sorted({name for name in stripped if stripped.count(name) > 1})
        if doubled:
            raise StudyError(f"{path} has column {', '.join(doubled)} twice; remove or rename one of them")
        cells = {name: _text(path, name, column) for name, column in zip(stripped, table.columns, strict=True)}
    index = pd.RangeIndex(len(table))
    return pd.DataFrame(cells, index=index, dtype="str"), [name.strip() for name in names]


def _text(path: Path, name: str, column: pa.ChunkedArray) -> Sequence[str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if "binary" in str(kind):
        found = [_decoded(value) for value in column.to_pylist()]
        shown = pd.Series([str(value) for value in column.to_pylist()])
        refuse(path, shown, pd.Series([text is None for text in found]), name, "text in UTF-8")
        return [text or "" for text in found]
    if pa.types.is_floating(kind):
        # numpy writes a float32 as short as it is, Python would write the float64 of the same value
        return ["" if number is None or math.isnan(number) else str(number) for number in column.to_numpy()]
    if not pa.types.is_boolean(kind):
        try:
            column = column.cast(pa.string())
        except pa.ArrowNotImplementedError:
            raise StudyError(f"{path}: column {name} holds {kind}; it must hold one text or number a row") from None
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _decoded(value: bytes | None) -> str | None:
    try:
        return "" if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
