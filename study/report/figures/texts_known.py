"""Texts whose truth is known: does a score put the right text first, and how far is it from the truth?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interpretability.explanations.estimates import relative_error, undefined_share
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order
from study.report.figures.texts import AUTOMATIC, KNOWN, OURS, RHO, only_allowed, planted
from study.report.figures.words import between, clean, of_parts, of_rows, signed

_MOST_POINTS = 150  # of a panel
_SCORES = {AUTOMATIC: "automatic score", OURS: "from ratings"}
_MARKS = {AUTOMATIC: ("o", style.COLOURS[0], 0.16), OURS: ("s", style.COLOURS[2], -0.16)}
# scores of texts whose distance to the truth is drawn, as they are called
ESTIMATORS = {
    OURS: "ours, from ratings",
    "guide_only": "guide alone",
    "bragg_guide": "paper’s BRAgg, guide",
    "bragg_uniform": "paper’s BRAgg, uniform",
    "majority": "paper’s, majority",
    "average": "paper’s, average",
}


def texts_known(study: Study) -> pd.DataFrame:
    """Mean scores of the texts of planted units, from the best to the worst by construction, and the score of top pictures."""
    rows = study.tables["explanation_methods"]
    known = rows["method"].isin(KNOWN) & rows["model"].isin(planted(study))
    rows = only_allowed(rows[known & rows["score"].isin(_SCORES) & rows["rho_mean"].notna()])
    columns = ["model", "method", "score", "n_units", *RHO, "guide_only_mean", "true_mean", "recall_mean", "status"]
    return in_order(rows, model=None, method=KNOWN, score=_SCORES).reindex(columns=columns)


def draw_texts_known(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    methods = [name for name in KNOWN if name in set(frame["method"])]
    figure, (left, right) = style.panels(narrow, 2, 0.9 + 0.36 * len(methods), extra=0.45)
    for axes in (left, right):
        heights = style.row_heights(axes, methods, narrow)
    truth = frame.drop_duplicates("method")
    at = truth["method"].map(heights).to_numpy(dtype=float)
    look: dict[str, Any] = {"linestyle": "none", "markersize": 13, "markeredgewidth": 1.8}
    left.plot(truth["true_mean"].astype(float), at, "|", color=style.INK, label="known score", **look)
    for score, (mark, colour, lift) in _MARKS.items():
        rows = frame[frame["score"] == score]
        if len(rows):
            own = rows["method"].map(heights).to_numpy(dtype=float)
            style.points_across(left, rows, own + lift, RHO, fmt=mark, color=colour, label=_SCORES[score])
    guided = frame[frame["guide_only_mean"].notna()]
    if len(guided):
        own = guided["method"].map(heights).to_numpy(dtype=float)
        look = {"linestyle": "none", "markerfacecolor": "white", "markersize": 5}
        left.plot(
            guided["guide_only_mean"].astype(float),
            own - 0.34,
            "D",
            color=style.COLOURS[1],
            label="guide alone",
            **look,
        )
    left.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    left.set_xlim(*style.around(frame, *RHO, "true_mean", "guide_only_mean", low=0.0))
    left.set_title("correlation: the whole range counts")
    left.set_xlabel("mean correlation over units")
    recalled = _recalled(frame)
    at = recalled["method"].map(heights).to_numpy(dtype=float)
    right.barh(at, recalled["recall_mean"].astype(float), height=0.55, color=style.COLOURS[6])
    right.set_xlim(0, 1)
    right.set_title("top pictures alone: recall")
    right.set_xlabel("share of the top pictures that show it")
    if not narrow:
        right.tick_params(labelleft=False)
    return style.with_key(figure, left, narrow)


def _recalled(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a method with its score of top pictures."""
    return frame[frame["recall_mean"].notna()].drop_duplicates("method")


def alt_texts_known(frame: pd.DataFrame, study: Study) -> str:
    def methods(score: str, part: pd.DataFrame) -> str:
        words = of_rows(part, lambda row: f"{row.method} {signed(row.rho_mean)}{between(row.low, row.high)}", ", ")
        return f"{_SCORES[score]}: {words}"

    truth = of_rows(frame.drop_duplicates("method"), lambda row: f"{row.method} {signed(row.true_mean)}", ", ")
    recall = of_rows(_recalled(frame), lambda row: f"{row.method} {row.recall_mean:.2f}", ", ")
    known = f"Texts of planted units. Known mean score: {truth}"
    return f"{known}; {of_parts(frame, 'score', methods)}; share of top pictures that show the text: {recall}."


TEXTS_KNOWN = Drawing("texts_known", texts_known, draw_texts_known, alt_texts_known)


def texts_truth(study: Study) -> pd.DataFrame:
    """Scores of texts against their known scores, unit by unit, with the relative error of each way to score.

    Of many texts some are drawn, evenly spaced along the known score; errors are over all.
    """
    rows = study.texts[study.texts["score"].isin(ESTIMATORS) & study.texts["rho_true"].notna()]
    rows = in_order(rows, score=ESTIMATORS, rho_true=None, model=None, layer=None, unit=None, method=None)
    rows = rows.astype({"rho": float, "rho_true": float})
    parts = []
    for _, part in rows.groupby("score", sort=False):
        error, undefined = relative_error(part["rho"], part["rho_true"]), undefined_share(part["rho"])
        defined = part[part["rho"].notna()]
        places = np.linspace(0, len(defined) - 1, min(len(defined), _MOST_POINTS)).round().astype(int)
        parts.append(defined.iloc[places].assign(rce=error, undefined=undefined, n_texts=len(part)))
    columns = ["score", "rho_true", "rho", "rce", "undefined", "n_texts"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def draw_texts_truth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    scores = list(dict.fromkeys(frame["score"]))
    figure, grid = style.panels(narrow, len(scores), 2.2, columns=3, on_phone=2, share_y=True, extra=0.2)
    limits = style.around(frame, "rho", "rho_true", low=0.0)
    for place, (score, axes) in enumerate(zip(scores, grid, strict=True)):
        rows = frame[frame["score"] == score]
        style.equal_line(axes, limits)
        style.dots(axes, rows.assign(n=1), "rho_true", "rho", color=style.colour_of(place))
        axes.set_xlim(*style.around(frame, "rho_true", low=0.0))
        axes.set_ylim(*limits)
        axes.set_title(f"{clean(ESTIMATORS[score], 40)}\nrelative error {100 * rows['rce'].iloc[0]:.0f} %")
    style.outer_labels(grid, "known score", "score")
    return figure


def alt_texts_truth(frame: pd.DataFrame, study: Study) -> str:
    def error(score: str, part: pd.DataFrame) -> str:
        missing = part["undefined"].iloc[0]
        undefined = f" ({100 * missing:.0f} % undefined)" if missing else ""
        return f"{ESTIMATORS[score]} {100 * part['rce'].iloc[0]:.0f} %{undefined}"

    words: Any = of_parts(frame, "score", error)
    return f"Scores of texts against their known scores, unit by unit. Relative error: {words}."


TEXTS_TRUTH = Drawing("texts_truth", texts_truth, draw_texts_truth, alt_texts_truth)

FIGURES = (TEXTS_KNOWN, TEXTS_TRUTH)
