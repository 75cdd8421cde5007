"""How good could a score be? Correlations of each similarity beside the noise ceiling."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    COLOURS,
    MUTED,
    RULE,
    around,
    between,
    canvas,
    key_above,
    named_rows,
    points_across,
)

_AGREEMENT_PANELS = {"unit": "all units together", "unit_within": "inside a network"}
CEILING_VARIANT = "V4"


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
    rows = table[(table["variant"] == CEILING_VARIANT) & (table["backend"] == "") & table["mean"].notna()]
    if rows.empty:
        return None
    whole = rows[rows["subset"] == "all"]
    return (whole if len(whole) else rows).iloc[0]


def draw_agreement(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    levels = [level for level in _AGREEMENT_PANELS if level in set(frame["level"])]
    backends = [name for name in study.backends if name in set(frame["backend"])]
    grid = (len(levels), 1) if narrow else (1, len(levels))
    figure, panels = canvas(narrow, (1.0 + 0.36 * len(backends)) * grid[0] + 0.35, *grid)
    limits = around(frame, "value", "low", "high", low=0.0, high=1.0)
    for level, axes in zip(levels, panels.flat, strict=True):
        heights = named_rows(axes, backends, narrow)
        part = frame[frame["level"] == level]
        for measure, shift, face in (("pearson", 0.13, None), ("spearman", -0.13, "white")):
            rows = part[part["measure"] == measure].set_index("backend").reindex(backends)
            points_across(
                axes,
                rows,
                heights + shift,
                ("value", "low", "high"),
                fmt="o" if face is None else "s",
                color=COLOURS[0] if face is None else COLOURS[1],
                markerfacecolor=face,
                label=measure.capitalize(),
            )
        for row in part[part["measure"] == "ceiling"].itertuples():
            axes.axvspan(row.low, row.high, color="#e3e7ec", linewidth=0, zorder=0)
            axes.axvline(row.value, color=MUTED, linewidth=1.2, zorder=1, label="noise ceiling of Pearson")
        axes.axvline(0, color=RULE, linewidth=1, zorder=1)
        axes.set_xlim(*limits)
        axes.set_title(_AGREEMENT_PANELS[level])
        axes.set_xlabel("correlation of MIS with HIS")
    if len(levels) > 1 and not narrow:
        panels.flat[1].tick_params(labelleft=False)
    key_above(figure, panels.flat[0], narrow)
    return figure


def alt_agreement(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["level"] == "unit") & (frame["measure"] == "pearson")]
    words = "; ".join(f"{row.backend} {row.value:.2f}{between(row.low, row.high)}" for row in rows.itertuples())
    ceiling = frame[frame["measure"] == "ceiling"]
    end = f" The noise ceiling is {ceiling['value'].iloc[0]:.2f}." if len(ceiling) else ""
    return f"Correlation of MIS with the share of right answers over units, Pearson: {words}.{end}"


FIGURES = (
    FigureSpec(
        "agreement",
        "ceiling",
        agreement,
        draw_agreement,
        alt_agreement,
        "No figure: this study has no human answers.",
        ("agreement", "noise_ceiling"),
    ),
)
