"""How the score depends on choices that the paper fixes: N, K and the slope (paper, appendices B and C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import spearmanr

from interpretability.tasks import natural

Margins = Callable[[NDArray[np.int32], int], NDArray[np.float32]]


def settings(
    top: NDArray[np.int32],
    bottom: NDArray[np.int32],
    keys: NDArray[np.uint64],
    margins: Margins,
    *,
    n_tasks: int,
    n_explanations: int,
    other_n_tasks: Sequence[int],
    other_n_explanations: Sequence[int],
    slopes: Sequence[float],
    slope: float,
) -> pd.DataFrame:
    """Scores of the same units under other settings, one row a setting, each beside the study's own.

    top, bottom: ranked images (units, >= N(K + 1)) from the extreme inwards. `margins(tasks, K)` solves tasks. Tasks
    are rebuilt for each N and K, so other images take part (the second setting of the paper's figure 13); setting
    first_tasks is the first one, the first N of the study's own tasks. Columns: setting, value, mis_mean, mis_se (over
    units), spearman and mean_abs_diff (with the study's own, over units), n_units.
    """

    def solve(n: int, k: int) -> NDArray[np.float64]:
        return margins(natural.build(top, bottom, keys, n, k), k).astype(np.float64)

    own = solve(n_tasks, n_explanations)
    reference = expit(slope * own).mean(axis=1)
    rows = [("n_tasks", n, expit(slope * solve(n, n_explanations)).mean(axis=1)) for n in other_n_tasks]
    rows += [("first_tasks", n, expit(slope * own[:, :n]).mean(axis=1)) for n in other_n_tasks if n < n_tasks]
    rows += [("n_explanations", k, expit(slope * solve(n_tasks, k)).mean(axis=1)) for k in other_n_explanations]
    rows += [("slope", value, expit(value * own).mean(axis=1)) for value in slopes]
    return pd.DataFrame(
        {
            "setting": [name for name, _, _ in rows],
            "value": [float(value) for _, value, _ in rows],
            "mis_mean": [scores.mean() for _, _, scores in rows],
            "mis_se": [
                scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan for _, _, scores in rows
            ],
            "spearman": [_rank_correlation(scores, reference) for _, _, scores in rows],
            "mean_abs_diff": [np.abs(scores - reference).mean() for _, _, scores in rows],
            "n_units": len(keys),
        }
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)
