"""What other random splits of the annotated units would have given, in a few numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.statistics import percentile_interval

SPLIT_QUANTITIES = ("slope", "mis_mean", "pearson", "spearman", "share_of_ceiling")
SUMMARY_COLUMNS = ["backend", "quantity", "mean", "sd", "low", "high", "n_splits"]


def split_summary(results: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """How much the headline numbers hang on the split: SUMMARY_COLUMNS, one row a backend and quantity.

    `results`: backend and the columns of `split_results`. low and high are the central interval over splits, no
    confidence interval: all splits are of the same units.
    """
    rows = []
    for backend in pd.unique(results["backend"]):
        for quantity in SPLIT_QUANTITIES:
            values = results.loc[results["backend"] == backend, quantity].to_numpy(np.float64)
            values = values[np.isfinite(values)]
            mean = values.mean() if len(values) else float("nan")
            spread = values.std(ddof=1) if len(values) > 1 else float("nan")
            rows.append((backend, quantity, mean, spread, *percentile_interval(values, confidence), len(values)))
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
