"""How much hangs on the choices made? Slope, N, K and similarity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.style import (
    MUTED,
    around,
    backend_style,
    canvas,
    clean,
    end_labels,
    key_above,
    order_of,
    plain_log,
)


def calibration(study: Study) -> pd.DataFrame:
    """Loss of the fit against the slope, and the slope that was chosen."""
    chosen = study.tables["calibration"]
    fitted = dict(zip(chosen["backend"], chosen["slope"], strict=True))
    frame = study.curve[["backend", "slope", "loss"]].copy()
    frame = frame[frame["backend"].isin(study.backends)]
    frame["chosen"] = frame["backend"].map(fitted).astype(float)
    order = frame["backend"].map(order_of(study.backends))
    return frame.assign(a=order).sort_values(["a", "slope"], ignore_index=True).drop(columns="a")


def draw_calibration(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 2.9)
    axes.set_ylim(*around(frame, "loss"))
    ends = []
    for backend, part in frame.groupby("backend", sort=False):
        colour, marker = backend_style(study, backend)
        axes.plot(part["slope"], part["loss"], color=colour)
        best = part["chosen"].iloc[0]
        if np.isfinite(best):
            axes.plot([best], [np.interp(best, part["slope"], part["loss"])], marker=marker, color=colour, markersize=7)
        ends.append((part["loss"].iloc[-1], backend, colour))
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    end_labels(axes, ends, height=2.9)
    axes.set_title("loss of the fit")
    axes.set_xlabel("slope (mark: chosen)")
    return figure


def alt_calibration(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} {part['chosen'].iloc[0]:.3g}" for backend, part in frame.groupby("backend", sort=False)
    )
    return f"Loss of the calibration against the slope, one line for each similarity. Chosen slopes: {words}."


_SETTINGS = {"n_tasks": "N, tasks a unit", "n_explanations": "K, explanations", "slope": "slope"}
_MEASURES = {"mis_mean": "mean MIS", "spearman": "rank correlation with own setting"}


def sensitivity(study: Study) -> pd.DataFrame:
    """Mean MIS and rank correlation with the study's own setting, for other N, K and slope."""
    table = study.tables["sensitivity"]
    slopes = dict(zip(study.tables["calibration"]["backend"], study.tables["calibration"]["slope"], strict=True))
    rows = table[table["setting"].isin(_SETTINGS) & table["backend"].isin(study.backends)]
    own = {"n_tasks": study.n_tasks, "n_explanations": study.n_explanations}
    chosen = [own.get(row.setting, slopes.get(row.backend, np.nan)) for row in rows.itertuples()]
    order = rows["backend"].map(order_of(study.backends))
    place = rows["setting"].map(order_of(_SETTINGS))
    rows = rows.assign(own=np.array(chosen, dtype=float), a=order, b=place)
    columns = ["model", "backend", "setting", "value", "mis_mean", "mis_se", "spearman", "own"]
    return rows.sort_values(["a", "model", "b", "value"], ignore_index=True)[columns]


def draw_sensitivity(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    settings = [name for name in _SETTINGS if name in set(frame["setting"])]
    shape = (len(settings), 2) if narrow else (2, len(settings))
    figure, grid = canvas(narrow, 1.75 * shape[0] + 0.5, *shape)
    for across, measure in enumerate(_MEASURES):
        limits = around(frame, measure, high=1.0 if measure == "spearman" else None)
        for along, setting in enumerate(settings):
            axes = grid[along, across] if narrow else grid[across, along]
            _draw_setting(axes, frame[frame["setting"] == setting], study, measure)
            axes.set_ylim(*limits)
            if along == 0:
                axes.set_title("rank correlation" if narrow and measure == "spearman" else _MEASURES[measure])
            if narrow or across == 1:
                axes.set_xlabel(_SETTINGS[setting])
    key_above(figure, grid[0, 0], narrow)
    return figure


def _draw_setting(axes: Axes, rows: pd.DataFrame, study: Study, measure: str) -> None:
    """One panel: a line for each network and similarity."""
    named = set()
    for (backend, _), part in rows.groupby(["backend", "model"], sort=False):
        colour, marker = backend_style(study, backend)
        label = None if backend in named else clean(backend, 18)
        named.add(backend)
        axes.plot(part["value"], part[measure], color=colour, marker=marker, label=label)
    values = np.sort(rows["value"].unique())
    if len(values) and rows["setting"].iloc[0] == "slope":
        plain_log(axes, values)
    else:
        axes.xaxis.set_major_locator(FixedLocator(values))
    own = rows["own"].dropna().unique()
    if len(own) == 1:  # fitted slopes differ between similarities: then no line
        axes.axvline(own[0], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def alt_sensitivity(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == study.lead]
    words = "; ".join(
        f"{_SETTINGS[setting]} from {part['value'].min():g} to {part['value'].max():g}: mean MIS "
        f"{part['mis_mean'].min():.3f} to {part['mis_mean'].max():.3f}, lowest rank correlation "
        f"{part['spearman'].min():.2f}"
        for setting, part in rows.groupby("setting", sort=False)
    )
    return f"Mean MIS and rank correlation under other settings. Similarity {study.lead}: {words}."


FIGURES = (
    FigureSpec(
        "calibration",
        "robust",
        calibration,
        draw_calibration,
        alt_calibration,
        "No figure: no slope was fitted.",
        ("calibration",),
    ),
    FigureSpec(
        "sensitivity",
        "robust",
        sensitivity,
        draw_sensitivity,
        alt_sensitivity,
        "No figure: no other settings were tried.",
        ("sensitivity", "calibration"),
    ),
)
