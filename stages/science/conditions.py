"""The same units under several conditions, and what people's confidence says.

Conditions of one unit are always joined on the unit (the analysis of IMI relies on equal order of rows instead).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from stages.science import agreement
from stages.science.randomness import generator
from stages.science.summaries import FEWEST, mean_interval

UNIT = ["model", "layer", "unit"]
NATURAL, SYNTHETIC = "natural", "synthetic"
PAIR_COLUMNS = [
    *("backend", "model", "condition", "base", "n_units", "mean", "base_mean", "difference", "low", "high"),
    *("pearson", "spearman", "spearman_p"),
]  # fmt: skip
CONFIDENCE_COLUMNS = ["model", "condition", "confidence", "n_responses", "share", "n_units", "correct", "low", "high"]
LEVELS = (1, 2, 3)  # of confidence, 3 is the highest


def base_of(condition: str) -> str:
    """The easy condition that a difficulty level belongs to: hard95 -> natural, hard95_synthetic -> synthetic."""
    return SYNTHETIC if SYNTHETIC in condition else NATURAL


def paired(
    scores: pd.DataFrame, value: str, backend: str, pairs: Sequence[tuple[str, str]], confidence: float
) -> pd.DataFrame:
    """Units that a network has under both of two conditions, by network and pair (condition, base): PAIR_COLUMNS.

    `scores`: model, layer, unit, condition, `value`. difference is condition minus base, unit by unit, with the interval
    of a mean over units (t); spearman_p is two-sided. Networks without a common unit have no row.
    """
    rows = []
    for condition, base in pairs:
        sides = [scores[scores["condition"] == name] for name in (condition, base)]
        both = sides[0].merge(sides[1], on=UNIT, suffixes=("", "_base"))
        for model, units in both.groupby("model", sort=True, observed=True):
            of_condition = units[value].to_numpy(np.float64)
            of_base = units[f"{value}_base"].to_numpy(np.float64)
            change, n = of_condition - of_base, len(units)
            spread = change.std(ddof=1) if n > 1 else np.nan
            low, high = mean_interval(np.array([change.mean()]), np.array([spread]), np.array([n]), confidence)
            rho = float(agreement.spearman(of_condition, of_base))
            p = float(stats.spearmanr(of_condition, of_base).pvalue) if np.isfinite(rho) else np.nan
            names = (backend, model, condition, base, n, of_condition.mean(), of_base.mean())
            shares = float(agreement.pearson(of_condition, of_base)), rho, p
            rows.append((*names, change.mean(), low[0], high[0], *shares))
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def difficulty(scores: pd.DataFrame, value: str, backend: str, confidence: float) -> pd.DataFrame:
    """`paired` for every difficulty level against its easy condition."""
    present = sorted(map(str, scores["condition"].unique()))
    levels = [(name, base_of(name)) for name in present if name != base_of(name)]
    return paired(scores, value, backend, levels, confidence)


def natural_synthetic(scores: pd.DataFrame, value: str, backend: str, confidence: float) -> pd.DataFrame:
    """`paired` for synthetic against natural explanations (IMI, figure 12)."""
    return paired(scores, value, backend, [(SYNTHETIC, NATURAL)], confidence)


def confidence_table(responses: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float) -> pd.DataFrame:
    """Share of right answers at each level of confidence (IMI, figure 13): CONFIDENCE_COLUMNS, sorted.

    `responses`: key, correct, confidence (1 to 3, missing where it was not asked; such answers are left out). share is
    that of the answers of a network and condition; correct the mean over units of each unit's share of right answers at
    that level; low, high its bias-corrected and accelerated bootstrap interval over units, as IMI's. NaN below FEWEST
    units and where all units score the same.
    """
    asked = responses[responses["confidence"].notna()]
    rows = []
    for (model, condition), answers in asked.groupby(["model", "condition"], sort=True, observed=True):
        for level in LEVELS:
            found = answers[answers["confidence"] == level]
            units = np.sort(found.groupby(["layer", "unit"], observed=True)["correct"].mean().to_numpy(np.float64))
            low = high = float("nan")
            if len(units) >= FEWEST and np.ptp(units) > 0:
                draw = generator(seed, "confidence", str(model), str(condition), level)
                ends = stats.bootstrap(
                    (units,), np.mean, n_resamples=n_bootstrap, confidence_level=confidence, method="BCa", rng=draw
                )
                low, high = ends.confidence_interval
            mean = units.mean() if len(units) else np.nan
            rows.append((model, condition, level, len(found), len(found) / len(answers), len(units), mean, low, high))
    return pd.DataFrame(rows, columns=CONFIDENCE_COLUMNS)
