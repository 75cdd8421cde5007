"""Similarities tuned on people's answers, as the stage `tuning` judged them."""

from __future__ import annotations

from pathlib import Path

from interpretability.people import tuned_scores
from interpretability.people.tuning import BLOCKS
from study.files.tables import read_parquet
from study.tabulating.facts import Tables


def tuning_tables(folder: Path) -> Tables:
    """What became of each similarity and family, weights by fold, and what fewer annotated units would have given.

    tuning_weights holds those of blocks alone, since dimensions of a network have no names; fold -1 is of all answers.
    """
    weights = read_parquet(folder / "weights.parquet")
    columns = ["backend", "family", *tuned_scores.WEIGHT_COLUMNS]
    return {
        "tuning": read_parquet(folder / "summary.parquet"),
        "tuning_weights": weights.loc[weights["family"] == BLOCKS, columns].reset_index(drop=True),
        "tuning_plan": read_parquet(folder / "plan.parquet"),
    }
