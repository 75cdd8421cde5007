"""Tables of the page about scores: networks, layers, similarities, settings, training, controls, records."""

from __future__ import annotations

from study.report.figures import controls, training
from study.report.figures.base import Study
from study.report.page.cells import (
    Columns,
    Table,
    TableSpec,
    as_is,
    count,
    make_table,
    mark,
    number,
    p_value,
    percent,
    short,
    text,
    with_interval,
    words,
)
from study.report.page.inputs import TEXT


def _models_table(study: Study) -> Table | None:
    rows = study.models()
    rows = with_interval(rows, "mis").assign(
        rank=range(1, len(rows) + 1),
        rank_margin=rows["margin_mean"].rank(ascending=False, method="min"),
        rank_accuracy=rows["accuracy_mean"].rank(ascending=False, method="min"),
    )
    columns: Columns = {
        "model": ("network", text),
        "rank": ("rank", count),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
        "p5": ("5th percentile", number(3)),
        "p50": ("median", number(3)),
        "p95": ("95th percentile", number(3)),
        "mis_sd": ("spread (sd)", number(3)),
        "accuracy_mean": ("accuracy", number(3)),
        "rank_accuracy": ("its rank", count),
        "margin_mean": ("mean margin", short),
        "rank_margin": ("its rank", count),
        "n_units": ("units", count),
        "n_constant": ("constant units", count),
        "tail_share": ("tail share", percent),
        "top1": ("top-1, %", number(1)),
        "params": ("parameters", count),
        "input_size": ("input", text),
    }
    return make_table(rows, f"Networks, similarity {study.lead}", columns, file="results/tables/models.csv")


def _ranking_table(study: Study) -> Table | None:
    rows = study.tables["ranking"]
    order = {name: place for place, name in enumerate(study.models()["model"])}
    rows = rows[rows["backend"] == study.lead].sort_values("model", key=lambda names: names.map(order), kind="stable")
    columns: Columns = {
        "model": ("network", text),
        "group": ("units", text),
        "k": ("k", count),
        "naive": ("mean MIS", number(3)),
        "shrunken": ("shrunken", number(3)),
        "cross_fitted": ("on other tasks", number(3)),
        "cross_fitted_se": ("standard error", number(4)),
        "chosen_again": ("chosen again", percent),
        "n_units": ("of units", count),
    }
    caption = f"Easiest, random and hardest units of each network, similarity {study.lead}"
    return make_table(rows, caption, columns, file="results/tables/ranking.csv")


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
    rows = study.tables["correlations"]
    rows = rows[(rows["level"] == level) & rows["backend"].isin([study.lead, "human"]) & rows["pearson"].notna()]
    rows = with_interval(rows.rename(columns={"low": "r_low", "high": "r_high"}), "r", 2)
    rows = rows.assign(
        backend=rows["backend"].replace({"human": study.people}), fact=rows["x"].map(_FACTS).fillna(rows["x"]),
        layer_type=rows["layer_type"].replace({"": "all"}),
    )  # fmt: skip
    caption = {
        "model": "Scores of networks against facts about them",
        "layer": "Scores of layers against depth and width",
    }[level]
    columns: Columns = {
        "backend": ("scores", text),
        "fact": ("against", text),
        **({"layer_type": ("layer type", text)} if level == "layer" else {}),
        "pearson": ("Pearson", number(2)),
        "interval": ("interval", as_is),
        "p_holm": ("p (Holm)", p_value),
        "spearman": ("Spearman", number(2)),
        "n": ("layers" if level == "layer" else "networks", count),
        **({"n_networks": ("networks", count)} if level == "layer" else {}),
    }
    return make_table(rows, caption, columns, file="results/tables/correlations.csv")


def _family_table(study: Study) -> Table | None:
    rows = study.tables["family_bootstrap"]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": study.people}})
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d")
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    columns: Columns = {
        "pair": ("pair", text),
        "backend": ("scores", text),
        "difference": ("difference of means", number(3)),
        "interval": ("interval over families", as_is),
        "p": ("p", p_value),
        "n_first": ("networks first", count),
        "n_second": ("networks second", count),
        "n_families": ("families", count),
    }
    caption = "Layer types when families of networks are resampled"
    return make_table(rows, caption, columns, file="results/tables/family_bootstrap.csv")


