"""Tables of the page about the answers of people: agreement, single answers, ceiling, conditions, confidence."""

from __future__ import annotations

import pandas as pd

from study.report.figures.base import Study
from study.report.page.cells import (
    Columns,
    Table,
    TableSpec,
    as_is,
    count,
    make_table,
    number,
    p_value,
    percent,
    text,
    with_interval,
    words,
    yes,
)

CEILING_VARIANTS = {
    "V1": "answers redrawn from HIS against recorded HIS",
    "V2": "two independent redrawings against each other (reliability)",
    "V3": "redrawn answers against MIS (wording of the paper's appendix)",
    "V4": "true score against recorded HIS (leads)",
    "V4w": "the same, noise estimated from answers to the same task",
    "V4b": "the same, for a score that is a mean over N sampled tasks",
    "V5": "answers drawn from MIS against MIS",
    "mixed": "true score against recorded HIS, with effects of unit, task and person",
    "split_half": "the same, from random halves of the answers (Spearman-Brown)",
    "true": "true shares of the simulated observers against recorded HIS",
}


LEVELS = {"unit": "unit", "unit_within": "unit, inside a network", "model": "network"}


UNIT_SETS = {"all": "all annotated", "outside_split": "outside the calibration split"}


def _agreement_table(study: Study) -> Table | None:
    rows = study.tables["agreement"]
    for stem in ("pearson", "spearman", "nested"):
        rows = with_interval(rows, stem, 2, f"{stem}_between")
    rows = rows.assign(
        level=rows["level"].map(LEVELS).fillna(rows["level"]), units=rows["units"].map(UNIT_SETS).fillna(rows["units"])
    )
    columns: Columns = {
        "backend": ("similarity", text),
        "level": ("over", text),
        "units": ("units", text),
        "n": ("n", count),
        "pearson": ("Pearson", number(2)),
        "pearson_between": ("interval", as_is),
        "spearman": ("Spearman", number(2)),
        "spearman_between": ("interval", as_is),
        "nested_between": ("nested interval", as_is),
    }
    return make_table(
        rows, "Agreement of MIS with the share of right answers", columns, file="results/tables/agreement.csv"
    )


def _conditions_table(study: Study) -> Table | None:
    rows = study.tables["conditions"]
    rows = with_interval(rows[rows["backend"] == study.lead], "mis_drop", name="mis_interval")
    return make_table(
        with_interval(rows, "his_drop", name="his_interval"),
        f"Harder tasks: scores by condition, similarity {study.lead}, {study.people}",
        {
            "model": ("network", text),
            "condition": ("condition", text),
            "mis_mean": ("mean MIS", number(3)),
            "mis_drop": ("below natural", number(3)),
            "mis_interval": ("interval", as_is),
            "n_units": ("units", count),
            "his_mean": ("mean HIS", number(3)),
            "his_drop": ("below natural", number(3)),
            "his_interval": ("interval", as_is),
            "n_annotated": ("annotated units", count),
            "mis_annotated": ("their mean MIS", number(3)),
            "pearson": ("r of MIS and HIS", number(2)),
        },
        file="results/tables/conditions.csv",
    )


def _differences_table(study: Study) -> Table | None:
    """Pearson outside the calibration split; the file holds the rest."""
    rows = study.tables["agreement_differences"]
    rows = rows[(rows["units"] == "outside_split") & (rows["coefficient"] == "pearson")]
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d", 2)
    columns: Columns = {
        "first": ("similarity", text),
        "second": ("minus", text),
        "level": ("over", text),
        "difference": ("difference of Pearson", number(2)),
        "interval": ("interval", as_is),
        "p": ("p", p_value),
        "n": ("n", count),
    }
    rows = rows.assign(level=rows["level"].map(LEVELS).fillna(rows["level"]))
    caption = "Which similarity agrees better: units outside the calibration split, the same resamples for all"
    return make_table(rows, caption, columns, file="results/tables/agreement_differences.csv")


def _trials_table(study: Study) -> Table | None:
    rows = study.tables["trials"]
    for stem, digits in (("slope", 1), ("lapse", 2)):
        rows = with_interval(rows, stem, digits, f"{stem}_between")
    columns: Columns = {
        "backend": ("similarity", text),
        "margin_of": ("margin of the", text),
        "n": ("answers", count),
        "auc": ("right ranked above wrong (AUC)", number(3)),
        "log_loss": ("log-loss", number(4)),
        "gain_over_mean": ("gain over the mean", number(4)),
        "gain_over_unit": ("gain over the unit’s own answers", number(4)),
        "mcfadden": ("McFadden R²", number(3)),
        "slope": ("slope", number(2)),
        "slope_between": ("interval", as_is),
        "lapse": ("lapse", number(3)),
        "lapse_between": ("interval", as_is),
        "unit_variance": ("variance of units", number(3)),
        "participant_variance": ("variance of participants", number(3)),
    }
    return make_table(rows, "Single answers from margins", columns, file="results/tables/trials.csv")


