"""How exact the mean of our scores over a method's texts is: scores of one study err together, since they share raters and guide.

A mean over units has two errors: units are drawn from others like them, and each score is an estimate. An interval over units
counts the first, and of the second what differs between units. What scores have in common is in the draws of the posterior, of
which those of one draw belong together. Both are added, each with its own quantile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from interpretability.explanations.latent.scoring import QUANTILE


class Draws:
    """Draws of the scores of pairs: columns draw, pair, rho."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._wide = table.pivot(index="draw", columns="pair", values="rho").sort_index(axis=1)

    def sd_of_mean(self, pairs: Sequence[int]) -> float:
        """Standard deviation over draws of the mean score of these pairs."""
        return self._sd(self._wide[list(pairs)].to_numpy(np.float64).mean(axis=1))

    def sd_of_difference(self, first: Sequence[int], second: Sequence[int]) -> float:
        """Standard deviation over draws of the mean difference of pairs, one by one; a pair less itself is 0 in every draw."""
        one, other = (self._wide[list(pairs)].to_numpy(np.float64) for pairs in (first, second))
        return self._sd((one - other).mean(axis=1))

    @staticmethod
    def _sd(values: NDArray[np.float64]) -> float:
        return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def widened(
    middle: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], sd: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of intervals over units, low to high around `middle`, with the error sd of the scores added; NaN stays."""
    reach = np.hypot((high - low) / 2, QUANTILE * sd)
    return middle - reach, middle + reach


def p_of(difference: NDArray[np.float64], se: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided p values of mean differences with the standard error of units and the error of the scores, as wide as `widened`
    takes them; from the normal distribution."""
    wide = np.hypot(se, sd * QUANTILE / norm.ppf(0.975))
    return 2 * norm.sf(np.abs(difference) / wide)
