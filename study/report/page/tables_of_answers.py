"""Tables of the page about the answers of people: agreement, single answers, ceiling, conditions, confidence."""

from __future__ import annotations

import pandas as pd

from study.report.figures.base import Study
from study.report.figures.kinds import network_words
from study.report.page.cells import Table, TableSpec, make_table, number, with_interval, words, yes
from study.report.page.columns import columns

CEILING_VARIANTS = {
    "V1": "answers redrawn from HIS against recorded HIS",
    "V2": "two independent redrawings against each other (reliability)",
    "V3": "redrawn answers against MIS (wording of the paper's appendix)",
    "V4": "true score against recorded HIS, all answers to a unit alike",
    "V4w": "true score against recorded HIS, noise from answers to the same task",
    "V4b": "V4 for a score that is a mean over N sampled tasks",
    "V5": "answers drawn from MIS against MIS",
    "mixed": "true score against recorded HIS, with effects of unit, task and person",
    "split_half": "V4 from random halves of the answers (Spearman-Brown)",
    "true": "true shares of the simulated observers against recorded HIS",
}
NOT_CALIBRATED = " (not calibrated)"
LEVELS = {"unit": "unit", "unit_within": "unit, inside a network", "model": "network"}
UNIT_SETS = {"all": "all annotated", "outside_split": "outside the calibration split"}


def _agreement_table(study: Study) -> Table | None:
    rows = study.tables["agreement"]
    for stem in ("pearson", "spearman", "nested"):
        rows = with_interval(rows, stem, digits=2, name=f"{stem}_between")
    rows = rows.assign(level=_called(rows["level"], LEVELS), units=_called(rows["units"], UNIT_SETS))
    shown = "backend level units n n_networks pearson pearson_between spearman spearman_between nested_between"
    caption = "Agreement of MIS with the share of right answers"
    return make_table(rows, caption, columns(shown, spearman="Spearman"), file="agreement.csv")


def _called(names: pd.Series, words: dict[str, str]) -> pd.Series:
    """The words for known names; others stay."""
    return names.map(words).fillna(names)


def _conditions_table(study: Study) -> Table | None:
    rows = study.tables["conditions"]
    rows = rows[rows["backend"] == study.lead]
    for stem in ("mis", "his"):
        rows = with_interval(rows, f"{stem}_drop", name=f"{stem}_between")
    scores = "mis_mean mis_drop mis_between n_units his_mean his_drop his_between"
    shown = columns(f"model condition {scores} n_annotated mis_annotated pearson", pearson="r of MIS and HIS")
    caption = f"Harder tasks: scores by condition, similarity {study.lead}, {study.people}"
    return make_table(rows, caption, shown, file="conditions.csv")


def _differences_table(study: Study) -> Table | None:
    """Pearson outside the calibration split; the file holds the rest."""
    rows = study.tables["agreement_differences"]
    rows = rows[(rows["units"] == "outside_split") & (rows["coefficient"] == "pearson")]
    rows = with_interval(rows, digits=2).assign(level=_called(rows["level"], LEVELS))
    difference = "difference of Pearson", number(2)
    shown = columns("first second level difference interval p n", second="minus", difference=difference)
    caption = "Which similarity agrees better: units outside the calibration split, the same resamples for all"
    return make_table(rows, caption, shown, file="agreement_differences.csv")


def _trials_table(study: Study) -> Table | None:
    rows = with_interval(study.tables["trials"], "slope", digits=1, name="slope_between")
    rows = with_interval(rows, "lapse", digits=2, name="lapse_between")
    scores = "backend margin_of n auc log_loss gain_over_mean gain_over_unit mcfadden"
    fit = "slope slope_between lapse lapse_between unit_variance participant_variance"
    shown = columns(f"{scores} {fit}", n="answers", slope=("slope", number(2)))
    return make_table(rows, "Single answers from margins", shown, file="trials.csv")


