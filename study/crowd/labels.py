"""What the ratings of an image and text add up to: counts, and labels by each published rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.explanations import aggregation
from study.crowd.asked import Asked
from study.params.crowd import Crowd

ASKED = ["text", "image"]
RULES = ("average", "majority", "bragg_uniform", "bragg_guide")


def counts(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings of every image and text that has any, ordered by both: text, image, n, yes."""
    grouped = ratings.groupby(ASKED, sort=True)["rating"]
    return grouped.agg(n="size", yes="sum").reset_index().astype({"image": np.int64, "n": np.int64, "yes": np.int64})


def labels(asked: Asked, counted: pd.DataFrame, crowd: Crowd) -> pd.DataFrame:
    """Labels of rated images and texts (`counts`): text, image, n, yes, average, majority, bragg_uniform, bragg_guide.

    bragg_guide is NaN where no machine says how likely the concept is. Error rates are as `crowd.errors`
    says: those assumed for all, or the published Beta distribution over images.
    """
    yes, n = counted["yes"].to_numpy(), counted["n"].to_numpy()
    guide = asked.guide_at(counted["text"], counted["image"])
    guided = np.full(len(counted), np.nan)
    if guide is not None:
        guided = _bragg(yes, n, aggregation.guide_prior(guide, crowd.clip), crowd)
    return counted.assign(
        image=narrowed(counted["image"].to_numpy(), np.int32, "image"),
        average=aggregation.average(yes, n),
        majority=aggregation.majority(yes, n),
        bragg_uniform=_bragg(yes, n, crowd.prior, crowd),
        bragg_guide=guided,
    )


def _bragg(
    yes: NDArray[np.int64], n: NDArray[np.int64], prior: float | NDArray[np.float64], crowd: Crowd
) -> NDArray[np.float64]:
    if crowd.errors == "beta":
        return aggregation.bragg_beta(yes, n, prior)
    return aggregation.bragg(yes, n, prior, false_yes=crowd.false_yes, false_no=crowd.false_no)
