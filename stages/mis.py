"""Machine Interpretability Score of every unit under every backend, from margins and fitted slopes.

Reads   data/scores/BACKEND.parquet of every backend in scores.backends, data/calibration
Writes  data/mis/units.parquet
Run     dvc repro mis
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interpretability.files import atomic_path
from interpretability.mis import near_mask, unit_scores
from interpretability.schema import FACTS, KEY
from study.command import run
from study.errors import StudyError
from study.files.tables import fresh_folder, read_json, read_parquet
from study.log import logger
from study.params.whole import load_params

log = logger("mis")


KEPT = [*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]
ORDER = [
    *(*KEY, *FACTS, "backend", "mis", "mis_se", "accuracy", "margin_mean", "margin_sd"),
    *("tie_share_pos", "tie_share_neg", "in_split", "n_tasks", "n_near"),
]
_ROWS = 1 << 16  # units held in memory at a time


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    slopes = read_json(args.calibration / "slope.json")
    split = pd.MultiIndex.from_frame(read_parquet(args.calibration / "split.parquet", KEY))
    paths = {name: args.scores / f"{name}.parquet" for name in params.scores.backends}
    for name, path in paths.items():
        if not path.is_file():
            raise StudyError(f"{path}: no such file, but scores.backends names {name}. Run `dvc repro`.")
        if name not in slopes:
            raise StudyError(f"{args.calibration / 'slope.json'} has no slope of {name}; it has {sorted(slopes)}")
    writer: Any = None
    with atomic_path(fresh_folder(args.out) / "units.parquet") as part:
        for name, path in paths.items():
            with pq.ParquetFile(path) as file:
                n_rows = file.metadata.num_rows
                for batch in file.iter_batches(_ROWS, columns=[*KEPT, "margins", "near"]):
                    table = _scored(batch, name, slopes[name]["slope"], params.mis.drop_near_duplicates, split)
                    writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
                    writer.write_table(table)
            log.info("%s: %d units, slope %.4g", name, n_rows, slopes[name]["slope"])
        if writer is None:
            raise StudyError(f"{args.scores} holds no scored unit of any backend")
        writer.close()


def _scored(batch: pa.RecordBatch, backend: str, slope: float, drop: bool, split: pd.MultiIndex) -> pa.Table:
    """Scores of the units of one batch, with the columns ORDER."""
    margins = batch["margins"].flatten().to_numpy().reshape(len(batch), -1)
    lengths = pc.list_value_length(batch["near"]).to_numpy()
    near = near_mask(lengths, batch["near"].flatten().to_numpy(), margins.shape[1])
    scores = unit_scores(margins, slope, near, drop)
    columns = {name: batch[name] for name in KEPT} | {name: scores[name].to_numpy() for name in scores}
    keys = pd.MultiIndex.from_arrays([batch[name].to_pandas() for name in KEY])
    columns |= {"backend": pa.array([backend] * len(batch)), "in_split": np.asarray(keys.isin(split))}
    return pa.table({name: columns[name] for name in ORDER})


if __name__ == "__main__":
    run(main)
