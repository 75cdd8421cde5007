"""What the ratings of an image and text add up to: counts, and labels by each published rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.explanations import aggregation, rater_errors
from study.crowd.asked import Asked
from study.log import logger
from study.params.crowd import Crowd

log = logger("crowd")

ASKED = ["text", "image"]
MOST_ERRORS = 0.98  # sum of both error rates from which on a rater's yes tells nothing, or the opposite
RULES = ("average", "majority", "bragg_uniform", "bragg_guide")


def counts(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings of every image and text that has any, ordered by both: text, image, n, yes."""
    grouped = ratings.groupby(ASKED, sort=True)["rating"]
    return grouped.agg(n="size", yes="sum").reset_index().astype({"image": np.int64, "n": np.int64, "yes": np.int64})


def labels(asked: Asked, ratings: pd.DataFrame, crowd: Crowd) -> pd.DataFrame:
    """Labels of rated images and texts, ordered by both: text, image, n, yes, average, majority, bragg_uniform, bragg_guide.

    ratings: rater, text, image, rating. bragg_guide is NaN where no machine says how likely the concept is. Error rates are as
    `crowd.errors` says: those assumed for all, the published Beta distribution over images, or those of each rater, found with
    the same prior from what all raters say.
    """
    counted = counts(ratings)
    yes, n = counted["yes"].to_numpy(), counted["n"].to_numpy()
    guide = asked.guide_at(counted["text"], counted["image"])
    guided = np.full(len(counted), np.nan)
    if guide is not None:
        guided = _bragg(counted, ratings, aggregation.guide_prior(guide, crowd.clip), crowd)
    return counted.assign(
        image=narrowed(counted["image"].to_numpy(), np.int32, "image"),
        average=aggregation.average(yes, n),
        majority=aggregation.majority(yes, n),
        bragg_uniform=_bragg(counted, ratings, np.full(len(counted), crowd.prior), crowd),
        bragg_guide=guided,
    )


def _bragg(
    counted: pd.DataFrame, ratings: pd.DataFrame, prior: NDArray[np.float64], crowd: Crowd
) -> NDArray[np.float64]:
    yes, n = counted["yes"].to_numpy(), counted["n"].to_numpy()
    if crowd.errors == "beta":
        return aggregation.bragg_beta(yes, n, prior)
    if crowd.errors == "raters" and len(counted):
        return _by_raters(counted, ratings, prior)
    return aggregation.bragg(yes, n, prior, false_yes=crowd.false_yes, false_no=crowd.false_no)


def _by_raters(counted: pd.DataFrame, ratings: pd.DataFrame, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posteriors with error rates of each rater. Whose yes tells nothing is not heard."""
    priors = dict(zip(counted[ASKED].itertuples(index=False, name=None), prior.tolist(), strict=True))
    rates = rater_errors.fit_rater_errors(ratings, prior=priors).rates
    sound = rates[rates["false_yes"] + rates["false_no"] < MOST_ERRORS]
    for rater in sorted(set(rates["rater"]) - set(sound["rater"])):
        log.warning(
            "%s answers at random or the wrong way round; labels by raters' own errors leave their ratings out", rater
        )
    heard = ratings[ratings["rater"].isin(sound["rater"])]
    found = aggregation.bragg_raters(
        heard, priors, *(dict(zip(sound["rater"], sound[name], strict=True)) for name in ("false_yes", "false_no"))
    )
    known = counted[ASKED].merge(found[[*ASKED, "posterior"]], on=ASKED, how="left")["posterior"].to_numpy(np.float64)
    return np.where(np.isnan(known), prior, known)
