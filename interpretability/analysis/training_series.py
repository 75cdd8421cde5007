"""What training does to the score of a network: the steps of a series, and the change from the first to the last."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from interpretability.analysis.networks import Networks

TRAINING_COLUMNS = ["model", "series", "backend", "step", "top1", "mis_mean", "mis_low", "mis_high"]


def training_summary(models: pd.DataFrame) -> pd.DataFrame:
    """Scores along the training of every studied series, from the table of networks: TRAINING_COLUMNS."""
    steps = models[(models["role"] == "study") & (models["series"] != "") & models["step"].notna()]
    return steps.sort_values(["series", "backend", "step"], kind="stable")[TRAINING_COLUMNS].reset_index(drop=True)


GAIN_COLUMNS = ["backend", "series", "n_units", "difference", "low", "high"]
ALL_SERIES = "(mean over series)"


def training_gain(units: pd.DataFrame, networks: Networks, backend: str, confidence: float) -> pd.DataFrame:
    """What training adds to MIS: last step minus step 0, unit by unit; one row a series and their mean.

    `units` of one backend. A unit is paired with itself at step 0, so differences between units cancel; units that
    are constant at either step are left out. The last row is the unweighted mean over series. Intervals have the quantile
    of t, for that row with Welch's degrees of freedom.
    """
    rows = []
    for fresh, series in networks.untrained.items():
        last = networks.last_of[series]
        pairs = units[units["model"] == last].merge(
            units[units["model"] == fresh], on=["layer", "unit", "condition"], suffixes=("", "_fresh")
        )
        change = (pairs["mis"] - pairs["mis_fresh"]).to_numpy()
        if len(change) > 1:
            rows.append((series, len(change), change.mean(), change.std(ddof=1) / np.sqrt(len(change))))
    table = pd.DataFrame(rows, columns=["series", "n_units", "difference", "error"])
    table["free"] = table["n_units"] - 1.0
    if len(table):
        squares = table["error"] ** 2
        # Welch and Satterthwaite, for a sum of means; series that do not vary leave a quantile of no meaning times 0
        free = squares.sum() ** 2 / max(float((squares**2 / table["free"]).sum()), np.finfo(np.float64).tiny)
        error = np.sqrt(squares.sum()) / len(table)
        table.loc[len(table)] = [ALL_SERIES, table["n_units"].sum(), table["difference"].mean(), error, max(free, 1.0)]
    reach = stats.t.ppf(0.5 + confidence / 2, table["free"].astype(np.float64)) * table["error"]
    table["low"], table["high"] = table["difference"] - reach, table["difference"] + reach
    return table.assign(backend=backend)[GAIN_COLUMNS]
