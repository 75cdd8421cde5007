"""What does training change? Checkpoints of a series."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interpretability.schema import LAYER_TYPES
from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    CHANCE,
    COLOURS,
    MARKERS,
    MOST_PANELS,
    MUTED,
    around,
    canvas,
    chance_line,
    clean,
    colour_of,
    key_above,
    order_of,
    outer_labels,
    panels,
    points_upright,
)


def training(study: Study) -> pd.DataFrame:
    """Mean MIS of every checkpoint of a series under the leading similarity, with its accuracy in percent."""
    table = study.tables["training"]
    name = "series" if "series" in table.columns else "model"
    rows = table[table["backend"] == study.lead].rename(columns={name: "series"})
    columns = ["series", "step", "top1", "mis_mean", "mis_low", "mis_high"]
    # ranked as in the other figures, so that a network keeps its colour
    place = order_of(study.models()["model"])
    order = rows["series"].map(lambda series: place.get(series, len(place)))
    return rows.assign(order=order).sort_values(["order", "series", "step"], ignore_index=True)[columns]


def draw_training(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    known = frame["top1"].notna().any()
    count = 2 if known else 1
    figure, grid = canvas(
        narrow, 2.5 * count + 0.4 if narrow else 3.1, *((count, 1) if narrow else (1, count)), share_y=True
    )
    many = frame["series"].nunique() > len(COLOURS)
    for index, (series, part) in enumerate(frame.groupby("series", sort=False)):
        look = {
            "color": MUTED if many else colour_of(index),
            "linestyle": "-",
            "linewidth": 1.2,
            "fmt": MARKERS[index % len(MARKERS)],
            "label": None if many else clean(series, 18),
        }
        for axes, x in zip(grid.flat, ("step", "top1"), strict=False):
            points_upright(axes, part[part[x].notna()], x, **look)
    for axes, label in zip(grid.flat, ("step of training (0: untrained)", "top-1 accuracy in percent"), strict=False):
        axes.set_ylim(*around(frame, "mis_low", "mis_high", "mis_mean", low=CHANCE))
        chance_line(axes, vertical=False)
        axes.set_xlabel(label)
        axes.set_title("mean MIS (dashed: chance)" if axes is grid.flat[0] or narrow else "")
    grid.flat[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if not many:
        key_above(figure, grid.flat[0], narrow)
    return figure


def alt_training(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{series} from {part['mis_mean'].iloc[0]:.3f} at step {part['step'].iloc[0]:g} to "
        f"{part['mis_mean'].iloc[-1]:.3f} at step {part['step'].iloc[-1]:g}"
        for series, part in frame.groupby("series", sort=False)
    )
    return f"Mean MIS during training, against the step and against accuracy: {words}."


_PERIODS = {"first": "first epoch", "full": "whole training"}


def layer_change(study: Study) -> pd.DataFrame:
    """Change of the mean MIS of every layer in the first epoch and over the whole training, leading similarity."""
    table = study.tables["layer_change"]
    rows = table[(table["backend"] == study.lead) & table["period"].isin(_PERIODS)]
    names = [*order_of(study.models()["model"]), *sorted(set(rows["series"]))]
    place, period = rows["series"].map(order_of(dict.fromkeys(names))), rows["period"].map(order_of(_PERIODS))
    columns = [
        *("series", "period", "from_step", "to_step", "layer", "layer_type", "layer_index", "depth", "n_units"),
        *("change", "change_se"),
    ]  # fmt: skip
    ordered = rows.assign(a=place, b=period).sort_values(["a", "b", "layer_index"], ignore_index=True)
    return ordered[columns]


def draw_layer_change(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = list(dict.fromkeys(frame["series"]))[:MOST_PANELS]
    figure, grid = panels(narrow, 2 * len(shown), 1.2 if narrow else 1.5, share_y=True, extra=0.5)
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    for place, axes in enumerate(grid):
        series, period = shown[place // 2], list(_PERIODS)[place % 2]
        rows = frame[(frame["series"] == series) & (frame["period"] == period)]
        for kind in kinds:
            part, index = rows[rows["layer_type"] == kind], LAYER_TYPES.index(kind)
            at = part["layer_index"]
            axes.vlines(at, 0, part["change"], color=colour_of(index), linewidth=1.2)
            axes.plot(at, part["change"], linestyle="none", marker=MARKERS[index], color=colour_of(index), label=kind,
                      markersize=3.5)  # fmt: skip
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.set_title(f"{clean(series, 16)}, {_PERIODS[period]}")
        axes.set_ylim(*around(frame, "change", low=0.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    outer_labels(grid, "layer, in the order of the network", "change of MIS")
    key_above(figure, grid[0], narrow)
    return figure


def alt_layer_change(frame: pd.DataFrame, study: Study) -> str:
    words = []
    for (series, period), part in frame.groupby(["series", "period"], sort=False):
        most = part.loc[part["change"].idxmax()]
        words.append(
            f"{series}, {_PERIODS[period]}: mean {part['change'].mean():+.3f} over layers, most {most['change']:+.3f} in "
            f"{most['layer']} ({most['layer_type']})"
        )
    return f"Change of the mean MIS of each layer during training. {'; '.join(words)}."


FIGURES = (
    FigureSpec(
        "training",
        "training",
        training,
        draw_training,
        alt_training,
        "No figure: no network has more than one checkpoint.",
        ("training", "models"),
        "MIS paper, figure 8",
        "a ResNet-50 starts above chance, has about .93 after one epoch and decays slowly; MIS falls as accuracy rises",
    ),
    FigureSpec(
        "layer_change",
        "training",
        layer_change,
        draw_layer_change,
        alt_layer_change,
        "No figure: no network has checkpoints from the untrained one on.",
        ("layer_change", "models"),
        "MIS paper, figures 7 and 18",
        "the last BatchNorm of each block gains most in the first epoch",
    ),
)
