"""Raters looked at one by one: what each did, who is left out and why, and how well those of a method agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interpretability.explanations import aggregation, rater_errors
from interpretability.explanations import raters as rating_people
from interpretability.explanations.rater_agreement import alpha
from study.crowd.asked import Asked
from study.crowd.labels import ASKED, counts
from study.crowd.ratings import NO_PAGE
from study.crowd.waves import ADAPTIVE
from study.log import logger
from study.params.crowd import Crowd

log = logger("crowd")

EXCLUSIONS = ["rater", "reason", "n_ratings"]
AGREEMENT = ["model", "method", "n_images", "n_ratings", "kappa", "alpha", "bound", "yes_share", "prior_mean"]
RATERS = [*rating_people.RATER_COLUMNS, "false_yes", "false_no", "excluded"]
Gold = Mapping[tuple[str, int], bool]


@dataclass(frozen=True)
class Checked:
    """raters: RATERS, a row a rater, with error rates by what all raters say together; exclusions: EXCLUSIONS, a row a rule that
    somebody broke; kept: ratings of all others."""

    raters: pd.DataFrame
    exclusions: pd.DataFrame
    kept: pd.DataFrame


def checked_raters(asked: Asked, ratings: pd.DataFrame, gold: Gold, crowd: Crowd, seed: int) -> Checked:
    """Raters under the rules of `crowd.checks`; gold: labels that are known, by text and image.

    In adaptive designs nobody is left out for agreement: images are asked about again because the first answer was
    doubtful, so that others disagree with honest raters more often than on images that no answer chose.
    """
    if ratings.empty:
        return Checked(pd.DataFrame(columns=RATERS), pd.DataFrame(columns=EXCLUSIONS), ratings)
    prior = _priors(asked, ratings, crowd)
    known = ratings.assign(
        page=ratings["page"].where(ratings["page"] != NO_PAGE, "").astype(str),
        seconds=ratings["seconds"].where(ratings["page"] != NO_PAGE),
    )
    table = rating_people.rater_table(known, gold=gold, prior=prior, rules=_rules(crowd), seed=seed, **_errors(crowd))
    rates = rater_errors.fit_rater_errors(ratings, prior=prior).rates
    table = table.merge(rates[["rater", "false_yes", "false_no"]], on="rater", how="left")
    table["excluded"] = table["flags"] != ""
    flagged = table.loc[table["excluded"], ["rater", "flags", "n"]]
    exclusions = (
        flagged.assign(reason=flagged["flags"].str.split("; ")).explode("reason").rename(columns={"n": "n_ratings"})
    )
    for row in exclusions.itertuples():
        log.warning("%s is left out, with %d ratings: %s", row.rater, row.n_ratings, row.reason)
    kept = ratings[~ratings["rater"].isin(flagged["rater"])].reset_index(drop=True)
    return Checked(table[RATERS], exclusions[EXCLUSIONS].reset_index(drop=True), kept)


def agreement(asked: Asked, ratings: pd.DataFrame, crowd: Crowd) -> pd.DataFrame:
    """Agreement on the images of the texts of each network and method, AGREEMENT: kappa beside the highest that raters with the
    assumed error rates could reach if they erred each by themselves; share of yes beside the mean probability by the machine.
    """
    texts = asked.texts[asked.texts["pair"] >= 0]
    guide = _guided(asked, ratings)
    rows = []
    for (model, method), part in texts.groupby(["model", "method"], sort=True):
        own = ratings[ratings["text"].isin(part["text"])]
        if own.empty:
            continue
        found = rating_people.agreement(own, **_errors(crowd))
        rows.append(
            {
                "model": model,
                "method": method,
                "n_images": found.n_images,
                "n_ratings": found.n_ratings,
                "kappa": found.kappa,
                "alpha": alpha(own),
                "bound": found.bound,
                "yes_share": found.yes_share,
                "prior_mean": float(guide[own.index].mean()),
            }
        )
    return pd.DataFrame(rows, columns=AGREEMENT)


def _guided(asked: Asked, ratings: pd.DataFrame) -> pd.Series:
    guide = asked.guide_at(ratings["text"], ratings["image"])
    return pd.Series(np.nan if guide is None else guide, index=ratings.index, dtype=np.float64)


def _priors(asked: Asked, ratings: pd.DataFrame, crowd: Crowd) -> float | dict[tuple[str, int], float]:
    """Probability of the concept before any rating: by the machine, or the one assumed."""
    pairs = counts(ratings)
    guide = asked.guide_at(pairs["text"], pairs["image"])
    if guide is None:
        return crowd.prior
    names = pairs[ASKED].itertuples(index=False, name=None)
    return dict(zip(names, aggregation.guide_prior(guide, crowd.clip).tolist(), strict=True))


def _errors(crowd: Crowd) -> dict[str, float]:
    return {"false_yes": crowd.false_yes, "false_no": crowd.false_no}


def _rules(crowd: Crowd) -> rating_people.Rules:
    """The rules that are on; a parameter of 0 turns its rule off."""
    checks, agreement_quantile = crowd.checks, crowd.checks.agreement_quantile or None
    if agreement_quantile is not None and crowd.design == ADAPTIVE:
        log.warning(
            "crowd.checks.agreement_quantile is off: with crowd.design adaptive, images are rated again where answers are "
            "doubtful, and honest raters agree less there"
        )
        agreement_quantile = None
    return rating_people.Rules(
        seconds_page=checks.min_page_seconds or None,
        constant_pages=checks.constant_pages or None,
        agreement_quantile=agreement_quantile,
        gold_error=checks.max_gold_error or None,
    )
