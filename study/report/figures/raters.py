"""Raters of pictures: how well they agree, beside the highest agreement that their errors allow, and how often each errs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order
from study.report.figures.texts import with_planted_named
from study.report.figures.words import clean, of_rows, signed


def texts_kappa(study: Study) -> pd.DataFrame:
    """Agreement beyond chance by network and method, beside its bound."""
    rows = study.tables["explanation_agreement"]
    rows = rows[rows["kappa"].notna()]
    rows = with_planted_named(study, rows)
    models = [*study.models()["model"], *sorted(set(rows["model"]))]
    columns = ["model", "method", "n_images", "kappa", "bound", "yes_share", "prior_mean"]
    return in_order(rows, model=dict.fromkeys(models), method=None).reindex(columns=columns)


def draw_texts_kappa(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    rows = frame.head(style.MOST_NAMED)
    names = [_name(model, method) for model, method in zip(rows["model"], rows["method"], strict=True)]
    figure, ((axes,),) = style.canvas(narrow, 0.9 + 0.25 * len(rows))
    heights = style.named_rows(axes, names, narrow)
    look = {"linestyle": "none", "markersize": 11, "markeredgewidth": 1.6}
    axes.plot(rows["bound"].astype(float), heights, "|", color=style.INK, label="bound of independent errors", **look)
    axes.plot(rows["kappa"].astype(float), heights, "o", color=style.COLOURS[0], label="Fleiss’ kappa")
    axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    axes.set_xlim(*style.around(rows, "kappa", "bound", low=0.0))
    axes.set_xlabel("agreement beyond chance" if narrow else "agreement beyond chance (dashed: none)")
    return style.with_key(figure, axes, narrow)


def _name(model: object, method: object) -> str:
    parts = [str(part) for part in (model, method) if str(part)]
    return ", ".join(parts) or "all"


def alt_texts_kappa(frame: pd.DataFrame, study: Study) -> str:
    words = of_rows(
        frame, lambda row: f"{_name(row.model, row.method)} {signed(row.kappa)} (bound {signed(row.bound)})"
    )
    return f"Fleiss’ kappa of {study.rating_people}, and the highest that independent errors allow: {words}."


TEXTS_KAPPA = Drawing("texts_kappa", texts_kappa, draw_texts_kappa, alt_texts_kappa)


def texts_raters(study: Study) -> pd.DataFrame:
    """Error rates of each rater as all ratings tell them, and whether a rule flags this rater; no names."""
    rows = study.raters[study.raters[["false_yes", "false_no"]].notna().all(axis=1)]
    flagged = (rows["flags"].fillna("").astype(str) != "").astype(int)
    rows = rows.assign(flagged=flagged).reset_index(drop=True)
    by = {"flagged": None, "false_yes": None, "false_no": None, "n": None}
    return in_order(rows, **by)[["n", "yes_share", "agreement", "false_yes", "false_no", "flagged", "flags"]]


def draw_texts_raters(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 3.4)
    axes.plot([0, 1], [1, 0], color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    for flagged, mark, colour, label in ((0, "o", style.COLOURS[0], "counts"), (1, "X", style.COLOURS[1], "flagged")):
        rows = frame[frame["flagged"] == flagged]
        if len(rows):
            look = {"linestyle": "none", "alpha": style.PALE, "markeredgewidth": 0, "markersize": 6}
            axes.plot(rows["false_yes"], rows["false_no"], mark, color=colour, label=label, **look)
    axes.set_xlim(*style.around(frame, "false_yes", low=0.0, high=0.5))
    axes.set_ylim(*style.around(frame, "false_no", low=0.0, high=0.5))
    axes.set_xlabel("yes to pictures without the concept, share (dashed: answers at random)")
    axes.set_title("no to pictures with the concept, share")
    if narrow:
        axes.set_xlabel("yes without the concept, share")
    return style.with_key(figure, axes, narrow)


def alt_texts_raters(frame: pd.DataFrame, study: Study) -> str:
    good = frame[frame["flagged"] == 0]
    flags = sorted({flag for flags in frame["flags"].fillna("") for flag in str(flags).split("; ") if flag})
    reasons = f" ({clean('; '.join(flags), 160)})" if flags else ""
    medians = [np.median(good[name]) if len(good) else float("nan") for name in ("false_yes", "false_no")]
    return (
        f"Error rates of {len(frame)} {study.rating_people}, estimated from all ratings. Median of those that no rule flags: "
        f"{medians[0]:.2f} wrong yes, {medians[1]:.2f} wrong no. {len(frame) - len(good)} flagged{reasons}."
    )


TEXTS_RATERS = Drawing("texts_raters", texts_raters, draw_texts_raters, alt_texts_raters)

FIGURES = (TEXTS_KAPPA, TEXTS_RATERS)
