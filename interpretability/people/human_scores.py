"""The Human Interpretability Score of every unit from single answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability import arguments, columns
from interpretability.schema import KEY


def human_scores(answers: pd.DataFrame) -> pd.DataFrame:
    """The Human Interpretability Score of every unit from single answers (MIS paper, section 3).

    answers   one row an answer: model, layer, unit, condition, and correct, 1 for right and 0 for wrong; other columns are
              not looked at

    Returns one row a unit and condition, sorted: model, layer, unit, condition, n_responses, his, his_se. his is the share of
    right answers, 0 to 1, and 0.5 is chance; his_se = sqrt(his (1 - his) / (n - 1)) is the binomial standard error with an
    unbiased variance (NaN for a single answer). Raises InputError for missing columns and cells, names that are no text,
    units that are no whole numbers from 0, and values of `correct` that are neither 0 nor 1, by their row.

    >>> import pandas as pd
    >>> from interpretability import human_scores
    >>> answers = pd.DataFrame({"model": "net", "layer": "conv", "unit": [0, 0, 0, 1], "condition": "natural",
    ...                         "correct": [1, 1, 0, 1]})
    >>> human_scores(answers)[["unit", "n_responses", "his"]].round(3).values.tolist()
    [[0.0, 3.0, 0.667], [1.0, 1.0, 1.0]]
    """
    arguments.table(answers, "answers", (*KEY, "correct"), empty=True)
    columns.names(answers, "answers", ("model", "layer", "condition"))
    unit, correct = columns.whole_numbers(answers, "answers", "unit"), columns.truth(answers, "answers", "correct")
    grouped = answers.assign(unit=unit, correct=correct).groupby(KEY, sort=True, observed=True)["correct"]
    units = grouped.agg(n_responses="size", his="mean").reset_index()
    spare = (units["n_responses"] - 1).where(units["n_responses"] > 1)
    units["his_se"] = np.sqrt(units["his"] * (1 - units["his"]) / spare)
    return units
