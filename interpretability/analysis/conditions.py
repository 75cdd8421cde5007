"""The same units under several conditions: harder tasks, synthetic explanations, and how sure people were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability import statistics
from interpretability.people import two_way
from interpretability.schema import HARD, MADE, MIXED, NATURAL, ONE_SIDED, SYNTHETIC, UNIT
from interpretability.statistics import FEWEST_SCORES, mean_interval, pearson

PAIR_COLUMNS = [
    *("backend", "model", "condition", "base", "n_units", "mean", "base_mean", "difference", "low", "high"),
    *("pearson", "spearman", "spearman_p"),
]
CONFIDENCE_COLUMNS = ["model", "condition", "confidence", "n_responses", "share", "n_units", "correct", "low", "high"]
CONFIDENCES = (1, 2, 3)  # of confidence, 3 is the highest


def base_of(condition: str) -> str:
    """The easy condition that a difficulty level belongs to: hard95 -> natural, hard95_synthetic -> synthetic."""
    return SYNTHETIC if SYNTHETIC in condition else NATURAL


def is_level(condition: str) -> bool:
    """Whether a condition is a level of difficulty. One-sided tasks are none: they ask something else. Nor are tasks that natural
    and made images explain together: their queries are the natural ones.
    """
    return condition != base_of(condition) and not condition.startswith((ONE_SIDED, MIXED))


def paired(
    scores: pd.DataFrame, value: str, backend: str, pairs: Sequence[tuple[str, str]], confidence: float
) -> pd.DataFrame:
    """Units that a network has under both of two conditions, by network and pair (condition, base): PAIR_COLUMNS.

    `scores`: model, layer, unit, condition, `value`. difference is condition minus base, unit by unit, with the interval
    of a mean over units (t); spearman_p is two-sided. Networks without a common unit have no row; below FEWEST_CORRELATED
    units there are no correlations.
    """
    rows = []
    for condition, base in pairs:
        sides = [scores[scores["condition"] == name] for name in (condition, base)]
        if sides[0].empty or sides[1].empty:
            continue
        both = sides[0].merge(sides[1], on=UNIT, suffixes=("", "_base"))
        for model, units in both.groupby("model", sort=True, observed=True):
            of_condition = units[value].to_numpy(np.float64)
            of_base = units[f"{value}_base"].to_numpy(np.float64)
            change, n = of_condition - of_base, len(units)
            spread = change.std(ddof=1) if n > 1 else np.nan
            low, high = mean_interval(np.array([change.mean()]), np.array([spread]), np.array([n]), confidence)
            r = rho = p = np.nan
            if n >= statistics.FEWEST_CORRELATED:
                r, rho = float(pearson(of_condition, of_base)), float(statistics.spearman(of_condition, of_base))
            if np.isfinite(rho):
                p = float(stats.spearmanr(of_condition, of_base).pvalue)
            names = (backend, model, condition, base, n, of_condition.mean(), of_base.mean())
            shares = r, rho, p
            rows.append((*names, change.mean(), low[0], high[0], *shares))
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def difficulty(scores: pd.DataFrame, value: str, backend: str, confidence: float) -> pd.DataFrame:
    """`paired` for every difficulty level against its easy condition."""
    present = sorted(map(str, scores["condition"].unique()))
    levels = [(name, base_of(name)) for name in present if is_level(name)]
    return paired(scores, value, backend, levels, confidence)


def natural_synthetic(scores: pd.DataFrame, value: str, backend: str, confidence: float) -> pd.DataFrame:
    """`paired` for explanations that are made, or partly, against natural ones (IMI, figure 12; mixed ones are ours).

    The interval is over units, each with made images of its own: it holds what their scores owe to the luck of these images.
    """
    return paired(scores, value, backend, [(condition, NATURAL) for condition in MADE], confidence)


def of_all_networks(scores: pd.DataFrame, value: str, backend: str, confidence: float) -> pd.DataFrame:
    """`natural_synthetic` over the units of several networks as one sample, model ''; no row of fewer than two networks."""
    rows = []
    for condition in MADE:
        found = scores[scores["condition"].isin([NATURAL, condition])]
        networks = found.loc[found["condition"] == condition, "model"].astype(str)
        if networks.nunique() > 1:
            layer = found["model"].astype(str) + "/" + found["layer"].astype(str)
            pooled = found.assign(model="", layer=layer, condition=found["condition"].astype(str))
            rows.append(paired(pooled, value, backend, [(condition, NATURAL)], confidence))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=PAIR_COLUMNS)


def confidence_table(responses: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Share of right answers at each level of confidence (IMI, figure 13): CONFIDENCE_COLUMNS, sorted.

    `responses`: key, participant, correct, confidence (1 to 3, missing where it was not asked; such answers are left out).
    share is that of the answers of a network and condition; correct the mean over units of each unit's share of right answers
    at that level; low, high its interval for other units and other people, see `two_way`. NaN below FEWEST_SCORES units and
    where all units score the same.
    Departure: IMI bootstraps units alone (BCa), which takes the people for given; each of them has a confidence of their own.
    """
    asked = responses[responses["confidence"].notna()]
    rows = []
    for (model, condition), answers in asked.groupby(["model", "condition"], sort=True, observed=True):
        for level in CONFIDENCES:
            part = answers[answers["confidence"] == level]
            units = part.groupby(["layer", "unit"], observed=True)["correct"].mean().to_numpy(np.float64)
            mean = low = high = float("nan")
            if len(units):
                mean, low, high = two_way.means_of_units(part, confidence, logit=True)[["mean", "low", "high"]].iloc[0]
            if len(units) < FEWEST_SCORES or np.ptp(units) == 0:
                low = high = float("nan")
            rows.append((model, condition, level, len(part), len(part) / len(answers), len(units), mean, low, high))
    return pd.DataFrame(rows, columns=CONFIDENCE_COLUMNS)


