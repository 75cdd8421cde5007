"""Scores by the latent model, which needs no weights and has intervals: what the study gives to it, and what it writes of it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations.latent.fit import LatentFit, latent_scores, usual_effort
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.explanations.latent.posterior import Effort
from interpretability.explanations.latent.self_check import CALIBRATED, NOT_CALIBRATED
from interpretability.schema import UNIT
from study.crowd.asked import Asked
from study.crowd.gold import Gold
from study.crowd.labels import ASKED
from study.crowd.published import NUMBERS, too_few

OURS = "latent"
NO_RATINGS, UNDEFINED = "no ratings", f"{NOT_CALIBRATED}: no score"
SCORES = ["pair", "estimator", "rho", "se", "low", "high", "status", "reason", "rhat", *NUMBERS]
DRAWS = ["draw", "pair", "rho"]
POSTERIORS = ["pair", "image", "n", "yes", "posterior"]


@dataclass(frozen=True)
class Fit:
    """scores: SCORES, a row a pair; draws: DRAWS, of the posterior of scores, those of one draw belonging together; posteriors:
    of every rated image of a pair; check: whether intervals may be believed, and what the fit says of raters."""

    scores: pd.DataFrame
    draws: pd.DataFrame
    posteriors: pd.DataFrame
    check: dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What the model is given: pairs that can have a score, in order.

    pairs    their numbers (usable,); activations and guide of theirs (usable, n); keys that name them; groups, of one network and
             method each (of a text of several methods the first by name)
    rated    rated images drawn for each, in order of pair and image: pair, image, n, yes; ratings and gold are for the model
    """

    pairs: NDArray[np.int64]
    activations: NDArray[np.float64]
    guide: NDArray[np.float64] | None
    keys: list[tuple[object, ...]]
    groups: list[tuple[object, ...]]
    rated: pd.DataFrame
    ratings: RatedPairs
    gold: GoldImages | None


def given(asked: Asked, counted: pd.DataFrame, gold: Gold) -> Given:
    """What counted ratings (text, image, n, yes) say to the model.

    Ratings of images whose label is known tell how raters err, and enter no pair. A rating that several pairs asked for enters
    each of them. Of a text, only images that were drawn for the pair enter: those drawn for another unit were chosen by what
    that unit responds to, which the model of this one does not know.
    """
    usable = np.flatnonzero(asked.pairs["reason"] == "")
    row_of = np.full(len(asked.pairs), -1)
    row_of[usable] = np.arange(len(usable))
    known = np.array([question in gold for question in counted[ASKED].itertuples(index=False, name=None)], dtype=bool)
    drawn = asked.draws[["pair", "image"]].drop_duplicates().merge(asked.pairs[["pair", "text"]], on="pair")
    rated = drawn.merge(counted.loc[~known, [*ASKED, "n", "yes"]], on=ASKED)
    rated = rated[row_of[rated["pair"]] >= 0].sort_values(["pair", "image"], kind="stable").reset_index(drop=True)
    places = asked.places_of(rated["image"])
    method_of = asked.texts.groupby("pair")["method"].min()
    return Given(
        pairs=usable,
        activations=asked.activations[usable],
        guide=None if asked.guide is None else asked.guide[usable],
        keys=[tuple(row) for row in asked.pairs.loc[usable, [*UNIT, "text"]].itertuples(index=False)],
        groups=[(model, method_of[pair]) for pair, model in asked.pairs.loc[usable, ["pair", "model"]].to_numpy()],
        rated=rated[["pair", "image", "n", "yes"]],
        ratings=RatedPairs(row_of[rated["pair"]], places, *_counts(rated)),
        gold=_gold_images(asked, counted[known], gold, row_of),
    )


