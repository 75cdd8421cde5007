"""What a finished study knows of the units of one network: their scores by condition, and their tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import mis
from interpretability.analysis import ranking
from interpretability.randomness import unit_keys
from interpretability.schema import KEY, UNIT
from study.files.tables import read_parquet
from study.files.unit_tables import Margins, matrix
from study.params.mis import Mis


@dataclass(frozen=True)
class Scores:
    """Units of one network under the similarity that chooses, of every condition.

    table    key, layer_type and the columns of `ranking.half_scores`
    margins  (units, tasks)
    """

    table: pd.DataFrame
    margins: NDArray[np.float32]


@dataclass(frozen=True)
class Built:
    """Tasks of one network: `table` has the key of each row of `tasks` (rows, N, 2(K + 1))."""

    model: str
    table: pd.DataFrame
    tasks: NDArray[np.int32]

    def places(self, units: pd.DataFrame, condition: str) -> NDArray[np.int64]:
        """Row of each of these units (layer, unit) under a condition, -1 where it has none."""
        rows = np.flatnonzero(self.table["condition"] == condition)
        named = pd.MultiIndex.from_frame(self.table.iloc[rows][UNIT[1:]])
        found = named.get_indexer(pd.MultiIndex.from_frame(units[UNIT[1:]]))
        return np.where(found >= 0, rows[found] if len(rows) else -1, -1)


def read_built(tasks: Path, model: str) -> Built:
    return Built(model, read_parquet(tasks / f"{model}.parquet", KEY), np.load(tasks / f"{model}.npy", mmap_mode="r"))


def scores_of(model: str, margins: Margins, slope: float, mis_params: Mis) -> Scores:
    """Scores of all units of a network from their margins."""
    rows = margins.rows([model], [*KEY, "layer_type", "margins", "near"])
    table, values = rows.select([*KEY, "layer_type"]).to_pandas(), matrix(rows["margins"])
    near = rows["near"].to_pylist()
    lengths = np.array([len(tasks) for tasks in near], dtype=np.int64)
    marks = np.array([task for tasks in near for task in tasks], dtype=np.int64)
    mask = mis.near_mask(lengths, marks, values.shape[1])
    halves = ranking.half_scores(values, slope, mask, mis_params.drop_near_duplicates)
    return Scores(table.join(halves), values)


def among(table: pd.DataFrame, others: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows are of units that stand in another table."""
    return pd.MultiIndex.from_frame(table[UNIT]).isin(pd.MultiIndex.from_frame(others[UNIT]))


def keys_of(units: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Keys of units (model, layer, unit)."""
    keys = np.empty(len(units), dtype=np.uint64)
    places = units.reset_index(drop=True)
    for (model, layer), rows in places.groupby(["model", "layer"], sort=False, observed=True):
        keys[rows.index] = unit_keys(seed, str(model), str(layer), rows["unit"].to_numpy())
    return keys
