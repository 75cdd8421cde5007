"""Where in a network? Layer types, depth and width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.schema import LAYER_TYPES
from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    INK,
    MARKERS,
    MIS,
    MOST_PANELS,
    MUTED,
    around,
    canvas,
    clean,
    colour_of,
    key_above,
    named_rows,
    order_of,
    outer_labels,
    panels,
    points_upright,
    row_note,
    tests_matrix,
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
    models = [name for name in study.models()["model"] if name in set(frame["model"])]
    if len(models) > MOST_PANELS:
        return _draw_types_ranked(frame, models, narrow)
    kinds = list(dict.fromkeys(frame["layer_type"]))
    figure, ((axes,),) = canvas(narrow, 1.4 + 0.42 * len(kinds))
    heights = dict(zip(kinds, named_rows(axes, kinds, narrow), strict=True))
    for index, model in enumerate(models):
        part = frame[frame["model"] == model]
        shift = 0.2 - 0.4 * index / max(len(models) - 1, 1)
        axes.plot(
            part["mis_mean"],
            part["layer_type"].map(heights) + shift,
            linestyle="none",
            label=clean(model, 18),
            color=colour_of(index),
            marker=MARKERS[index],
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


def _draw_types_ranked(frame: pd.DataFrame, models: list[str], narrow: bool) -> Figure:
    """Many networks, ranked by their mean MIS over all units: one point a layer type, one panel each, mean as a line."""
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    figure, grid = panels(narrow, len(kinds), 1.5, columns=3, on_phone=2, share_y=True, extra=0.2)
    rank = {model: place + 1 for place, model in enumerate(models)}
    for kind, axes in zip(kinds, grid, strict=True):
        index, part = LAYER_TYPES.index(kind), frame[frame["layer_type"] == kind]
        single, mean = part[part["model"] != ""], part.loc[part["model"] == "", "mis_mean"].iloc[0]
        size = 3 if len(models) <= 100 else 2
        axes.plot(
            single["model"].map(rank), single["mis_mean"], ".", color=colour_of(index), markersize=size, alpha=0.6
        )
        axes.axhline(mean, color=INK, linewidth=1)
        axes.set_ylim(*around(frame, "mis_mean"))
        axes.set_xlim(0, len(models) + 1)
        axes.set_title(f"{kind}: {mean:.3f} over {len(single)}")
    outer_labels(grid, "rank of the network", "mean MIS")
    return figure


def alt_layer_types(frame: pd.DataFrame, study: Study) -> str:
    mean = frame[frame["model"] == ""].sort_values("mis_mean", ascending=False)
    words = ", ".join(f"{row.layer_type} {row.mis_mean:.3f}" for row in mean.itertuples())
    return (
        f"Mean MIS of each layer type, averaged over networks, highest first: {words}. Small marks are single networks."
    )


def depth(study: Study) -> pd.DataFrame:
    """Mean MIS of every layer against relative depth, of few networks; for many see `relative_depth`."""
    names = list(study.models()["model"])
    table = study.tables["layers"]
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names if len(names) <= MOST_PANELS else [])]
    rows = rows.assign(
        place=rows["model"].map(order_of(names)),
        panel=rows["model"],
        n=rows["n_units"],
        mis_low=rows["mis_mean"] - study.z * rows["mis_se"],
        mis_high=rows["mis_mean"] + study.z * rows["mis_se"],
    )
    columns = ["panel", "layer_type", "depth", "mis_mean", "mis_low", "mis_high", "n"]
    return rows.sort_values(["place", "layer_index"], ignore_index=True)[columns]


def draw_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["panel"]))
    figure, grid = panels(narrow, len(names), 1.85, share_y=True, extra=0.5)
    for name, axes in zip(names, grid, strict=True):
        _draw_types(axes, frame[frame["panel"] == name], frame, "depth")
        axes.set_xlim(-0.03, 1.03)
        axes.set_title(clean(name))
    outer_labels(grid, "relative depth of the layer", "mean MIS")
    key_above(figure, grid[0], narrow)
    return figure


def _draw_types(axes: Axes, rows: pd.DataFrame, every: pd.DataFrame, x: str) -> None:
    """A line for each layer type; types of `every` that the panel lacks are drawn empty, so that its key has them all."""
    for kind in [name for name in LAYER_TYPES if name in set(every["layer_type"])]:
        part, index = rows[rows["layer_type"] == kind], LAYER_TYPES.index(kind)
        look = {"fmt": MARKERS[index], "color": colour_of(index), "linestyle": "-", "linewidth": 1.2, "label": kind}
        points_upright(axes, part, x, **look)
    axes.set_ylim(*around(every, *MIS))


def alt_depth(frame: pd.DataFrame, study: Study) -> str:
    low, high = frame.loc[frame["mis_mean"].idxmin()], frame.loc[frame["mis_mean"].idxmax()]
    return (
        f"Mean MIS of layers against relative depth, one line for each layer type, one panel for each of "
        f"{frame['panel'].nunique()} networks. Lowest {low['mis_mean']:.3f} at depth {low['depth']:.2f} "
        f"({low['layer_type']}), highest {high['mis_mean']:.3f} at depth {high['depth']:.2f} ({high['layer_type']})."
    )


def _bins(study: Study, x: str) -> pd.DataFrame:
    table = study.tables["layer_bins"]
    rows = table[(table["backend"] == study.lead) & (table["x"] == x)]
    place = rows["layer_type"].map(order_of(LAYER_TYPES))
    columns = ["layer_type", "bin", "n_layers", "n_networks", "x_from", "x_to", "x_mean", *MIS]
    return rows.assign(place=place).sort_values(["place", "bin"], ignore_index=True)[columns]


def relative_depth(study: Study) -> pd.DataFrame:
    """Mean MIS of the layers of all networks in bins of relative depth, a row a layer type and bin."""
    return _bins(study, "depth")


def relative_width(study: Study) -> pd.DataFrame:
    """The same in bins of relative width inside network and layer type."""
    return _bins(study, "relative_width")


def _draw_bins(frame: pd.DataFrame, narrow: bool, label: str) -> Figure:
    """One panel a layer type: lines of five types with intervals would hide each other."""
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    figure, grid = panels(narrow, len(kinds), 1.65, columns=3, on_phone=2, share_y=True, extra=0.2)
    for kind, axes in zip(kinds, grid, strict=True):
        rows, index = frame[frame["layer_type"] == kind], LAYER_TYPES.index(kind)
        axes.fill_between(rows["x_mean"], rows["mis_low"], rows["mis_high"], color=colour_of(index), alpha=0.2, lw=0)
        axes.plot(rows["x_mean"], rows["mis_mean"], marker=MARKERS[index], color=colour_of(index), markersize=3.5)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(*around(frame, *MIS))
        axes.set_title(f"{kind}, {rows['n_layers'].sum():,} layers")
    outer_labels(grid, label, "mean MIS")
    return figure


def draw_relative_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw_bins(frame, narrow, "relative depth")


def draw_relative_width(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw_bins(frame, narrow, "relative width")


def _alt_bins(frame: pd.DataFrame, what: str) -> str:
    words = "; ".join(
        f"{kind} from {part['mis_mean'].iloc[0]:.3f} at {part['x_mean'].iloc[0]:.2f} to "
        f"{part['mis_mean'].iloc[-1]:.3f} at {part['x_mean'].iloc[-1]:.2f}, lowest {part['mis_mean'].min():.3f} at "
        f"{part.loc[part['mis_mean'].idxmin(), 'x_mean']:.2f}"
        for kind, part in frame.groupby("layer_type", sort=False)
    )
    return f"Mean MIS of layers of all networks in bins of {what}, one panel for each layer type: {words}."


def alt_relative_depth(frame: pd.DataFrame, study: Study) -> str:
    return _alt_bins(frame, "relative depth")


def alt_relative_width(frame: pd.DataFrame, study: Study) -> str:
    return _alt_bins(frame, "relative width")


def layer_type_tests(study: Study) -> pd.DataFrame:
    """Conover's test between layer types on one mean a network and type, leading similarity."""
    table = study.tables["conover_layer_types"]
    columns = ["first", "second", "n_first", "n_second", "statistic", "p_holm", "stars", "effect"]
    return table[table["backend"] == study.lead].reset_index(drop=True)[columns]


