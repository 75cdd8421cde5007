"""Figures of the sessions of people: how sure they were, and which sessions count."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from study.report.figures.base import FigureSpec, Study
from study.report.figures.his import his_models, places
from study.report.figures.style import (
    CHANCE,
    COLOURS,
    INK,
    MARKERS,
    MOST_NAMED,
    around,
    chance_line,
    key_above,
    named_rows,
    order_of,
    panels,
    points_across,
)
from study.report.figures.words import task_words


def confidence(study: Study) -> pd.DataFrame:
    """Right answers by confidence, and how often each level was chosen."""
    rows = study.tables["confidence"]
    columns = ["model", "condition", "confidence", "share", "n_responses", "correct", "low", "high"]
    order = his_models(study).drop_duplicates("model")["model"]
    rows = rows.assign(a=places(rows["condition"]), b=rows["model"].map(order_of(order)))
    return rows.sort_values(["a", "b", "model", "confidence"], ignore_index=True)[columns]


def draw_confidence(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = [f"{m}, {task_words(c)}" for m, c in dict.fromkeys(zip(frame["model"], frame["condition"], strict=True))]
    of = pd.Series([f"{m}, {task_words(c)}" for m, c in zip(frame["model"], frame["condition"], strict=True)])
    if len(names) > MOST_NAMED:
        names = names[:MOST_NAMED]
        frame, of = frame[of.isin(names)].reset_index(drop=True), of[of.isin(names)].reset_index(drop=True)
    figure, grid = panels(narrow, 2, 0.9 + 0.3 * len(names), extra=0.4)
    for axes in grid:
        heights = dict(zip(names, named_rows(axes, names, narrow), strict=True))
    for index, level in enumerate((1, 2, 3)):
        rows = frame[(frame["confidence"] == level).to_numpy()]
        at = of[rows.index].map(heights).to_numpy()
        label = f"confidence {level}" + ("", "", " (highest)")[index]
        look = {"fmt": MARKERS[index], "color": COLOURS[(1, 6, 0)[index]], "label": label}
        points_across(grid[0], rows, at + 0.2 * (1 - index), ("correct", "low", "high"), **look)
        below = frame[(frame["confidence"] < level).to_numpy()].groupby(["model", "condition"])["share"].sum()
        left = [below.get((row.model, row.condition), 0.0) for row in rows.itertuples()]
        grid[1].barh(at, rows["share"], left=left, height=0.6, color=COLOURS[(1, 6, 0)[index]])
    grid[0].set_xlim(*around(frame, "correct", "low", "high", low=CHANCE))
    chance_line(grid[0], vertical=True)
    grid[0].set_xlabel("share of right answers")
    grid[1].set_xlim(0, 1)
    grid[1].set_xlabel("share of the answers")
    if not narrow:
        grid[1].tick_params(labelleft=False)
    key_above(figure, grid[0], narrow)
    return figure


def alt_confidence(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{model}, {task_words(condition)}: "
        + ", ".join(f"{row.confidence:g} {row.correct:.3f}" for row in part.itertuples())
        for (model, condition), part in frame.groupby(["model", "condition"], sort=False)
    )
    return f"Share of right answers by confidence from 1 to 3, and how often each was chosen. {words}."


_CHECKS = {
    "demo_trials": "blocks of practice trials",
    "catch_trials": "right catch trials, share",
    "total_response_time": "whole session, seconds",
    "row_variability": "answers in the rarer row",
    "instruction_time": "instructions, seconds",
}


def exclusion_checks(study: Study) -> pd.DataFrame:
    """Sessions that passed and failed each of the five checks, by the value that the check looks at."""
    rows = study.tables["checks"]
    return rows.assign(place=rows["check"].map(order_of(_CHECKS))).sort_values(
        ["place", "low"], ignore_index=True, na_position="last"
    )[["check", "low", "high", "n_passed", "n_failed", "bound_low", "bound_high"]]


def draw_exclusion_checks(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["check"]))
    figure, grid = panels(narrow, len(names), 1.7, columns=3, extra=0.5)
    for name, axes in zip(names, grid, strict=True):
        own = frame[frame["check"] == name]
        rows = own[own["low"].notna()]
        width = rows["high"] - rows["low"]
        axes.bar(rows["low"], rows["n_passed"], width, align="edge", color=COLOURS[0], label="passed")
        axes.bar(
            rows["low"],
            rows["n_failed"],
            width,
            align="edge",
            bottom=rows["n_passed"],
            color=COLOURS[1],
            label="failed",
        )
        for bound in own[["bound_low", "bound_high"]].iloc[0]:
            axes.axvline(bound, color=INK, linewidth=1)
        axes.grid(axis="x", visible=False)
        axes.set_title(f"{own['n_passed'].sum():,} passed, {own['n_failed'].sum():,} failed")
        axes.set_xlabel(_CHECKS.get(name, name))
    for axes in grid:
        _, across, place, _ = axes.get_subplotspec().get_geometry()
        if place % across == 0:
            axes.set_ylabel("sessions")
    key_above(figure, grid[0], narrow)
    return figure


def alt_exclusion_checks(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{_CHECKS.get(name, name)}: {part['n_passed'].sum()} passed, {part['n_failed'].sum()} failed"
        for name, part in frame.groupby("check", sort=False)
    )
    return f"Values behind the five checks of sessions. {words}."


FIGURES = (
    FigureSpec(
        "confidence",
        "human",
        confidence,
        draw_confidence,
        alt_confidence,
        "No figure: nobody was asked how sure they are.",
        ("confidence", "his_models"),
        "IMI paper, figure 13",
        "natural: more confident answers are right more often; synthetic: for two networks at most",
    ),
    FigureSpec(
        "exclusion_checks",
        "human",
        exclusion_checks,
        draw_exclusion_checks,
        alt_exclusion_checks,
        "No figure: the answers of this study have no checks of sessions.",
        ("checks",),
        "IMI paper, figure 15",
        "most sessions pass; 76,000 of 133,310 rows are kept",
    ),
)
