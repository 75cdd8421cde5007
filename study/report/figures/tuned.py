"""What would people's answers make of a similarity? Agreement tuned and untuned, and the weights that answers give to factors."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import rows_of
from study.report.figures.words import between, of_rows

UNTUNED, TUNED, WEIGHT, CEILING = "untuned", "tuned", "weight", "ceiling"
_ALL_ANSWERS = -1  # the fold of weights that were fitted to all answers
_FAMILIES = {"blocks": "by factor", "diagonal": "diagonal", "low_rank": "low rank"}
_LOOKS = (
    (UNTUNED, 0.13, {"color": style.COLOURS[1], "markerfacecolor": "white"}),
    (TUNED, -0.13, {"color": style.COLOURS[0]}),
)


def name_of(backend: str, family: str) -> str:
    """`encoder`, `low_rank` -> `encoder, low rank`."""
    return f"{backend}, {_FAMILIES.get(family, family)}"


def tuning(study: Study) -> pd.DataFrame:
    """Agreement of each similarity untuned and tuned, out of fold; the ceiling of the same units; weights of factors by fold."""
    table, weights = study.tables["tuning"], study.tables["tuning_weights"]
    fitted, parts = table[table["r_tuned"].notna()], []
    for row in rows_of(fitted):
        whose = {
            "backend": row.backend,
            "family": row.family,
            "name": name_of(row.backend, row.family),
            "status": row.status,
        }
        for part in (UNTUNED, TUNED):
            value, low, high = (getattr(row, f"r_{part}{end}") for end in ("", "_low", "_high"))
            parts.append({**whose, "part": part, "fold": _ALL_ANSWERS, "value": value, "low": low, "high": high})
        parts.append({**whose, "part": CEILING, "fold": _ALL_ANSWERS, "value": row.ceiling})
    parts += [
        {
            "backend": row.backend,
            "family": row.family,
            "name": row.name,
            "part": WEIGHT,
            "fold": row.fold,
            "value": row.relative,
        }
        for row in rows_of(weights)
    ]
    return pd.DataFrame(parts, columns=["part", "backend", "family", "name", "status", "fold", "value", "low", "high"])


def draw_tuning(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    weights = frame[frame["part"] == WEIGHT]
    names, factors = (
        list(dict.fromkeys(frame.loc[frame["part"] == TUNED, "name"])),
        list(dict.fromkeys(weights["name"])),
    )
    two = bool(factors)
    tall = (0.5 + 0.36 * len(names), 0.5 + 0.24 * len(factors))
    height = 0.5 + (sum(tall) + 0.3 if narrow and two else max(tall) if two else tall[0])
    figure, panels = style.canvas(narrow, height, *((2, 1) if narrow else (1, 2)) if two else (1, 1))
    axes = panels.flat[0]
    heights = style.row_heights(axes, names, narrow)
    for part, shift, look in _LOOKS:
        rows = frame[frame["part"] == part]
        at = rows["name"].map(heights).to_numpy(float) + shift
        style.points_across(axes, rows, at, ("value", "low", "high"), fmt="o", label=part, **look)
    ceilings = frame[frame["part"] == CEILING]
    for number, row in enumerate(rows_of(ceilings)):
        ends = heights[row.name] - 0.4, heights[row.name] + 0.4
        axes.plot([row.value] * 2, ends, color=style.MUTED, linewidth=1.2, label="" if number else "noise ceiling")
    axes.set_xlim(*style.around(frame[frame["part"] != WEIGHT], "value", "low", "high", low=0.0, high=1.0))
    axes.set_xlabel("correlation of MIS with HIS")
    if two:
        _draw_weights(panels.flat[1], weights, factors, narrow)
    return style.with_key(figure, axes, narrow)


def _draw_weights(axes: style.Axes, weights: pd.DataFrame, factors: list[str], narrow: bool) -> None:
    """Weights of factors relative to their mean: a small mark a fold, a large one of all answers."""
    heights = style.row_heights(axes, factors, narrow)
    looks: tuple[tuple[bool, dict[str, Any]], ...] = (
        (False, {"markersize": 3.5, "alpha": style.PALE}),
        (True, {"markersize": 6.0, "markerfacecolor": "white"}),
    )
    for whole, look in looks:
        rows = weights[(weights["fold"] == _ALL_ANSWERS) == whole]
        axes.plot(rows["value"], rows["name"].map(heights), "D", linestyle="none", color=style.COLOURS[2], **look)
    axes.axvline(0, color=style.RULE, linewidth=1, zorder=1)
    axes.set_xlim(*style.around(weights, "value", low=0.0))
    axes.set_xlabel("weight of the factor / mean")


def alt_tuning(frame: pd.DataFrame, study: Study) -> str:
    tuned = frame[frame["part"] == TUNED]
    before = frame[frame["part"] == UNTUNED].set_index("name")["value"]
    words = of_rows(
        tuned,
        lambda row: f"{row.name} {before[row.name]:.2f} untuned, {row.value:.2f}{between(row.low, row.high)} tuned",
    )
    whole = frame[(frame["part"] == WEIGHT) & (frame["fold"] == _ALL_ANSWERS)]
    weights = of_rows(whole, lambda row: f"{row.name} {row.value:.2f}", ", ")
    return f"Correlation of MIS with HIS over units: {words}.{f' Weights of factors: {weights}.' if weights else ''}"


TUNING = Drawing("tuning", tuning, draw_tuning, alt_tuning)
FIGURES = (TUNING,)
