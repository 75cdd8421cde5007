"""Where in a network? Layer types, depth and width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    INK,
    LAYER_TYPES,
    MARKERS,
    MOST_PANELS,
    MUTED,
    around,
    canvas,
    clean,
    colour_of,
    key_above,
    named_rows,
    order_of,
    points_upright,
    row_note,
)


def layer_types(study: Study) -> pd.DataFrame:
    """Mean MIS of one layer type in one network; the row without a network is the mean over networks."""
    table, names = study.tables["layer_types"], list(study.models()["model"])
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    rows = rows[["layer_type", "model", "n_units", "mis_mean", "mis_se"]]
    mean = rows.groupby("layer_type", as_index=False).agg(n_units=("n_units", "sum"), mis_mean=("mis_mean", "mean"))
    both = pd.concat([rows, mean.assign(model="", mis_se=np.nan)], ignore_index=True)
    place = both["layer_type"].map(order_of(LAYER_TYPES))
    order = both["model"].map(order_of(names)).fillna(len(names))
    return both.assign(a=place, b=order).sort_values(["a", "b"], ignore_index=True).drop(columns=["a", "b"])


def draw_layer_types(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    kinds = list(dict.fromkeys(frame["layer_type"]))
    figure, ((axes,),) = canvas(narrow, 1.4 + 0.42 * len(kinds))
    heights = dict(zip(kinds, named_rows(axes, kinds, narrow), strict=True))
    models = [name for name in study.models()["model"] if name in set(frame["model"])]
    few = len(models) <= MOST_PANELS
    for index, model in enumerate(models):
        part = frame[frame["model"] == model]
        look = (
            {"color": colour_of(index), "marker": MARKERS[index % len(MARKERS)]}
            if few
            else {"color": MUTED, "marker": "."}
        )
        shift = 0.2 - 0.4 * index / max(len(models) - 1, 1)
        axes.plot(
            part["mis_mean"],
            part["layer_type"].map(heights) + shift,
            linestyle="none",
            label=clean(model, 18) if few else None,
            **look,
        )
    mean = frame[frame["model"] == ""]
    axes.plot(
        mean["mis_mean"],
        mean["layer_type"].map(heights),
        linestyle="none",
        marker="|",
        markersize=18,
        markeredgewidth=2,
        color=INK,
        label="mean over networks",
    )
    for row in mean.itertuples():
        row_note(axes, heights[row.layer_type], f"{row.n_units:,} units", MUTED)
    axes.set_xlabel("mean MIS")
    key_above(figure, axes, narrow)
    return figure


def alt_layer_types(frame: pd.DataFrame, study: Study) -> str:
    mean = frame[frame["model"] == ""].sort_values("mis_mean", ascending=False)
    words = ", ".join(f"{row.layer_type} {row.mis_mean:.3f}" for row in mean.itertuples())
    return (
        f"Mean MIS of each layer type, averaged over networks, highest first: {words}. Small marks are single networks."
    )


def depth(study: Study) -> pd.DataFrame:
    """Mean MIS of layers against relative depth: every layer of few networks, ten bins a layer type of many."""
    names = list(study.models()["model"])
    table = study.tables["layers"]
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    columns = ["panel", "layer_type", "depth", "mis_mean", "mis_low", "mis_high", "n"]
    if len(names) <= MOST_PANELS:
        rows = rows.assign(
            place=rows["model"].map(order_of(names)),
            panel=rows["model"],
            n=rows["n_units"],
            mis_low=rows["mis_mean"] - study.z * rows["mis_se"],
            mis_high=rows["mis_mean"] + study.z * rows["mis_se"],
        )
        return rows.sort_values(["place", "layer_index"], ignore_index=True)[columns]
    parts = []
    for kind in [name for name in LAYER_TYPES if name in set(rows["layer_type"])]:
        part = rows[rows["layer_type"] == kind].sort_values(["depth", "model", "layer"], ignore_index=True)
        for index in np.array_split(np.arange(len(part)), min(10, len(part))):
            group = part.iloc[index]
            reach = study.z * group["mis_mean"].std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
            mean = group["mis_mean"].mean()
            parts.append(("", kind, group["depth"].mean(), mean, mean - reach, mean + reach, len(group)))
    return pd.DataFrame(parts, columns=columns)


def draw_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    panels = list(dict.fromkeys(frame["panel"]))
    columns = 1 if narrow or len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    height = 2.9 if len(panels) == 1 else 1.75 * rows + 0.5
    figure, grid = canvas(narrow, height, rows, columns, share_y=True)
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    limits = around(frame, "mis_mean", "mis_low", "mis_high")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for panel, axes in zip(panels, grid.flat, strict=False):
        for kind in kinds:
            part = frame[(frame["panel"] == panel) & (frame["layer_type"] == kind)]
            index = LAYER_TYPES.index(kind)
            # drawn empty too, so that the first panel's key names every type
            points_upright(
                axes,
                part,
                "depth",
                fmt=MARKERS[index],
                color=colour_of(index),
                linestyle="-",
                linewidth=1.2,
                label=kind,
            )
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(*limits)
        axes.set_title(clean(panel) or "mean MIS")
    for axes in grid[-1]:
        axes.set_xlabel("relative depth of the layer")
    key_above(figure, grid.flat[0], narrow)
    return figure


def alt_depth(frame: pd.DataFrame, study: Study) -> str:
    panels = list(dict.fromkeys(frame["panel"]))
    what = f"one panel for each of {len(panels)} networks" if panels != [""] else "all networks together"
    low, high = frame.loc[frame["mis_mean"].idxmin()], frame.loc[frame["mis_mean"].idxmax()]
    return (
        f"Mean MIS of layers against relative depth, one line for each layer type, {what}. Lowest "
        f"{low['mis_mean']:.3f} at depth {low['depth']:.2f} ({low['layer_type']}), highest {high['mis_mean']:.3f} at "
        f"depth {high['depth']:.2f} ({high['layer_type']})."
    )


FIGURES = (
    FigureSpec(
        "layer_types",
        "layers",
        layer_types,
        draw_layer_types,
        alt_layer_types,
        "No figure: no unit was scored.",
        ("layer_types", "models"),
    ),
    FigureSpec(
        "depth", "layers", depth, draw_depth, alt_depth, "No figure: no layer was scored.", ("layers", "models")
    ),
)
