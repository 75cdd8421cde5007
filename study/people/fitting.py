"""Slopes fitted to human scores, or taken as published where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from interpretability.people import annotated, calibration
from interpretability.randomness import generator
from interpretability.schema import KEY
from study.errors import StudyError
from study.log import logger
from study.params.whole import Params

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


def fitted_slope(backend: str, path: Path, split: pd.DataFrame, params: Params) -> tuple[SlopeEntry, pd.DataFrame]:
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
