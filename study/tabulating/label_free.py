"""Tables of scores without labels beside MIS and people."""

from __future__ import annotations

import pandas as pd

from interpretability.analysis import scores_compared
from interpretability.schema import NATURAL, ONE_SIDED, UNIT
from study.files.unit_tables import Scored
from study.tabulating.facts import Facts, Tables


def label_free_tables(units: pd.DataFrame, scored: Scored, facts: Facts) -> Tables:
    """Means of the scores of every network of label_free.models, and scores of ranked ones beside people and each other.

    `units`: data/label_free/units.parquet.
    """
    parts = [pd.DataFrame(columns=scores_compared.COLUMNS)]
    for backend, rows in units.groupby("backend", sort=False):
        beside = _beside_mis(rows[rows["model"].isin(facts.nets.ranked)], str(backend), scored)
        if beside.empty:
            continue
        answered = facts.people.loc[facts.people["condition"] == NATURAL, [*UNIT, "his"]]
        answered = beside[~beside["in_split"].astype(bool)].merge(answered, on=UNIT)
        if len(answered):
            parts.append(scores_compared.with_people(answered, str(backend), *facts.bootstrap))
        parts.append(scores_compared.with_each_other(beside, str(backend), facts.clusters, facts.bootstrap.confidence))
    compared = pd.concat(parts[1:] or parts, ignore_index=True)
    return {"scores_compared": compared, "label_free": scores_compared.label_free_means(units)}


def _beside_mis(units: pd.DataFrame, backend: str, scored: Scored) -> pd.DataFrame:
    """Units with natural tasks: their scores without labels, MIS and accuracy, and MIS of one-sided tasks where there are any."""
    parts = []
    for model, rows in units.groupby("model", sort=False):
        solved = scored.units(backend, str(model), [*UNIT, "condition", "mis", "accuracy", "in_split"])
        solved = solved.astype({"model": str, "layer": str})
        easy = solved[solved["condition"] == NATURAL].drop(columns="condition")
        one_sided = solved.loc[solved["condition"] == ONE_SIDED, [*UNIT, "mis"]].rename(
            columns={"mis": "mis_one_sided"}
        )
        parts.append(easy.merge(rows, on=UNIT).merge(one_sided, on=UNIT, how="left"))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
