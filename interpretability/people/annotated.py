"""Units that have both a machine score and a human one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.schema import KEY

_MOST_NAMED = 8  # networks and conditions that a message names


def with_people(
    scores: pd.DataFrame, people: pd.DataFrame, backends: Sequence[str], *, anywhere: bool = False
) -> pd.DataFrame:
    """Scores of the annotated units beside the answers of people: one row a unit, condition and backend.

    `scores`: key, backend and any scores; `people`: key, n_responses, his. Units that people answered and no backend has
    scored are left out, see `unscored`; one that only some backends have scored is an error that names it. A unit whose
    tasks were all left out (mis NaN) is dropped.

    Backends are compared over the same units: a condition of which some backend has no score at all, as known factors have none
    of images that were made, is left out of all. With `anywhere` a unit has a row for each backend that scored it.
    """
    scored = people[_scored(scores, people)]
    if not anywhere:
        scored = scored[~scored["condition"].isin(_lacking(scores, scored, backends))]
    every = scored[[*KEY, "n_responses", "his"]].merge(pd.DataFrame({"backend": list(backends)}), how="cross")
    joined = every.merge(scores, on=[*KEY, "backend"], how="left", indicator=True)
    missing = joined[joined.pop("_merge") == "left_only"]
    if len(missing) and not anywhere:
        first = ", ".join(f"{name} {value}" for name, value in missing.iloc[0][[*KEY, "backend"]].items())
        raise InputError(f"{len(missing)} units with human answers have no score; the first one: {first}")
    return joined[joined["mis"].notna()].reset_index(drop=True)


def unscored(scores: pd.DataFrame, people: pd.DataFrame) -> str:
    """What to say about units that people answered and that have no row in `scores`; empty if there are none.

    Answers may concern networks, layers or conditions that a study does not score.
    """
    missing = people[~_scored(scores, people)]
    if not len(missing):
        return ""
    counts = missing.groupby(["model", "condition"], sort=True, observed=True).size()
    named = counts.head(_MOST_NAMED).reset_index(name="n").itertuples(index=False, name=None)
    shown = ", ".join(f"{model} {condition} {n}" for model, condition, n in named)
    more = ", ..." if len(counts) > _MOST_NAMED else ""
    return f"{len(missing)} of {len(people)} units with human answers have no score and are left out: {shown}{more}"


def _lacking(scores: pd.DataFrame, people: pd.DataFrame, backends: Sequence[str]) -> set[str]:
    """Conditions of these units of which a backend that scored others has no score; none of a backend without any score."""
    known = scores.loc[scores["backend"].isin(list(backends)), ["backend", "condition"]].drop_duplicates()
    counts = known["condition"].astype(object).value_counts()
    n_backends = known["backend"].nunique()
    return {str(name) for name in people["condition"].unique() if counts.get(name, 0) < n_backends}


def _scored(scores: pd.DataFrame, people: pd.DataFrame) -> NDArray[np.bool_]:
    """Mask of the rows of `people` that have a row in `scores`."""
    return pd.MultiIndex.from_frame(people[KEY]).isin(pd.MultiIndex.from_frame(scores[KEY].drop_duplicates()))
