"""How many ratings does a score take? Errors of estimates in simulated worlds, whose truth is known, by ratings and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from interpretability.explanations.fronts import GUIDE_ONLY, LATENT, LEVEL, REFERENCE
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, order_of, parts_of
from study.report.figures.words import clean, of_parts

SAMPLERS = {"uniform": "even draws", "ag_is": "AG-IS (activation)", "mg_is": "MG-IS (guide too)"}
AGGREGATIONS = {
    "average": "average",
    "majority": "majority",
    "bragg_uniform": "BRAgg, uniform prior",
    "bragg_guide": "BRAgg, guide prior",
    "exact": "no errors",
}
_OURS, _GUIDE = "ours", "guide alone"
METHODS = {
    "uniform+majority": "even draws, majority",
    "uniform+bragg_guide": "even draws, BRAgg",
    "mg_is+majority": "MG-IS, majority",
    REFERENCE: "MG-IS, BRAgg (paper’s)",
    LATENT: _OURS,
    GUIDE_ONLY: _GUIDE,
}
_CURVE = ["world", "part", "method", "sampler", "aggregation", "raters", "images", "ratings", "rce", "rce_se"]
_MOST_WORLDS = 4  # worlds that get panels; the tables hold them all
COLOURS = {_OURS: style.INK, _GUIDE: style.COLOURS[6]}


def worlds_drawn(rows: pd.DataFrame) -> list[str]:
    """Worlds that get panels: in the order of the table, those with a good guide first."""
    names = list(dict.fromkeys(rows["world"]))
    return sorted(names, key=lambda name: not name.endswith("-good"))[:_MOST_WORLDS]


def _curves(study: Study, part: str, table: str = "crowd_curves") -> pd.DataFrame:
    rows = study.tables[table]
    rows = rows[(rows["part"] == part) & rows["rce"].notna()]
    return rows[rows["world"].isin(worlds_drawn(rows))]


def crowd_sampling(study: Study) -> pd.DataFrame:
    """Error without noise by sampler and number of images."""
    rows = _curves(study, "sampling")
    return in_order(rows[rows["sampler"].isin(SAMPLERS)], world=worlds_drawn(rows), sampler=SAMPLERS, images=None)[
        _CURVE
    ]


def crowd_aggregation(study: Study) -> pd.DataFrame:
    """Error by aggregation and number of raters where every image is rated."""
    rows = _curves(study, "aggregation")
    rows = rows[rows["aggregation"].isin(AGGREGATIONS)]
    return in_order(rows, world=worlds_drawn(rows), aggregation=AGGREGATIONS, raters=None)[_CURVE]


def _beside(rows: pd.DataFrame) -> pd.DataFrame:
    """Ours and the guide alone."""
    return rows[rows["method"].isin([LATENT, GUIDE_ONLY])]


def crowd_curves(study: Study) -> pd.DataFrame:
    """Error by ratings for every sampler and aggregation, the best number of raters at each budget; ours and the guide alone."""
    rows = _curves(study, "setting_1", "crowd_pareto")
    known = rows["sampler"].isin(SAMPLERS) & rows["aggregation"].isin(AGGREGATIONS)
    rows = rows[known | rows["method"].isin([LATENT, GUIDE_ONLY])]
    worlds = worlds_drawn(rows)[:1]
    order = {"sampler": SAMPLERS, "aggregation": AGGREGATIONS, "method": METHODS, "ratings": None}
    return in_order(rows[rows["world"].isin(worlds)], **order)[_CURVE]


def crowd_pareto(study: Study) -> pd.DataFrame:
    """Error by ratings of the paper's four methods, the best number of raters at each budget; ours and the guide alone."""
    rows = _curves(study, "setting_1", "crowd_pareto")
    rows = rows[rows["method"].isin(METHODS)]
    return in_order(rows, world=worlds_drawn(rows), method=METHODS, ratings=None)[_CURVE]


