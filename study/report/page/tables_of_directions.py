"""Tables of the page about directions beside units, sparse codes, and scores beside MIS."""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.report.figures import bases, other_scores
from study.report.figures.base import Study
from study.report.figures.series import in_order
from study.report.page.cells import Table, TableSpec, count, make_table, number, percent, text, with_interval
from study.report.page.columns import Columns, columns

_SIGNS = {"": "none claimed"}


def _bases_table(study: Study) -> Table | None:
    """Differences over layers under every similarity."""
    rows = study.tables["units_or_directions"]
    rows = in_order(rows[rows["layer"] == ""], model=None, backend=study.backends, condition=bases.CONDITIONS)
    rows = with_interval(rows).assign(
        sign=rows["sign"].replace(_SIGNS), condition=rows["condition"].map(bases.CONDITIONS).fillna(rows["condition"])
    )
    shown: Columns = {
        **columns("model", model="directions"),
        "base": ("units of", text),
        **columns("backend condition", condition="tasks"),
        **columns("difference interval", difference="directions minus units"),
        "sign": ("sign", text),
        "mis_directions": ("mean MIS of directions", number(3)),
        "mis_units": ("mean MIS of units", number(3)),
        "n_clusters": ("clusters of layers", count),
        "n_directions": ("directions", count),
        **columns("n_units"),
        "kind": ("kind", text),
        "pooling": ("pooled by", text),
    }
    return make_table(rows, "Directions minus units, over layers", shown, file="units_or_directions.csv")


def _sparse_table(study: Study) -> Table | None:
    rows = study.tables["sparse_codes"]
    shown: Columns = {
        **columns("model layer"),
        "n_latents": ("latents", count),
        "n_scored": ("scored", count),
        "n_too_sparse": ("too sparse", count),
        "n_dead": ("dead", count),
        "needed": ("pictures needed", count),
        "firing_p10": ("firing rate, 10th percentile", percent),
        "firing_median": ("median", percent),
        "firing_p90": ("90th percentile", percent),
    }
    return make_table(rows, "Latents of sparse codes", shown, file="sparse_codes.csv")


def _superposed_table(study: Study) -> Table | None:
    rows = with_interval(bases.superposed(study), "mis")
    rows = rows.assign(
        layer=rows["layer"].map(bases.KNOWN).fillna(rows["layer"]),
        condition=rows["condition"].map(bases.CONDITIONS).fillna(rows["condition"]),
    )
    shown = columns("layer backend condition mis_mean interval n_units passed expectation", layer="layer, simulated")
    return make_table(rows, "A layer in superposition", shown, file="controls.csv")


def _agreement_table(study: Study) -> Table | None:
    rows = study.tables["scores_compared"]
    rows = rows[(rows["part"] == "people") & rows["value"].notna()]
    rows = in_order(
        rows, backend=study.backends, level=other_scores.LEVELS, coefficient=None, first=other_scores.SCORES
    )
    rows = with_interval(with_interval(rows, digits=2), "difference", digits=2, name="his_between")
    rows = rows.assign(
        first=rows["first"].map(other_scores.SCORES).fillna(rows["first"]),
        level=rows["level"].map(other_scores.LEVELS).fillna(rows["level"]),
        coefficient=rows["coefficient"].replace({"pearson": "Pearson", "spearman": "Spearman"}),
    )
    shown: Columns = {
        **columns("first level", first="score"),
        "coefficient": ("correlation", text),
        **columns("backend"),
        "value": (f"with {study.people}", number(2)),
        **columns("interval"),
        "difference": ("minus MIS", number(2)),
        **columns("his_between p_holm n", his_between="its interval", n="units"),
    }
    caption = f"Each score against the answers of {study.people}"
    return make_table(rows, caption, shown, file="scores_compared.csv")


def _levels_table(study: Study) -> Table | None:
    """Means of the other scores of whole networks, controls among them, with standard errors over units."""
    rows = study.tables["label_free"]
    rows = rows[(rows["backend"] == study.lead) & (rows["layer"] == "")]
    if rows.empty:
        return None
    shown: Columns = {**columns("model n_units")}
    for name, heading, digits in _MEANS:
        rows = rows.assign(**{name: _with_error(rows, name, digits)})
        shown |= {name: (heading, str)}
    caption = f"Other scores of whole networks, similarity {study.lead}: mean ± standard error over units"
    return make_table(rows, caption, shown, file="label_free.csv")


_MEANS = (
    ("rho", "whole range, Pearson", 3),
    ("spearman", "whole range, ranks", 3),
    ("ms", "monosemanticity, raw", 4),
    ("ms_null", "its null", 4),
    ("ms_z", "its z", 2),
    ("index", "index of top pictures", 3),
    ("index_null", "its null", 3),
    ("firing", "firing rate", 2),
    ("peak_energy", "energy at the peak", 3),
    ("participation", "participation", 3),
)


def _with_error(rows: pd.DataFrame, name: str, digits: int) -> list[str]:
    mean, error = (number(digits) for _ in range(2))
    found = rows[[f"{name}_mean", f"{name}_se"]].astype(np.float64)
    return [
        mean(m) if np.isnan(m) or np.isnan(e) else f"{mean(m)} ± {error(e)}"
        for m, e in found.itertuples(index=False, name=None)
    ]


def _pairs_table(study: Study) -> Table | None:
    rows = with_interval(study.tables["judged_pairs"])
    rows = rows.assign(score=rows["score"].map(other_scores.SCORES).fillna(rows["score"]))
    shown: Columns = {
        "score": ("score", text),
        "source": ("computed by", text),
        **columns("backend"),
        "share": ("pairs right", number(3)),
        **columns("interval"),
        "mean_over_bins": ("mean over bins of difference", number(3)),
        "n_bins": ("bins", count),
        "n_pairs": ("pairs", count),
        "n_left_out": ("left out", count),
        "n_ties": ("ties", count),
        "n_units": ("units", count),
    }
    return make_table(rows, "Pairs judged by people", shown, file="judged_pairs.csv")


SPECS = (
    TableSpec("units_or_directions", "bases", _bases_table, after="units_or_directions"),
    TableSpec("superposed", "bases", _superposed_table, after="superposed", open=False),
    TableSpec("sparse_codes", "bases", _sparse_table),
    TableSpec("scores_people", "scores", _agreement_table, after="scores_people", open=False),
    TableSpec("label_free", "scores", _levels_table),
    TableSpec("judged_pairs", "scores", _pairs_table),
)
