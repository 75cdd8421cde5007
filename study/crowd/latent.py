"""Scores by the latent model, which needs no weights and has intervals: what the study gives to it, and what it writes of it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interpretability.explanations.latent.fit import LatentFit, latent_scores
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.explanations.latent.self_check import CALIBRATED, NOT_CALIBRATED
from interpretability.schema import UNIT
from study.crowd.asked import Asked
from study.crowd.gold import Gold
from study.crowd.labels import ASKED
from study.crowd.published import NUMBERS, too_few

OURS = "latent"
NO_RATINGS = "no ratings"
SCORES = ["pair", "estimator", "rho", "se", "low", "high", "status", "reason", "rhat", *NUMBERS]
POSTERIORS = ["pair", "image", "n", "yes", "posterior"]


@dataclass(frozen=True)
class Fit:
    """scores: SCORES, a row a pair; posteriors: of every rated image of a pair; check: whether intervals may be believed, and
    what the fit says of raters."""

    scores: pd.DataFrame
    posteriors: pd.DataFrame
    check: dict[str, Any]


def fit(asked: Asked, labelled: pd.DataFrame, gold: Gold, n_check: int, seed: int) -> Fit:
    """Scores of every pair with ratings (`labels.labels`), by one fit of all pairs.

    Ratings of images whose label is known tell how raters err, and enter no pair. A rating that several pairs asked for enters
    each of them. Of a text, only images that were drawn for the pair enter: those drawn for another unit were chosen by what
    that unit responds to, which the model of this one does not know.
    n_check  simulated copies of the study by which the intervals are judged; 0 leaves them not calibrated
    """
    usable = asked.pairs["reason"] == ""
    rated = _rated(asked, labelled[~_known(labelled, gold)])
    rated = rated[usable[rated["pair"]].to_numpy()]
    if rated.empty:
        return Fit(_without_ratings(asked), pd.DataFrame(columns=POSTERIORS), {"verdict": NO_RATINGS})
    places = np.flatnonzero(usable)
    row_of = np.full(len(usable), -1)
    row_of[places] = np.arange(len(places))
    found = latent_scores(
        asked.activations[places],
        None if asked.guide is None else asked.guide[places],
        RatedPairs(row_of[rated["pair"]], asked.places.get_indexer(rated["image"]), *_counted(rated)),
        gold=_gold_images(asked, labelled, gold, row_of),
        seed=seed,
        keys=[tuple(row) for row in asked.pairs.loc[usable, [*UNIT, "text"]].itertuples(index=False)],
        n_bootstrap=n_check,
    )
    posteriors = rated.assign(posterior=found.posterior)[POSTERIORS].reset_index(drop=True)
    return Fit(_scores(asked, found, posteriors, places), posteriors, _check(found))


def _known(labelled: pd.DataFrame, gold: Gold) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array([question in gold for question in labelled[ASKED].itertuples(index=False, name=None)], dtype=bool)


def _rated(asked: Asked, labelled: pd.DataFrame) -> pd.DataFrame:
    """Rated images drawn for a pair, once each, in order of pair and image: pair, image, n, yes."""
    drawn = asked.draws[["pair", "image"]].drop_duplicates().merge(asked.pairs[["pair", "text"]], on="pair")
    return drawn.merge(labelled[[*ASKED, "n", "yes"]], on=ASKED).sort_values(["pair", "image"], kind="stable")


def _counted(rated: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return rated["n"].to_numpy(np.int64), rated["yes"].to_numpy(np.int64)


def _gold_images(asked: Asked, labelled: pd.DataFrame, gold: Gold, row_of: np.ndarray[Any, Any]) -> GoldImages | None:
    """Ratings of images with known labels, each given to the first usable pair of its text."""
    usable = asked.pairs[row_of[asked.pairs["pair"]] >= 0]
    known = labelled[_known(labelled, gold)].merge(usable.drop_duplicates("text")[["text", "pair"]], on="text")
    if known.empty:
        return None
    present = np.array([gold[question] for question in known[ASKED].itertuples(index=False, name=None)], dtype=np.int64)
    return GoldImages(row_of[known["pair"]], asked.places.get_indexer(known["image"]), present, *_counted(known))


def _scores(asked: Asked, found: LatentFit, posteriors: pd.DataFrame, places: np.ndarray[Any, Any]) -> pd.DataFrame:
    """One row a pair; too few rated images are no score, whatever the model makes of the others'."""
    table = _without_ratings(asked)
    for name in ("rho", "se", "low", "high", "rhat", "reason", "status"):
        table.loc[places, name] = getattr(found, name)
    by_pair = posteriors.groupby("pair")
    counted = by_pair.agg(n_images=("image", "size"), n_ratings=("n", "sum"))
    counted["n_positive"] = by_pair["posterior"].apply(lambda values: int((values > 0.5).sum()))
    counted = counted.reindex(asked.pairs["pair"], fill_value=0)
    table[["n_images", "n_ratings", "n_positive"]] = counted[["n_images", "n_ratings", "n_positive"]].to_numpy()
    drawn = asked.draws.groupby("pair")["image"].nunique().reindex(asked.pairs["pair"], fill_value=0)
    table["n_draws"] = table["n_images"]
    few = [too_few(d, n) for d, n in zip(drawn, table["n_images"], strict=True)]
    table["reason"] = asked.pairs["reason"].where(asked.pairs["reason"] != "", pd.Series(few).where(pd.Series(few) != "", table["reason"]))
    undefined = table["reason"] != ""
    table.loc[undefined, ["rho", "se", "low", "high"]] = np.nan
    table.loc[undefined, "status"] = f"{NOT_CALIBRATED}: no score"
    return table


def _without_ratings(asked: Asked) -> pd.DataFrame:
    """Rows of all pairs without a score."""
    reason = asked.pairs["reason"].where(asked.pairs["reason"] != "", NO_RATINGS)
    table = pd.DataFrame({"pair": asked.pairs["pair"], "estimator": OURS, "status": f"{NOT_CALIBRATED}: no score", "reason": reason})
    table[["rho", "se", "low", "high", "rhat"]] = np.nan
    table[NUMBERS] = 0
    return table.astype(dict.fromkeys(("ess", "max_weight"), np.float64))[SCORES]


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