def _counts(rated: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return rated["n"].to_numpy(np.int64), rated["yes"].to_numpy(np.int64)


def _gold_images(asked: Asked, known: pd.DataFrame, gold: Gold, row_of: NDArray[np.int64]) -> GoldImages | None:
    """Ratings of images with known labels, each given to the first usable pair of its text."""
    usable = asked.pairs[row_of >= 0].drop_duplicates("text")
    known = known.merge(usable[["text", "pair"]], on="text")
    if known.empty:
        return None
    present = np.array([gold[question] for question in known[ASKED].itertuples(index=False, name=None)], dtype=np.int64)
    return GoldImages(row_of[known["pair"]], asked.places_of(known["image"]), present, *_counts(known))


def fit(asked: Asked, counted: pd.DataFrame, gold: Gold, n_check: int, seed: int, *, brief: bool = False) -> Fit:
    """Scores of every pair by one fit of all pairs; counted ratings as for `given`.

    n_check  simulated copies of the study by which the intervals are judged; 0 leaves them not calibrated
    brief    chains of half the length: for scores that stand beside others
    """
    data = given(asked, counted, gold)
    if data.rated.empty:
        none = pd.DataFrame(columns=DRAWS), pd.DataFrame(columns=POSTERIORS)
        return Fit(_without_ratings(asked), *none, {"verdict": NO_RATINGS})
    found = latent_scores(
        data.activations,
        data.guide,
        data.ratings,
        gold=data.gold,
        seed=seed,
        keys=data.keys,
        groups=data.groups,
        n_bootstrap=n_check,
        effort=_half(usual_effort(len(data.rated))) if brief else None,
    )
    posteriors = data.rated.assign(posterior=found.posterior)[POSTERIORS]
    scores = _scores(asked, found, posteriors, data.pairs)
    return Fit(scores, _draws(found, scores, data.pairs), posteriors, _check(found))


def _half(effort: Effort) -> Effort:
    return dataclasses.replace(effort, burn=effort.burn * 3 // 5, kept=effort.kept // 2)


def _draws(found: LatentFit, scores: pd.DataFrame, usable: NDArray[np.int64]) -> pd.DataFrame:
    """Draws of the scores that are defined."""
    defined = scores["rho"].notna().to_numpy()[usable]
    values, pairs = found.draws[:, defined], usable[defined]
    draw = np.repeat(np.arange(len(values)), len(pairs))
    return pd.DataFrame({"draw": draw, "pair": np.tile(pairs, len(values)), "rho": values.ravel()})[DRAWS]


def _scores(asked: Asked, found: LatentFit, posteriors: pd.DataFrame, usable: NDArray[np.int64]) -> pd.DataFrame:
    """One row a pair; where too few images were rated there is no score, whatever the model makes of the other pairs."""
    table = _without_ratings(asked)
    for name in ("rho", "se", "low", "high", "rhat", "reason", "status"):
        table.loc[usable, name] = getattr(found, name)
    positive = posteriors.assign(positive=posteriors["posterior"] > 0.5)
    counted = positive.groupby("pair").agg(
        n_images=("n", "size"), n_ratings=("n", "sum"), n_positive=("positive", "sum")
    )
    counted = counted.reindex(asked.pairs["pair"], fill_value=0)
    table[["n_images", "n_ratings", "n_positive"]] = counted.to_numpy(np.int64)
    table["n_draws"] = table["n_images"]
    drawn = asked.draws.groupby("pair")["image"].nunique().reindex(asked.pairs["pair"], fill_value=0)
    few = pd.Series([too_few(most, n) for most, n in zip(drawn, table["n_images"], strict=True)], dtype=object)
    reason = table["reason"].where(few == "", few)
    table["reason"] = reason.where(asked.pairs["reason"] == "", asked.pairs["reason"])
    undefined = table["reason"] != ""
    table.loc[undefined, ["rho", "se", "low", "high"]] = np.nan
    table.loc[undefined, "status"] = UNDEFINED
    return table


def _without_ratings(asked: Asked) -> pd.DataFrame:
    """Rows of all pairs without a score."""
    reason = asked.pairs["reason"].where(asked.pairs["reason"] != "", NO_RATINGS)
    rows = {"pair": asked.pairs["pair"], "estimator": OURS, "status": UNDEFINED, "reason": reason}
    table = pd.DataFrame(rows).astype({"status": object, "reason": object})
    table[["rho", "se", "low", "high", "rhat"]] = np.nan
    table[NUMBERS] = 0
    table[["ess", "max_weight"]] = np.nan  # nothing is weighted
    return table[SCORES]


def _check(found: LatentFit) -> dict[str, Any]:
    """What check.json says; figures that could not be computed are left out."""
    figures = dataclasses.asdict(found.check)
    reasons = list(figures.pop("reasons"))
    undefined = found.reason != ""
    calibrated = int((found.status == CALIBRATED).sum())
    return {
        "verdict": f"{NOT_CALIBRATED}: {'; '.join(reasons)}" if reasons else CALIBRATED,
        "reasons": reasons,
        "n_pairs": len(found.rho),
        "n_undefined": int(undefined.sum()),
        "n_calibrated": calibrated,
        "rhat_largest": float(found.rhat[~undefined].max(initial=1.0)),
        "figures": {name: value for name, value in figures.items() if not math.isnan(value)},
        "raters": {name: {"mean": mean, "sd": sd} for name, (mean, sd) in found.raters.items()},
    }
