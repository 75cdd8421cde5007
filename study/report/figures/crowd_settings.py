"""What the error of scores from ratings hangs on, in simulated worlds: settings of the samplers and priors, and the guide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interpretability.explanations.aggregation import BETA, ETA
from interpretability.explanations.sampling import ALPHA, GAMMA
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.crowd_worlds import AGGREGATIONS, COLOURS, METHODS, SAMPLERS, worlds_drawn
from study.report.figures.series import in_order, order_of, parts_of
from study.report.figures.words import clean, of_parts, of_rows

# parts of crowd_curves.csv in which one setting changes, as they are called
SETTINGS = {
    "gamma": "share drawn evenly (gamma)",
    "alpha": "power of the activation (alpha)",
    "beta": "uniform prior (beta)",
    "eta": "error rate of raters, known (eta)",
    "eta_assumed": "error rate assumed, true one 0.23",
    "error_model": "errors assumed for raters whose errors vary",
}
USUAL = {"gamma": GAMMA, "alpha": ALPHA, "beta": BETA, "eta": ETA, "eta_assumed": ETA}
_MODELS = ("constant", "beta")  # values of errors_assumed, in the order of the axis
_IMAGES, _RATERS = 183, 3  # where settings and guides are compared: the paper's budget


def crowd_settings(study: Study) -> pd.DataFrame:
    """Error by the value of one setting at a time, the others as in the paper, at one budget of one world."""
    rows = study.tables["crowd_curves"]
    rows = rows[rows["part"].isin(SETTINGS) & rows["rce"].notna()]
    rows = rows.assign(setting=rows["part"], value=_values(rows))
    rows = rows[rows["value"].notna() & rows["world"].isin(worlds_drawn(rows)[:1])]
    several = rows.groupby(["setting", "method"])["value"].transform("nunique") > 1
    rows = at_budget(rows[several])
    columns = ["setting", "value", "world", "method", "raters", "images", "ratings", "rce", "rce_se"]
    return in_order(rows, setting=SETTINGS, method=None, value=None)[columns]


def _values(rows: pd.DataFrame) -> pd.Series:
    """The value of the setting of each row: a number, of the model of errors its place in _MODELS."""
    models = rows["errors_assumed"].map(order_of(_MODELS)) if "errors_assumed" in rows else np.nan
    found = pd.Series(np.where(rows["part"] == "error_model", models, np.nan), index=rows.index, dtype=float)
    for name in USUAL:
        found = found.where(rows["part"] != name, rows[name].astype(float))
    return found


def at_budget(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every world, part and method the rows nearest to the paper's budget: three raters, 183 images."""
    images, raters = (rows[name].astype(float).clip(lower=1) for name in ("images", "raters"))
    far = pd.Series(np.abs(np.log(images / _IMAGES)) + np.abs(np.log(raters / _RATERS)), index=rows.index)
    nearest = far.groupby([rows[name] for name in ("world", "part", "method")]).transform("min")
    return rows[np.isclose(far, nearest)]


