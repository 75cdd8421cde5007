"""Where in a network? Layer types, depth and width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.schema import LAYER_TYPES
from interpretability.statistics import FEWEST_CORRELATED, share_interval
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, rows_of
from study.report.figures.words import clean, differing, of_pairs, of_parts, of_rows


def layer_types(study: Study) -> pd.DataFrame:
    """Mean MIS of one layer type in one network; the row without a network is the mean over networks."""
    table, names = study.tables["layer_types"], list(study.models()["model"])
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    rows = rows[["layer_type", "model", "n_units", "mis_mean", "mis_se"]]
    mean = rows.groupby("layer_type", as_index=False).agg(n_units=("n_units", "sum"), mis_mean=("mis_mean", "mean"))
    both = pd.concat([rows, mean.assign(model="", mis_se=np.nan)], ignore_index=True)
    return in_order(both, layer_type=LAYER_TYPES, model=[*names, ""])


def draw_layer_types(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    models = [name for name in study.models()["model"] if name in set(frame["model"])]
    if len(models) > style.MOST_PANELS:
        return _draw_types_ranked(frame, models, narrow)
    kinds = list(dict.fromkeys(frame["layer_type"]))
    figure, ((axes,),) = style.canvas(narrow, 1.4 + 0.42 * len(kinds))
    heights = style.row_heights(axes, kinds, narrow)
    colours = style.network_colours(study)
    for index, model in enumerate(models):
        part = frame[frame["model"] == model]
        shift = 0.2 - 0.4 * index / max(len(models) - 1, 1)
        look = {"color": colours[model], "marker": style.MARKERS[index], "label": clean(model, 18)}
        axes.plot(part["mis_mean"], part["layer_type"].map(heights) + shift, linestyle="none", **look)
    mean = frame[frame["model"] == ""]
    look = {"marker": "|", "markersize": 18, "markeredgewidth": 2, "color": style.INK, "label": "mean over networks"}
    axes.plot(mean["mis_mean"], mean["layer_type"].map(heights), linestyle="none", **look)
    for row in rows_of(mean):
        style.row_note(axes, heights[row.layer_type], f"{row.n_units:,} units", style.MUTED)
    axes.set_xlabel("mean MIS")
    return style.with_key(figure, axes, narrow)


def _kinds(frame: pd.DataFrame) -> list[str]:
    """Layer types of a table, in their order."""
    return [name for name in LAYER_TYPES if name in set(frame["layer_type"])]


def _draw_types_ranked(frame: pd.DataFrame, models: list[str], narrow: bool) -> Figure:
    """Many networks, ranked by their mean MIS over all units: one point a layer type, one panel each, mean as a line."""
    kinds = _kinds(frame)
    figure, grid = style.panels(narrow, len(kinds), 1.5, columns=3, on_phone=2, share_y=True, extra=0.2)
    rank = {model: rank for rank, model in enumerate(models, 1)}
    for kind, axes in zip(kinds, grid, strict=True):
        index, part = LAYER_TYPES.index(kind), frame[frame["layer_type"] == kind]
        single, mean = part[part["model"] != ""], part.loc[part["model"] == "", "mis_mean"].iloc[0]
        size = 3 if len(models) <= 100 else 2
        ranks, colour = single["model"].map(rank), style.colour_of(index)
        axes.plot(ranks, single["mis_mean"], ".", color=colour, markersize=size, alpha=0.6)
        axes.axhline(mean, color=style.INK, linewidth=1)
        axes.set_ylim(*style.around(frame, "mis_mean"))
        axes.set_xlim(0, len(models) + 1)
        axes.set_title(f"{kind}: {mean:.3f} over {len(single)}")
    style.outer_labels(grid, "rank of the network", "mean MIS")
    return figure


def alt_layer_types(frame: pd.DataFrame, study: Study) -> str:
    mean = frame[frame["model"] == ""].sort_values("mis_mean", ascending=False, kind="stable")
    words = of_rows(mean, lambda row: f"{row.layer_type} {row.mis_mean:.3f}", ", ")
    return (
        f"Mean MIS of each layer type, averaged over networks, highest first: {words}. Small marks are single networks."
    )


TYPES = Drawing("layer_types", layer_types, draw_layer_types, alt_layer_types)


def depth(study: Study) -> pd.DataFrame:
    """Mean MIS of every layer against relative depth, of few networks; for many see `relative_depth`."""
    names = list(study.models()["model"])
    table = study.tables["layers"]
    rows = table[
        (table["backend"] == study.lead) & table["model"].isin(names if len(names) <= style.MOST_PANELS else [])
    ]
    n = rows["n_units"].astype(float)
    low, high = share_interval(rows["mis_mean"], rows["mis_se"] * np.sqrt(n), n, study.confidence)
    rows = rows.assign(panel=rows["model"], n=rows["n_units"], mis_low=low, mis_high=high)
    columns = ["panel", "layer_type", "depth", "mis_mean", "mis_low", "mis_high", "n"]
    return in_order(rows, model=names, layer_index=None)[columns]


def draw_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["panel"]))
    figure, grid = style.panels(narrow, len(names), 1.85, share_y=True, extra=0.5)
    for name, axes in zip(names, grid, strict=True):
        _draw_types(axes, frame[frame["panel"] == name], frame, "depth")
        axes.set_xlim(-0.03, 1.03)
        axes.set_title(clean(name))
    style.outer_labels(grid, "relative depth of the layer", "mean MIS")
    return style.with_key(figure, grid[0], narrow)


def _draw_types(axes: Axes, rows: pd.DataFrame, every: pd.DataFrame, x: str) -> None:
    """A line for each layer type; types of `every` that the panel lacks are drawn empty, so that its key has them all."""
    for kind in _kinds(every):
        part, index = rows[rows["layer_type"] == kind], LAYER_TYPES.index(kind)
        marker, colour = style.MARKERS[index], style.colour_of(index)
        style.points_upright(axes, part, x, fmt=marker, color=colour, linestyle="-", linewidth=1.2, label=kind)
    axes.set_ylim(*style.around(every, *style.MIS))


def alt_depth(frame: pd.DataFrame, study: Study) -> str:
    low, high = (frame.iloc[int(index)] for index in (frame["mis_mean"].argmin(), frame["mis_mean"].argmax()))
    return (
        f"Mean MIS of layers against relative depth, one line for each layer type, one panel for each of "
        f"{frame['panel'].nunique()} networks. Lowest {low['mis_mean']:.3f} at depth {low['depth']:.2f} "
        f"({low['layer_type']}), highest {high['mis_mean']:.3f} at depth {high['depth']:.2f} ({high['layer_type']})."
    )


DEPTH = Drawing("depth", depth, draw_depth, alt_depth)


def _bins(study: Study, x: str) -> pd.DataFrame:
    table = study.tables["layer_bins"]
    rows = table[(table["backend"] == study.lead) & (table["x"] == x)]
    columns = ["layer_type", "bin", "n_layers", "n_networks", "type_networks", "x_from", "x_to", "x_mean", *style.MIS]
    return in_order(rows, layer_type=LAYER_TYPES, bin=None)[columns]


def relative_depth(study: Study) -> pd.DataFrame:
    """Mean MIS of the layers of all networks in bins of relative depth, a row a layer type and bin."""
    return _bins(study, "depth")


def relative_width(study: Study) -> pd.DataFrame:
    """The same in bins of relative width inside network and layer type."""
    return _bins(study, "relative_width")


def _draw_bins(frame: pd.DataFrame, narrow: bool, label: str) -> Figure:
    """One panel a layer type: lines of five types with intervals would hide each other.

    Bins of a few networks are points that no line joins.
    """
    kinds = _kinds(frame)
    figure, grid = style.panels(narrow, len(kinds), 1.65, columns=3, on_phone=2, share_y=True, extra=0.2)
    for kind, axes in zip(kinds, grid, strict=True):
        rows, index = frame[frame["layer_type"] == kind], LAYER_TYPES.index(kind)
        marker, colour = style.MARKERS[index], style.colour_of(index)
        joined = rows["type_networks"].iloc[0] >= FEWEST_CORRELATED
        if joined:
            axes.fill_between(rows["x_mean"], rows["mis_low"], rows["mis_high"], color=colour, alpha=style.BAND, lw=0)
        line = "-" if joined else "none"
        axes.plot(rows["x_mean"], rows["mis_mean"], linestyle=line, marker=marker, color=colour, markersize=3.5)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(*style.around(frame, *style.MIS))
        axes.set_title(f"{kind}, {rows['n_layers'].sum():,} layers")
    style.outer_labels(grid, label, "mean MIS")
    return figure


def draw_relative_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw_bins(frame, narrow, "relative depth")


def draw_relative_width(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw_bins(frame, narrow, "relative width")


def _alt_bins(frame: pd.DataFrame, what: str) -> str:
    def course(kind: str, part: pd.DataFrame) -> str:
        first, last, lowest = part.iloc[0], part.iloc[-1], part.iloc[int(part["mis_mean"].argmin())]
        ends = f"{first['mis_mean']:.3f} at {first['x_mean']:.2f} to {last['mis_mean']:.3f} at {last['x_mean']:.2f}"
        return f"{kind} from {ends}, lowest {lowest['mis_mean']:.3f} at {lowest['x_mean']:.2f}"

    words = of_parts(frame, "layer_type", course)
    return f"Mean MIS of layers of all networks in bins of {what}, one panel for each layer type: {words}."


def alt_relative_depth(frame: pd.DataFrame, study: Study) -> str:
    return _alt_bins(frame, "relative depth")


RELATIVE_DEPTH = Drawing("relative_depth", relative_depth, draw_relative_depth, alt_relative_depth)


def alt_relative_width(frame: pd.DataFrame, study: Study) -> str:
    return _alt_bins(frame, "relative width")


RELATIVE_WIDTH = Drawing("relative_width", relative_width, draw_relative_width, alt_relative_width)


def layer_type_tests(study: Study) -> pd.DataFrame:
    """The paired test between layer types over families or networks, leading similarity; nothing if no pair is tested.

    effect is Cliff's delta of the means of networks.
    """
    table = study.tables["layer_type_tests"]
    columns = [
        "first",
        "second",
        "n_blocks",
        "n_networks",
        "difference",
        "statistic",
        "p_holm",
        "stars",
        "reason",
        "effect",
    ]
    rows = table[table["backend"] == study.lead].reset_index(drop=True)
    rows = rows.assign(effect=rows["paper_effect"])[columns]
    return rows if rows["p_holm"].notna().any() else rows.head(0)


def draw_layer_type_tests(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    tested = {*frame["first"], *frame["second"]}
    kinds = [name for name in LAYER_TYPES if name in tested]
    # an effect between a few means of networks is no colour
    few = frame["n_networks"] < FEWEST_CORRELATED
    frame = frame.assign(effect=frame["effect"].mask(few))
    figure, ((axes,),) = style.canvas(narrow, 1.1 + 0.42 * len(kinds))
    style.tests_matrix(axes, frame, kinds, narrow)
    return figure


def alt_layer_type_tests(frame: pd.DataFrame, study: Study) -> str:
    stars = of_pairs(frame, lambda row: row.stars or "not tested")
    return f"Differences between layer types, paired over families or networks: {differing(frame)}. {stars}."


LAYER_TYPE_TESTS = Drawing("layer_type_tests", layer_type_tests, draw_layer_type_tests, alt_layer_type_tests)

FIGURES = (TYPES, LAYER_TYPE_TESTS, DEPTH, RELATIVE_DEPTH, RELATIVE_WIDTH)
