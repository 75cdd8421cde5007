"""What all tests of pairs of groups share: Holm's adjustment, marks, why a pair has none, and the papers' test beside ours.

Marks ("stars") are given by three tests alone, whose false alarms are known for groups whose members depend on each other
(benchmarks/family_wise.py): `cluster_tests`, `answer_tests` and `block_tests`. The papers' test takes every unit for an
independent draw; its columns stand beside, under the papers' name and without marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from interpretability.statistics import holm

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
NOT_SIGNIFICANT = "NS"
# Clusters, people or blocks below which a pair of groups is not tested.
FEWEST_MEMBERS = 4
TOO_FEW, NO_PEOPLE, ALIKE = "too few {what}", "no person ids", "all values alike"
MARKS = ["statistic", "df", "p", "p_holm", "stars", "reason"]
PAPER_COLUMNS = [f"paper_{name}" for name in ("n_first", "n_second", "statistic", "p", "p_holm", "effect")]
_TEXT = ("first", "second", "test", "stars", "reason")


def stars(p: float) -> str:
    """Mark of an adjusted p value: *** below .001, ** below .01, * below .05, otherwise NS; nothing for NaN."""
    return "" if np.isnan(p) else next((mark for limit, mark in STARS if p < limit), NOT_SIGNIFICANT)


def marked(pairs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """A table of pairs (p, reason, ...) with p_holm over all of it and stars, in this order of columns."""
    adjusted = holm(pairs["p"])
    return pairs.assign(p_holm=adjusted, stars=[stars(value) for value in adjusted])[list(columns)]


def empty(columns: Sequence[str]) -> pd.DataFrame:
    """A table without rows."""
    kinds = {name: object if name in _TEXT else np.float64 for name in columns}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def all_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    return list(combinations(range(len(names)), 2))


def beside_papers(ours: pd.DataFrame, papers: pd.DataFrame) -> pd.DataFrame:
    """A table of our test with PAPER_COLUMNS behind it, from the columns of `group_tests.conover_of` of the same groups.

    paper_p, paper_p_holm, paper_effect ...: Conover's test as the papers use it, adjusted after Holm over its own pairs.
    """
    renamed = papers.rename(columns={name.removeprefix("paper_"): name for name in PAPER_COLUMNS})
    return ours.merge(renamed[["first", "second", *PAPER_COLUMNS]], on=["first", "second"], how="left")
