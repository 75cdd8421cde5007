"""Does the score agree with people? MIS beside the share of right answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    MOST_PANELS,
    MUTED,
    around,
    canvas,
    clean,
    colour_of,
    key_above,
    points_upright,
)
from stages.pipeline.tables import KEY


def mis_against_his(study: Study) -> pd.DataFrame:
    """MIS of the leading similarity beside the share of right answers, annotated units only."""
    human = study.human[[*KEY, "his", "his_se", "n_responses"]]
    joined = human.merge(study.units[[*KEY, "mis", "in_split"]], on=KEY, how="inner")
    columns = [*KEY, "mis", "his", "his_se", "n_responses", "in_split"]
    return joined.sort_values(KEY, ignore_index=True)[columns].astype({"in_split": int})


def draw_mis_against_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 3.9 if narrow else 4.3)
    rated = set(frame["model"])
    ranked = [name for name in study.models()["model"] if name in rated]
    models = ranked + sorted(rated - set(ranked))
    many = len(models) > MOST_PANELS
    for index, model in enumerate(models):
        part = frame[(frame["model"] == model) & (frame["in_split"] == 0)]
        look = {"color": COLOURS[0], "marker": "o"} if many else {"color": colour_of(index), "marker": MARKERS[index]}
        axes.scatter(
            part["mis"], part["his"], s=15, alpha=0.6, linewidths=0, label=None if many else clean(model, 18), **look
        )
    split = frame[frame["in_split"] == 1]
    axes.scatter(
        split["mis"],
        split["his"],
        s=22,
        facecolors="none",
        edgecolors=INK,
        linewidths=0.8,
        label="used to fit the slope",
    )
    low, high = around(frame, "mis", "his")
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*around(frame, "mis"))
    axes.set_ylim(*around(frame, "his"))
    axes.set_title("share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    key_above(figure, axes, narrow)
    return figure


def alt_mis_against_his(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Scatter of {len(frame)} scores of annotated units: MIS on the horizontal axis, from {frame['mis'].min():.2f} to "
        f"{frame['mis'].max():.2f}, and the share of right answers on the vertical one, from {frame['his'].min():.2f} "
        f"to {frame['his'].max():.2f}."
    )


def his_by_mis(study: Study) -> pd.DataFrame:
    """Mean share of right answers in bins of equally many units by MIS; calibration units left out."""
    columns = ["bin", "n", "mis_from", "mis_to", "mis_mean", "his_mean", "his_low", "his_high"]
    units = mis_against_his(study)
    units = units[units["in_split"] == 0].sort_values(["mis", *KEY], ignore_index=True)
    n_bins = min(10, len(units) // 5)  # five units are the fewest that give a usable interval
    rows = []
    for number, index in enumerate(np.array_split(np.arange(len(units)), n_bins) if n_bins else []):
        part = units.iloc[index]
        mean, error = part["his"].mean(), part["his"].std(ddof=1) / np.sqrt(len(part))
        ends = (part["mis"].min(), part["mis"].max(), part["mis"].mean())
        rows.append((number + 1, len(part), *ends, mean, mean - study.z * error, mean + study.z * error))
    return pd.DataFrame(rows, columns=columns)


def draw_his_by_mis(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 3.2)
    axes.hlines(frame["his_mean"], frame["mis_from"], frame["mis_to"], color="#8fbadb", linewidth=3)
    points_upright(axes, frame, "mis_mean", ("his_mean", "his_low", "his_high"), fmt="o", color=COLOURS[0])
    x_limits = around(frame, "mis_from", "mis_to")
    y_limits = around(frame, "his_low", "his_high", low=frame["mis_mean"].min(), high=frame["mis_mean"].max())
    axes.plot(x_limits, x_limits, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*x_limits)
    axes.set_ylim(*y_limits)
    axes.set_title("mean share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    return figure


def alt_his_by_mis(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"Mean share of right answers in {len(frame)} bins of units ordered by MIS: {first['his_mean']:.3f} in the "
        f"lowest (MIS {first['mis_mean']:.3f}), {last['his_mean']:.3f} in the highest (MIS {last['mis_mean']:.3f})."
    )


NO_HUMAN = "No figure: this study has no human answers."
FIGURES = (
    FigureSpec("mis_against_his", "people", mis_against_his, draw_mis_against_his, alt_mis_against_his, NO_HUMAN),
    FigureSpec(
        "his_by_mis",
        "people",
        his_by_mis,
        draw_his_by_mis,
        alt_his_by_mis,
        "No figure: too few annotated units for bins.",
    ),
)
