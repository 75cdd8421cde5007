"""What does training change? Checkpoints of a series."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    CHANCE,
    COLOURS,
    MARKERS,
    MUTED,
    around,
    canvas,
    chance_line,
    clean,
    colour_of,
    key_above,
    order_of,
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


FIGURES = (
    FigureSpec(
        "training",
        "training",
        training,
        draw_training,
        alt_training,
        "No figure: no network has more than one checkpoint.",
        ("training", "models"),
    ),
)
