"""Figures of the values of single units."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.words import clean

# percentile, colour, dashes and what both lines of their kind are called
_LINES = (
    ("p5", style.COLOURS[1], "-", "5th and 95th percentile"),
    ("p15", style.COLOURS[5], "--", "15th and 85th percentile"),
    ("p85", style.COLOURS[5], "--", None),
    ("p95", style.COLOURS[1], "-", None),
)


def activation_histograms(study: Study) -> pd.DataFrame:
    """Histograms of the values of some units over all pictures, scaled by their largest absolute value."""
    return study.tables["activation_histograms"]


def draw_activation_histograms(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    owners = list(dict.fromkeys(zip(frame["layer"], frame["unit"], strict=True)))
    columns = 2 if narrow else 5
    rows = -(-len(owners) // columns)
    figure, grid = style.canvas(narrow, (1.05 if narrow else 0.95) * rows + 0.5, rows, columns)
    for axes in grid.flat[len(owners) :]:
        axes.set_visible(False)
    for (layer, unit), axes in zip(owners, grid.flat, strict=False):
        own = frame[(frame["layer"] == layer) & (frame["unit"] == unit)]
        edges = np.append(own["low"], own["high"].iloc[-1])
        axes.stairs(own["share"], edges, fill=True, color=style.COLOURS[0], alpha=0.55)
        for name, colour, dash, label in _LINES:
            axes.axvline(own[name].iloc[0], color=colour, linewidth=1, linestyle=dash, label=label)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=3)
        axes.set_title(f"{clean(layer, 18 if narrow else 15)}, {unit}")
    return style.with_key(figure, grid.flat[0], narrow)


def alt_activation_histograms(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.groupby(["layer", "unit"], sort=False)["n_peaks"].first()
    return (
        f"Histograms of the values of {len(peaks)} random units of {frame['model'].iloc[0]} over all pictures, with lines at "
        f"the 5th, 15th, 85th and 95th percentile: {(peaks == 1).sum()} have a single peak."
    )


ACTIVATION_HISTOGRAMS = Drawing(
    "activation_histograms", activation_histograms, draw_activation_histograms, alt_activation_histograms
)

FIGURES = (ACTIVATION_HISTOGRAMS,)
