"""Scored units and margins, read one network at a time: a study may have many millions of units."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.mis import near_mask
from interpretability.schema import FACTS, KEY, NATURAL
from study.errors import StudyError

UNIT_COLUMNS = [*KEY, *FACTS, "mis", "mis_se", "accuracy", "margin_mean", "margin_sd", "n_tasks", "in_split", "backend"]
_TEXT = ["model", "layer", "condition", "layer_type", "backend"]


class Scored:
    """data/mis/units.parquet, backend by backend and network by network, so that a network lies in few row groups."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
        self._file = pq.ParquetFile(path, read_dictionary=_TEXT)
        names = self._file.schema_arrow.names
        whole = self._file.metadata
        self._ends = [
            [whole.row_group(group).column(names.index(name)).statistics for name in ("backend", "model")]
            for group in range(whole.num_row_groups)
        ]

    def units(self, backend: str, model: str, columns: Sequence[str] = UNIT_COLUMNS) -> pd.DataFrame:
        """Scored units of one network under one backend in the order of the file; repeated text as categories.

        Units whose tasks were all left out (mis NaN) are dropped.
        """
        wanted = {"backend": backend, "model": model}
        groups = [
            group
            for group, ends in enumerate(self._ends)
            if all(end.min <= value <= end.max for end, value in zip(ends, wanted.values(), strict=True))
        ]
        table = self._file.read_row_groups(groups, columns=[*dict.fromkeys([*columns, *wanted])])
        units = table.unify_dictionaries().to_pandas()
        kept = units["mis"].notna() & (units["backend"] == backend) & (units["model"] == model)
        return units.loc[kept, list(columns)].reset_index(drop=True)


class Margins:
    """data/scores/BACKEND.parquet."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
        self._data = ds.dataset(path)

    def rows(self, models: Collection[str], columns: Sequence[str]) -> pa.Table:
        """Columns of all units of some networks, in the order of the file."""
        wanted = ds.field("model").isin(pa.array(list(models), pa.string()))
        return self._data.to_table(columns=list(columns), filter=wanted)


class TaskRows:
    """data/tasks/NETWORK.parquet: the rows of some units of a network, of which it may have a million."""

    def __init__(self, folder: Path, model: str) -> None:
        self._path = folder / f"{model}.parquet"
        if not self._path.is_file():
            raise StudyError(
                f"{self._path}: no such file. Run `dvc repro` so that the stage before this one writes it."
            )
        self._file = pq.ParquetFile(self._path, read_dictionary=["layer", "condition"])

    def natural(self) -> NDArray[np.int64]:
        """Rows of the units with natural tasks, in the order of the file."""
        table = self._file.read(columns=["condition"])
        return np.flatnonzero((table["condition"].to_pandas() == NATURAL).to_numpy(bool))

    def find(self, units: pd.DataFrame, columns: Sequence[str] = ()) -> tuple[NDArray[np.int64], pd.DataFrame]:
        """Row of each of some units (layer, unit, condition), and `columns` of these rows. Raises StudyError for a unit
        without tasks.
        """
        table = self._file.read(columns=[*KEY[1:], *columns])
        at = rows_of(table, units)
        if (at < 0).any():
            layer, unit, condition = units[KEY[1:]].iloc[int(np.argmax(at < 0))]
            raise StudyError(
                f"{self._path} has no {condition} tasks of unit {unit} of {layer}, which has a score; run `dvc repro`"
            )
        return at, table.select(list(columns)).take(pa.array(at)).to_pandas()


def rows_of(table: pa.Table, units: pd.DataFrame) -> NDArray[np.int64]:
    """Row of each of some units (layer, unit, condition) in a table of one network, -1 where it is not there."""
    text = {"layer": object, "condition": object}
    rows = np.flatnonzero(np.isin(table["unit"].to_numpy(), units["unit"].to_numpy(np.int64)))  # others need no key
    known = table.select(KEY[1:]).take(pa.array(rows)).to_pandas().astype(text)
    at = pd.MultiIndex.from_frame(known).get_indexer(pd.MultiIndex.from_frame(units[KEY[1:]].astype(text)))
    return np.where(at >= 0, np.append(rows, -1)[at], -1)


def matrix(lists: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of equally long lists as a matrix (rows, length)."""
    values = lists.combine_chunks().flatten().to_numpy()
    return values.reshape(len(lists), len(values) // max(len(lists), 1))


def near_copies(lists: pa.ChunkedArray, n_tasks: int) -> NDArray[np.bool_]:
    """The column `near` of units as a mask (units, n_tasks): tasks that have a near copy."""
    near = lists.combine_chunks()
    return near_mask(near.value_lengths().to_numpy(), near.flatten().to_numpy(), n_tasks)
