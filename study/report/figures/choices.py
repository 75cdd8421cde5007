"""How much hangs on the choices made? Slope, N, K and similarity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, parts_of, rows_of
from study.report.figures.words import clean, of_pairs, of_parts, signed

_SETTINGS = {"n_tasks": "N, tasks a unit", "n_explanations": "K, explanations", "slope": "slope"}
_MEASURES = {"mis_mean": "mean MIS", "spearman": "rank correlation with own setting"}
_CONVERGENCE = {"first": "the first i of the N tasks", "rebuilt": "tasks rebuilt for N = i"}


def calibration(study: Study) -> pd.DataFrame:
    """Loss of the fit against the slope, and the slope that was chosen."""
    chosen = study.tables["calibration"]
    fitted = dict(zip(chosen["backend"], chosen["slope"], strict=True))
    frame = study.curve[["backend", "slope", "loss"]].copy()
    frame = frame[frame["backend"].isin(study.backends)]
    frame["chosen"] = frame["backend"].map(fitted).astype(float)
    return in_order(frame, backend=study.backends, slope=None)


def draw_calibration(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 2.9)
    axes.set_ylim(*style.around(frame, "loss"))
    ends = []
    for backend, part in parts_of(frame, "backend"):
        colour, marker = style.backend_style(study, backend)
        face = "white" if backend in study.unidentified else colour
        axes.plot(part["slope"], part["loss"], color=colour)
        best = part["chosen"].iloc[0]
        if np.isfinite(best):
            at = np.interp(best, part["slope"], part["loss"])
            axes.plot([best], [at], marker=marker, color=colour, markerfacecolor=face, markersize=7)
        ends.append((part["loss"].iloc[-1], study.called(backend), colour))
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    style.end_labels(axes, ends, height=2.9)
    axes.set_title("loss of the fit")
    axes.set_xlabel("slope (mark: chosen)")
    style.note_slopes(axes, study, frame["backend"])
    return style.with_key(figure, axes, narrow)


def alt_calibration(frame: pd.DataFrame, study: Study) -> str:
    words = of_parts(frame, "backend", lambda backend, part: f"{study.called(backend)} {part['chosen'].iloc[0]:.3g}")
    lines = "one line for each similarity"
    note = study.footnote(frame["backend"])
    return f"Loss of the calibration against the slope, {lines}. Chosen slopes: {words}.{note}"


CALIBRATION = Drawing("calibration", calibration, draw_calibration, alt_calibration)


def sensitivity(study: Study) -> pd.DataFrame:
    """Mean MIS and rank correlation with the study's own setting, for other N, K and slope."""
    table = study.tables["sensitivity"]
    slopes = dict(zip(study.tables["calibration"]["backend"], study.tables["calibration"]["slope"], strict=True))
    rows = table[table["setting"].isin(_SETTINGS) & table["backend"].isin(study.backends)]
    own = {"n_tasks": study.n_tasks, "n_explanations": study.n_explanations}
    chosen = [own.get(row.setting, slopes.get(row.backend, np.nan)) for row in rows_of(rows)]
    rows = rows.assign(own=np.array(chosen, dtype=float))
    columns = ["model", "backend", "setting", "value", "mis_mean", "mis_se", "spearman", "own"]
    return in_order(rows, backend=study.backends, model=None, setting=_SETTINGS, value=None)[columns]