def _synthetic_table(study: Study) -> Table | None:
    rows = with_interval(study.lead_and_people("natural_synthetic"))
    through = [study.people_of(name) for name in rows["condition"]]
    rows["backend"] = rows["backend"].where(rows["backend"] != study.people, through)
    rows["model"] = rows["model"].map(network_words)
    shown = columns(
        "model condition base backend n_units mean difference interval spearman",
        condition=("condition", words),
        backend="scores",
        n_units="units with both",
    )
    caption = "Made images (synthetic, or mixed with natural pictures) against natural explanations, unit by unit"
    return make_table(rows, caption, shown, file="natural_synthetic.csv")


def _confidence_table(study: Study) -> Table | None:
    shown = columns("model condition confidence share correct interval n_units", condition=("condition", words))
    rows = with_interval(study.tables["confidence"])
    return make_table(rows, "Confidence and right answers", shown, file="confidence.csv")


def ceiling_rows(study: Study, *, shares: bool) -> pd.DataFrame:
    """Rows of noise_ceiling.csv that hold ceilings, or those that hold a similarity's share of the leading one."""
    rows = study.tables["noise_ceiling"]
    rows = rows[pd.to_numeric(rows["share"], errors="coerce").notna() == shares]
    whole = rows[rows["subset"] == "all"]
    # without difficult conditions both subsets are the same units
    same = len(rows) == 2 * len(whole) and set(rows["n_units"]) == set(whole["n_units"])
    return whole if same else rows


def _ceiling_table(study: Study) -> Table | None:
    rows = with_interval(ceiling_rows(study, shares=False), digits=2)
    called = zip(rows["variant"], rows["leads"].map(yes), strict=True)
    what = [CEILING_VARIANTS.get(variant, "") + (" (leads)" if leads == "yes" else "") for variant, leads in called]
    ranges = zip(rows["interval"], rows["calibrated"].map(yes), strict=True)
    between = [interval + ("" if calibrated == "yes" else NOT_CALIBRATED) for interval, calibrated in ranges]
    rows = rows.assign(what=what, kind=list(rows["is_ceiling"].map(yes)), interval=between)
    shown = columns("variant what backend kind mean sd interval subset n_units", mean="value", n_units="n")
    return make_table(rows, "Noise ceiling", shown, file="noise_ceiling.csv")


def _share_table(study: Study) -> Table | None:
    rows = with_interval(ceiling_rows(study, shares=True), "share", digits=2)
    here = {"share": ("share", number(2)), "mean": "ceiling of these units", "n_units": "n"}
    shown = columns("backend share interval mean variant subset n_units", **here)
    caption = "Agreement as a share of the ceiling, units outside the calibration split"
    return make_table(rows, caption, shown, file="noise_ceiling.csv")


def _his_table(study: Study) -> Table | None:
    rows = with_interval(with_interval(study.tables["his_models"]), "these", name="these_between")
    rows["condition"] = rows["condition"].map(study.asked)
    caption = f"Human scores of networks: mean HIS of units, {study.people}"
    people = {"interval": "other units and people", "these_between": "other units, these people"}
    shown = columns("model condition his_mean interval these_between n_units", **people)
    return make_table(rows, caption, shown, file="his_models.csv")


def _exclusions_table(study: Study) -> Table | None:
    shown = columns("reason n_responses n_participants")
    caption = f"Answers left out, {study.people}"
    return make_table(study.tables["exclusions"], caption, shown, file="exclusions.csv")


SPECS = (
    TableSpec("agreement", "people", _agreement_table),
    TableSpec("agreement_differences", "people", _differences_table, open=False),
    TableSpec("trials", "people", _trials_table),
    TableSpec("ceiling", "ceiling", _ceiling_table, after="ceiling_variants"),
    TableSpec("share", "ceiling", _share_table),
    TableSpec("his_models", "human", _his_table, after="his_models"),
    TableSpec("conditions", "human", _conditions_table, after="difficulty_levels"),
    TableSpec("natural_synthetic", "kinds", _synthetic_table, after="mis_natural_synthetic"),
    TableSpec("confidence", "human", _confidence_table, after="confidence", open=False),
    TableSpec("exclusions", "records", _exclusions_table),
)
