"""Slopes fitted to human scores, or taken as published where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from interpretability.people import annotated, calibration
from interpretability.people.calibration_splits import SPLIT_QUANTITIES
from interpretability.randomness import generator
from interpretability.schema import KEY
from study.errors import StudyError
from study.log import logger
from study.params.calibration import Calibration
from study.params.parts import Backends, Confidence

log = logger("calibration")

PUBLISHED = "dreamsim"  # the default slope is the one published for this similarity and its variants


class SlopeEntry(TypedDict):
    """What slope.json holds of a backend; interval (`low`, `high`) and loss are None without a fit."""

    slope: float
    temperature: float
    status: str
    n_units: int
    at_bound: bool
    low: float | None
    high: float | None
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class CalibrationParams:
    """What the slopes depend on."""

    seed: int
    processor: str
    calibration: Calibration
    scores: Backends
    stats: Confidence


@dataclass(frozen=True)
class Slopes:
    """Slope of every similarity, the loss curves, the units of the fit, and what other splits would have given."""

    slopes: dict[str, SlopeEntry]
    curves: pd.DataFrame
    split: pd.DataFrame
    splits: pd.DataFrame


def fit_slopes(params: CalibrationParams, scores: Path, people: pd.DataFrame) -> Slopes:
    """The slopes of all similarities; `people` are the annotated units that have margins in the folder `scores`."""
    settings, slopes = params.calibration, {}
    curves = [pd.DataFrame({"backend": pd.Series(dtype=str), "slope": [], "loss": []})]
    others = [pd.DataFrame(columns=["backend", "split", *SPLIT_QUANTITIES], dtype="float64")]
    split, drawn = people, np.empty((0, len(people)), dtype=bool)
    if len(people):
        chosen = calibration.draw_split(people, settings.fraction, params.seed, settings.min_units, settings.allow_few)
        split = people[chosen].reset_index(drop=True)
        # the same splits for every backend
        draw = generator(params.seed, "repeated splits")
        drawn = calibration.draw_splits(len(people), len(split), settings.n_splits, draw)
    for backend in params.scores.backends:
        path = scores / f"{backend}.parquet"
        if not path.is_file():
            raise StudyError(f"{path}: no such file, but scores.backends names {backend}. Run `dvc repro`.")
        slopes[backend] = unfitted_slope(backend, settings.default_slope)
        if len(people):
            slopes[backend], curve = fitted_slope(backend, path, split, params)
            curves.append(curve.assign(backend=backend)[["backend", "slope", "loss"]])
        if len(drawn):
            results = calibration.split_results(margins_of(path, people), people, drawn, settings.objective)
            others.append(results.assign(backend=backend))
        log.info("%s: slope %.4g, %s", backend, slopes[backend]["slope"], slopes[backend]["status"])
    return Slopes(
        slopes,
        pd.concat(curves, ignore_index=True).astype({"backend": "str"}),
        split[KEY],
        pd.concat(others, ignore_index=True).astype({"backend": "str", "split": "int64"}),
    )


def fitted_slope(
    backend: str, path: Path, split: pd.DataFrame, params: CalibrationParams
) -> tuple[SlopeEntry, pd.DataFrame]:
    """Slope of one backend with its interval, and its loss curve."""
    settings = params.calibration
    margins, his = margins_of(path, split), split["his"].to_numpy()
    fit = calibration.fit_slope(margins, his, settings.objective)
    # the same resamples of units for every backend
    draw = generator(params.seed, "calibration interval")
    low, high = calibration.slope_interval(
        margins, his, settings.objective, draw, settings.n_bootstrap, params.stats.confidence
    )
    if fit.at_bound:
        log.warning("%s: no slope fits better than the bound %g; margins and answers hardly agree", backend, fit.slope)
    entry: SlopeEntry = {
        **unfitted_slope(backend, fit.slope),
        "status": "calibrated",
        "n_units": fit.n_units,
        "at_bound": fit.at_bound,
        "low": low if np.isfinite(low) else None,
        "high": high if np.isfinite(high) else None,
        "loss": fit.loss,
    }
    return entry, calibration.loss_curve(margins, his, settings.objective)


def scored_units(people: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The annotated units that have margins; how many have none is logged."""
    if people.empty or not path.is_file():
        return people
    wanted = ds.field("model").isin(pa.array(people["model"].unique(), pa.string()))
    scores = ds.dataset(path).to_table(columns=KEY, filter=wanted).to_pandas()
    if missing := annotated.unscored(scores, people):
        log.warning("%s", missing)
    kept = people.merge(scores.drop_duplicates(), on=KEY)
    if kept.empty:
        log.warning("no annotated unit has a score: slopes are not calibrated")
    return kept


def unfitted_slope(backend: str, slope: float) -> SlopeEntry:
    """Entry of a backend without fit."""
    status = "published" if backend.startswith(PUBLISHED) else "not calibrated"
    return {
        "slope": slope,
        "temperature": 1 / slope,
        "status": status,
        "n_units": 0,
        "at_bound": False,
        "low": None,
        "high": None,
        "loss": None,
    }


def margins_of(path: Path, units: pd.DataFrame) -> NDArray[np.float32]:
    """Margins (units, tasks) of the given units in their order."""
    wanted = [ds.field(name).isin(units[name].unique().tolist()) for name in ("model", "layer", "unit")]
    table = ds.dataset(path).to_table(columns=[*KEY, "margins"], filter=wanted[0] & wanted[1] & wanted[2])
    rows = table.select(KEY).to_pandas().assign(row=np.arange(len(table)))
    row_of = units[KEY].merge(rows, on=KEY, how="left")["row"]
    if row_of.isna().any():
        first = ", ".join(f"{name} {value}" for name, value in units.loc[row_of.isna(), KEY].iloc[0].items())
        raise StudyError(
            f"{path} has no margins of {int(row_of.isna().sum())} annotated units, first: {first}. scores.feature_models must "
            "name every annotated network, or none"
        )
    lists = table["margins"].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(table), -1)[row_of.to_numpy(dtype=np.int64)]
