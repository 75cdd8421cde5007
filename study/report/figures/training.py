"""What does training change? Checkpoints of a series."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interpretability.schema import LAYER_TYPES
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, parts_of
from study.report.figures.words import clean, courses, of_parts

_PERIODS = {"first": "first epoch", "full": "whole training"}
_CHANGE_OF = ["series", "period", "from_step", "to_step"]


def training(study: Study) -> pd.DataFrame:
    """Mean MIS of every checkpoint of a series under the leading similarity, with its accuracy in percent."""
    table = study.tables["training"]
    name = "series" if "series" in table.columns else "model"
    rows = table[table["backend"] == study.lead].rename(columns={name: "series"})
    columns = ["series", "step", "top1", *style.MIS]
    # ranked as in the other figures, so that a network keeps its colour
    return in_order(rows, series=_ranked(study, rows), step=None)[columns]


def _ranked(study: Study, rows: pd.DataFrame) -> list[str]:
    """Series in the order of the ranking, then those whose last step is not in it, by name."""
    return list(dict.fromkeys([*study.models()["model"], *sorted(set(rows["series"]))]))


def draw_training(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    known = frame["top1"].notna().any()
    count = 2 if known else 1
    shape, height = ((count, 1), 2.5 * count + 0.4) if narrow else ((1, count), 3.1)
    figure, grid = style.canvas(narrow, height, *shape, share_y=True)
    many, colours = frame["series"].nunique() > len(style.MARKERS), style.network_colours(study)
    for index, (series, part) in enumerate(parts_of(frame, "series")):
        colour = style.MUTED if many else colours.get(series, style.COLOURS[6])
        marker, label = style.MARKERS[index % len(style.MARKERS)], None if many else clean(series, 18)
        for axes, x in zip(grid.flat, ("step", "top1"), strict=False):
            rows = part[part[x].notna()]
            style.points_upright(axes, rows, x, fmt=marker, color=colour, linestyle="-", linewidth=1.2, label=label)
    for axes, label in zip(grid.flat, ("step of training (0: untrained)", "top-1 accuracy in percent"), strict=False):
        axes.set_ylim(*style.around(frame, "mis_low", "mis_high", "mis_mean", low=style.CHANCE))
        style.chance_line(axes, vertical=False)
        axes.set_xlabel(label)
        axes.set_title("mean MIS (dashed: chance)" if axes is grid.flat[0] or narrow else "")
    grid.flat[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure if many else style.with_key(figure, grid.flat[0], narrow)


def alt_training(frame: pd.DataFrame, study: Study) -> str:
    words = courses(frame, "series", "step", "step")
    return f"Mean MIS during training, against the step and against accuracy: {words}."


TRAINING = Drawing("training", training, draw_training, alt_training)


def layer_change(study: Study) -> pd.DataFrame:
    """Change of the mean MIS of every layer in the first epoch and over the whole training, leading similarity."""
    table = study.tables["layer_change"]
    rows = table[(table["backend"] == study.lead) & table["period"].isin(_PERIODS)]
    ordered = in_order(rows, series=_ranked(study, rows), period=_PERIODS, layer_index=None)
    return ordered[[*_CHANGE_OF, "layer", "layer_type", "layer_index", "depth", "n_units", "change", "change_se"]]


def draw_layer_change(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = list(dict.fromkeys(frame["series"]))[: style.MOST_PANELS]
    figure, grid = style.panels(narrow, 2 * len(shown), 1.2 if narrow else 1.5, share_y=True, extra=0.5)
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    for panel, axes in enumerate(grid):
        series, period = shown[panel // 2], list(_PERIODS)[panel % 2]
        rows = frame[(frame["series"] == series) & (frame["period"] == period)]
        for kind in kinds:
            part, index = rows[rows["layer_type"] == kind], LAYER_TYPES.index(kind)
            at, colour = part["layer_index"], style.colour_of(index)
            axes.vlines(at, 0, part["change"], color=colour, linewidth=1.2)
            marker = style.MARKERS[index]
            axes.plot(at, part["change"], linestyle="none", marker=marker, color=colour, markersize=3.5, label=kind)
        axes.axhline(0, color=style.MUTED, linewidth=1)
        axes.set_title(f"{clean(series, 16)}, {_PERIODS[period]}")
        axes.set_ylim(*style.around(frame, "change", low=0.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    style.outer_labels(grid, "layer, in the order of the network", "change of MIS")
    return style.with_key(figure, grid[0], narrow)


def alt_layer_change(frame: pd.DataFrame, study: Study) -> str:
    def changes(of: tuple[str, str], part: pd.DataFrame) -> str:
        most = part.iloc[int(part["change"].argmax())]
        return (
            f"{of[0]}, {_PERIODS[of[1]]}: mean {part['change'].mean():+.3f} over layers, most {most['change']:+.3f} in "
            f"{most['layer']} ({most['layer_type']})"
        )

    words = of_parts(frame, ["series", "period"], changes)
    return f"Change of the mean MIS of each layer during training. {words}."


LAYER_CHANGE = Drawing("layer_change", layer_change, draw_layer_change, alt_layer_change)

FIGURES = (TRAINING, LAYER_CHANGE)
