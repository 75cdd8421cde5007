"""Scores of all units from their margins and a slope, some at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from interpretability.files import atomic_path
from interpretability.mis import near_mask, unit_scores
from interpretability.schema import FACTS, KEY
from study.errors import StudyError
from study.log import logger
from study.params.mis import Mis
from study.params.parts import Backends

log = logger("mis")

KEPT = [*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]
ORDER = [
    *(*KEY, *FACTS, "backend", "mis", "mis_se", "accuracy", "margin_mean", "margin_sd"),
    *("tie_share_pos", "tie_share_neg", "in_split", "n_tasks", "n_near"),
]
_ROWS = 1 << 16  # units held in memory at a time


@dataclass(frozen=True, kw_only=True)
class MisParams:
    """What scores depend on."""

    processor: str
    mis: Mis
    scores: Backends


@dataclass(frozen=True)
class Slopes:
    """The slope of a similarity, and those of the conditions that have one of their own."""

    usual: float
    by_condition: Mapping[str, float]


def slopes_of(fitted: Mapping[str, Any], made: Mapping[str, Mapping[str, Any]]) -> Slopes:
    """The slopes of a similarity from its entries in slope.json and in made.json."""
    return Slopes(float(fitted["slope"]), {name: float(entry["slope"]) for name, entry in made.items()})


def write_scores(out: Path, scores: Path, slopes: Mapping[str, Slopes], drop: bool, split: pd.DataFrame) -> None:
    """One table of all units under all similarities in the order of `slopes`, with the columns ORDER.

    scores: folder with a table of margins for each similarity; drop: whether tasks with a near copy are left out; split:
    keys of the units on which the slopes were fitted.
    """
    in_split = pd.MultiIndex.from_frame(split)
    writer: pq.ParquetWriter | None = None
    with atomic_path(out) as part:
        for backend, slope in slopes.items():
            with pq.ParquetFile(scores / f"{backend}.parquet") as file:
                n_rows = file.metadata.num_rows
                for batch in file.iter_batches(_ROWS, columns=[*KEPT, "margins", "near"]):
                    table = _scored(batch, backend, slope, drop, in_split)
                    writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
                    writer.write_table(table)
            log.info("%s: %d units, slope %.4g", backend, n_rows, slope.usual)
            for condition, own in slope.by_condition.items():
                log.info("%s: slope %.4g of %s tasks", backend, own, condition)
        if writer is None:
            raise StudyError(f"{scores} holds no scored unit of any backend")
        writer.close()


def _scored(batch: pa.RecordBatch, backend: str, slope: Slopes, drop: bool, split: pd.MultiIndex) -> pa.Table:
    """Scores of the units of one batch, with the columns ORDER."""
    margins = batch["margins"].flatten().to_numpy().reshape(len(batch), -1)
    lengths = batch["near"].value_lengths().to_numpy()
    near = near_mask(lengths, batch["near"].flatten().to_numpy(), margins.shape[1])
    scores = unit_scores(margins, slope.usual, near, drop)
    for condition, own in slope.by_condition.items():
        rows = batch["condition"].to_pandas().eq(condition).to_numpy()
        if rows.any():
            scores.loc[rows] = unit_scores(margins[rows], own, near[rows], drop).set_index(np.flatnonzero(rows))
    columns = {name: batch[name] for name in KEPT} | {name: scores[name].to_numpy() for name in scores}
    keys = pd.MultiIndex.from_arrays([batch[name].to_pandas() for name in KEY])
    columns |= {"backend": pa.array([backend] * len(batch)), "in_split": np.asarray(keys.isin(split))}
    return pa.table({name: columns[name] for name in ORDER})
