"""Tables of the page about scores: networks, layers, similarities, settings, training, controls, records."""

from __future__ import annotations

from functools import partial

import pandas as pd

from interpretability.schema import NATURAL
from study.report.figures import controls, training
from study.report.figures.base import Study
from study.report.figures.bases import SUPERPOSED
from study.report.figures.series import in_order
from study.report.figures.words import UNIDENTIFIED
from study.report.page.cells import Table, TableSpec, count, make_table, number, p_value, short, text, with_interval
from study.report.page.columns import Columns, columns
from study.report.page.inputs import TEXT
from study.report.page.seeds import seeds_table


def _models_table(study: Study) -> Table | None:
    rows = study.models()
    rows = with_ranges(with_interval(rows, "mis")).assign(
        rank=range(1, len(rows) + 1),
        rank_margin=rows["margin_mean"].rank(ascending=False, method="min"),
        rank_accuracy=rows["accuracy_mean"].rank(ascending=False, method="min"),
    )
    scores = "model rank mis_mean interval slope_range splits_range p5 p50 p95 mis_sd"
    others = "accuracy_mean rank_accuracy margin_mean rank_margin n_units n_constant tail_share top1 params input_size"
    names = f"{scores} {others}".split()
    if len(rows) == 1:  # one network alone has no rank
        names = [name for name in names if not name.startswith("rank")]
    return make_table(rows, f"Networks, similarity {study.lead}", columns(" ".join(names)), file="models.csv")