def _conover_table(study: Study, groups: str) -> Table | None:
    """Pairs under the leading similarity, and in the answers of people by the name they have in this study."""
    rows = study.tables[f"conover_{groups}"]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": study.people}})
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    columns: Columns = {
        "pair": ("pair", text),
        "backend": ("scores", text),
        "n_first": ("n first", count),
        "n_second": ("n second", count),
        "effect": ("effect", number(3)),
        "statistic": ("statistic", number(2)),
        "p": ("p", p_value),
        "p_holm": ("p (Holm)", p_value),
        "stars": ("stars", text),
    }
    caption = {"layer_types": "Layer types compared in pairs", "models": "Networks compared in pairs"}[groups]
    return make_table(rows, caption, columns, file=f"results/tables/conover_{groups}.csv")


def _controls_table(study: Study, which: str) -> Table | None:
    """Controls under the leading similarity (`pooled` over factors, or by `factor`), or under all `other` ones."""
    rows = study.tables["controls"]
    rows = rows.assign(place=controls.control_places(rows["control"])).sort_values("place", kind="stable")
    lead, pooled = rows["backend"] == study.lead, rows["factor"] == ""
    rows, caption, more = {
        "pooled": (rows[lead & pooled], f"Controls, similarity {study.lead}", None),
        "factor": (rows[lead & ~pooled], f"Controls by factor, similarity {study.lead}", ("factor", "factor")),
        "other": (rows[~lead & pooled], "Controls, other similarities", ("backend", "similarity")),
    }[which]
    columns: Columns = {
        "control": ("control", words),
        **({more[0]: (more[1], text)} if more else {}),
        "passed": ("outcome", mark),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
        "z_sd": ("sd in standard errors", number(2)),
        "expectation": ("expected", text),
    }
    return make_table(with_interval(rows, "mis"), caption, columns, file="results/tables/controls.csv")


def _backends_table(study: Study) -> Table | None:
    rows = study.tables["backends"].merge(
        study.tables["calibration"].drop_duplicates("backend")[["backend", "literal_mis_mean", "literal_mis_max"]],
        on="backend",
        how="left",
    )
    rows = with_interval(rows, "pearson_his_minus_lead", 2, "his_between")
    ends = zip(rows["slope_low"].map(short), rows["slope_high"].map(short), strict=True)
    between = ["–" if "–" in pair else " to ".join(pair) for pair in ends]
    rows = rows.assign(temperature=1 / rows["slope"].astype(float), interval=between)
    columns: Columns = {
        "backend": ("similarity", text),
        "status": ("slope is", text),
        "slope": ("slope", short),
        "interval": ("interval", as_is),
        "temperature": ("1 / slope", short),
        "n_units": ("units", count),
        "mis_mean": ("mean MIS", number(3)),
        "literal_mis_mean": ("mean MIS, slope 0.16", number(3)),
        "literal_mis_max": ("highest MIS, slope 0.16", number(3)),
        "accuracy_mean": ("accuracy", number(3)),
        "margin_mean": ("mean margin", short),
        "margin_sd": ("sd of margins", short),
        "pearson_his": ("Pearson with HIS", number(2)),
        "spearman_his": ("Spearman with HIS", number(2)),
        "pearson_his_minus_lead": ("Pearson minus leading", number(2)),
        "his_between": ("interval", as_is),
        "spearman_lead": ("rank correlation with leading", number(2)),
        "mean_diff_lead": ("mean MIS minus leading", number(3)),
        "mean_abs_diff_lead": ("mean absolute difference", number(3)),
        "n_forwards": ("forward passes", count),
        "n_pairs": ("pairs asked about", count),
    }
    return make_table(rows, "Similarities compared", columns, file="results/tables/backends.csv and calibration.csv")


def _backend_agreement_table(study: Study) -> Table | None:
    columns: Columns = {
        "first": ("similarity", text),
        "second": ("and", text),
        "n_units": ("units", count),
        "spearman": ("rank correlation", number(2)),
        "mean_diff": ("mean difference of MIS (second minus first)", number(3)),
        "interval": ("interval", as_is),
        "mean_abs_diff": ("mean absolute difference", number(3)),
    }
    rows = with_interval(study.tables["backend_agreement"], "mean_diff")
    file = "results/tables/backend_agreement.csv"
    return make_table(rows, "Similarities against each other, unit by unit", columns, file=file)


