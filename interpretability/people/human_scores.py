"""The Human Interpretability Score of every unit from single answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.schema import KEY


def human_scores(responses: pd.DataFrame) -> pd.DataFrame:
    """Human Interpretability Score per unit: model, layer, unit, condition, n_responses, his, his_se.

    his is the share of right answers, his_se = sqrt(his (1 - his) / (n - 1)), the binomial standard error
    with an unbiased variance (NaN for a single answer).
    """
    answers = responses.groupby(KEY, sort=True, observed=True)["correct"]
    units = answers.agg(n_responses="size", his="mean").reset_index()
    spare = (units["n_responses"] - 1).where(units["n_responses"] > 1)
    units["his_se"] = np.sqrt(units["his"] * (1 - units["his"]) / spare)
    return units
