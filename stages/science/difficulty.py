"""What harder tasks do to machine and human scores, and which scores enter summaries: natural ones of listed layers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.science.agreement import pearson
from stages.science.summaries import mean_interval

UNIT = ["model", "layer", "unit"]
COLUMNS = [
    *("backend", "model", "condition", "n_units", "mis_mean", "mis_drop", "mis_drop_low", "mis_drop_high"),
    *("n_annotated", "mis_annotated", "his_mean", "his_drop", "his_drop_low", "his_drop_high", "pearson"),
]


def by_condition(units: pd.DataFrame, people: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Scores of one backend by network and condition, for networks with more conditions than natural: COLUMNS.

    `units`: key, backend, mis, in_split; `people`: key, his. mis_mean is over the n_units units with such tasks, mis_drop
    the mean of natural minus this condition over those that have both, unit by unit, with the interval of normal theory;
    his_drop likewise over units that people answered under both. The n_annotated units have mis and his; pearson is the
    correlation of the two outside the calibration split. Missing for natural: the drops.
    """
    text = dict.fromkeys(["model", "layer", "condition", "backend"], object)
    hard = units.loc[units["condition"] != "natural", "model"].unique()
    units = units[units["model"].isin(hard)].astype(text).dropna(subset="mis")
    joined = units.merge(
        people[[*UNIT, "condition", "his"]].astype({"model": object}), on=[*UNIT, "condition"], how="left"
    )
    rows = []
    for (backend, model, condition), own in joined.groupby(["backend", "model", "condition"], sort=False):
        rated = own[own["his"].notna()]
        fitted = ~rated["in_split"].astype(bool)
        natural = joined[(joined["model"] == model) & (joined["condition"] == "natural")]
        pairs = natural.merge(own, on=UNIT, suffixes=("", "_hard"))
        row = {
            "backend": backend, "model": model, "condition": condition, "n_units": len(own), "mis_mean": own["mis"].mean(),
            "n_annotated": len(rated), "mis_annotated": rated["mis"].mean(), "his_mean": rated["his"].mean(),
            "pearson": float(pearson(rated.loc[fitted, "mis"], rated.loc[fitted, "his"])),
        }  # fmt: skip
        if condition != "natural":
            for name in ("mis", "his"):
                drop = (pairs[name] - pairs[f"{name}_hard"]).dropna().to_numpy(np.float64)
                row |= _mean(f"{name}_drop", drop, confidence)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _mean(name: str, values: NDArray[np.float64], confidence: float) -> dict[str, float]:
    if not len(values):
        return {}
    sd = values.std(ddof=1) if len(values) > 1 else np.nan
    low, high = mean_interval(values.mean(), sd, np.array(len(values)), confidence)
    return {name: values.mean(), f"{name}_low": float(low), f"{name}_high": float(high)}
