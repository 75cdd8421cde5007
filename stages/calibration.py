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
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.pipeline.log import logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.tables import KEY, fresh_folder, read_parquet, write_json, write_parquet
from stages.science import agreement, calibration
from stages.science.randomness import generator

log = logger("calibration")
PUBLISHED = "dreamsim"  # the default slope is the one published for this similarity and its variants


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--human", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    people = _scored(read_parquet(args.human / "units.parquet"), args.scores / f"{params.scores.backends[0]}.parquet")
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
        slopes[backend] = _default(backend, given.default_slope)
        if len(people):
            slopes[backend], curve = _fitted(backend, path, split, params)
            curves.append(curve.assign(backend=backend)[["backend", "slope", "loss"]])
        if len(splits):
            found = calibration.split_results(_margins(path, people), people, splits, given.objective)
            others.append(found.assign(backend=backend))
        log.info("%s: slope %.4g, %s", backend, slopes[backend]["slope"], slopes[backend]["status"])
    out = fresh_folder(args.out)
    write_json(out / "slope.json", slopes)
    write_parquet(out / "curve.parquet", pd.concat(curves, ignore_index=True).astype({"backend": "str"}))
    write_parquet(out / "split.parquet", split[KEY])
    kinds = {"backend": "str", "split": "int64"}
    write_parquet(out / "splits.parquet", pd.concat(others, ignore_index=True).astype(kinds))


def _fitted(backend: str, path: Path, split: pd.DataFrame, params: Params) -> tuple[dict[str, Any], pd.DataFrame]:
    """Slope of one backend with its interval, and its loss curve."""
    given = params.calibration
    margins, his = _margins(path, split), split["his"].to_numpy()
    fit = calibration.fit_slope(margins, his, given.objective)
    # the same resamples of units for every backend
    draw = generator(params.seed, "calibration interval")
    low, high = calibration.slope_interval(
        margins, his, given.objective, draw, given.n_bootstrap, params.stats.confidence
    )
    if fit.at_bound:
        log.warning("%s: no slope fits better than the bound %g; margins and answers hardly agree", backend, fit.slope)
    entry = _default(backend, fit.slope) | {"status": "calibrated", "n_units": fit.n_units, "loss": fit.loss}
    entry |= {"at_bound": fit.at_bound}
    entry |= {name: end for name, end in (("low", low), ("high", high)) if np.isfinite(end)}
    return entry, calibration.loss_curve(margins, his, given.objective)


def _scored(people: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The annotated units that have margins; how many have none is logged."""
    if people.empty or not path.is_file():
        return people
    wanted = ds.field("model").isin(pa.array(people["model"].unique(), pa.string()))
    scores = ds.dataset(path).to_table(columns=KEY, filter=wanted).to_pandas()
    if missing := agreement.unscored(scores, people):
        log.warning("%s", missing)
    kept = people.merge(scores.drop_duplicates(), on=KEY)
    if kept.empty:
        log.warning("no annotated unit has a score: slopes are not calibrated")
    return kept


def _default(backend: str, slope: float) -> dict[str, Any]:
    """Entry of a backend without fit."""
    status = "published" if backend.startswith(PUBLISHED) else "not calibrated"
    entry = {"slope": slope, "temperature": 1 / slope, "status": status, "n_units": 0, "at_bound": False}
    return entry | {"low": None, "high": None, "loss": None}


def _margins(path: Path, units: pd.DataFrame) -> NDArray[np.float32]:
    """Margins (units, tasks) of the given units in their order."""
    wanted = [ds.field(name).isin(units[name].unique().tolist()) for name in ("model", "layer", "unit")]
    table = ds.dataset(path).to_table(columns=[*KEY, "margins"], filter=wanted[0] & wanted[1] & wanted[2])
    rows = table.select(KEY).to_pandas().assign(row=np.arange(len(table)))
    place = units[KEY].merge(rows, on=KEY, how="left")["row"]
    if place.isna().any():
        first = ", ".join(f"{name} {value}" for name, value in units.loc[place.isna(), KEY].iloc[0].items())
        raise StudyError(
            f"{path} has no margins of {int(place.isna().sum())} annotated units, first: {first}. scores.feature_models must "
            "name every annotated network, or none"
        )
    lists = table["margins"].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(table), -1)[place.to_numpy(dtype=np.int64)]


if __name__ == "__main__":
    run(main)
