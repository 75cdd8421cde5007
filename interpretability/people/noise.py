"""Noise of human scores: what a perfect predictor could reach, by formula, by simulation and by halves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY
from interpretability.statistics import MIN_POINTS, pearson

_BLOCK_VALUES = 1 << 22
# Share of a normal distribution within one standard deviation of its mean.
MIDDLE = 0.6827


def simulated_correlations(
    variant: str,
    his: NDArray[np.floating],
    n_responses: NDArray[np.integer],
    n_simulations: int,
    draw: np.random.Generator,
    mis: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Correlations (n_simulations,) of V1, V2, V3 or V5, with every unit's own number of answers."""
    his = np.asarray(his, dtype=np.float64)
    answers = np.asarray(n_responses, dtype=np.int64)
    truth = np.asarray(mis, dtype=np.float64) if variant == "V5" else his
    reference = his if variant == "V1" or mis is None else mis
    values = []
    size = max(1, _BLOCK_VALUES // max(len(his), 1))
    for start in range(0, n_simulations, size):
        shape = (min(size, n_simulations - start), len(his))
        simulated = draw.binomial(answers, truth, size=shape) / answers
        other = draw.binomial(answers, truth, size=shape) / answers if variant == "V2" else reference
        values.append(pearson(simulated, other))
    return np.concatenate(values) if values else np.empty(0)


def analytic_ceiling(his: NDArray[np.floating], n_responses: NDArray[np.integer]) -> NDArray[np.float64]:
    """V4 along the last axis, in [0, 1]; 0 where the spread of the units is all noise.

    NaN below three units, with a unit of a single answer, or where all units have the same his.
    """
    his, answers = np.asarray(his, dtype=np.float64), np.asarray(n_responses, dtype=np.float64)
    if (answers < 2).any():
        return np.full(his.shape[:-1], np.nan)[()]
    return ceiling_of_noise(his, his * (1 - his) / (answers - 1))


def ceiling_of_noise(his: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float64]:
    """sqrt(1 - mean noise / Var his) along the last axis, in [0, 1]; `noise` is the error variance of each his.

    NaN below three units or where all units have the same his.
    """
    if his.shape[-1] < MIN_POINTS:
        return np.full(his.shape[:-1], np.nan)[()]
    constant = np.ptp(his, axis=-1) == 0
    variance = np.where(constant, np.nan, his.var(axis=-1, ddof=1))
    return np.sqrt(np.clip(1 - noise.mean(axis=-1) / variance, 0.0, 1.0))[()]


def noise_of_shares(units: pd.DataFrame, variant: str) -> NDArray[np.float64]:
    """Error variance of each unit's his as the variant V4 or V4w takes it: what `ceiling_of_noise` needs.

    `units`: his, n_responses, for V4w noise_within. NaN where it is not known, for V4 after a single answer.
    """
    if variant == "V4w":
        return units["noise_within"].to_numpy(np.float64)
    his, spare = units["his"].to_numpy(np.float64), units["n_responses"].to_numpy(np.float64) - 1
    return his * (1 - his) / np.where(spare > 0, spare, np.nan)


def noise_within_tasks(responses: pd.DataFrame) -> pd.DataFrame:
    """Error variance of each unit's his, from answers to the same task: key, noise_within.

    `responses`: key, task (-1: not known), correct, one row an answer. A unit's his is the mean of its answers, and its
    tasks are taken as they are, so its variance is sum n_t s_t^2 / n^2 over tasks, with n_t answers and their unbiased
    variance s_t^2; tasks with a single answer take the mean variance within the unit's other tasks. NaN for a unit without
    a task of two answers or with answers to tasks that are not known.
    """
    tasks = responses.groupby([*KEY, "task"], sort=True, observed=True)["correct"].agg(n="size", p="mean").reset_index()
    tasks["spare"] = tasks["n"] - 1
    tasks["squares"] = tasks["n"] * tasks["p"] * (1 - tasks["p"])
    pooled = tasks.groupby(KEY, observed=True)[["squares", "spare"]].transform("sum")
    pooled = pooled["squares"] / pooled["spare"].where(pooled["spare"] > 0)
    own = tasks["squares"] / tasks["spare"].where(tasks["spare"] > 0)
    tasks["variance"] = tasks["n"] * own.fillna(pooled).where(tasks["task"] >= 0)
    units = tasks.groupby(KEY, sort=True, observed=True)
    # a sum that skips no NaN: several times as fast as one written in Python for every unit
    noise = units["variance"].sum().where(units["variance"].count() == units.size()) / units["n"].sum() ** 2
    return noise.rename("noise_within").reset_index()


def attainable(
    his: NDArray[np.floating], n_responses: NDArray[np.integer], mis: NDArray[np.floating], mis_se: NDArray[np.floating]
) -> NDArray[np.float64]:
    """V4b along the last axis: V4 times the square root of the reliability of MIS over its sampled tasks."""
    mis, mis_se = np.asarray(mis, dtype=np.float64), np.asarray(mis_se, dtype=np.float64)
    return analytic_ceiling(his, n_responses) * ceiling_of_noise(mis, mis_se**2)


def split_half(
    his: NDArray[np.floating], n_responses: NDArray[np.integer], draw: np.random.Generator
) -> NDArray[np.float64]:
    """Correlations of random halves of every unit's answers along the last axis, one split a row; NaN as for `pearson`.

    A half of n answers of which k are right has a hypergeometric number of right ones, so no single answer is needed.
    """
    answers = np.asarray(n_responses, dtype=np.int64)
    if (answers < 2).any():
        return np.full(answers.shape[:-1], np.nan)[()]
    right = np.rint(np.asarray(his, dtype=np.float64) * answers).astype(np.int64)
    half = answers // 2
    first = draw.hypergeometric(right, answers - right, half)
    return pearson(first / half, (right - first) / (answers - half))


def spearman_brown(correlation: NDArray[np.floating] | np.floating) -> NDArray[np.float64]:
    """sqrt(2 r / (1 + r)): correlation of true shares with recorded ones from that of two halves; 0 where r < 0."""
    correlation = np.maximum(correlation, 0.0)
    return np.sqrt(2 * correlation / (1 + correlation))
