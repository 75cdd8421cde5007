"""Tables of the page about kinds of explanation: kinds beside natural ones, the choice among them, images that were made."""

from __future__ import annotations

import pandas as pd

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.schema import UNIT
from study.report.figures.base import Study
from study.report.figures.kinds import kind_words, network_words, of_kinds
from study.report.figures.made_images import BOUND, NOT_IN_IMI, SIDES, STATUSES, made_images, outside_imi
from study.report.figures.series import in_order
from study.report.page.cells import Table, TableSpec, count, make_table, number, percent, text, with_interval, words
from study.report.page.columns import Columns, columns


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with all networks together and kinds in words."""
    return rows.assign(model=rows["model"].map(network_words), kind=rows["kind"].map(kind_words))


def _kinds_table(study: Study) -> Table | None:
    rows = of_kinds(study)
    rows = _named(with_interval(rows[(rows["backend"] == study.lead) & (rows["kind"] != CHOSEN)]))
    shown: Columns = {
        **columns("model kind n_units", kind=("explained by", text)),
        "n_images": ("images a side", count),
        "mean": ("mean MIS", number(3)),
        "base_mean": ("natural, same units", number(3)),
        **columns("difference interval"),
        "share": ("chosen for", percent),
        "between_sd": ("sd between seed sets", number(3)),
    }
    caption = f"Kinds of explanation, similarity {study.lead}"
    return make_table(rows, caption, shown, file="explanation_kinds.csv")


def _choosing_table(study: Study) -> Table | None:
    rows = of_kinds(study)
    rows = _named(with_interval(rows[rows["kind"] == CHOSEN]))
    shown: Columns = {
        **columns("model backend n_units difference interval", difference="gain of choosing"),
        "naive": ("naive gain", number(3)),
        "mean": ("mean MIS of what was chosen", number(3)),
        "n_sets": ("seed sets", count),
    }
    return make_table(rows, "What choosing a kind for each unit gains", shown, file="explanation_kinds.csv")


def _made_table(study: Study) -> Table | None:
    """Networks and sides: how many made images beat nature, and by how much."""
    rows = []
    outside = outside_imi(study)
    for (model, side), part in made_images(study).groupby(["model", "side"], sort=False):
        counts = part["status"].value_counts()
        rows.append(
            {
                "model": f"{model} ({NOT_IN_IMI})" if model in outside else model,
                "side": SIDES[str(side)],
                "n_units": len(part.drop_duplicates(UNIT)),
                "n_sets": part["seed_set"].nunique(),
                **{status: counts.get(status, 0) for status in STATUSES},
                "position_bound": part["position_bound"].sum(),
                **{name: part[name].median() for name in ("ratio_best", "ratio_weakest", "kept_after_shift")},
            }
        )
    shown: Columns = {
        **columns("model side n_units", side=("images", text)),
        "n_sets": ("seed sets", count),
        **{status: (words, count) for status, words in STATUSES.items()},
        "position_bound": (BOUND, count),
        "ratio_best": ("ratio of the best (median)", number(2)),
        "ratio_weakest": ("of the weakest", number(2)),
        "kept_after_shift": ("kept after a shift", number(2)),
    }
    return make_table(pd.DataFrame(rows), "Images made for units", shown, file="made_images.csv")


def _slopes_table(study: Study) -> Table | None:
    """Slopes behind scores of tasks with made images, the leading similarity first."""
    rows = in_order(study.tables["made_slopes"], backend=study.backends, condition=None)
    shown: Columns = {
        **columns("backend condition slope", condition=("tasks", words)),
        "source": ("fitted to", text),
        "answers": ("answers of", text),
        "n_units": ("units", count),
        "reason": ("why not to their own answers", text),
    }
    return make_table(rows, "Slopes of tasks that made images explain", shown, file="made_slopes.csv")


SPECS = (
    TableSpec("explanation_kinds", "kinds", _kinds_table, after="explanation_kinds"),
    TableSpec("choosing_gain", "kinds", _choosing_table, after="choosing_gain", open=False),
    TableSpec("made_images", "kinds", _made_table, after="made_images"),
    TableSpec("made_slopes", "kinds", _slopes_table, after="mis_natural_synthetic", open=False),
)