def draw_sensitivity(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    settings = [name for name in _SETTINGS if name in set(frame["setting"])]
    shape = (len(settings), 2) if narrow else (2, len(settings))
    figure, grid = style.canvas(narrow, 1.75 * shape[0] + 0.5, *shape)
    for across, measure in enumerate(_MEASURES):
        limits = style.around(frame, measure, high=1.0 if measure == "spearman" else None)
        for along, setting in enumerate(settings):
            axes = grid[along, across] if narrow else grid[across, along]
            _draw_setting(axes, frame[frame["setting"] == setting], study, measure)
            axes.set_ylim(*limits)
            if along == 0:
                axes.set_title("rank correlation" if narrow and measure == "spearman" else _MEASURES[measure])
            if narrow or across == 1:
                axes.set_xlabel(_SETTINGS[setting])
    style.note_slopes(grid[0, 0], study, frame["backend"])
    return style.with_key(figure, grid[0, 0], narrow)


def _draw_setting(axes: Axes, rows: pd.DataFrame, study: Study, measure: str) -> None:
    """One panel: a line for each network and similarity."""
    named = set()
    for (backend, _), part in rows.groupby(["backend", "model"], sort=False):
        colour, marker = style.backend_style(study, str(backend))
        label = None if backend in named else clean(study.called(str(backend)), 18)
        named.add(backend)
        axes.plot(part["value"], part[measure], color=colour, marker=marker, label=label)
    values = np.sort(rows["value"].unique())
    if len(values) and rows["setting"].iloc[0] == "slope":
        style.plain_log(axes, values)
    else:
        axes.xaxis.set_major_locator(FixedLocator(values.tolist()) if len(values) <= 6 else MaxNLocator(integer=True))
    own = rows["own"].dropna().unique()
    if len(own) == 1:  # fitted slopes differ between similarities: then no line
        axes.axvline(own[0], color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def alt_sensitivity(frame: pd.DataFrame, study: Study) -> str:
    def ranges(setting: str, part: pd.DataFrame) -> str:
        values, means = part["value"], part["mis_mean"]
        return (
            f"{_SETTINGS[setting]} from {values.min():g} to {values.max():g}: mean MIS {means.min():.3f} to "
            f"{means.max():.3f}, lowest rank correlation {part['spearman'].min():.2f}"
        )

    words = of_parts(frame[frame["backend"] == study.lead], "setting", ranges)
    return f"Mean MIS and rank correlation under other settings. Similarity {study.lead}: {words}."


SENSITIVITY = Drawing("sensitivity", sensitivity, draw_sensitivity, alt_sensitivity)


def convergence(study: Study) -> pd.DataFrame:
    """How far the score of fewer tasks is from that of all N, leading similarity: panels, networks, n_tasks.

    panel first: the first i of the N tasks, from the stored margins of all units, by network; rebuilt: tasks rebuilt for
    N = i, of the drawn units of the networks in sensitivity.models; same: the first i tasks of these very units.
    """
    table = study.tables["convergence"]
    names = list(study.models()["model"])
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    rows = in_order(rows, model=names, n_tasks=None)
    parts = [_many(rows) if len(names) > style.MOST_PANELS else rows.assign(panel="first", low=np.nan, high=np.nan)]
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
    middle = groups["mean_abs_diff"].quantile(np.array([0.05, 0.5, 0.95])).unstack()
    middle = middle.set_axis(["low", "mean_abs_diff", "high"], axis=1)
    return middle.assign(n_units=groups["n_units"].sum()).reset_index().assign(panel="first", model="")


def draw_convergence(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = [name for name in _CONVERGENCE if name in set(frame["panel"])]
    height = 2.6
    figure, grid = style.panels(narrow, len(shown), height, share_y=True)
    colours = style.network_colours(study)
    top = np.nanmax(frame[["mean_abs_diff", "high"]].to_numpy(float))
    for name, axes in zip(shown, grid, strict=True):
        rows = frame[frame["panel"] == name]
        axes.set_ylim(0, 1.06 * top)
        for model, part in parts_of(rows, "model"):
            _draw_distances(axes, str(model), part, colours)
            same = frame[(frame["panel"] == "same") & (frame["model"] == model)]
            if name == "rebuilt" and len(same):
                label = "same units, first i tasks"
                axes.plot(same["n_tasks"], same["mean_abs_diff"], "--", color=style.MUTED, label=label)
        axes.set_xlim(0, study.n_tasks)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(_CONVERGENCE[name])
        axes.set_xlabel("i, tasks a unit")
        if narrow or axes is grid[0]:
            axes.set_ylabel(f"mean distance from MIS of {study.n_tasks} tasks")
        axes.legend(loc="upper right")
    return figure


def _draw_distances(axes: Axes, model: str, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """Line of a network; without a name, that of the median network in a band of most networks."""
    colour = colours[model] if model else style.COLOURS[0]
    if not model:
        band = "5th to 95th percentile of networks"
        axes.fill_between(rows["n_tasks"], rows["low"], rows["high"], color=colour, alpha=style.BAND, lw=0, label=band)
    label = clean(model, 18) if model else "median network"
    axes.plot(rows["n_tasks"], rows["mean_abs_diff"], ".-", color=colour, label=label)


def alt_convergence(frame: pd.DataFrame, study: Study) -> str:
    def ends(of: tuple[str, str], part: pd.DataFrame) -> str:
        distance, tasks = part["mean_abs_diff"], part["n_tasks"]
        first, last = f"{distance.iloc[0]:.3f} at {tasks.iloc[0]:g}", f"{distance.iloc[-1]:.3f} at {tasks.iloc[-1]:g}"
        return f"{_CONVERGENCE[of[0]]}, {of[1] or 'median network'}: {first}, {last}"

    words = of_parts(frame[frame["panel"] != "same"], ["panel", "model"], ends)
    return f"Mean absolute distance of the score of fewer tasks from that of all {study.n_tasks}: {words}."


CONVERGENCE = Drawing("convergence", convergence, draw_convergence, alt_convergence)


def similarities(study: Study) -> pd.DataFrame:
    """Every two similarities: rank correlation and mean difference of MIS over all units."""
    rows = study.tables["backend_agreement"]
    return rows[["first", "second", "n_units", "spearman", "mean_diff", "mean_diff_low", "mean_diff_high"]]


def draw_similarities(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = [name for name in study.backends if name in {*frame["first"], *frame["second"]}]
    figure, ((axes,),) = style.canvas(narrow, 1.0 + 0.42 * len(names))
    rows = list(rows_of(frame))
    values = {pair: row.spearman for row in rows for pair in ((row.first, row.second), (row.second, row.first))}
    values = {(i, j): values.get((i, j), np.nan) for i in names for j in names if i != j}
    strengths = {pair: max(float(np.nan_to_num(value)), 0.0) for pair, value in values.items()}
    tints, words = dict.fromkeys(values, style.COLOURS[0]), {pair: signed(value) for pair, value in values.items()}
    short = style.shaded_cells(axes, names, strengths, tints, words, narrow)
    axes.set_xticks(range(len(names)), short, color=style.INK, rotation=20 if len(names) > 4 else 0)
    return figure


def alt_similarities(frame: pd.DataFrame, study: Study) -> str:
    return (
        "Rank correlation of the MIS of all units under every two similarities: "
        f"{of_pairs(frame, lambda row: signed(row.spearman))}."
    )


SIMILARITIES = Drawing("similarities", similarities, draw_similarities, alt_similarities)

FIGURES = (CALIBRATION, SENSITIVITY, CONVERGENCE, SIMILARITIES)
