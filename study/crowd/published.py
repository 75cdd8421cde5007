"""Scores of texts as published: labels of drawn images, weighted by how likely each was drawn. They have no interval.

Intervals of these estimates cover the score in 10 to 84 % of simulated studies in place of 95 %, so none is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations import estimates
from interpretability.explanations.correlation import standardised
from study.crowd.asked import Asked
from study.crowd.labels import RULES

STATUS = "as published, no interval"
GUIDE_STATUS = "no rating enters"
SELF_NORMALISED, GUIDE_ONLY = "self_normalised", "guide_only"
# Rated images and images with the concept (label above 1/2) below which there is no score, and the share of the drawn images
# that must have been rated: half a study is no small study, its missing half may be of one kind.
FEWEST_IMAGES, FEWEST_POSITIVE, FEWEST_SHARE = 30, 5, 0.5
NUMBERS = ["n_draws", "n_images", "n_ratings", "n_positive", "ess", "max_weight"]


def published_scores(asked: Asked, labelled: pd.DataFrame) -> pd.DataFrame:
    """Scores of every pair by every published rule, and by the guide alone, which no rating enters: pair, estimator, rho,
    status, reason and NUMBERS, of what they are made from.

    labelled: `labels.labels`. A pair of which too few images were rated, or show the concept, has no score, and `reason` says
    why. The labels of an image that was drawn twice enter twice, those of an image that nobody rated not at all.
    """
    drawn = asked.draws.merge(asked.pairs[["pair", "text"]], on="pair", how="left")
    drawn = drawn.merge(labelled, on=["text", "image"], how="left").sort_values(["pair", "draw"], kind="stable")
    of_pair = dict(list(drawn.groupby("pair", sort=True)))
    rows = [_guide_alone(pair) for pair in asked.pairs.itertuples(index=False)]
    rules = RULES if asked.guide is not None else RULES[:-1]
    for place, (pair, reason) in enumerate(zip(asked.pairs["pair"], asked.pairs["reason"], strict=True)):
        part = of_pair.get(pair, drawn[:0])
        rated = part[part["n"] > 0]
        unit = np.full(len(asked.places), np.nan) if reason else standardised(asked.activations[place])
        values = unit[asked.places_of(rated["image"])]
        for rule in rules:
            numbers = numbers_of(rated, rated[rule])
            why = reason or too_few(part["image"].nunique(), numbers["n_images"], numbers["n_positive"])
            by = [(rule, estimates.importance)]
            if rule == "bragg_guide":
                by.append((SELF_NORMALISED, estimates.self_normalised))
            for name, estimate in by:
                found = (np.nan, why) if why else _estimated(estimate, rated[rule], rated["weight"], values)
                head = {"pair": pair, "estimator": name, "rho": found[0], "status": STATUS, "reason": found[1]}
                rows.append(head | numbers)
    return pd.DataFrame(rows, columns=["pair", "estimator", "rho", "status", "reason", *NUMBERS])


def numbers_of(rated: pd.DataFrame, labels: pd.Series) -> dict[str, float]:
    """What a score is made from. rated: drawn images with ratings (image, n, weight), one row a draw, and their labels."""
    once = ~rated.duplicated("image")
    weights = rated["weight"].to_numpy(np.float64)
    return {
        "n_draws": len(rated),
        "n_images": int(once.sum()),
        "n_ratings": int(rated.loc[once, "n"].sum()),
        "n_positive": int((labels[once] > 0.5).sum()),
        "ess": float(estimates.effective_draws(weights)) if len(rated) else 0.0,
        "max_weight": float(weights.max(initial=0.0)),
    }


def too_few(n_drawn: int, n_rated: float, n_positive: float = math.inf) -> str:
    """Why a pair has no score: of how many distinct images drawn how many were rated, and how many show the concept."""
    if n_rated < max(FEWEST_IMAGES, FEWEST_SHARE * n_drawn):
        return f"too few: {n_rated:g} of {n_drawn} images rated"
    if n_positive < FEWEST_POSITIVE:
        return f"too few: {n_positive:g} images with the concept"
    return ""


def _guide_alone(pair: Any) -> dict[str, Any]:
    reason = pair.reason or ("" if np.isfinite(pair.rho_guide_only) else "no guide")
    head = {
        "pair": pair.pair,
        "estimator": GUIDE_ONLY,
        "rho": pair.rho_guide_only,
        "status": GUIDE_STATUS,
        "reason": reason,
    }
    return head | dict.fromkeys(NUMBERS, 0)


def _estimated(
    estimate: Callable[..., estimates.Estimate], labels: pd.Series, weights: pd.Series, values: NDArray[np.float64]
) -> tuple[float, str]:
    found = estimate(labels.to_numpy(np.float64), weights.to_numpy(np.float64), values)
    return float(found.rho), str(found.reason)