def draw_crowd_settings(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["setting"]))
    methods = order_of(dict.fromkeys(frame["method"]))
    figure, grid = style.panels(narrow, len(names), 2.3, columns=2, extra=0.6)
    for name, axes in zip(names, grid, strict=True):
        for method, part in parts_of(frame[frame["setting"] == name], "method"):
            place = methods[method]
            look: dict[str, Any] = {
                "color": style.colour_of(place),
                "marker": style.MARKERS[place % len(style.MARKERS)],
            }
            axes.errorbar(part["value"], 100 * part["rce"], yerr=100 * part["rce_se"].fillna(0), elinewidth=1, **look)
        if name in USUAL:
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.axvline(USUAL[name], color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
        else:
            axes.set_xticks(range(len(_MODELS)), _MODELS)
            axes.set_xlim(-0.5, len(_MODELS) - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(SETTINGS[name])
        axes.set_title("relative error, %")
    for method, place in methods.items():  # a key of all panels, whose methods differ
        mark = style.MARKERS[place % len(style.MARKERS)]
        grid[0].plot([], [], color=style.colour_of(place), marker=mark, label=called(method))
    return style.with_key(figure, grid[0], narrow)


def called(method: str) -> str:
    """A method of the tables in words."""
    if method in METHODS:
        return METHODS[method]
    sampler, _, rest = method.partition("+")
    aggregation, _, _ = rest.partition("+")
    return ", ".join(
        word for word in (SAMPLERS.get(sampler, sampler), AGGREGATIONS.get(aggregation, aggregation)) if word
    )


def alt_crowd_settings(frame: pd.DataFrame, study: Study) -> str:
    def setting(of: tuple[str, str], part: pd.DataFrame) -> str:
        values = of_rows(part, lambda row: f"{100 * row.rce:.0f} % at {_value(of[0], row.value)}", ", ")
        return f"{SETTINGS[of[0]]}, {called(of[1])}: {values}"

    return f"Relative error by settings, one at a time. {of_parts(frame, ['setting', 'method'], setting)}."


def _value(setting: str, value: float) -> str:
    return f"{value:g}" if setting in USUAL else _MODELS[int(value)]


CROWD_SETTINGS = Drawing("crowd_settings", crowd_settings, draw_crowd_settings, alt_crowd_settings)


def crowd_guides(study: Study) -> pd.DataFrame:
    """Error at one budget by the kind of guide, for the paper's methods, ours and the guide alone."""
    rows = study.tables["crowd_curves"]
    rows = at_budget(rows[(rows["part"] == "setting_1") & rows["method"].isin(_COMPARED) & rows["rce"].notna()])
    if rows["world"].nunique() < 2:
        rows = rows.head(0)
    worlds = dict.fromkeys(rows["world"])
    columns = ["world", "method", "raters", "images", "ratings", "rce", "rce_se"]
    return in_order(rows, world=worlds, method=METHODS)[columns]


def guides_of(frame: pd.DataFrame) -> list[str]:
    """Kinds of guide of the worlds that a figure draws, none where it draws no worlds: `rare-leak` has `leak`."""
    return sorted({str(world).rpartition("-")[2] for world in frame["world"]}) if "world" in frame else []


_COMPARED = [name for name in METHODS if not name.startswith("uniform")]


def draw_crowd_guides(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    worlds = list(dict.fromkeys(frame["world"]))
    figure, ((axes,),) = style.canvas(narrow, 1.0 + 0.42 * len(worlds))
    heights = style.row_heights(axes, worlds, narrow, [world_words(name) for name in worlds])
    methods = [name for name in _COMPARED if name in set(frame["method"])]
    for place, method in enumerate(methods):
        rows = frame[frame["method"] == method]
        at = rows["world"].map(heights).to_numpy(dtype=float) + 0.3 * (1 - 2 * place / max(len(methods) - 1, 1))
        errors = rows.assign(
            mean=100 * rows["rce"], low=100 * (rows["rce"] - rows["rce_se"]), high=100 * (rows["rce"] + rows["rce_se"])
        )
        words = METHODS[method]
        look: dict[str, Any] = {
            "fmt": style.MARKERS[place],
            "color": COLOURS.get(words, style.colour_of(place)),
            "label": words,
        }
        style.points_across(axes, errors, at, ("mean", "low", "high"), **look)
    style.rules_between(axes, heights.values())
    axes.set_xlim(left=0)
    axes.set_xlabel("relative error, %")
    return style.with_key(figure, axes, narrow)


def world_words(name: str) -> str:
    """A world of the tables in words: how many images and how rare the concepts, then the guide."""
    return clean(name.replace("-", ", ").replace("_", " "), 30)


def alt_crowd_guides(frame: pd.DataFrame, study: Study) -> str:
    def world(name: str, part: pd.DataFrame) -> str:
        return f"{world_words(name)}: " + of_rows(
            part, lambda row: f"{METHODS[row.method]} {100 * row.rce:.0f} %", ", "
        )

    return f"Relative error of scores in simulated worlds by the kind of guide. {of_parts(frame, 'world', world)}."


CROWD_GUIDES = Drawing("crowd_guides", crowd_guides, draw_crowd_guides, alt_crowd_guides)
FIGURES = (CROWD_SETTINGS, CROWD_GUIDES)