def _synthetic_table(study: Study) -> Table | None:
    rows = study.tables["natural_synthetic"]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": study.people}})
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d")
    columns: Columns = {
        "model": ("network", text),
        "condition": ("condition", words),
        "base": ("against", words),
        "backend": ("scores", text),
        "n_units": ("units with both", count),
        "mean": ("mean", number(3)),
        "difference": ("difference", number(3)),
        "interval": ("interval", as_is),
        "spearman": ("rank correlation", number(2)),
    }
    caption = "Synthetic against natural explanations, unit by unit"
    return make_table(rows, caption, columns, file="results/tables/natural_synthetic.csv")


def _confidence_table(study: Study) -> Table | None:
    rows = study.tables["confidence"]
    rows = with_interval(rows.rename(columns={"low": "c_low", "high": "c_high"}), "c")
    columns: Columns = {
        "model": ("network", text),
        "condition": ("condition", words),
        "confidence": ("confidence", count),
        "share": ("share of answers", percent),
        "correct": ("right answers", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
    }
    return make_table(rows, "Confidence and right answers", columns, file="results/tables/confidence.csv")


def ceiling_rows(study: Study, *, shares: bool) -> pd.DataFrame:
    """Rows of noise_ceiling.csv that hold ceilings, or those that hold a similarity's share of the leading one."""
    rows = study.tables["noise_ceiling"]
    rows = rows[pd.to_numeric(rows["share"], errors="coerce").notna() == shares]
    whole = rows[rows["subset"] == "all"]
    # without difficult conditions both subsets are the same units
    same = len(rows) == 2 * len(whole) and set(rows["n_units"]) == set(whole["n_units"])
    return whole if same else rows


def _ceiling_table(study: Study) -> Table | None:
    rows = with_interval(ceiling_rows(study, shares=False).rename(columns={"low": "r_low", "high": "r_high"}), "r", 2)
    rows = rows.assign(
        what=rows["variant"].map(CEILING_VARIANTS).fillna(""), kind=[yes(value) for value in rows["is_ceiling"]]
    )
    columns: Columns = {
        "variant": ("variant", text),
        "what": ("what is correlated", text),
        "backend": ("similarity", text),
        "kind": ("a ceiling?", text),
        "mean": ("value", number(3)),
        "sd": ("sd", number(3)),
        "interval": ("interval", as_is),
        "subset": ("units", text),
        "n_units": ("n", count),
    }
    return make_table(rows, "Noise ceiling", columns, file="results/tables/noise_ceiling.csv")


def _share_table(study: Study) -> Table | None:
    rows = with_interval(ceiling_rows(study, shares=True), "share", 2)
    columns: Columns = {
        "backend": ("similarity", text),
        "share": ("share", number(2)),
        "interval": ("interval", as_is),
        "mean": ("ceiling of these units", number(3)),
        "subset": ("units", text),
        "n_units": ("n", count),
    }
    caption = "Agreement as a share of the ceiling, units outside the calibration split"
    return make_table(rows, caption, columns, file="results/tables/noise_ceiling.csv")


def _his_table(study: Study) -> Table | None:
    rows = with_interval(study.tables["his_models"].rename(columns={"low": "his_low", "high": "his_high"}), "his")
    columns: Columns = {
        "model": ("network", text),
        "condition": ("condition", text),
        "his_mean": ("mean HIS", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
    }
    caption = f"Human scores of networks: mean HIS of units, {study.people}"
    return make_table(rows, caption, columns, file="results/tables/his_models.csv")


def _exclusions_table(study: Study) -> Table | None:
    columns: Columns = {
        "reason": ("reason", text),
        "n_responses": ("answers", count),
        "n_participants": ("participants", count),
    }
    return make_table(study.tables["exclusions"], "Answers left out", columns, file="results/tables/exclusions.csv")


SPECS = (
    TableSpec("agreement", "people", _agreement_table),
    TableSpec("agreement_differences", "people", _differences_table, open=False),
    TableSpec("trials", "people", _trials_table),
    TableSpec("ceiling", "ceiling", _ceiling_table, after="ceiling_variants"),
    TableSpec("share", "ceiling", _share_table),
    TableSpec("his_models", "human", _his_table, after="his_models"),
    TableSpec("conditions", "human", _conditions_table, after="difficulty_levels"),
    TableSpec("natural_synthetic", "human", _synthetic_table, after="natural_synthetic"),
    TableSpec("confidence", "human", _confidence_table, after="confidence", open=False),
    TableSpec("exclusions", "records", _exclusions_table),
)
