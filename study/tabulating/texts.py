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
from interpretability.statistics import FEWEST_CORRELATED, spearman
from study.files.tables import read_csv, read_json, read_parquet
from study.tabulating.facts import Facts, Tables
from study.tabulating.inputs import text_table

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
        "n_clusters",
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
        "n_clusters",
        "difference",
        "low",
        "high",
        "wins",
        "p_wilcoxon",
        "p_t",
        "p_holm",
        "stars",
    ),
    *("published_t_p", "reason", "simulated"),
]
GUIDES = [
    *("model", "method", "n_units", "n_clusters", "guide_mean", "guide_se", "second_mean", "second_se", "difference"),
    *("spearman", "simulated"),
]
RATERS = [
    *("group", "n_raters", "n_ratings", "yes_share", "false_yes", "false_no", "gold_false_yes", "gold_false_no"),
    *("agreement", "seconds_page"),
]
REJECTED = ["file", "reason", "count", "first_row"]
CHECK = ["part", "name", "value", "sd", "words"]
SIMULATION = ("curves", "pareto", "costs")
MANY_CLUSTERS = 8  # of layers of one network, from which on they are what is drawn, and not the units of few layers
INTERVALS = (AUTOMATIC, OURS)  # scores whose means have intervals
_BESIDE = {
    "guide_only_mean": "guide",
    "control_mean": "control_rho",
    "recall_mean": "recall",
    "true_mean": "rho_true",
    "error_mean": "error",
}


def texts_tables(explanations: Path, crowd: Path, simulation: Path, facts: Facts) -> Tables:
    """Every table of texts, from the folders of three stages; without texts, ratings or simulations they have no rows."""
    scores = unit_scores(
        read_parquet(explanations / "scores.parquet"),
        read_parquet(explanations / "pairs.parquet"),
        read_parquet(crowd / "scores.parquet"),
    )
    scores = scores.assign(cluster=clusters_of(scores, facts))
    draws = joint_draws(scores, read_parquet(crowd / "score_draws.parquet"))
    return {
        "explanation_methods": methods_table(scores, facts.confidence, draws),
        "explanation_guides": guides_table(read_parquet(crowd / "second_guide.parquet"), facts),
        "explanation_tests": compared_table(scores, facts.confidence, draws),
        "explanation_agreement": text_table(crowd / "agreement.csv"),
        "explanation_raters": raters_table(read_csv(crowd / "raters.csv", text=("rater", "flags"))),
        "explanation_check": check_table(read_json(crowd / "check.json")),
        "explanation_rejected": rejected_table(
            read_csv(crowd / "rejected.csv", text=("file", "rater", "text", "image"))
        ),
        **{f"crowd_{name}": read_parquet(simulation / f"{name}.parquet") for name in SIMULATION},
    }


def unit_scores(automatic: pd.DataFrame, pairs: pd.DataFrame, crowd: pd.DataFrame) -> pd.DataFrame:
    """One row a unit, method and score ("automatic" or the estimator): UNIT, method, score, rho, status, simulated, n_ratings,
    rho_all, by all raters where rho is by those that count; and what stands beside it, NaN where it is not known: guide (the
    guide alone), control_rho, recall, rho_true. pair: of unit and text, -1 of automatic scores.

    automatic, pairs: of the stage `explanations`; crowd: scores of the stage `crowd`.
    """
    key = [*UNIT, "method"]
    true = pairs[[*UNIT, "text", "rho_true"]]
    shown = [*key, "rho", "control_rho", "recall", "simulated"]
    plain = automatic.merge(true, on=[*UNIT, "text"], how="left")[[*shown, "rho_true"]].assign(
        score=AUTOMATIC, status=OF_IMAGES, n_ratings=0, rho_all=np.nan, guide=np.nan, pair=-1
    )
    kept = crowd[crowd["raters"] == KEPT]
    every = crowd.loc[crowd["raters"] == ALL, [*key, "estimator", "rho"]].rename(columns={"rho": "rho_all"})
    rated = kept.merge(every, on=[*key, "estimator"], how="left").merge(automatic[[*key, "recall"]], on=key, how="left")
    rated = rated.rename(columns={"estimator": "score", "rho_guide_only": "guide"}).assign(control_rho=np.nan)
    return pd.concat([plain, rated[list(plain.columns)]], ignore_index=True)


def clusters_of(units: pd.DataFrame, facts: Facts) -> pd.Series:
    """What each unit (UNIT) shares with others that move together with it.

    Planted units of the same concept are one cluster. Of a network whose units lie in layers of many clusters, those of one
    cluster of layers, which repeat each other, are; where all lie in few layers, units count by themselves, as units of these.
    """
    labels = facts.labels.drop_duplicates(UNIT).set_index(UNIT)["label"]
    label = labels.reindex(pd.MultiIndex.from_frame(units[UNIT])).to_numpy()
    places = list(zip(units["model"], units["layer"], strict=True))
    layer = pd.Series([facts.clusters.get(place, place[1]) for place in places], index=units.index, dtype=object)
    alone = units["layer"].astype(str) + "/" + units["unit"].astype(str)
    many = layer.groupby(units["model"]).transform("nunique") >= MANY_CLUSTERS
    known = pd.Series(label, index=units.index).notna()
    return layer.where(many, alone).where(~known, pd.Series(label, index=units.index))


