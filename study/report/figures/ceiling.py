"""How good could a score be? Correlations of each similarity beside the noise ceiling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, rows_of
from study.report.figures.words import between, clean, of_rows

_AGREEMENT_PANELS = {"unit": "all units together", "unit_within": "inside a network"}
# measure, its height above the row, mark, colour and colour of the inside
_MEASURES = (
    ("pearson", 0.13, "o", style.COLOURS[0], None),
    ("spearman", -0.13, "s", style.COLOURS[1], "white"),
)
_VARIANTS = {
    "V1": "HIS redrawn once against recorded HIS",
    "V2": "two redrawings of HIS",
    "V3": "HIS redrawn against MIS",
    "V4": "true score against recorded HIS, answers alike",
    "V4w": "true score, noise from answers to one task",
    "V4b": "V4 for a score of N sampled tasks",
    "V5": "answers drawn from MIS against MIS",
    "mixed": "true score, effects of unit, task, person",
    "split_half": "V4 from halves of the answers",
    "true": "true shares of the simulated observers",
}


def agreement(study: Study) -> pd.DataFrame:
    """Correlations of MIS with HIS over units outside the calibration split, and the noise ceiling."""
    table = study.tables["agreement"]
    rows = table[(table["units"] == "outside_split") & table["level"].isin(_AGREEMENT_PANELS)]
    parts = [
        rows[["backend", "level", "n"]].assign(measure=m, value=rows[m], low=rows[f"{m}_low"], high=rows[f"{m}_high"])
        for m in ("pearson", "spearman")
    ]
    ceiling = leading_ceiling(study)
    if ceiling is not None and len(rows):
        line = {"backend": "", "level": "unit", "n": ceiling["n_units"], "measure": "ceiling"}
        parts.append(pd.DataFrame([{**line, "value": ceiling["mean"], "low": ceiling["low"], "high": ceiling["high"]}]))
    return pd.concat(parts, ignore_index=True)


def leading_ceiling(study: Study) -> pd.Series | None:
    """The leading variant of the noise ceiling over all units, or None."""
    table = study.tables["noise_ceiling"]
    # rows with a similarity hold its share of the ceiling
    rows = table[(table["leads"] == 1) & (table["backend"] == "") & table["mean"].notna()]
    if rows.empty:
        return None
    whole = rows[rows["subset"] == "all"]
    return (whole if len(whole) else rows).iloc[0]


def draw_agreement(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    levels = [level for level in _AGREEMENT_PANELS if level in set(frame["level"])]
    backends = [name for name in study.backends if name in set(frame["backend"])]
    grid = (len(levels), 1) if narrow else (1, len(levels))
    figure, panels = style.canvas(narrow, (1.0 + 0.36 * len(backends)) * grid[0] + 0.35, *grid)
    limits = style.around(frame, "value", "low", "high", low=0.0, high=1.0)
    for level, axes in zip(levels, panels.flat, strict=True):
        heights = style.named_rows(axes, backends, narrow)
        part = frame[frame["level"] == level]
        for measure, shift, mark, colour, face in _MEASURES:
            rows = part[part["measure"] == measure].set_index("backend").reindex(backends)
            look = {"fmt": mark, "color": colour, "markerfacecolor": face, "label": measure.capitalize()}
            style.points_across(axes, rows, heights + shift, ("value", "low", "high"), **look)
        for row in part[part["measure"] == "ceiling"].itertuples():
            axes.axvspan(row.low, row.high, color=style.RULE, alpha=0.6, linewidth=0, zorder=0)
            axes.axvline(row.value, color=style.MUTED, linewidth=1.2, zorder=1, label="noise ceiling of Pearson")
        axes.axvline(0, color=style.RULE, linewidth=1, zorder=1)
        axes.set_xlim(*limits)
        axes.set_title(_AGREEMENT_PANELS[level])
        axes.set_xlabel("correlation of MIS with HIS")
    if len(levels) > 1 and not narrow:
        panels.flat[1].tick_params(labelleft=False)
    return style.with_key(figure, panels.flat[0], narrow)


def alt_agreement(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["level"] == "unit") & (frame["measure"] == "pearson")]
    words = of_rows(rows, lambda row: f"{row.backend} {row.value:.2f}{between(row.low, row.high)}")
    ceiling = frame[frame["measure"] == "ceiling"]
    end = f" The noise ceiling is {ceiling['value'].iloc[0]:.2f}." if len(ceiling) else ""
    return f"Correlation of MIS with the share of right answers over units, Pearson: {words}.{end}"


AGREEMENT = Drawing("agreement", agreement, draw_agreement, alt_agreement)


def ceiling_variants(study: Study) -> pd.DataFrame:
    """Every variant of the noise ceiling over all units; those that need a similarity, of the leading one."""
    table = study.tables["noise_ceiling"]
    rows = table[table["share"].isna() & table["mean"].notna() & table["backend"].isin(["", study.lead])]
    whole = rows[rows["subset"] == "all"]
    rows = (whole if len(whole) else rows).drop_duplicates("variant")
    kind = np.where(rows["is_ceiling"].astype(str).str.lower().isin(["1", "1.0", "true"]), 1, 0)
    columns = ["variant", "is_ceiling", "mean", "low", "high", "n_units"]
    return in_order(rows.assign(is_ceiling=kind), variant=_VARIANTS)[columns]


def draw_ceiling_variants(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 0.9 + (0.5 if narrow else 0.3) * len(frame))
    heights = style.named_rows(axes, list(frame["variant"]), narrow)
    for ceiling, look in ((1, {"color": style.COLOURS[0]}), (0, {"color": style.MUTED, "markerfacecolor": "white"})):
        kept = (frame["is_ceiling"] == ceiling).to_numpy()
        label = "a ceiling" if ceiling else "no ceiling"
        style.points_across(axes, frame[kept], heights[kept], ("mean", "low", "high"), fmt="o", label=label, **look)
    for height, row in zip(heights, rows_of(frame), strict=True):
        words = f"{row.mean:.3f}" if narrow else f"{row.mean:.3f}  {_VARIANTS.get(row.variant, '')}"
        style.row_note(axes, height, words)
        if narrow:
            text = clean(_VARIANTS.get(row.variant, ""), 44)
            below = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
            axes.annotate(text, (0, height), (0, -12), **below, color=style.MUTED, fontsize=style.FONT_SIZE)
    axes.set_xlim(*style.around(frame, "mean", "low", "high"))
    axes.set_xlabel("correlation")
    return style.with_key(figure, axes, narrow)


def alt_ceiling_variants(frame: pd.DataFrame, study: Study) -> str:
    def interval(row: Any) -> str:
        return f"{row.variant} {row.mean:.3f}{between(row.low, row.high)}"

    n_units = f"{frame['n_units'].max():,.0f} annotated units"
    return f"Variants of the noise ceiling over {n_units}: {of_rows(frame, interval)}."


CEILING_VARIANTS = Drawing("ceiling_variants", ceiling_variants, draw_ceiling_variants, alt_ceiling_variants)

FIGURES = (AGREEMENT, CEILING_VARIANTS)
