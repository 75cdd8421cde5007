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

from interpretability.people import annotated, calibration, identification, slope_status
from interpretability.people.calibration_splits import SPLIT_QUANTITIES
from interpretability.randomness import generator
from interpretability.schema import KEY, UNIT
from study.errors import StudyError
from study.files.unit_tables import matrix, near_copies
from study.log import logger
from study.params.calibration import Calibration
from study.params.mis import Mis
from study.params.parts import Backends, Confidence

log = logger("calibration")

PUBLISHED = "dreamsim"  # the default slope is the one published for this similarity and its variants
NO_ANSWERS = "no human answers to units that are scored"


class SlopeEntry(TypedDict):
    """What slope.json holds of a backend.

    status      one of `slope_status`; identified is true for a calibrated one alone
    interval (`low`, `high`), `loss`, and ratio and gain_t of `identification.Identification` are None where there are none
    """

    slope: float
    temperature: float
    status: str
    identified: bool
    reason: str
    n_units: int
    at_bound: bool
    low: float | None
    high: float | None
    loss: float | None
    ratio: float | None
    gain_t: float | None


@dataclass(frozen=True, kw_only=True)
class CalibrationParams:
    """What the slopes depend on."""

    seed: int
    processor: str
    calibration: Calibration
    scores: Backends
    mis: Mis
    stats: Confidence


@dataclass(frozen=True)
class Slopes:
    """Slope of every similarity, the loss curves, the units of the fit, and what other splits would have given."""

    slopes: dict[str, SlopeEntry]
    curves: pd.DataFrame
    split: pd.DataFrame
    splits: pd.DataFrame


@dataclass(frozen=True)
class Tasks:
    """Margins (units, tasks) of annotated units, and which tasks count; None where all do."""

    margins: NDArray[np.float32]
    used: NDArray[np.bool_] | None

    def of(self, rows: NDArray[np.bool_]) -> Tasks:
        return Tasks(self.margins[rows], None if self.used is None else self.used[rows])


def fit_slopes(params: CalibrationParams, scores: Path, people: pd.DataFrame) -> Slopes:
    """The slopes of all similarities; `people` are the annotated units that have margins in the folder `scores`."""
    settings, slopes = params.calibration, {}
    curves = [pd.DataFrame({"backend": pd.Series(dtype=str), "slope": [], "loss": []})]
    others = [pd.DataFrame(columns=["backend", "split", *SPLIT_QUANTITIES], dtype="float64")]
    people, tasks = _tasks_of(params, scores, people)
    chosen, drawn = np.zeros(len(people), dtype=bool), np.empty((0, len(people)), dtype=bool)
    if len(people):
        chosen = calibration.draw_split(people, settings.fraction, params.seed, settings.min_units, settings.allow_few)
        # the same splits for every backend
        draw = generator(params.seed, "repeated splits")
        drawn = calibration.draw_splits(len(people), int(chosen.sum()), settings.n_splits, draw)
    split = people[chosen].reset_index(drop=True)
    for backend in params.scores.backends:
        slopes[backend] = unfitted_slope(backend, settings.default_slope)
        if len(people):
            slopes[backend], curve = fitted_slope(backend, tasks[backend].of(chosen), split, params)
            curves.append(curve.assign(backend=backend)[["backend", "slope", "loss"]])
        if len(drawn):
            every = tasks[backend]
            results = calibration.split_results(every.margins, people, drawn, settings.objective, every.used)
            others.append(results.assign(backend=backend))
        log.info("%s: slope %.4g, %s", backend, slopes[backend]["slope"], slopes[backend]["status"])
    return Slopes(
        slopes,
        pd.concat(curves, ignore_index=True).astype({"backend": "str"}),
        split[KEY],
        pd.concat(others, ignore_index=True).astype({"backend": "str", "split": "int64"}),
    )