GAP_COLUMNS = ["backend", "model", "condition", "gap", "n_units", "mis_mean"]


def by_gap(units: pd.DataFrame, backend: str, natural_start: float) -> pd.DataFrame:
    """Mean score of the same units against the distance of their queries, easiest first: GAP_COLUMNS.

    `units` of one network: layer, unit, condition, mis. gap: percentiles between where positive and negative queries begin, both
    counted from their extreme; those of natural tasks begin at the share natural_start, right behind the explanations. The
    n_units units have natural tasks and those of every harder level of the network. No row without a harder level.
    Departure: the papers show this for people, and of other units at each level (IMI, figure 6).
    """
    levels = {NATURAL: natural_start, **{name: percent / 100 for name, percent in HARD.items()}}
    units = units.dropna(subset="mis")
    present = [name for name in levels if (units["condition"] == name).any()]
    if NATURAL not in present or present == [NATURAL]:
        return pd.DataFrame(columns=GAP_COLUMNS)
    columns = {name: units[units["condition"] == name].set_index(["layer", "unit"])["mis"] for name in present}
    shared = pd.concat(columns, axis=1, join="inner")
    rows = [
        (backend, units["model"].iloc[0], name, 100 * (1 - 2 * levels[name]), len(shared), shared[name].mean())
        for name in sorted(present, key=levels.__getitem__)
    ]
    return pd.DataFrame(rows, columns=GAP_COLUMNS)


DIFFICULTY_COLUMNS = [
    *("backend", "model", "condition", "n_units", "mis_mean", "mis_drop", "mis_drop_low", "mis_drop_high"),
    *("n_annotated", "mis_annotated", "his_mean", "his_drop", "his_drop_low", "his_drop_high", "pearson"),
]


def by_condition(units: pd.DataFrame, people: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Scores of one backend by network and condition, for networks with more conditions than natural: COLUMNS.

    `units`: key, backend, mis, in_split; `people`: key, his. mis_mean is over the n_units units with such tasks, mis_drop
    the mean of natural minus this condition (a harder one, one-sided, made images) over those that have both, unit by unit, with
    the interval of normal theory; his_drop likewise over units that people answered under both. The n_annotated units have mis
    and his; pearson is the correlation of the two outside the calibration split. Missing for natural: the drops.
    """
    text = dict.fromkeys(["model", "layer", "condition", "backend"], object)
    hard = units.loc[units["condition"] != NATURAL, "model"].unique()
    units = units[units["model"].isin(hard)].astype(text).dropna(subset="mis")
    joined = units.merge(
        people[[*UNIT, "condition", "his"]].astype({"model": object}), on=[*UNIT, "condition"], how="left"
    )
    rows = []
    for (backend, model, condition), own in joined.groupby(["backend", "model", "condition"], sort=False):
        rated = own[own["his"].notna()]
        fitted = ~rated["in_split"].astype(bool)
        natural = joined[(joined["model"] == model) & (joined["condition"] == NATURAL)]
        pairs = natural.merge(own, on=UNIT, suffixes=("", "_hard"))
        row = {
            "backend": backend,
            "model": model,
            "condition": condition,
            "n_units": len(own),
            "mis_mean": own["mis"].mean(),
            "n_annotated": len(rated),
            "mis_annotated": rated["mis"].mean(),
            "his_mean": rated["his"].mean(),
            "pearson": float(pearson(rated.loc[fitted, "mis"], rated.loc[fitted, "his"])),
        }
        if condition != NATURAL:
            for name in ("mis", "his"):
                drop = (pairs[name] - pairs[f"{name}_hard"]).dropna().to_numpy(np.float64)
                row |= _mean(f"{name}_drop", drop, confidence)
        rows.append(row)
    return pd.DataFrame(rows, columns=DIFFICULTY_COLUMNS)


def _mean(name: str, values: NDArray[np.float64], confidence: float) -> dict[str, float]:
    if not len(values):
        return {}
    sd = values.std(ddof=1) if len(values) > 1 else np.nan
    low, high = mean_interval(values.mean(), sd, np.array(len(values)), confidence)
    return {name: values.mean(), f"{name}_low": float(low), f"{name}_high": float(high)}