def with_ranges(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns of text: the range of a mean MIS over the interval of its slope, and over other calibration splits."""
    for name in ("slope", "splits"):
        rows = with_interval(rows, f"mis_{name}", name=f"{name}_range")
    return rows


def _called(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose similarities say so where their levels compare with no others."""
    named = {name: f"{name} ({UNIDENTIFIED})" for name in study.unidentified}
    return rows.assign(backend=rows["backend"].replace(named))


def _ranking_table(study: Study) -> Table | None:
    rows = study.tables["ranking"]
    rows = in_order(rows[rows["backend"] == study.lead], model=study.models()["model"])
    names = "model group k naive shrunken cross_fitted cross_fitted_se chosen_again n_units"
    caption = f"Easiest, random and hardest units of each network, similarity {study.lead}"
    return make_table(rows, caption, columns(names, n_units="of units"), file="ranking.csv")


_FACTS = {
    "top1": "top-1 accuracy",
    "n_layers": "number of layers",
    "width_mean": "mean layer width (log)",
    "width_median": "median layer width (log)",
    "params": "parameters (log)",
    "input_size": "input size (log)",
    "depth": "relative depth",
    "relative_width": "relative width",
}


def _correlations_table(study: Study, level: str) -> Table | None:
    """Correlations under the leading similarity and in the answers of people."""
    rows = study.lead_and_people("correlations")
    rows = with_interval(rows[(rows["level"] == level) & rows["pearson"].notna()], digits=2)
    rows = rows.assign(fact=rows["x"].map(_FACTS).fillna(rows["x"]), layer_type=rows["layer_type"].replace({"": "all"}))
    caption, names, n = {
        "model": ("Scores of networks against facts about them", "backend fact {} n", "networks"),
        "layer": ("Scores of layers against depth and width", "backend fact layer_type {} n n_networks", "layers"),
    }[level]
    names = names.format("pearson interval p_holm spearman")
    shown = columns(names, backend="scores", spearman="Spearman", n=n)
    return make_table(rows, caption, shown, file="correlations.csv")


def _family_table(study: Study) -> Table | None:
    rows = with_interval(study.lead_and_people("family_bootstrap"))
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    shown = columns(
        "pair backend difference interval p p_holm n_first n_second n_families",
        backend="scores",
        difference="difference of means",
        interval="interval over families, of each comparison",
        n_first="networks first",
        n_second="networks second",
    )
    return make_table(rows, "Layer types when families of networks are resampled", shown, file="family_bootstrap.csv")


_PAPERS: Columns = {
    "paper_statistic": ("papers’ test: statistic", number(2)),
    "paper_p_holm": ("its p (Holm)", p_value),
    "paper_effect": ("its effect", number(3)),
}


def _network_tests(study: Study) -> Table | None:
    """Pairs under the leading similarity, and in the answers of people by the name they have in this study."""
    rows = study.lead_and_people("network_tests")
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    shown = columns(
        "pair backend difference stars p_holm statistic n_first n_second people_first people_second",
        backend="scores",
        n_first="clusters first",
        n_second="clusters second",
        people_first=("people first", count),
        people_second=("people second", count),
    )
    lags = {f"lag1_{side}": (f"lag 1 {side}", number(2)) for side in ("first", "second")}
    shown = {**shown, **lags, **columns("reason", reason="not tested"), **_PAPERS}
    return make_table(rows, "Networks compared in pairs", shown, file="network_tests.csv")


def _network_clusters(study: Study) -> Table | None:
    rows = study.lead_and_people("network_clusters")
    rows = in_order(rows[rows["condition"] == NATURAL], backend=None, model=study.models()["model"])
    shown: Columns = {
        **columns("model backend n_units", backend="scores"),
        "n_layers": ("layers", count),
        "n_clusters": ("clusters", count),
        "unit_mean": ("mean over units", number(3)),
        "cluster_mean": ("mean over clusters", number(3)),
        "lag1": ("lag 1", number(2)),
    }
    return make_table(rows, "Networks by clusters of layers", shown, file="network_clusters.csv")


def _types_compared(study: Study) -> Table | None:
    rows = study.lead_and_people("layer_type_tests")
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    shown = columns("pair backend difference stars p_holm statistic n_networks", backend="scores")
    shown = {**shown, "n_blocks": ("blocks", count), **columns("reason", reason="not tested"), **_PAPERS}
    return make_table(rows, "Layer types compared in pairs", shown, file="layer_type_tests.csv")


def _controls_table(study: Study, which: str) -> Table | None:
    """Controls under the leading similarity (`pooled` over factors, or by `factor`), or under all `other` ones.

    Those of the superposed layer have a table of their own.
    """
    rows = study.tables["controls"]
    rows = rows[~rows["control"].astype(str).str.startswith(SUPERPOSED)]
    order = controls.control_order(rows["control"])
    rows = rows.assign(order=order).sort_values("order", kind="stable")
    lead, pooled = rows["backend"] == study.lead, rows["factor"] == ""
    rows, caption, more = {
        "pooled": (rows[lead & pooled], f"Controls, similarity {study.lead}", ""),
        "factor": (rows[lead & ~pooled], f"Controls by factor, similarity {study.lead}", "factor"),
        "other": (rows[~lead & pooled], "Controls, other similarities", "backend"),
    }[which]
    names = f"control {more} passed mis_mean interval n_units z_sd expectation"
    shown = columns(names, factor=("factor", text))
    return make_table(_called(study, with_interval(rows, "mis")), caption, shown, file="controls.csv")


def _backends_table(study: Study) -> Table | None:
    literal = study.tables["calibration"].drop_duplicates("backend")[["backend", "literal_mis_mean", "literal_mis_max"]]
    rows = study.tables["backends"].merge(literal, on="backend", how="left")
    rows = with_interval(rows, "pearson_his_minus_lead", digits=2, name="his_between")
    ends = zip(rows["slope_low"].map(short), rows["slope_high"].map(short), strict=True)
    between = ["–" if "–" in pair else " to ".join(pair) for pair in ends]
    rows = with_ranges(rows.assign(temperature=1 / rows["slope"].astype(float), interval=between))
    rows = rows.merge(study.tables["calibration"][["backend", "pearson_low", "pearson_high"]], on="backend", how="left")
    rows = with_interval(rows, "pearson", digits=2, name="pearson_between")
    fit = "backend status slope interval temperature n_units mis_mean slope_range splits_range"
    fit = f"{fit} literal_mis_mean literal_mis_max"
    people = "accuracy_mean margin_mean margin_sd pearson_his pearson_between spearman_his pearson_his_minus_lead his_between"
    names = f"{fit} {people} spearman_lead mean_diff_lead mean_abs_diff_lead n_forwards n_pairs"
    shown = columns(names, his_between="interval, of each comparison")
    return make_table(rows, "Similarities compared", shown, file="backends.csv and calibration.csv")


def _backend_agreement_table(study: Study) -> Table | None:
    rows = with_interval(study.tables["backend_agreement"], "mean_diff")
    shown = columns("first second n_units spearman mean_diff interval mean_abs_diff")
    return make_table(rows, "Similarities against each other, unit by unit", shown, file="backend_agreement.csv")


def _sensitivity_table(study: Study) -> Table | None:
    names = "model backend setting value mis_mean mis_se spearman mean_abs_diff n_units"
    shown = columns(names, spearman=("rank correlation with own setting", number(3)))
    return make_table(_called(study, study.tables["sensitivity"]), "Other settings", shown, file="sensitivity.csv")


def _training_table(study: Study) -> Table | None:
    rows = with_interval(training.training(study), "mis")
    shown = columns("series step top1 mis_mean interval")
    return make_table(rows, f"Checkpoints, similarity {study.lead}", shown, file="training.csv")


def _gain_table(study: Study) -> Table | None:
    rows = _called(study, with_interval(study.tables["training_gain"]))
    shown = columns("backend series difference interval n_units", difference="trained minus untrained")
    return make_table(rows, "What training adds to MIS, unit by unit", shown, file="training_gain.csv")


def _constant_table(study: Study) -> Table | None:
    rows = study.tables["constant_units"]
    shown = {name: (name, text if name in TEXT else short) for name in rows.columns}
    caption = "Units that hardly vary (absolute: left out of all scores; else by the relative rule, reported only)"
    return make_table(rows, caption, shown, file="constant_units.csv")


def _failures_table(study: Study) -> Table | None:
    return make_table(study.tables["failures"], "What failed", columns("model stage reason"), file="failures.csv")


def _rejected_table(study: Study) -> Table | None:
    rows = study.tables["rejected_images"]
    return make_table(rows, "Files that are not usable pictures", columns("path reason"), file="rejected_images.csv")


def _left_out_table(study: Study) -> Table | None:
    rows = study.tables["left_out_layers"]
    groups = rows.groupby(["reason", "layer_type"], sort=False, dropna=False)
    found = groups.agg(
        n_networks=("model", "nunique"), n_layers=("layer", "size"), layer=("layer", "first")
    ).reset_index()
    shown = columns("reason layer_type n_networks n_layers layer", layer="such as")
    return make_table(found, "Layers that give no units, by reason", shown, file="left_out_layers.csv")


_networks, _layers = (partial(_correlations_table, level=level) for level in ("model", "layer"))
_pooled, _factors, _other = (partial(_controls_table, which=which) for which in ("pooled", "factor", "other"))
SPECS = (
    TableSpec("models", "ranking", _models_table, after="models_ranked"),
    TableSpec("seeds", "ranking", seeds_table, after="models_ranked"),
    TableSpec("ranking", "ranking", _ranking_table),
    TableSpec("network_tests", "ranking", _network_tests),
    TableSpec("network_clusters", "ranking", _network_clusters, open=False),
    TableSpec("correlations", "ranking", _networks, after="mis_against_accuracy", open=False),
    TableSpec("layer_type_tests", "layers", _types_compared, after="layer_types"),
    TableSpec("family_bootstrap", "layers", _family_table, after="layer_types", open=False),
    TableSpec("layer_correlations", "layers", _layers, after="relative_depth", open=False),
    TableSpec("backends", "robust", _backends_table, after="calibration"),
    TableSpec("backend_agreement", "robust", _backend_agreement_table, after="similarities", open=False),
    TableSpec("sensitivity", "robust", _sensitivity_table, after="sensitivity", open=False),
    TableSpec("training_gain", "training", _gain_table, after="training"),
    TableSpec("training", "training", _training_table, open=False),
    TableSpec("controls", "controls", _pooled),
    TableSpec("controls_factors", "controls", _factors, open=False),
    TableSpec("controls_other", "controls", _other, open=False),
    TableSpec("failures", "records", _failures_table),
    TableSpec("rejected_images", "records", _rejected_table),
    TableSpec("left_out_layers", "records", _left_out_table, open=False),
    TableSpec("constant_units", "records", _constant_table, open=False),
)
