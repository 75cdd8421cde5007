"""Which text says it best? Methods compared by the automatic score and by what raters said, network by network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order
from study.report.figures.words import between, clean, differing, of_parts, of_rows, signed

AUTOMATIC, OURS = "automatic", "latent"
# texts of planted units, from the best to the worst by construction
KNOWN = ("true", "narrow", "broad", "vague", "wrong")
PLANTED = "planted units"
RHO = ("rho_mean", "low", "high")
CALIBRATED = "calibrated"  # begins the status of a score whose interval may be shown


def method_rows(study: Study, score: str) -> pd.DataFrame:
    """Methods by network under one score: networks by rank, methods by their mean over networks, the highest first.

    Planted units, whose texts are given by construction, are not among them. An interval that the status does not allow
    is taken out.
    """
    rows = study.tables["explanation_methods"]
    ranked = list(study.models()["model"])
    rows = rows[(rows["score"] == score) & ~rows["model"].isin(planted(study)) & rows["rho_mean"].notna()]
    means = rows.groupby("method")["rho_mean"].mean().sort_values(ascending=False, kind="stable")
    models = [*ranked, *sorted(set(rows["model"]) - set(ranked))]
    return only_allowed(in_order(rows, model=models, method=means.index))


def planted(study: Study) -> set[str]:
    """What stands in the place of a network for planted units, whose texts are of known order."""
    rows = study.tables["explanation_methods"]
    return set(rows.loc[rows["method"].isin(KNOWN), "model"]) - set(study.models()["model"])


def with_planted_named(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by network that say in words where they are of planted units."""
    return rows.assign(model=rows["model"].replace(dict.fromkeys(planted(study), PLANTED)))


