"""Tables of the page about texts of units: methods under every score, tests, raters, the check of ours, costs of ratings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.explanations.fronts import LEVEL
from study.report.figures.base import Study
from study.report.figures.crowd_settings import called, world_words
from study.report.figures.crowd_worlds import METHODS
from study.report.figures.series import in_order, order_of
from study.report.figures.texts import AUTOMATIC, KNOWN, OURS, only_allowed, with_planted_named
from study.report.page.cells import (
    Table,
    TableSpec,
    as_is,
    count,
    interval,
    make_table,
    number,
    p_value,
    percent,
    short,
    text,
    with_interval,
    words,
)
from study.report.page.columns import Columns

# scores of explanation_methods.csv as people call them, in the order of the table
SCORES = {
    AUTOMATIC: "automatic",
    OURS: "from ratings, ours",
    "guide_only": "guide alone",
    "bragg_guide": "paper: BRAgg, guide prior",
    "bragg_uniform": "paper: BRAgg, uniform prior",
    "majority": "paper: majority",
    "average": "paper: average",
    "self_normalised": "BRAgg, self-normalised",
}
_RHO = number(3)


def _methods_table(study: Study) -> Table | None:
    """A row a network and method, with its means by every score; the file has a row a score."""
    every = with_planted_named(study, only_allowed(study.tables["explanation_methods"]))
    means = every.set_index(["model", "method", "score"])["rho_mean"].unstack("score")
    rows = _beside(every, means).reset_index()
    models = dict.fromkeys([*study.models()["model"], *sorted(set(rows["model"]))])
    rows = in_order(rows, model=models, method=_methods(every))
    scores: Columns = {name: (words, as_is if name in _WITH_ERRORS else _RHO) for name, words in SCORES.items()}
    shown: Columns = {
        "model": ("network", text),
        "method": ("method", text),
        **{name: column for name, column in scores.items() if name in rows and rows[name].notna().any()},
        "control_mean": ("texts of other units", _RHO),
        "recall_mean": ("top pictures alone", _RHO),
        "true_mean": ("known", _RHO),
        "n_units": ("units", count),
    }
    return make_table(rows, "Methods that say what units do, by score", shown, file="explanation_methods.csv")


_WITH_ERRORS = (AUTOMATIC, OURS)


def _beside(every: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Means by score with an interval, or where none may stand the standard error; and facts of the automatic score."""
    rows = means.copy()
    for score in _WITH_ERRORS:
        own = every[every["score"] == score].set_index(["model", "method"])
        if len(own):
            told = [_with_interval(*row) for row in own[["rho_mean", "rho_se", "low", "high"]].itertuples(index=False)]
            rows[score] = pd.Series(told, index=own.index, dtype=object).reindex(rows.index).fillna("–")
    first = every.sort_values("score", key=lambda names: names.map(order_of(SCORES)), kind="stable")
    facts = first.groupby(["model", "method"])[["control_mean", "recall_mean", "true_mean", "n_units"]].first()
    return rows.join(facts)


def _with_interval(mean: float, error: float, low: float, high: float) -> str:
    shown = interval(low, high, 2)
    return f"{_RHO(mean)} ({shown})" if shown != "–" else f"{_RHO(mean)} ± {_RHO(error)}"


def _methods(rows: pd.DataFrame) -> list[str]:
    """Methods by their mean over networks and scores; those of planted units in their order."""
    means = rows.groupby("method")["rho_mean"].mean().sort_values(ascending=False, kind="stable")
    return [*(name for name in means.index if name not in KNOWN), *KNOWN]


def _guides_table(study: Study) -> Table | None:
    """A row a network and method, scored from the same ratings with either guide as prior."""
    rows = with_planted_named(study, study.tables["explanation_guides"])
    for name in ("guide", "second"):
        of_guide = rows[[f"{name}_mean", f"{name}_se"]].itertuples(index=False)
        rows[name] = [f"{_RHO(mean)} ± {_RHO(error)}" for mean, error in of_guide]
    rows = in_order(rows, model=dict.fromkeys([*study.models()["model"], *sorted(set(rows["model"]))]), method=None)
    shown: Columns = {
        "model": ("network", text),
        "method": ("method", text),
        "guide": ("guide as prior", as_is),
        "second": ("second guide", as_is),
        "difference": ("difference", _RHO),
        "spearman": ("rank correlation of methods", _RHO),
        "n_units": ("units", count),
    }
    return make_table(rows, "Methods by the guide that is the prior", shown, file="explanation_guides.csv")


def _tests_table(study: Study) -> Table | None:
    rows = with_planted_named(study, with_interval(study.tables["explanation_tests"]))
    rows = rows.assign(
        pair=rows["first"] + " – " + rows["second"], score=rows["score"].map(SCORES).fillna(rows["score"])
    )
    shown: Columns = {
        "model": ("network", text),
        "pair": ("pair", text),
        "score": ("score", text),
        "difference": ("difference of means", _RHO),
        "interval": ("interval", as_is),
        "stars": ("stars", text),
        "p_holm": ("p (Holm)", p_value),
        "p_wilcoxon": ("p, Wilcoxon", p_value),
        "p_t": ("p, paired t", p_value),
        "published_t_p": ("paper’s test: p", p_value),
        "n": ("units", count),
    }
    return make_table(rows, "Methods compared in pairs", shown, file="explanation_tests.csv")


