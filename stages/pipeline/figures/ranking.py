"""Which networks are understandable? Networks ranked, and how their units are distributed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    CHANCE,
    COLOURS,
    INK,
    MOST_NAMED,
    RULE,
    around,
    canvas,
    chance_line,
    clean,
    key_above,
    named_rows,
    points_across,
    row_note,
)

MOST_RIDGES = 12
_MODEL_SERIES = [
    "rank",
    "model",
    "mis_mean",
    "mis_low",
    "mis_high",
    "p5",
    "p25",
    "p50",
    "p75",
    "p95",
    "margin_mean",
    "accuracy_mean",
    "top1",
]


def models_ranked(study: Study) -> pd.DataFrame:
    """Study networks, most understandable first, with spread of their units."""
    rows = study.models()
    return rows.assign(rank=np.arange(1, len(rows) + 1))[_MODEL_SERIES]


def draw_models_ranked(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    if len(frame) > MOST_NAMED:
        return _draw_models_curve(frame, narrow)
    figure, ((axes,),) = canvas(narrow, 1.15 + 0.3 * len(frame))
    heights = named_rows(axes, list(frame["model"]), narrow)
    axes.hlines(heights, frame["p5"], frame["p95"], color="#cfe0ee", linewidth=8, label="5th to 95th percentile")
    axes.hlines(heights, frame["p25"], frame["p75"], color="#8fbadb", linewidth=8, label="middle half")
    points_across(axes, frame, heights, fmt="o", color=INK, label="mean and its interval")
    for height, mean in zip(heights, frame["mis_mean"], strict=True):
        row_note(axes, height, f"{mean:.3f}")
    axes.set_xlim(*around(frame, "p5", "p95", "mis_low", "mis_high", low=CHANCE, high=1.0))
    chance_line(axes, vertical=True)
    axes.set_xlabel("MIS of a unit (dashed: chance)")
    key_above(figure, axes, narrow)
    return figure


def _draw_models_curve(frame: pd.DataFrame, narrow: bool) -> Figure:
    """Too many networks for names: rank on x, the best and the last named."""
    figure, ((axes,),) = canvas(narrow, 3.2)
    axes.fill_between(
        frame["rank"], frame["p5"], frame["p95"], color="#cfe0ee", linewidth=0, label="5th to 95th percentile"
    )
    axes.plot(frame["rank"], frame["mis_mean"], color=COLOURS[0], label="mean")
    axes.set_ylim(*around(frame, "p5", "p95", low=CHANCE, high=1.0))
    chance_line(axes, vertical=False)
    for row, side in ((frame.iloc[0], "left"), (frame.iloc[-1], "right")):
        axes.annotate(clean(row["model"]), (row["rank"], row["mis_mean"]), (0, 8), textcoords="offset points", ha=side)
    axes.set_title("MIS (dashed: chance)")
    axes.set_xlabel("networks, ranked by mean MIS")
    key_above(figure, axes, narrow)
    return figure


def alt_models_ranked(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"{len(frame)} networks ranked by mean MIS under the similarity {study.lead}: highest {first['model']} with "
        f"{first['mis_mean']:.3f} (units from {first['p5']:.2f} to {first['p95']:.2f}), lowest {last['model']} with "
        f"{last['mis_mean']:.3f} (units from {last['p5']:.2f} to {last['p95']:.2f})."
    )


def ridge_models(study: Study) -> list[str]:
    """Networks whose distribution is shown: all, or those with narrowest, middle and widest spread."""
    rows = study.models()
    if len(rows) <= MOST_RIDGES:
        return list(rows["model"])
    order = rows.assign(width=rows["p95"] - rows["p5"]).sort_values(["width", "model"], ignore_index=True)
    third, middle = MOST_RIDGES // 3, len(order) // 2
    chosen = pd.concat([order.iloc[:third], order.iloc[middle - third // 2 :].iloc[:third], order.iloc[-third:]])
    return [name for name in rows["model"] if name in set(chosen["model"])]


def unit_distribution(study: Study) -> pd.DataFrame:
    """Share of a network's units in each fortieth of the MIS scale."""
    edges = np.linspace(0, 1, 41)
    parts = []
    for model in ridge_models(study):
        of_model = (study.units["model"] == model) & (study.units["condition"] == "natural")
        values = study.units.loc[of_model, "mis"].to_numpy()
        if len(values):
            share = np.histogram(np.clip(values, 0, 1), bins=edges)[0] / len(values)
            parts.append(
                pd.DataFrame({"model": model, "low": edges[:-1], "high": edges[1:], "share": share, "n": len(values)})
            )
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["model", "low", "high", "share", "n"])
    )


def draw_unit_distribution(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    models = list(dict.fromkeys(frame["model"]))
    figure, ((axes,),) = canvas(narrow, 0.8 + 0.52 * len(models))
    heights = named_rows(axes, models, narrow)
    scale = 0.85 / frame["share"].max()
    for model, height in zip(models, heights, strict=True):
        part = frame[frame["model"] == model]
        x = np.append(part["low"], part["high"].iloc[-1])
        y = height + scale * np.append(part["share"], 0.0)
        axes.fill_between(x, height, y, step="post", color=COLOURS[0], alpha=0.35, linewidth=0)
        axes.step(x, y, where="post", color=COLOURS[0], linewidth=1)
        axes.axhline(height, color=RULE, linewidth=0.8, zorder=1)
    filled = frame[frame["share"] > 0]
    axes.set_ylim(-0.15, len(models) - 0.05)
    axes.set_xlim(*around(filled, "low", "high", low=CHANCE, high=1.0))
    chance_line(axes, vertical=True)
    axes.set_xlabel("MIS of a unit (dashed: chance)")
    return figure


def alt_unit_distribution(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.loc[frame.groupby("model", sort=False)["share"].idxmax()]
    words = "; ".join(f"{row.model} {row.low:.3f} to {row.high:.3f}" for row in peaks.itertuples())
    return f"One histogram of unit MIS for each of {len(peaks)} networks. The fullest bin: {words}."


NONE_SCORED = "No figure: no network was scored."
FIGURES = (
    FigureSpec(
        "models_ranked",
        "ranking",
        models_ranked,
        draw_models_ranked,
        alt_models_ranked,
        NONE_SCORED,
        ("models",),
        "MIS paper, figures 1 and 3",
        "835 networks between .80 and .91, GoogLeNet first; 95th percentiles near .95",
    ),
    FigureSpec(
        "unit_distribution",
        "ranking",
        unit_distribution,
        draw_unit_distribution,
        alt_unit_distribution,
        "No figure: no unit was scored.",
        ("models",),
    ),
)
