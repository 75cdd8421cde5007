"""Scored units and margins, read one network at a time: a study may have many millions of units."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.pipeline.tables import FACTS, KEY

UNIT_COLUMNS = [*KEY, *FACTS, "mis", "mis_se", "accuracy", "margin_mean", "margin_sd", "n_tasks", "in_split", "backend"]
_TEXT = ["model", "layer", "condition", "layer_type", "backend"]


class Scored:
    """data/mis/units.parquet. Files hold backend by backend, network by network, so a filter reads few row groups."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
        text = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=_TEXT))
        self._data = ds.dataset(path, format=text)

    def units(self, backend: str, model: str, columns: Sequence[str] = UNIT_COLUMNS) -> pd.DataFrame:
        """Scored units of one network under one backend in the order of the file; repeated text as categories.

        Units whose tasks were all left out (mis NaN) are dropped.
        """
        wanted = (ds.field("backend") == backend) & (ds.field("model") == model)
        units = self._data.to_table(columns=list(columns), filter=wanted).unify_dictionaries().to_pandas()
        return units if units["mis"].notna().all() else units[units["mis"].notna()].reset_index(drop=True)


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


def matrix(lists: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of equally long lists as a matrix (rows, length)."""
    values = lists.combine_chunks().flatten().to_numpy()
    return values.reshape(len(lists), len(values) // max(len(lists), 1))