def joint_draws(scores: pd.DataFrame, drawn: pd.DataFrame) -> NDArray[np.float64]:
    """Draws (rows of scores, D) of scores that were estimated together, from draw, pair and rho; NaN in the rows of others."""
    if drawn.empty:
        return np.empty((len(scores), 0))
    wide = drawn.pivot(index="pair", columns="draw", values="rho")
    place = wide.index.get_indexer(pd.Index(scores["pair"]))
    draws = np.where((place >= 0)[:, None], wide.to_numpy(np.float64)[place], np.nan)
    draws[(scores["score"] != OURS).to_numpy()] = np.nan
    return draws


def methods_table(scores: pd.DataFrame, confidence: float, draws: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Mean scores of methods by network and score, METHODS; scores as `unit_scores` gives them.

    Means beside rho_mean are over the units whose rho is known, so that they compare; error_mean is the mean distance to the true
    score, where that is known. rho_mean is over clusters of units (`clusters_of`); low and high are of such a mean (Student's t),
    and only of scores that have intervals. draws: `joint_draws`.
    """
    by = ["model", "score"]
    table = comparing.method_table(scores, by=by, confidence=confidence, draws=draws)
    table = table.rename(columns={"mean": "rho_mean", "se": "rho_se"})
    table.loc[~table["score"].isin(INTERVALS), ["low", "high"]] = np.nan
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


def guides_table(scores: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Methods by network, scored from the same ratings with either guide as prior, GUIDES; no rows with one guide.

    scores: UNIT, method, rho, rho_second, simulated. Means are over clusters of the units that have both scores. spearman: of the
    methods' means between the guides, over methods with scores of FEWEST_UNITS units or more; none for fewer than
    FEWEST_CORRELATED of these.
    """
    both = scores[scores[["rho", "rho_second"]].notna().all(axis=1)].reset_index(drop=True)
    both = both.assign(cluster=clusters_of(both, facts))
    parts = [
        comparing.method_table(both.assign(rho=both[column]))[
            ["model", "method", "n_units", "n_clusters", "mean", "se"]
        ]
        for column in ("rho", "rho_second")
    ]
    first, second = (
        part.rename(columns={"mean": f"{name}_mean", "se": f"{name}_se"})
        for part, name in zip(parts, ("guide", "second"), strict=True)
    )
    table = first.merge(second, on=["model", "method", "n_units", "n_clusters"])
    counted = table[table["n_units"] >= comparing.FEWEST_UNITS]
    orders = {model: _same_order(part) for model, part in counted.groupby("model", sort=True)}
    words = both.groupby(["model", "method"], sort=True)["simulated"].any().reset_index()
    table = table.merge(words, on=["model", "method"]).assign(spearman=table["model"].map(orders).astype(float))
    return table.assign(difference=table["second_mean"] - table["guide_mean"])[GUIDES]


def _same_order(methods: pd.DataFrame) -> float:
    if len(methods) < FEWEST_CORRELATED:
        return np.nan
    return float(spearman(methods["guide_mean"].to_numpy(), methods["second_mean"].to_numpy()))


def compared_table(scores: pd.DataFrame, confidence: float, draws: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Methods two by two on the same units, TESTS; Holm's adjustment is over all pairs of a network and score.

    p_holm, which gives stars, is the larger of the adjusted p of the t test, which knows what scores were estimated together, and
    of Wilcoxon's, which knows no normal distribution.
    """
    found = comparing.paired_tests(scores, by=["model", "score"], confidence=confidence, draws=draws)
    found = found.assign(p_holm=np.fmax(found["p_t_holm"].astype(float), found["p_wilcoxon_holm"].astype(float)))
    found = found.rename(columns={"n_units": "n", "published_p": "published_t_p"}).assign(
        stars=lambda table: [stars(p) if np.isfinite(p) else "" for p in table["p_holm"].astype(float)]
    )
    simulated = scores.groupby(["model", "score"])["simulated"].any().rename("simulated").reset_index()
    found = found.merge(simulated, on=["model", "score"], how="left")
    found.loc[~found["score"].isin(INTERVALS), ["low", "high"]] = np.nan
    return found[TESTS]


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
    """The best method's mean score over the studied networks, each weighing the same, over the units that all methods have; and
    the mean distance of scores to known true ones. By people where they were asked, else by the automatic score."""
    by_people = methods["score"] == OURS
    rows = methods[by_people if by_people.any() else methods["score"] == AUTOMATIC]
    numbers = {"text_score_best": rows[rows["model"].isin(list(studied))].groupby("method")["mean_common"].mean().max()}
    known = rows[rows["error_mean"].notna()]
    if by_people.any() and len(known):
        numbers["text_score_error"] = np.average(known["error_mean"], weights=known["n_units"])
    return {name: float(value) for name, value in numbers.items()}