def draw_layer_type_tests(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    found = {*frame["first"], *frame["second"]}
    kinds = [name for name in LAYER_TYPES if name in found]
    figure, ((axes,),) = canvas(narrow, 1.1 + 0.42 * len(kinds))
    tests_matrix(axes, frame, kinds, narrow)
    return figure


def alt_layer_type_tests(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(f"{row.first} and {row.second} {row.stars}" for row in frame.itertuples())
    return f"Significance of differences between layer types, Conover's test with Holm's adjustment: {words}."


FIGURES = (
    FigureSpec(
        "layer_types",
        "layers",
        layer_types,
        draw_layer_types,
        alt_layer_types,
        "No figure: no unit was scored.",
        ("layer_types", "models"),
        "MIS paper, figure 5",
        "Linear above Conv above BatchNorm above LayerNorm, differences small",
    ),
    FigureSpec(
        "layer_type_tests",
        "layers",
        layer_type_tests,
        draw_layer_type_tests,
        alt_layer_type_tests,
        "No figure: fewer than two layer types occur in two networks.",
        ("conover_layer_types",),
        "MIS paper, figure 16",
        "the differences of figure 5 are significant",
    ),
    FigureSpec(
        "depth",
        "layers",
        depth,
        draw_depth,
        alt_depth,
        "No figure: only few networks are drawn one by one; here all of them are drawn together in bins of depth.",
        ("layers", "models"),
    ),
    FigureSpec(
        "relative_depth",
        "layers",
        relative_depth,
        draw_relative_depth,
        alt_relative_depth,
        "No figure: no layer was scored.",
        ("layer_bins",),
        "MIS paper, figure 6A",
        "high at first, a dip in the first fifth, a rise, a drop in the last tenth",
    ),
    FigureSpec(
        "relative_width",
        "layers",
        relative_width,
        draw_relative_width,
        alt_relative_width,
        "No figure: no layer was scored.",
        ("layer_bins",),
        "MIS paper, figure 6B",
        "wider layers score higher: strongly for Conv and Linear, moderately for BatchNorm",
    ),
)