def only_allowed(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of texts without the intervals that their status does not allow; the automatic score has one always."""
    allowed = (rows["score"] == AUTOMATIC) | rows["status"].astype(str).str.startswith(CALIBRATED)
    return rows.assign(low=rows["low"].where(allowed), high=rows["high"].where(allowed))


_COLUMNS = [
    *(
        "model",
        "method",
        "score",
        "n_units",
        *RHO,
        "guide_only_mean",
        "control_mean",
        "true_mean",
        "status",
        "simulated",
    ),
]


def texts_automatic(study: Study) -> pd.DataFrame:
    """Mean automatic score by network and method, and of texts dealt to other units."""
    return method_rows(study, AUTOMATIC).reindex(columns=_COLUMNS)


def texts_crowd(study: Study) -> pd.DataFrame:
    """Mean score from ratings by network and method, ours, beside that of the guide alone."""
    return method_rows(study, OURS).reindex(columns=_COLUMNS)


def _mark(axes: Axes, values: pd.Series, at: np.ndarray, marker: str, colour: str, label: str, **look: Any) -> None:
    """Marks without interval on given rows; nothing where all values are missing."""
    if values.notna().any():
        look = {"markersize": 5.0, "markeredgewidth": 1.2, "linestyle": "none", **look}
        axes.plot(values.astype(float), at, marker, color=colour, label=label, **look)


def _draw(frame: pd.DataFrame, narrow: bool, label: str) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_PANELS]
    methods = list(dict.fromkeys(frame["method"]))
    height = 0.55 + 0.27 * len(methods)
    figure, grid = style.panels(narrow, len(networks), height, columns=2, extra=0.45)
    shown = ("rho_mean", "low", "high", "guide_only_mean", "control_mean", "true_mean")
    limits = style.around(frame[frame["model"].isin(networks)], *shown, low=0.0)
    for place, (model, axes) in enumerate(zip(networks, grid, strict=True)):
        heights = style.row_heights(axes, methods, narrow)
        rows = frame[frame["model"] == model]
        at = rows["method"].map(heights).to_numpy(dtype=float)
        axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
        _mark(axes, rows["true_mean"], at, "|", style.INK, "known score", markersize=10, markeredgewidth=1.6)
        _mark(axes, rows["control_mean"], at, "x", style.COLOURS[6], "texts of other units")
        _mark(axes, rows["guide_only_mean"], at - 0.22, "D", style.COLOURS[1], "guide alone", markerfacecolor="white")
        style.points_across(axes, rows, at, RHO, fmt="o", color=style.COLOURS[0], label=label)
        axes.set_xlim(*limits)
        axes.set_title(clean(model))
        if not narrow and place % style.columns_of(grid):
            axes.tick_params(labelleft=False)
    style.outer_labels(grid, "mean correlation over units (dashed: 0)")
    return style.with_key(figure, grid[0], narrow)


def draw_texts_automatic(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw(
        frame.drop(columns="guide_only_mean").assign(guide_only_mean=np.nan, true_mean=np.nan), narrow, "texts"
    )


def draw_texts_crowd(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw(frame, narrow, "from ratings")


def _by_method(frame: pd.DataFrame, *, guide: bool) -> str:
    def beside(row: Any) -> str:
        return f", guide alone {signed(row.guide_only_mean)}" if guide and not np.isnan(row.guide_only_mean) else ""

    def methods(model: str, part: pd.DataFrame) -> str:
        words = of_rows(
            part, lambda row: f"{row.method} {signed(row.rho_mean)}{between(row.low, row.high)}{beside(row)}", ", "
        )
        return f"{model}: {words}"

    return of_parts(frame, "model", methods)


def alt_texts_automatic(frame: pd.DataFrame, study: Study) -> str:
    what = "Mean correlation of units with what their texts predict, on pictures that no text was made from"
    return f"{what}. {_by_method(frame, guide=False)}."


def alt_texts_crowd(frame: pd.DataFrame, study: Study) -> str:
    what = f"Mean correlation of units with their concepts as {study.rating_people} read them"
    return f"{what}. {_by_method(frame, guide=True)}."


TEXTS_AUTOMATIC = Drawing("texts_automatic", texts_automatic, draw_texts_automatic, alt_texts_automatic)
TEXTS_CROWD = Drawing("texts_crowd", texts_crowd, draw_texts_crowd, alt_texts_crowd)


def texts_tests(study: Study) -> pd.DataFrame:
    """Paired tests between methods by network: of our score from ratings, or where there is none of the automatic score.

    effect: the difference of means as a share of the largest one, which tints a cell and says nothing else.
    """
    rated = (study.tables["explanation_tests"]["score"] == OURS).any()
    rows = pairs_tested(study, OURS if rated else AUTOMATIC)
    largest = rows["difference"].abs().max()
    columns = ["model", "score", "first", "second", "n", "difference", "p_holm", "stars", "effect"]
    return rows.assign(effect=rows["difference"] / (largest or 1.0)).reindex(columns=columns)


def pairs_tested(study: Study, score: str) -> pd.DataFrame:
    """Tests between methods by one score, of the networks that its figure shows."""
    rows, methods = study.tables["explanation_tests"], method_rows(study, score)
    rows = rows[(rows["score"] == score) & rows["model"].isin(methods["model"])]
    return in_order(rows, model=dict.fromkeys(methods["model"]), first=None, second=None)


def draw_texts_tests(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_PANELS]
    order = list(dict.fromkeys(method_rows(study, frame["score"].iloc[0])["method"]))
    most = max(len({*part["first"], *part["second"]}) for _, part in frame.groupby("model"))
    figure, grid = style.panels(narrow, len(networks), 1.0 + 0.3 * most, columns=2, extra=0.1)
    for model, axes in zip(networks, grid, strict=True):
        pairs = frame[frame["model"] == model]
        own = {*pairs["first"], *pairs["second"]}
        names = [*(name for name in order if name in own), *sorted(own - set(order))]
        short = narrow or style.columns_of(grid) > 1
        style.tests_matrix(axes, pairs[pairs["p_holm"].notna()], names, short)
        axes.set_title(clean(model))
    return figure


def alt_texts_tests(frame: pd.DataFrame, study: Study) -> str:
    def pairs(model: str, part: pd.DataFrame) -> str:
        return f"{model}: {differing(part.assign(reason='too few units with both'))}"

    return f"Which methods differ, paired over units, after Holm's adjustment. {of_parts(frame, 'model', pairs)}."


TEXTS_TESTS = Drawing("texts_tests", texts_tests, draw_texts_tests, alt_texts_tests)

FIGURES = (TEXTS_AUTOMATIC, TEXTS_CROWD, TEXTS_TESTS)