def _tasks_of(params: CalibrationParams, scores: Path, people: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Tasks]]:
    """The units that keep a task under every similarity, and their tasks, similarity by similarity.

    Where tasks with a near copy are left out, a unit may lose them all; it has no score, and takes no part.
    """
    tasks: dict[str, Tasks] = {}
    kept = np.ones(len(people), dtype=bool)
    for backend in params.scores.backends:
        path = scores / f"{backend}.parquet"
        if not path.is_file():
            raise StudyError(f"{path}: no such file, but scores.backends names {backend}. Run `dvc repro`.")
        if len(people):
            tasks[backend] = tasks_of(path, people, drop_near=params.mis.drop_near_duplicates)
            if (used := tasks[backend].used) is not None:
                kept &= used.any(axis=1)
    if kept.all():
        return people, tasks
    log.warning(
        "%d of %d annotated units keep no task where those with a near copy are left out "
        "(mis.drop_near_duplicates); they take no part in the fit",
        *((~kept).sum(), len(kept)),
    )
    return people[kept].reset_index(drop=True), {name: each.of(kept) for name, each in tasks.items()}


def fitted_slope(
    backend: str, tasks: Tasks, split: pd.DataFrame, params: CalibrationParams
) -> tuple[SlopeEntry, pd.DataFrame]:
    """Slope of one backend with its interval and whether it is identified, and its loss curve."""
    settings = params.calibration
    margins, used, his, objective = tasks.margins, tasks.used, split["his"].to_numpy(), settings.objective
    fit = calibration.fit_slope(margins, his, objective, used)

    def interval(confidence: float) -> tuple[float, float]:
        # the same resamples of units for every backend
        draw = generator(params.seed, "calibration interval")
        return calibration.slope_interval(margins, his, objective, draw, settings.n_bootstrap, confidence, used)

    low, high = interval(params.stats.confidence)
    unit = pd.MultiIndex.from_frame(split[UNIT]).factorize()[0]
    gains = identification.gains_over_half(margins, his, objective, unit, used)
    # the rule has a confidence of its own, lest a narrower interval for the tables identify more slopes
    found = identification.identify(fit, interval(identification.CONFIDENCE), gains)
    if not found.identified:
        log.warning("%s: the answers do not tell the slope: %s", backend, found.reason)
    entry: SlopeEntry = {
        "slope": fit.slope,
        "temperature": 1 / fit.slope,
        "status": slope_status.CALIBRATED if found.identified else slope_status.NOT_IDENTIFIED,
        "identified": found.identified,
        "reason": found.reason,
        "n_units": fit.n_units,
        "at_bound": fit.at_bound,
        "low": _or_none(low),
        "high": _or_none(high),
        "loss": fit.loss,
        "ratio": _or_none(found.ratio),
        "gain_t": _or_none(found.gain_t),
    }
    return entry, calibration.loss_curve(margins, his, objective, used)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
    published = backend.startswith(PUBLISHED)
    return {
        "slope": slope,
        "temperature": 1 / slope,
        "status": slope_status.PUBLISHED if published else slope_status.NOT_CALIBRATED,
        "identified": False,
        "reason": f"{NO_ANSWERS}; the published slope" if published else NO_ANSWERS,
        "n_units": 0,
        "at_bound": False,
        "low": None,
        "high": None,
        "loss": None,
        "ratio": None,
        "gain_t": None,
    }


def tasks_of(path: Path, units: pd.DataFrame, *, drop_near: bool) -> Tasks:
    """Tasks of the given units in their order; with `drop_near` those that have a near copy do not count."""
    wanted = [ds.field(name).isin(units[name].unique().tolist()) for name in ("model", "layer", "unit")]
    columns = [*KEY, "margins", "near"] if drop_near else [*KEY, "margins"]
    table = ds.dataset(path).to_table(columns=columns, filter=wanted[0] & wanted[1] & wanted[2])
    rows = table.select(KEY).to_pandas().assign(row=np.arange(len(table)))
    row_of = units[KEY].merge(rows, on=KEY, how="left")["row"]
    if row_of.isna().any():
        first = ", ".join(f"{name} {value}" for name, value in units.loc[row_of.isna(), KEY].iloc[0].items())
        raise StudyError(
            f"{path} has no margins of {int(row_of.isna().sum())} annotated units, first: {first}. scores.feature_models must "
            "name every annotated network, or none"
        )
    order = row_of.to_numpy(dtype=np.int64)
    margins = matrix(table["margins"])
    used = ~near_copies(table["near"], margins.shape[1])[order] if drop_near else None
    return Tasks(margins[order], used)
