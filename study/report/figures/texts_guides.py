"""Does the order of methods hang on the guide? Scores from the same ratings with either guide as prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order
from study.report.figures.texts import planted
from study.report.figures.words import clean, of_parts, of_rows, signed

_MEANS = ("guide_mean", "second_mean")
_COLUMNS = ["model", "method", "n_units", "n_clusters", *_MEANS, "spearman"]


def texts_guides(study: Study) -> pd.DataFrame:
    """Mean scores by network and method with both guides: networks by rank, methods by their mean over both."""
    rows = study.tables["explanation_guides"]
    rows = rows[~rows["model"].isin(planted(study))]
    means = rows.assign(mean=rows[list(_MEANS)].mean(axis=1)).groupby("method")["mean"].mean()
    ranked = list(study.models()["model"])
    models = [*ranked, *sorted(set(rows["model"]) - set(ranked))]
    order = means.sort_values(ascending=False, kind="stable").index
    return in_order(rows, model=models, method=order).reindex(columns=_COLUMNS)


def draw_texts_guides(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_PANELS]
    methods = list(dict.fromkeys(frame["method"]))
    figure, grid = style.panels(narrow, len(networks), 0.55 + 0.27 * len(methods), columns=2, extra=0.45)
    limits = style.around(frame[frame["model"].isin(networks)], *_MEANS, low=0.0)
    for place, (model, axes) in enumerate(zip(networks, grid, strict=True)):
        heights = style.row_heights(axes, methods, narrow)
        rows = frame[frame["model"] == model]
        at = rows["method"].map(heights).to_numpy(dtype=float)
        first, second = (rows[name].to_numpy(dtype=float) for name in _MEANS)
        axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
        axes.hlines(at, np.fmin(first, second), np.fmax(first, second), color=style.MUTED, linewidth=1, zorder=1)
        look: dict[str, Any] = {"linestyle": "none", "markersize": 5.0}
        axes.plot(first, at, "o", color=style.COLOURS[0], label="guide", **look)
        axes.plot(second, at, "D", color=style.COLOURS[1], label="second guide", markerfacecolor="white", **look)
        axes.set_xlim(*limits)
        axes.set_title(clean(model))
        if not narrow and place % style.columns_of(grid):
            axes.tick_params(labelleft=False)
    style.outer_labels(grid, "mean correlation over units (dashed: 0)")
    return style.with_key(figure, grid[0], narrow)


def alt_texts_guides(frame: pd.DataFrame, study: Study) -> str:
    def methods(model: str, part: pd.DataFrame) -> str:
        words = of_rows(
            part, lambda row: f"{row.method} {signed(row.guide_mean)}, second {signed(row.second_mean)}", ", "
        )
        rho = float(part["spearman"].iloc[0])
        return f"{model}: {words}" + (f" (rank correlation {signed(rho)})" if np.isfinite(rho) else "")

    what = f"Mean scores by BRAgg from what {study.rating_people} said, with a guide and with a second one as prior"
    return f"{what}. {of_parts(frame, 'model', methods)}."


TEXTS_GUIDES = Drawing("texts_guides", texts_guides, draw_texts_guides, alt_texts_guides)

FIGURES = (TEXTS_GUIDES,)
