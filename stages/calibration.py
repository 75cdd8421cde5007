"""Fit the slope of every backend to the answers of people on a split of the annotated units.

Reads   data/scores/BACKEND.parquet of every backend in scores.backends, data/human/units.parquet
Writes  data/calibration: slope.json, curve.parquet (loss against slope), split.parquet (units of the fit),
        splits.parquet (what calibration.n_splits other random splits would have given)
Run     dvc repro calibration

Without human answers every backend gets calibration.default_slope and says so. Annotated units that this study does not
score take no part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.people import calibration
from interpretability.randomness import generator
from interpretability.schema import KEY
from study.command import run
from study.errors import StudyError
from study.files.tables import fresh_folder, read_parquet, write_json, write_parquet
from study.log import logger
from study.params.whole import load_params
from study.people.fitting import fitted_slope, margins_of, scored_units, unfitted_slope

log = logger("calibration")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--human", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    people = scored_units(
        read_parquet(args.human / "units.parquet"), args.scores / f"{params.scores.backends[0]}.parquet"
    )
    given = params.calibration
    slopes, curves = {}, [pd.DataFrame({"backend": pd.Series(dtype=str), "slope": [], "loss": []})]
    others = [pd.DataFrame(columns=["backend", "split", *calibration.SPLIT_QUANTITIES], dtype="float64")]
    split, splits = people, np.empty((0, len(people)), dtype=bool)
    if len(people):
        chosen = calibration.draw_split(people, given.fraction, params.seed, given.min_units, given.allow_few)
        split = people[chosen].reset_index(drop=True)
        # the same splits for every backend
        draw = generator(params.seed, "repeated splits")
        splits = calibration.draw_splits(len(people), len(split), given.n_splits, draw)
    for backend in params.scores.backends:
        path = args.scores / f"{backend}.parquet"
        if not path.is_file():
            raise StudyError(f"{path}: no such file, but scores.backends names {backend}. Run `dvc repro`.")
        slopes[backend] = unfitted_slope(backend, given.default_slope)
        if len(people):
            slopes[backend], curve = fitted_slope(backend, path, split, params)
            curves.append(curve.assign(backend=backend)[["backend", "slope", "loss"]])
        if len(splits):
            found = calibration.split_results(margins_of(path, people), people, splits, given.objective)
            others.append(found.assign(backend=backend))
        log.info("%s: slope %.4g, %s", backend, slopes[backend]["slope"], slopes[backend]["status"])
    out = fresh_folder(args.out)
    write_json(out / "slope.json", slopes)
    write_parquet(out / "curve.parquet", pd.concat(curves, ignore_index=True).astype({"backend": "str"}))
    write_parquet(out / "split.parquet", split[KEY])
    kinds = {"backend": "str", "split": "int64"}
    write_parquet(out / "splits.parquet", pd.concat(others, ignore_index=True).astype(kinds))


if __name__ == "__main__":
    run(main)