def _agreement_table(study: Study) -> Table | None:
    shown: Columns = {
        "model": ("network", text),
        "method": ("method", text),
        "kappa": ("Fleiss’ kappa", number(2)),
        "alpha": ("Krippendorff’s alpha", number(2)),
        "bound": ("bound", number(2)),
        "yes_share": ("share of yes", percent),
        "prior_mean": ("guide’s mean there", percent),
        "n_images": ("pictures and texts", count),
    }
    rows = with_planted_named(study, study.tables["explanation_agreement"])
    return make_table(rows, "How well raters agree", shown, file="explanation_agreement.csv")


_PARTS = {"verdict": "verdict", "reason": "why not", "figure": "check", "pairs": "texts of units", "raters": "raters"}


def _check_table(study: Study) -> Table | None:
    rows = study.tables["explanation_check"]
    rows = rows.assign(part=rows["part"].map(_PARTS).fillna(rows["part"]))
    shown: Columns = {
        "part": ("of", text),
        "name": ("what", words),
        "value": ("value", short),
        "sd": ("±", short),
        "words": ("in words", text),
    }
    return make_table(rows, "May intervals of our scores be believed?", shown, file="explanation_check.csv")


def _raters_table(study: Study) -> Table | None:
    shown: Columns = {
        "group": ("raters", text),
        "n_raters": ("how many", count),
        "n_ratings": ("ratings", count),
        "yes_share": ("share of yes", percent),
        "false_yes": ("wrong yes", percent),
        "false_no": ("wrong no", percent),
        "gold_false_yes": ("wrong yes, known answers", percent),
        "gold_false_no": ("wrong no, known answers", percent),
        "agreement": ("agreement with others", percent),
        "seconds_page": ("seconds a page", number(1)),
    }
    rows = study.tables["explanation_raters"]
    return make_table(rows, "Raters: all, those who count, those left out", shown, file="explanation_raters.csv")


def _rejected_table(study: Study) -> Table | None:
    shown: Columns = {
        "file": ("file", text),
        "reason": ("reason", text),
        "count": ("ratings", count),
        "first_row": ("first row", count),
    }
    rows = study.tables["explanation_rejected"]
    return make_table(rows, "Ratings that do not count", shown, file="explanation_rejected.csv")


def _costs_table(study: Study) -> Table | None:
    """The paper's methods, ours and the guide alone at the error at which the paper counts costs; the file has all."""
    rows = study.tables["crowd_costs"]
    known = rows["method"].isin(METHODS) | (rows["part"] == "sampling")
    rows = rows[known & np.isclose(rows["level"].astype(float), LEVEL)]
    rows = rows.assign(
        method=rows["method"].map(called),
        world=rows["world"].map(world_words),
        part=rows["part"].map({"setting_1": "errors of raters", "sampling": "no errors"}).fillna(rows["part"]),
        reached=[_reached(*row) for row in zip(rows["ratings"], rows["at_most"], strict=True)],
    )
    shown: Columns = {
        "world": ("world", text),
        "method": ("method", text),
        "part": ("raters", text),
        "reached": ("ratings of a unit", as_is),
        "money": ("money", number(2)),
        "ratio": ("times the paper’s method", number(1)),
        "ratio_to_ours": ("times ours", number(1)),
        "least_rce": ("lowest error tried", percent),
        "published_ratings": ("paper: ratings", count),
        "published_ratio": ("paper: times its method", number(1)),
    }
    caption = (
        f"Ratings that a relative error of {100 * LEVEL:g} % takes (results/tables/crowd_costs.csv has every method)"
    )
    return make_table(rows, caption, shown, file="crowd_costs.csv")


def _reached(ratings: float, at_most: object) -> str:
    if ratings != ratings:
        return "not reached"
    return f"{'at most ' if str(at_most).lower() in ('true', '1', '1.0') else ''}{count(ratings)}"


SPECS = (
    TableSpec("explanation_methods", "texts", _methods_table, after="texts_crowd"),
    TableSpec("explanation_check", "texts", _check_table, after="texts_crowd", open=False),
    TableSpec("explanation_guides", "texts", _guides_table, after="texts_guides", open=False),
    TableSpec("explanation_tests", "texts", _tests_table, after="texts_tests", open=False),
    TableSpec("explanation_agreement", "texts", _agreement_table, after="texts_kappa", open=False),
    TableSpec("explanation_raters", "texts", _raters_table, after="texts_raters", open=False),
    TableSpec("explanation_rejected", "texts", _rejected_table, after="texts_raters", open=False),
    TableSpec("crowd_costs", "texts", _costs_table, after="crowd_pareto"),
)
