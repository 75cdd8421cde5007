"""Tables of texts: how well each method's say what units respond to, by the automatic score and by what people said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.analysis.pairs import stars
from interpretability.explanations import comparing
from interpretability.schema import UNIT
from interpretability.statistics import holm
from study.files.tables import read_csv, read_json, read_parquet
from study.tabulating.facts import Tables
from study.tabulating.inputs import text_table
from study.tabulating.text_means import Draws, p_of, widened

AUTOMATIC, OURS = "automatic", "latent"
OF_IMAGES = "over images that no text was made from"  # status of automatic scores
CALIBRATED = "calibrated"  # begins the status of a score whose interval may be shown
KEPT, ALL = "kept", "all"
METHODS = [
    *(
        "model",
        "method",
        "score",
        "n_units",
        "n_undefined",
        "rho_mean",
        "rho_se",
        "low",
        "high",
        "n_common",
        "mean_common",
    ),
    *("guide_only_mean", "control_mean", "recall_mean", "true_mean", "error_mean", "all_raters_mean", "n_ratings"),
    *("status", "simulated"),
]
TESTS = [
    *(
        "model",
        "score",
        "first",
        "second",
        "n",
        "difference",
        "low",
        "high",
        "wins",
        "p_wilcoxon",
        "p_t",
        "p_scores",
        "p_holm",
        "stars",
    ),
    *("published_t_p", "reason", "simulated"),
]
RATERS = [
    *("group", "n_raters", "n_ratings", "yes_share", "false_yes", "false_no", "gold_false_yes", "gold_false_no"),
    *("agreement", "seconds_page"),
]
REJECTED = ["file", "reason", "count", "first_row"]
CHECK = ["part", "name", "value", "sd", "words"]
SIMULATION = ("curves", "pareto", "costs")
INTERVALS = (AUTOMATIC, OURS)  # scores whose means have intervals
_BESIDE = {
    "guide_only_mean": "guide",
    "control_mean": "control_rho",
    "recall_mean": "recall",
    "true_mean": "rho_true",
    "error_mean": "error",
}


def texts_tables(explanations: Path, crowd: Path, simulation: Path, confidence: float) -> Tables:
    """Every table of texts, from the folders of three stages; without texts, ratings or simulations they have no rows."""
    scores = unit_scores(
        read_parquet(explanations / "scores.parquet"),
        read_parquet(explanations / "pairs.parquet"),
        read_parquet(crowd / "scores.parquet"),
    )
    draws = Draws(read_parquet(crowd / "score_draws.parquet"))
    return {
        "explanation_methods": methods_table(scores, draws, confidence),
        "explanation_tests": tests_table(scores, draws, confidence),
        "explanation_agreement": text_table(crowd / "agreement.csv"),
        "explanation_raters": raters_table(read_csv(crowd / "raters.csv", text=("rater", "flags"))),
        "explanation_check": check_table(read_json(crowd / "check.json")),
        "explanation_rejected": rejected_table(
            read_csv(crowd / "rejected.csv", text=("file", "rater", "text", "image"))
        ),
        **{f"crowd_{name}": read_parquet(simulation / f"{name}.parquet") for name in SIMULATION},
    }


def unit_scores(automatic: pd.DataFrame, pairs: pd.DataFrame, crowd: pd.DataFrame) -> pd.DataFrame:
    """One row a unit, method and score ("automatic" or the estimator).

    Columns UNIT, method, score, pair (-1 where nobody was asked), rho, status, simulated, n_ratings, rho_all (by all raters;
    rho is by those that count), and what stands beside it, NaN where it is not known: guide (the guide alone), control_rho,
    recall, rho_true.

    automatic, pairs: of the stage `explanations`; crowd: scores of the stage `crowd`.
    """
    key = [*UNIT, "method"]
    true = pairs[[*UNIT, "text", "rho_true"]]
    shown = [*key, "rho", "control_rho", "recall", "simulated"]
    plain = automatic.merge(true, on=[*UNIT, "text"], how="left")[[*shown, "rho_true"]].assign(
        score=AUTOMATIC, status=OF_IMAGES, pair=-1, n_ratings=0, rho_all=np.nan, guide=np.nan
    )
    kept = crowd[crowd["raters"] == KEPT]
    every = crowd.loc[crowd["raters"] == ALL, [*key, "estimator", "rho"]].rename(columns={"rho": "rho_all"})
    rated = kept.merge(every, on=[*key, "estimator"], how="left").merge(automatic[[*key, "recall"]], on=key, how="left")
    rated = rated.rename(columns={"estimator": "score", "rho_guide_only": "guide"}).assign(control_rho=np.nan)
    return pd.concat([plain, rated[list(plain.columns)]], ignore_index=True)


def methods_table(scores: pd.DataFrame, draws: Draws, confidence: float) -> pd.DataFrame:
    """Mean scores of methods by network and score, METHODS; scores as `unit_scores` gives them.

    Means beside rho_mean are over the units whose rho is known, so that they compare; error_mean is the mean distance to the true
    score, where that is known. low and high are of the mean over units
    like these (Student's t), and only of scores that have intervals; of ours with what scores err together (`text_means`).
    """
    by = ["model", "score"]
    table = comparing.method_table(scores, by=by, confidence=confidence)
    table = table.rename(columns={"mean": "rho_mean", "se": "rho_se"})
    table.loc[~table["score"].isin(INTERVALS), ["low", "high"]] = np.nan
    ours = scores[(scores["score"] == OURS) & scores["rho"].notna()]
    pairs = {key: part["pair"].tolist() for key, part in ours.groupby(["model", "method"])}
    rows = (table["score"] == OURS) & (table["n_units"] > 0)
    keys = zip(table.loc[rows, "model"], table.loc[rows, "method"], strict=True)
    sd = np.array([draws.sd_of_mean(pairs[key]) for key in keys])
    mean, low, high = _columns(table[rows], "rho_mean", "low", "high")
    table.loc[rows, "low"], table.loc[rows, "high"] = widened(mean, low, high, sd)
    known = scores[scores["rho"].notna()].assign(error=lambda rows: (rows["rho"] - rows["rho_true"]).abs())
    beside = known.groupby([*by, "method"], sort=True).agg(
        **{name: (column, "mean") for name, column in _BESIDE.items()},
        all_raters_mean=("rho_all", "mean"),
        n_ratings=("n_ratings", "sum"),
    )
    words = scores.groupby([*by, "method"], sort=True).agg(
        status=("status", _one_status), simulated=("simulated", "any")
    )
    table = table.merge(beside, on=[*by, "method"], how="left").merge(words, on=[*by, "method"], how="left")
    return table.sort_values(["model", "score", "method"], kind="stable")[METHODS].reset_index(drop=True)


def _one_status(statuses: pd.Series) -> str:
    """The status of a mean: that of its units, or how many of them are not calibrated."""
    if statuses.nunique() == 1:
        return str(statuses.iloc[0])
    wrong = int((~statuses.str.startswith(CALIBRATED)).sum())
    return f"not calibrated: {wrong} of {len(statuses)} units" if wrong else str(statuses.min())


def tests_table(scores: pd.DataFrame, draws: Draws, confidence: float) -> pd.DataFrame:
    """Methods two by two on the same units, TESTS; Holm's adjustment is over all pairs of a network and score.

    p_holm adjusts Wilcoxon's p. Of our score it adjusts the larger one of that and p_scores, which counts what scores err
    together (`text_means`) as the interval does.
    """
    found = comparing.paired_tests(scores, by=["model", "score"], confidence=confidence)
    found = found.rename(columns={"n_units": "n", "published_p": "published_t_p"}).assign(p_scores=np.nan)
    found.loc[~found["score"].isin(INTERVALS), ["low", "high"]] = np.nan
    ours = scores[(scores["score"] == OURS) & scores["rho"].notna()]
    pairs = {key: part.set_index(UNIT)["pair"] for key, part in ours.groupby(["model", "method"])}
    rows = (found["score"] == OURS) & found["low"].notna()
    names = zip(*(found.loc[rows, name] for name in ("model", "first", "second")), strict=True)
    sd = np.array([_sd_between(draws, pairs[model, first], pairs[model, second]) for model, first, second in names])
    difference, se, low, high = _columns(found[rows], "difference", "se", "low", "high")
    found.loc[rows, "low"], found.loc[rows, "high"] = widened(difference, low, high, sd)
    found.loc[rows, "p_scores"] = p_of(difference, se, sd)
    wilcoxon = found["p_wilcoxon"].astype(float)
    larger = wilcoxon.where(~(found["p_scores"] > wilcoxon), found["p_scores"])
    adjusted = larger.groupby([found["model"], found["score"]]).transform(holm)
    simulated = scores.groupby(["model", "score"])["simulated"].any().rename("simulated").reset_index()
    found = found.assign(p_holm=adjusted, stars=[stars(p) for p in adjusted])
    return found.merge(simulated, on=["model", "score"], how="left")[TESTS]


def _columns(table: pd.DataFrame, *names: str) -> tuple[NDArray[np.float64], ...]:
    return tuple(table[name].to_numpy(np.float64) for name in names)


def _sd_between(draws: Draws, first: pd.Series, second: pd.Series) -> float:
    """Error of the mean difference of two methods' scores, each a pair by unit, over the units that both have."""
    both = first.index.intersection(second.index)
    return draws.sd_of_difference(first[both].tolist(), second[both].tolist())


def raters_table(raters: pd.DataFrame) -> pd.DataFrame:
    """Raters in groups: all, those who count, and those left out by the first word of each reason; means weighted by ratings."""
    excluded = raters["excluded"].astype(bool)
    groups = {"all": raters, "kept": raters[~excluded], "left out": raters[excluded]}
    columns = [name for name in RATERS if name not in ("group", "n_raters", "n_ratings")]
    rows = [
        {"group": name, "n_raters": len(part), "n_ratings": int(part["n"].sum())}
        | {column: _weighted(part[column], part["n"]) for column in columns}
        for name, part in groups.items()
        if len(part)
    ]
    return pd.DataFrame(rows, columns=RATERS)


def _weighted(values: pd.Series, weights: pd.Series) -> float:
    there = values.notna()
    return float(np.average(values[there], weights=weights[there])) if there.any() else np.nan


def rejected_table(rejected: pd.DataFrame) -> pd.DataFrame:
    """Ratings that do not count, by file and reason, REJECTED."""
    grouped = rejected.groupby(["file", "reason"], sort=True)
    return grouped.agg(count=("count", "sum"), first_row=("row", "min")).reset_index()[REJECTED]


def check_table(check: Mapping[str, Any]) -> pd.DataFrame:
    """Whether intervals of our scores may be believed, and why not, CHECK: the verdict, each reason, the figures behind it,
    counts of pairs, and what the fit says of raters. Without ratings there are no rows."""
    if "figures" not in check:
        return pd.DataFrame(columns=CHECK)
    rows: list[tuple[str, str, float, float, str]] = [("verdict", "", np.nan, np.nan, check["verdict"])]
    rows += [("reason", "", np.nan, np.nan, reason) for reason in check["reasons"]]
    rows += [("figure", name, value, np.nan, "") for name, value in sorted(check["figures"].items())]
    rows += [
        ("pairs", name, check[name], np.nan, "") for name in ("n_pairs", "n_undefined", "n_calibrated", "rhat_largest")
    ]
    rows += [("raters", name, found["mean"], found["sd"], "") for name, found in sorted(check["raters"].items())]
    return pd.DataFrame(rows, columns=CHECK)


def text_numbers(methods: pd.DataFrame, studied: Collection[str]) -> dict[str, float]:
    """The best method's mean score over the studied networks, each weighing the same, and the mean distance of scores to known
    true ones. By people where they were asked, else by the automatic score."""
    by_people = methods["score"] == OURS
    rows = methods[by_people if by_people.any() else methods["score"] == AUTOMATIC]
    numbers: dict[str, float] = {}
    own = rows[rows["model"].isin(list(studied))]
    means = own.groupby("method")["rho_mean"].agg(["mean", "size"])
    if len(means):
        # a method that wrote for few of the networks wrote for other units
        numbers["text_score_best"] = means.loc[means["size"] == means["size"].max(), "mean"].max()
    known = rows[rows["error_mean"].notna()]
    if by_people.any() and len(known):
        numbers["text_score_error"] = np.average(known["error_mean"], weights=known["n_units"])
    return {name: float(value) for name, value in numbers.items()}