def crowd_raters(study: Study) -> pd.DataFrame:
    """Error by ratings for several numbers of raters, MG-IS with either prior of BRAgg."""
    rows = _curves(study, "setting_1")
    rows = rows[(rows["sampler"] == "mg_is") & rows["aggregation"].isin(["bragg_uniform", "bragg_guide"])]
    rows = rows[rows["world"].isin(worlds_drawn(rows)[:1])]
    return in_order(rows, aggregation=AGGREGATIONS, raters=None, ratings=None)[_CURVE]


def _percent_axes(axes: Axes, frame: pd.DataFrame, x: str) -> None:
    """Both axes logarithmic, errors in percent."""
    for axis, values, percent in ((axes.xaxis, frame[x], False), (axes.yaxis, frame["rce"], True)):
        (axes.set_yscale if percent else axes.set_xscale)("log")
        low, high = values.min(), values.max()
        steps = [each * 10.0**power for power in range(-4, 7) for each in ((1, 2, 5) if high / low < 100 else (1,))]
        axis.set_major_locator(FixedLocator([step for step in steps if low / 1.5 <= step <= high * 1.5]))
        axis.set_minor_locator(NullLocator())
        words: Callable[[float, int], str] = (lambda v, _: f"{100 * v:g} %") if percent else (lambda v, _: f"{v:,.0f}")
        axis.set_major_formatter(FuncFormatter(words))


def _lines(axes: Axes, rows: pd.DataFrame, by: str, x: str, called: dict[str, str], frame: pd.DataFrame) -> None:
    """A line a group, its points with standard errors; the guide alone, which takes no ratings, as a line across."""
    place = order_of(called)
    for name, part in parts_of(rows, by):
        words = called[name]
        colour = COLOURS.get(words, style.colour_of(place[name]))
        if words == _GUIDE:
            axes.axhline(part["rce"].iloc[0], color=colour, linewidth=1.2, linestyle=style.DASHED, label=words)
            continue
        look: dict[str, Any] = {
            "color": colour,
            "marker": style.MARKERS[place[name] % len(style.MARKERS)],
            "label": words,
        }
        axes.errorbar(part[x], part["rce"], yerr=part["rce_se"].fillna(0), elinewidth=1, markersize=4, **look)
    _percent_axes(axes, frame[frame[x] > 0], x)


def _draw(
    frame: pd.DataFrame, narrow: bool, by: str, x: str, called: dict[str, str], label: str, panel: str = "world"
) -> Figure:
    names = list(dict.fromkeys(frame[panel]))
    figure, grid = style.panels(narrow, len(names), 2.5, columns=3, share_y=True, extra=0.7)
    for name, axes in zip(names, grid, strict=True):
        _lines(axes, frame[frame[panel] == name], by, x, called, frame)
        axes.set_title(clean(_called(panel, name), 30))
    style.outer_labels(grid, label, "relative error")
    return style.with_key(figure, grid[0], narrow)


def _called(panel: str, name: str) -> str:
    words = {"sampler": SAMPLERS, "aggregation": AGGREGATIONS}.get(panel, {}).get(name, str(name))
    return f"world {words.replace('-', ', ').replace('_', ' ')}" if panel == "world" else words


