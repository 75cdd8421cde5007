"""Means of answers for other units and other people: their errors, clustered by unit and by person.

People answer many units and units are answered by many people, so answers have either in common. The variance of a mean is
that of clusters of units plus that of clusters of people minus that of single answers, which both hold (Cameron, Gelbach and
Miller 2011), and never below either. The quantile is that of t with one degree of freedom less than there are units or
people, whichever are fewer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from interpretability.schema import KEY


def interval(
    mean: float,
    parts: NDArray[np.float64],
    unit: NDArray[np.integer],
    person: NDArray[np.integer],
    confidence: float,
    logit: bool = False,
) -> tuple[float, float]:
    """Ends of the interval of a share; NaN below two units or two people.

    parts         what each answer adds to the deviation of the share from its expectation
    unit, person  codes 0, 1, ... of each answer, without gaps
    logit         symmetric around log(mean / (1 - mean)), so inside (0, 1), NaN for a share of 0 or 1: for shares that come
                  near 1, as those of the most certain answers do. Otherwise around the share, cut to 0 to 1
    """
    by_unit, by_person = (np.bincount(codes, weights=parts) for codes in (unit, person))
    fewest = min(len(by_unit), len(by_person))
    if fewest < 2 or (logit and not 0 < mean < 1):
        return float("nan"), float("nan")
    squares = [float((sums**2).sum()) for sums in (by_unit, by_person, parts)]
    error = np.sqrt(max(squares[0] + squares[1] - squares[2], squares[0], squares[1]))
    reach = float(stats.t.ppf((1 + confidence) / 2, fewest - 1) * error)
    if logit:
        low, high = expit(np.log(mean / (1 - mean)) + np.array([-1, 1]) * reach / (mean * (1 - mean)))
        return float(low), float(high)
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def means_of_units(
    responses: pd.DataFrame, confidence: float, by: Sequence[str] = ("model", "condition"), logit: bool = False
) -> pd.DataFrame:
    """Mean over units of their shares of right answers, and its interval: `by`, mean, low, high, sorted.

    `responses`: key, participant, correct and `by`, one row an answer. Every unit counts the same, however many answers it has.
    logit: see `interval`.
    """
    rows = []
    for names, answers in responses.groupby(list(by), sort=True, observed=True):
        unit, person = (
            answers.groupby(KEY, sort=False, observed=True).ngroup().to_numpy(),
            pd.factorize(answers["participant"])[0],
        )
        count = np.bincount(unit)
        weight = 1 / (count[unit] * len(count))
        correct = answers["correct"].to_numpy(np.float64)
        mean = float((correct * weight).sum())
        rows.append((*names, mean, *interval(mean, (correct - mean) * weight, unit, person, confidence, logit)))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high"])
