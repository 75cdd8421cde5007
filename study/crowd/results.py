"""What the stage `crowd` writes, from the questions and whoever answered them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.schema import UNIT
from study.crowd import checks, latent, published, waves
from study.crowd.asked import SECOND, Asked
from study.crowd.gold import Gold, read_gold
from study.crowd.labels import labels
from study.crowd.ratings import Ratings, no_ratings, read_ratings
from study.crowd.schemas import DRAWS, LABELS, POSTERIORS, RATINGS, SCORES, SECOND_SCORES
from study.crowd.second import second_scores
from study.files.sources import PEOPLE, SIMULATED
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
    """explanations: of the stage before; ratings: what people have said; out: what is written."""

    explanations: Path
    ratings: Path
    out: Path


def write_crowd(folders: Folders, params: CrowdParams) -> None:
    """Ratings, raters, labels and scores of all pairs of units and texts that people were asked about."""
    crowd, out = params.crowd, folders.out
    asked = Asked.read(folders.explanations)
    if crowd.source == "none":
        asked = asked.without_pairs()
    gold = read_gold(folders.explanations)
    rated = _rated(asked, folders.ratings, gold, params)
    checked = checks.checked_raters(asked, rated.accepted, gold, crowd, params.seed)
    kept, of_all = _with_and_without(asked, rated.accepted, checked.kept, gold, params)
    parts = [kept.scores.assign(raters=KEPT), of_all.scores.assign(raters=ALL)]
    write_parquet(out / "ratings.parquet", rated.accepted.assign(source=rated.source), RATINGS)
    write_csv(out / "rejected.csv", rated.rejected)
    write_csv(out / "raters.csv", checked.raters)
    write_csv(out / "exclusions.csv", checked.exclusions)
    write_csv(out / "agreement.csv", checks.agreement(asked, checked.kept, crowd))
    write_parquet(out / "labels.parquet", kept.labels, LABELS)
    write_parquet(out / "score_draws.parquet", kept.fit.draws, DRAWS)
    write_parquet(out / "posteriors.parquet", kept.fit.posteriors, POSTERIORS)
    write_parquet(out / "scores.parquet", _table(asked, parts, rated.source), SCORES)
    made_up = asked.simulated or rated.source == SIMULATED or asked.run.get(SECOND) == SIMULATED
    second = second_scores(asked, checked.kept, kept.scores, crowd)
    write_parquet(out / "second_guide.parquet", second.assign(simulated=made_up), SECOND_SCORES)
    write_csv(out / "next_questions.csv", _next_wave(asked, checked.kept, gold, params))
    write_json(out / "check.json", kept.fit.check)
    run = {"source": crowd.source, "simulated": rated.source == SIMULATED, "study": asked.study}
    write_json(out / "run.json", {**run, "n_ratings": len(rated.accepted)})


def _rated(asked: Asked, folder: Path, gold: Gold, params: CrowdParams) -> Ratings:
    """Ratings of the study's source; none is one."""
    crowd = params.crowd
    if asked.pairs.empty and crowd.source != "table":
        return replace(no_ratings(), source=SIMULATED if crowd.source == SIMULATED else PEOPLE)
    if crowd.source == "table":
        found = read_ratings(folder, asked.questions, asked.study)
        if found.accepted.empty:
            log.warning(
                "%s holds no ratings yet: ask people what questions.csv and pages.json of data/explanations ask, and put "
                "their answers there",
                folder,
            )
        return found
    return Ratings(waves.all_ratings(asked, gold, crowd, params.seed), no_ratings().rejected, SIMULATED)


def _next_wave(asked: Asked, ratings: pd.DataFrame, gold: Gold, params: CrowdParams) -> pd.DataFrame:
    """Questions to ask people next; the simulated ones of this stage have been asked everything."""
    if params.crowd.source != "table":
        ratings = ratings[:0]
    return waves.next_questions(asked, ratings, gold, params.crowd, params.seed)


@dataclass(frozen=True)
class _Scored:
    """Labels, scores (pair, estimator, ...) and the fit of the latent model, of one set of ratings."""

    labels: pd.DataFrame
    scores: pd.DataFrame
    fit: latent.Fit


def _with_and_without(
    asked: Asked, every: pd.DataFrame, kept: pd.DataFrame, gold: Gold, params: CrowdParams
) -> tuple[_Scored, _Scored]:
    """Scores by the ratings that count, whose intervals are judged, and by those of all raters: side by side, at once."""
    if len(kept) == len(every):
        found = _scored(asked, kept, gold, params, judged=True)
        return found, found
    _ = asked.activations, asked.guide  # read once, before two threads ask for them
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(_scored, asked, ratings, gold, params, judged=judged)
            for ratings, judged in ((kept, True), (every, False))
        ]
        return jobs[0].result(), jobs[1].result()


def _scored(asked: Asked, ratings: pd.DataFrame, gold: Gold, params: CrowdParams, *, judged: bool) -> _Scored:
    """`judged`: scores to report, whose intervals the latent model judges; not judged: scores that stand beside them."""
    labelled = labels(asked, ratings, params.crowd)
    as_published = published.published_scores(asked, labelled)
    fit = latent.fit(asked, labelled, gold, params.crowd.n_check if judged else 0, params.seed, brief=not judged)
    return _Scored(labelled, pd.concat([fit.scores, as_published], ignore_index=True), fit)


def _table(asked: Asked, parts: list[pd.DataFrame], source: str) -> pd.DataFrame:
    """Scores with what each is a score of: a row a unit, method, estimator and set of raters, in this order."""
    of_pair = asked.pairs.drop(columns="reason").merge(
        asked.texts.loc[asked.texts["pair"] >= 0, [*UNIT, "method", "pair"]], on=[*UNIT, "pair"], how="left"
    )
    scores = pd.concat(parts, ignore_index=True).merge(of_pair, on="pair", how="left")
    scores = scores.assign(simulated=asked.simulated | (source == SIMULATED))
    for name in SCORES.names:
        if name not in scores:
            scores[name] = np.nan
    return scores.sort_values([*UNIT, "method", "pair", "estimator", "raters"], kind="stable")[SCORES.names]
