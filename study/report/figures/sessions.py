"""Figures of the sessions of people: how sure they were, and which sessions count."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.his import networks_by_his
from study.report.figures.series import in_order, rows_of, with_levels
from study.report.figures.words import THROUGH, clean, of_parts, of_rows, task_words

_CHECKS = {
    "demo_trials": "blocks of practice trials",
    "catch_trials": "right catch trials, share",
    "total_response_time": "whole session, seconds",
    "row_variability": "answers in the rarer row",
    "instruction_time": "instructions, seconds",
}


def confidence(study: Study) -> pd.DataFrame:
    """Right answers by confidence, and how often each level was chosen."""
    rows = study.tables["confidence"]
    columns = ["model", "condition", "confidence", "share", "n_responses", "correct", "low", "high"]
    # networks that nobody gave HIS come after the others, by name
    networks = [*networks_by_his(study), *sorted(set(rows["model"]))]
    levels = with_levels(rows["condition"])
    return in_order(rows, condition=levels, model=dict.fromkeys(networks), confidence=None)[columns]


def _called(row: Any, study: Study, narrow: bool) -> str:
    """Network and condition of a row; on a phone below each other, and a star for what the key says then."""
    if not narrow:
        return f"{row.model}, {study.asked(row.condition)}"
    return f"{clean(row.model, 18)}\n{task_words(row.condition)}{'*' if row.condition in study.human_through else ''}"


def draw_confidence(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    of = pd.Series([_called(row, study, narrow) for row in rows_of(frame)])
    names = list(dict.fromkeys(of))[: style.MOST_NAMED]
    kept = of.isin(names)
    frame, of = frame[kept].reset_index(drop=True), of[kept].reset_index(drop=True)
    figure, grid = style.panels(narrow, 2, 0.9 + (0.4 if narrow else 0.3) * len(names), extra=0.4)
    heights = [style.row_heights(axes, names, narrow) for axes in grid][-1]
    for axes in grid if narrow else ():
        axes.set_yticks(list(heights.values()), names, color=style.INK)
    if narrow and study.human_through & set(frame["condition"]):
        grid[0].plot([], [], linestyle="none", label=f"* {THROUGH}")
    for index, level in enumerate((1, 2, 3)):
        rows = frame[(frame["confidence"] == level).to_numpy()]
        at = of[rows.index].map(heights).to_numpy()
        label = f"confidence {level}" + ("", "", " (highest)")[index]
        look = {"fmt": style.MARKERS[index], "color": style.COLOURS[(1, 6, 0)[index]], "label": label}
        style.points_across(grid[0], rows, at + 0.2 * (1 - index), ("correct", "low", "high"), **look)
        below = frame[(frame["confidence"] < level).to_numpy()].groupby(["model", "condition"])["share"].sum()
        left = [below.get((row.model, row.condition), 0.0) for row in rows_of(rows)]
        grid[1].barh(at, rows["share"], left=left, height=0.6, color=style.COLOURS[(1, 6, 0)[index]])
    limits = style.around(frame, "correct", "low", "high", low=style.CHANCE)
    style.score_axis(grid[0], limits, "share of right answers" + (", simulated" if study.simulated else ""))
    grid[1].set_xlim(0, 1)
    grid[1].set_xlabel("share of the answers" + (", simulated" if study.simulated else ""))
    if not narrow:
        grid[1].tick_params(labelleft=False)
    return style.with_key(figure, grid[0], narrow)


def alt_confidence(frame: pd.DataFrame, study: Study) -> str:
    def shares(of: tuple[str, str], part: pd.DataFrame) -> str:
        levels = of_rows(part, lambda row: f"{row.confidence:g} {row.correct:.3f}", ", ")
        return f"{of[0]}, {study.asked(of[1])}: {levels}"

    words = of_parts(frame, ["model", "condition"], shares)
    return (
        f"Share of right answers of {study.people} by confidence from 1 to 3, and how often each was chosen. {words}."
    )


CONFIDENCE = Drawing("confidence", confidence, draw_confidence, alt_confidence)


def exclusion_checks(study: Study) -> pd.DataFrame:
    """Sessions that passed and failed each of the five checks, by the value that the check looks at."""
    columns = ["check", "low", "high", "n_passed", "n_failed", "bound_low", "bound_high"]
    return in_order(study.tables["checks"], check=_CHECKS, low=None)[columns]


def draw_exclusion_checks(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["check"]))
    figure, grid = style.panels(narrow, len(names), 1.7, columns=3, extra=0.5)
    for name, axes in zip(names, grid, strict=True):
        own = frame[frame["check"] == name]
        rows = own[own["low"].notna()]
        width = rows["high"] - rows["low"]
        passed, failed = rows["n_passed"], rows["n_failed"]
        axes.bar(rows["low"], passed, width, align="edge", color=style.COLOURS[0], label="passed")
        axes.bar(rows["low"], failed, width, align="edge", bottom=passed, color=style.COLOURS[1], label="failed")
        for bound in own[["bound_low", "bound_high"]].iloc[0]:
            axes.axvline(bound, color=style.INK, linewidth=1)
        axes.grid(axis="x", visible=False)
        axes.set_title(f"{own['n_passed'].sum():,} passed, {own['n_failed'].sum():,} failed")
        axes.set_xlabel(_CHECKS.get(str(name), str(name)))
    for axes in grid[:: style.columns_of(grid)]:
        axes.set_ylabel("simulated sessions" if study.simulated else "sessions")
    return style.with_key(figure, grid[0], narrow)


def alt_exclusion_checks(frame: pd.DataFrame, study: Study) -> str:
    def counts(name: str, part: pd.DataFrame) -> str:
        return f"{_CHECKS.get(name, name)}: {part['n_passed'].sum()} passed, {part['n_failed'].sum()} failed"

    return f"Values behind the five checks of sessions of {study.people}. {of_parts(frame, 'check', counts)}."


EXCLUSION_CHECKS = Drawing("exclusion_checks", exclusion_checks, draw_exclusion_checks, alt_exclusion_checks)

FIGURES = (CONFIDENCE, EXCLUSION_CHECKS)