def _sensitivity_table(study: Study) -> Table | None:
    columns: Columns = {
        "model": ("network", text),
        "backend": ("similarity", text),
        "setting": ("setting", words),
        "value": ("value", short),
        "mis_mean": ("mean MIS", number(3)),
        "mis_se": ("its standard error", number(4)),
        "spearman": ("rank correlation with own setting", number(3)),
        "mean_abs_diff": ("mean absolute difference", number(3)),
        "n_units": ("units", count),
    }
    return make_table(study.tables["sensitivity"], "Other settings", columns, file="results/tables/sensitivity.csv")


def _training_table(study: Study) -> Table | None:
    frame = training.training(study)
    columns: Columns = {
        "series": ("network", text),
        "step": ("step", count),
        "top1": ("top-1, %", number(1)),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
    }
    return make_table(
        with_interval(frame, "mis"),
        f"Checkpoints, similarity {study.lead}",
        columns,
        file="results/tables/training.csv",
    )


def _gain_table(study: Study) -> Table | None:
    gain = study.tables["training_gain"]
    columns: Columns = {
        "backend": ("similarity", text),
        "series": ("network", text),
        "difference": ("trained minus untrained", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
    }
    shown = with_interval(gain.rename(columns={"low": "gain_low", "high": "gain_high"}), "gain")
    return make_table(
        shown, "What training adds to MIS, unit by unit", columns, file="results/tables/training_gain.csv"
    )


def _constant_table(study: Study) -> Table | None:
    rows = study.tables["constant_units"]
    return make_table(
        rows,
        "Units that hardly vary (absolute: left out of all scores; else by the relative rule, reported only)",
        {name: (name, text if name in TEXT else short) for name in rows.columns},
        file="results/tables/constant_units.csv",
    )


def _failures_table(study: Study) -> Table | None:
    columns: Columns = {"model": ("network", text), "stage": ("stage", text), "reason": ("reason", text)}
    return make_table(study.tables["failures"], "What failed", columns, file="results/tables/failures.csv")


def _rejected_table(study: Study) -> Table | None:
    columns: Columns = {"path": ("file", text), "reason": ("reason", text)}
    file = "results/tables/rejected_images.csv"
    return make_table(study.tables["rejected_images"], "Files that are not usable pictures", columns, file=file)


SPECS = (
    TableSpec("models", "ranking", _models_table, after="models_ranked"),
    TableSpec("ranking", "ranking", _ranking_table),
    TableSpec("conover_models", "ranking", lambda study: _conover_table(study, "models"), open=False),
    TableSpec(
        "correlations", "ranking", lambda study: _correlations_table(study, "model"), "mis_against_accuracy", open=False
    ),
    TableSpec("conover_layer_types", "layers", lambda study: _conover_table(study, "layer_types"), after="layer_types"),
    TableSpec("family_bootstrap", "layers", _family_table, after="layer_types", open=False),
    TableSpec(
        "layer_correlations", "layers", lambda study: _correlations_table(study, "layer"), "relative_depth", open=False
    ),
    TableSpec("backends", "robust", _backends_table, after="calibration"),
    TableSpec("backend_agreement", "robust", _backend_agreement_table, after="similarities", open=False),
    TableSpec("sensitivity", "robust", _sensitivity_table, after="sensitivity", open=False),
    TableSpec("training_gain", "training", _gain_table, after="training"),
    TableSpec("training", "training", _training_table, open=False),
    TableSpec("controls", "controls", lambda study: _controls_table(study, "pooled")),
    TableSpec("controls_factors", "controls", lambda study: _controls_table(study, "factor"), open=False),
    TableSpec("controls_other", "controls", lambda study: _controls_table(study, "other"), open=False),
    TableSpec("failures", "records", _failures_table),
    TableSpec("rejected_images", "records", _rejected_table),
    TableSpec("constant_units", "records", _constant_table, open=False),
)