def draw_crowd_sampling(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw(frame, narrow, "sampler", "images", SAMPLERS, "images")


def draw_crowd_aggregation(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw(frame, narrow, "aggregation", "raters", AGGREGATIONS, "raters of every image")


def draw_crowd_curves(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    """One panel a sampler; ours and the guide alone in every one."""
    samplers = [name for name in SAMPLERS if name in set(frame["sampler"])]
    figure, grid = style.panels(narrow, len(samplers), 2.7, columns=3, share_y=True, extra=0.7)
    called = {**AGGREGATIONS, LATENT: _OURS, GUIDE_ONLY: _GUIDE}
    for sampler, axes in zip(samplers, grid, strict=True):
        rows = pd.concat([frame[frame["sampler"] == sampler], _beside(frame)])
        rows = rows.assign(line=rows["aggregation"].where(~rows["method"].isin([LATENT, GUIDE_ONLY]), rows["method"]))
        _lines(axes, rows.drop_duplicates(["line", "ratings"]), "line", "ratings", called, frame)
        axes.set_title(clean(SAMPLERS[sampler], 34))
    style.outer_labels(grid, "ratings of a unit", "relative error")
    return style.with_key(figure, grid[0], narrow)


def draw_crowd_pareto(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure = _draw(frame, narrow, "method", "ratings", METHODS, "ratings of a unit")
    for axes in figure.axes:
        axes.axhline(LEVEL, color=style.RULE, linewidth=1, zorder=0)
    return figure


def draw_crowd_raters(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    numbers = {name: f"{name} rater{'' if name == '1' else 's'}" for name in dict.fromkeys(frame["raters"].astype(str))}
    rows = frame.assign(raters=frame["raters"].astype(str))
    return _draw(rows, narrow, "raters", "ratings", numbers, "ratings of a unit", "aggregation")


def _ends(frame: pd.DataFrame, by: str, x: str, called: dict[str, str], unit: str) -> str:
    """First and last error of every line."""

    def line(name: str, part: pd.DataFrame) -> str:
        first, last = part.iloc[0], part.iloc[-1]
        if len(part) == 1 or first[x] == last[x]:
            return f"{called[str(name)]} {100 * first['rce']:.0f} %"
        return (
            f"{called[str(name)]} {100 * first['rce']:.0f} % at {first[x]:,.0f} and "
            f"{100 * last['rce']:.0f} % at {last[x]:,.0f} {unit}"
        )

    return of_parts(frame, by, line)


def _told(by: str, x: str, called: dict[str, str], what: str, unit: str) -> Callable[[pd.DataFrame, Study], str]:
    def alt(frame: pd.DataFrame, study: Study) -> str:
        worlds = list(dict.fromkeys(frame["world"]))
        parts = [
            f"{_called('world', name)}: {_ends(frame[frame['world'] == name], by, x, called, unit)}" for name in worlds
        ]
        return f"Relative error of scores in simulated worlds, {what}. {'. '.join(parts)}."

    return alt


def alt_crowd_curves(frame: pd.DataFrame, study: Study) -> str:
    def of(name: str) -> str:
        return f"{SAMPLERS[name]}: {_ends(frame[frame['sampler'] == name], 'aggregation', 'ratings', AGGREGATIONS, 'ratings')}"

    samplers = [of(name) for name in SAMPLERS if name in set(frame["sampler"])]
    beside = _ends(_beside(frame), "method", "ratings", METHODS, "ratings")
    world = _called("world", frame["world"].iloc[0])
    return f"Relative error by ratings in the simulated {world}. {'. '.join([*samplers, beside])}."


def alt_crowd_raters(frame: pd.DataFrame, study: Study) -> str:
    def prior(name: str, part: pd.DataFrame) -> str:
        called = {str(n): f"{n} rater{'' if n == 1 else 's'}" for n in part["raters"].unique()}
        return f"{AGGREGATIONS[name]}: {_ends(part, 'raters', 'ratings', called, 'ratings')}"

    return f"Relative error by ratings and raters of an image, MG-IS. {of_parts(frame, 'aggregation', prior)}."


_SAMPLING = ("sampler", "images", SAMPLERS, "no noise, by sampler", "images")
_ALL_RATED = ("aggregation", "raters", AGGREGATIONS, "every image rated, by aggregation", "raters")
_FRONTS = ("method", "ratings", METHODS, "by method, the best number of raters at each budget", "ratings")
CROWD_SAMPLING = Drawing("crowd_sampling", crowd_sampling, draw_crowd_sampling, _told(*_SAMPLING))
CROWD_AGGREGATION = Drawing("crowd_aggregation", crowd_aggregation, draw_crowd_aggregation, _told(*_ALL_RATED))
CROWD_CURVES = Drawing("crowd_curves", crowd_curves, draw_crowd_curves, alt_crowd_curves)
CROWD_PARETO = Drawing("crowd_pareto", crowd_pareto, draw_crowd_pareto, _told(*_FRONTS))
CROWD_RATERS = Drawing("crowd_raters", crowd_raters, draw_crowd_raters, alt_crowd_raters)

FIGURES = (CROWD_PARETO, CROWD_CURVES, CROWD_SAMPLING, CROWD_AGGREGATION, CROWD_RATERS)
