"""How much hangs on the choices made? Slope, N, K and similarity."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    COLOURS,
    INK,
    MOST_PANELS,
    MUTED,
    around,
    backend_style,
    canvas,
    clean,
    colour_of,
    end_labels,
    key_above,
    order_of,
    panels,
    plain_log,
    signed,
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
        axes.xaxis.set_major_locator(FixedLocator(values) if len(values) <= 6 else MaxNLocator(integer=True))
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


def convergence(study: Study) -> pd.DataFrame:
    """How far the score of fewer tasks is from that of all N, leading similarity: panels, networks, n_tasks.

    panel first: the first i of the N tasks, from the stored margins of all units, by network; rebuilt: tasks rebuilt for
    N = i, of the drawn units of the networks in sensitivity.models; same: the first i tasks of these very units.
    """
    table = study.tables["convergence"]
    names = list(study.models()["model"])
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    rows = rows.assign(place=rows["model"].map(order_of(names))).sort_values(["place", "n_tasks"])
    parts = [_many(rows) if len(names) > MOST_PANELS else rows.assign(panel="first", low=np.nan, high=np.nan)]
    settings = study.tables["sensitivity"]
    for panel, setting in (("rebuilt", "n_tasks"), ("same", "first_tasks")):
        own = settings[(settings["backend"] == study.lead) & (settings["setting"] == setting)]
        own = own[own["value"] < study.n_tasks].rename(columns={"value": "n_tasks"})
        parts.append(own.assign(panel=panel, low=np.nan, high=np.nan))
    columns = ["panel", "model", "n_tasks", "mean_abs_diff", "low", "high", "n_units"]
    return pd.concat([part[columns] for part in parts], ignore_index=True)


def _many(rows: pd.DataFrame) -> pd.DataFrame:
    """Median and 5th to 95th percentile over networks; the model is empty."""
    groups = rows.groupby("n_tasks", sort=True)
    found = (
        groups["mean_abs_diff"].quantile([0.05, 0.5, 0.95]).unstack().set_axis(["low", "mean_abs_diff", "high"], axis=1)
    )
    return found.assign(n_units=groups["n_units"].sum()).reset_index().assign(panel="first", model="")


_CONVERGENCE = {"first": "the first i of the N tasks", "rebuilt": "tasks rebuilt for N = i"}


def draw_convergence(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = [name for name in _CONVERGENCE if name in set(frame["panel"])]
    height = 2.6
    figure, grid = panels(narrow, len(shown), height, share_y=True)
    ranked = order_of(study.models()["model"])
    top = np.nanmax(frame[["mean_abs_diff", "high"]].to_numpy(float))
    for name, axes in zip(shown, grid, strict=True):
        rows = frame[frame["panel"] == name]
        axes.set_ylim(0, 1.06 * top)
        for model, part in rows.groupby("model", sort=False):
            colour = colour_of(ranked.get(model, 0)) if model else COLOURS[0]
            label = clean(model, 18) if model else "median network"
            if model == "":
                axes.fill_between(part["n_tasks"], part["low"], part["high"], color=colour, alpha=0.2, lw=0,
                                  label="5th to 95th percentile of networks")  # fmt: skip
            axes.plot(part["n_tasks"], part["mean_abs_diff"], ".-", color=colour, label=label)
            same = frame[(frame["panel"] == "same") & (frame["model"] == model)]
            if name == "rebuilt" and len(same):
                axes.plot(same["n_tasks"], same["mean_abs_diff"], "--", color=MUTED, label="same units, first i tasks")
        axes.set_xlim(0, study.n_tasks)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(_CONVERGENCE[name])
        axes.set_xlabel("i, tasks a unit")
        if narrow or axes is grid[0]:
            axes.set_ylabel(f"mean distance from MIS of {study.n_tasks} tasks")
        axes.legend(loc="upper right")
    return figure


def alt_convergence(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{_CONVERGENCE[panel]}, {model or 'median network'}: {part['mean_abs_diff'].iloc[0]:.3f} at "
        f"{part['n_tasks'].iloc[0]:g}, {part['mean_abs_diff'].iloc[-1]:.3f} at {part['n_tasks'].iloc[-1]:g}"
        for (panel, model), part in frame[frame["panel"] != "same"].groupby(["panel", "model"], sort=False)
    )
    return f"Mean absolute distance of the score of fewer tasks from that of all {study.n_tasks}: {words}."


def similarities(study: Study) -> pd.DataFrame:
    """Every two similarities: rank correlation and mean difference of MIS over all units."""
    rows = study.tables["backend_agreement"]
    return rows[["first", "second", "n_units", "spearman", "mean_diff", "mean_diff_low", "mean_diff_high"]]


def draw_similarities(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = [name for name in study.backends if name in {*frame["first"], *frame["second"]}]
    figure, ((axes,),) = canvas(narrow, 1.0 + 0.42 * len(names))
    values = {(row.first, row.second): row.spearman for row in frame.itertuples()}
    shades = np.ones((len(names), len(names), 3))
    tint = np.array(mpl.colors.to_rgb(COLOURS[0]))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            value = values.get((one, other), values.get((other, one), np.nan))
            if i == j:
                shades[i, j] = 0.93
                continue
            strength = 0.6 * max(float(np.nan_to_num(value)), 0.0)
            shades[i, j] = (1 - strength) + strength * tint
            axes.text(j, i, signed(value), ha="center", va="center")
    axes.imshow(shades, aspect="auto")
    short = [clean(name, 14 if narrow else 20) for name in names]
    axes.set_xticks(range(len(names)), short, color=INK, rotation=20 if len(names) > 4 else 0)
    axes.set_yticks(range(len(names)), short, color=INK)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def alt_similarities(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(f"{row.first} and {row.second} {signed(row.spearman)}" for row in frame.itertuples())
    return f"Rank correlation of the MIS of all units under every two similarities: {words}."


FIGURES = (
    FigureSpec(
        "calibration",
        "robust",
        calibration,
        draw_calibration,
        alt_calibration,
        "No figure: no slope was fitted.",
        ("calibration",),
        "MIS paper, section 3",
        "alpha = .16, read here as 1 / slope: a slope of 6.25",
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
    FigureSpec(
        "convergence",
        "robust",
        convergence,
        draw_convergence,
        alt_convergence,
        "No figure: a unit has one task.",
        ("convergence", "sensitivity", "models"),
        "MIS paper, figure 13",
        "both distances go to zero, more slowly where tasks are rebuilt",
    ),
    FigureSpec(
        "similarities",
        "robust",
        similarities,
        draw_similarities,
        alt_similarities,
        "No figure: this study uses one similarity.",
        ("backend_agreement",),
        "MIS paper, appendix B",
        "DreamSim, LPIPS and DISTS give similar means of networks",
    ),
)
