"""Scores of texts from the same ratings with another guide as prior, beside those with the first (crowd paper, table 3)."""

from __future__ import annotations

import pandas as pd

from interpretability.schema import UNIT
from study.crowd.asked import Asked
from study.crowd.labels import labels
from study.crowd.published import published_scores
from study.params.crowd import Crowd

RULE = "bragg_guide"
COLUMNS = [*UNIT, "method", "text", "pair", "rho", "rho_second", "reason"]


def second_scores(asked: Asked, ratings: pd.DataFrame, scores: pd.DataFrame, crowd: Crowd) -> pd.DataFrame:
    """BRAgg's score of every pair by both guides, COLUMNS; no rows where the study has one guide.

    ratings: those that count; scores: of these, by the first guide (pair, estimator, rho). Images, their weights and ratings
    are the same for both: the second guide is a prior and nothing else. reason: why there is no score by it.
    """
    other = asked.by_second_guide()
    if other is None:
        return pd.DataFrame(columns=COLUMNS)
    found = published_scores(other, labels(other, ratings, crowd))
    second = _by_guide(found)[["pair", "rho", "reason"]].rename(columns={"rho": "rho_second"})
    first = _by_guide(scores)[["pair", "rho"]]
    of_pair = asked.texts.loc[asked.texts["pair"] >= 0, [*UNIT, "method", "text", "pair"]]
    table = of_pair.merge(first, on="pair").merge(second, on="pair")
    return table.sort_values([*UNIT, "method", "pair"], kind="stable").reset_index(drop=True)


def _by_guide(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["estimator"] == RULE]
