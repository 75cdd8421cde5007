"""Slopes of tasks that made images explain: fitted to answers to such tasks, or else those of natural tasks, and marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from interpretability.people import calibration
from interpretability.schema import KEY, MADE
from study.files.sources import SOURCE
from study.log import logger
from study.people.fitting import CalibrationParams, SlopeEntry, fitted_slope, tasks_of

log = logger("calibration")

OWN, OF_NATURAL = "own answers", "natural tasks"
NO_ANSWERS = "nobody was asked such tasks"


class MadeSlope(SlopeEntry):
    """What made.json holds of a similarity and a condition.

    source   OWN where the slope is fitted to answers to such tasks, OF_NATURAL where it is that of natural tasks
    answers  who gave the answers to such tasks: words of `study.files.sources`, empty where there are none
    """

    source: str
    answers: str


@dataclass(frozen=True)
class MadeSlopes:
    """Slopes by similarity and condition, for those that are scored; and the units of the fits (KEY)."""

    slopes: dict[str, dict[str, MadeSlope]]
    split: pd.DataFrame


def fit_made(
    params: CalibrationParams, scores: Path, people: pd.DataFrame, natural: Mapping[str, SlopeEntry]
) -> MadeSlopes:
    """Slopes of the conditions with made images under every similarity that scores them, beside those of `natural` tasks.

    people: units with their HIS under all conditions. A slope is fitted to calibration.fraction of the answered units, or to all
    of them where that leaves fewer than calibration.min_units; units of a fit count as its split. Where nobody answered, or
    the answers do not tell the slope, it is that of natural tasks.
    """
    slopes: dict[str, dict[str, MadeSlope]] = {}
    splits = [people.iloc[:0][KEY]]
    for backend in params.scores.backends:
        path = scores / f"{backend}.parquet"
        scored = ds.dataset(path).to_table(KEY, filter=ds.field("condition").isin(pa.array(MADE))).to_pandas()
        for condition in (name for name in MADE if (scored["condition"] == name).any()):
            answered = people.merge(scored[scored["condition"] == condition], on=KEY).reset_index(drop=True)
            entry, split = _slope(backend, path, answered, natural[backend], params)
            slopes.setdefault(backend, {})[condition] = entry
            if entry["source"] == OWN:
                splits.append(split[KEY])
            log.info(
                "%s, %s: slope %.4g of %s, %s", backend, condition, entry["slope"], entry["source"], entry["reason"]
            )
    return MadeSlopes(slopes, pd.concat(splits, ignore_index=True).drop_duplicates(ignore_index=True))


def _slope(
    backend: str, path: Path, answered: pd.DataFrame, natural: SlopeEntry, params: CalibrationParams
) -> tuple[MadeSlope, pd.DataFrame]:
    """The slope of one similarity and condition, and the units on which it was fitted."""
    answers = "; ".join(sorted(set(answered[SOURCE]))) if SOURCE in answered.columns else ""
    settings, drop = params.calibration, params.mis.drop_near_duplicates
    tasks = tasks_of(path, answered, drop_near=drop) if len(answered) else None
    if tasks is not None and tasks.used is not None:
        kept: NDArray[np.bool_] = tasks.used.any(axis=1)
        answered, tasks = answered.loc[kept].reset_index(drop=True), tasks.of(kept)
    if tasks is None or answered.empty:
        return {**natural, "reason": NO_ANSWERS, "source": OF_NATURAL, "answers": answers}, answered
    chosen = calibration.draw_split(answered, settings.fraction, params.seed, 1, True)
    if chosen.sum() < settings.min_units:
        chosen[:] = True
    split = answered[chosen].reset_index(drop=True)
    fit, _ = fitted_slope(f"{backend}, {answered['condition'].iloc[0]}", tasks.of(chosen), split, params)
    if fit["identified"]:
        return {**fit, "source": OWN, "answers": answers}, split
    return {**natural, "reason": fit["reason"], "source": OF_NATURAL, "answers": answers}, split
