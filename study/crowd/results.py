"""What the stage `crowd` writes, from the questions and whoever answered them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.schema import UNIT
from study.crowd import checks, latent, published, waves
from study.crowd.asked import Asked
from study.crowd.gold import Gold, constructed_labels, known_labels
from study.crowd.labels import counts, labels
from study.crowd.ratings import Ratings, no_ratings, read_ratings
from study.crowd.schemas import LABELS, POSTERIORS, RATINGS, SCORES
from study.files.tables import write_csv, write_json, write_parquet
from study.log import logger
from study.params.crowd import Crowd

log = logger("crowd")

ALL, KEPT = "all", "kept"


@dataclass(frozen=True, kw_only=True)
class CrowdParams:
    """What ratings and scores depend on."""

    seed: int
    processor: str
    crowd: Crowd


@dataclass(frozen=True)
class Folders:
    """explanations: of the stage before; ratings and gold: what people and those who know have said; out: what is written."""

    explanations: Path
    ratings: Path
    gold: Path
    images: Path
    out: Path


def write_crowd(folders: Folders, params: CrowdParams) -> None:
    """Ratings, raters, labels and scores of all pairs of units and texts that people were asked about."""
    asked, crowd, out = Asked.read(folders.explanations), params.crowd, folders.out
    gold = _gold(asked, folders, params)
    rated = _rated(asked, folders.ratings, params)
    checked = checks.checked_raters(asked, rated.accepted, gold, crowd, params.seed)
    kept = _scored(asked, checked.kept, gold, params, judged=True)
    parts = [kept.scores.assign(raters=KEPT)]
    if len(checked.kept) == len(rated.accepted):
        parts.append(kept.scores.assign(raters=ALL))
    else:
        parts.append(_scored(asked, rated.accepted, gold, params, judged=False).scores.assign(raters=ALL))
    write_parquet(out / "ratings.parquet", rated.accepted, RATINGS)
    write_csv(out / "rejected.csv", rated.rejected)
    write_csv(out / "raters.csv", checked.raters)
    write_csv(out / "exclusions.csv", checked.exclusions)
    write_csv(out / "agreement.csv", checks.agreement(asked, checked.kept, crowd))
    write_parquet(out / "labels.parquet", kept.labels, LABELS)
    write_parquet(out / "posteriors.parquet", kept.fit.posteriors, POSTERIORS)
    write_parquet(out / "scores.parquet", _table(asked, parts, crowd.source), SCORES)
    write_csv(out / "next_questions.csv", waves.next_questions(asked, checked.kept, params))
    write_json(out / "check.json", kept.fit.check)
    write_json(out / "run.json", {"source": crowd.source, "study": asked.study, "n_ratings": len(rated.accepted)})


def _rated(asked: Asked, folder: Path, params: CrowdParams) -> Ratings:
    """Ratings of the study's source; none is one."""
    crowd = params.crowd
    if crowd.source == "none" or asked.pairs.empty:
        return no_ratings()
    if crowd.source == "table":
        found = read_ratings(folder, asked.questions, asked.study)
        if found.accepted.empty:
            log.warning(
                "%s holds no ratings yet: ask people what questions.csv and pages.json of data/explanations ask, and put "
                "their answers there",
                folder,
            )
        return found
    return Ratings(waves.simulated(asked, params), no_ratings().rejected)


def _gold(asked: Asked, folders: Folders, params: CrowdParams) -> Gold:
    """Known labels of questions: from files beside the ratings of people, by construction beside simulated ones."""
    if asked.pairs.empty or params.crowd.source == "none":
        return {}
    if params.crowd.source == "table":
        return known_labels(asked, folders.gold, folders.images)
    return constructed_labels(asked, params.crowd.n_gold, params.seed)


@dataclass(frozen=True)
class _Scored:
    """Labels, scores (pair, estimator, ...) and the fit of the latent model, of one set of ratings."""

    labels: pd.DataFrame
    scores: pd.DataFrame
    fit: latent.Fit


def _scored(
    asked: Asked, ratings: pd.DataFrame, gold: Gold, params: CrowdParams, *, judged: bool
) -> _Scored:
    """`judged`: whether the latent model judges its own intervals too, which takes several fits."""
    labelled = labels(asked, counts(ratings), params.crowd)
    as_published = published.published_scores(asked, labelled)
    fit = latent.fit(asked, labelled, gold, params.crowd.n_check if judged else 0, params.seed)
    return _Scored(labelled, pd.concat([fit.scores, as_published], ignore_index=True), fit)


def _table(asked: Asked, parts: list[pd.DataFrame], source: str) -> pd.DataFrame:
    """Scores with what each is a score of: a row a unit, method, estimator and set of raters, in this order."""
    of_pair = asked.pairs.drop(columns="reason").merge(
        asked.texts.loc[asked.texts["pair"] >= 0, [*UNIT, "method", "pair"]], on=[*UNIT, "pair"], how="left"
    )
    scores = pd.concat(parts, ignore_index=True).merge(of_pair, on="pair", how="left")
    scores = scores.assign(simulated=asked.simulated | (source == "simulated"))
    for name in SCORES.names:
        if name not in scores:
            scores[name] = np.nan
    return scores.sort_values([*UNIT, "method", "pair", "estimator", "raters"], kind="stable")[SCORES.names]
