"""Figures of the same units under other conditions: harder tasks and synthetic explanations."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from interpretability.schema import SYNTHETIC
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.his import his_models
from study.report.figures.series import MOST_POINTS, in_order, order_of, thinned, with_levels
from study.report.figures.words import (
    HIS,
    clean,
    condition_order,
    of_parts,
    of_rows,
    rank_correlations,
    signed,
    task_words,
)


def _pairs(study: Study, *, synthetic: bool) -> pd.DataFrame:
    """Pairs of conditions of a unit: synthetic against natural ones, or harder against easy tasks."""
    rows = study.tables["his_pairs"]
    return rows[(rows["condition"] == SYNTHETIC) == synthetic].reset_index(drop=True)


def natural_synthetic(study: Study) -> pd.DataFrame:
    """HIS of the same units with natural and with synthetic explanations, with the rank correlation by network."""
    rows = thinned(_pairs(study, synthetic=True), ["model"], "his_base", "his")
    table = study.tables["natural_synthetic"]
    of_network = table[table["backend"] == "human"].set_index("model")
    for name in ("spearman", "spearman_p", "n_units"):
        rows[name] = rows["model"].map(of_network[name]).astype(float)
    return rows


def draw_natural_synthetic(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_SMALL]
    figure, grid = style.panels(narrow, len(networks), 2.0, columns=3, on_phone=2, share_y=True, extra=0.2)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        style.dots(axes, rows, "his_base", "his", color=style.COLOURS[0])
        style.equal_line(axes, style.around(frame, "his_base", "his"))
        axes.set_title(f"{clean(model, 12 if narrow else 14)}: ρ {signed(rows['spearman'].iloc[0])}")
    if SYNTHETIC in study.human_through:
        grid[0].plot([], [], linestyle="none", label=study.people_of(SYNTHETIC))
    style.outer_labels(grid, "HIS, natural", "HIS, synthetic")
    return style.with_key(figure, grid[0], narrow)


def alt_natural_synthetic(frame: pd.DataFrame, study: Study) -> str:
    def over(part: pd.DataFrame) -> str:
        return f" over {part['n_units'].iloc[0]:.0f} units"

    what = f"HIS of {study.people_of(SYNTHETIC)} with synthetic against HIS with natural explanations, unit by unit"
    return f"{what}. Rank correlation: {rank_correlations(frame, over)}."


NATURAL_SYNTHETIC = Drawing("natural_synthetic", natural_synthetic, draw_natural_synthetic, alt_natural_synthetic)


def difficulty_levels(study: Study) -> pd.DataFrame:
    """Mean HIS by level of difficulty: of all units of a level, and of those that have the easy level too."""
    scores, pairs = his_models(study), study.tables["difficulty"]
    pairs = pairs[pairs["backend"] == "human"]
    hard = scores[scores["model"].isin(pairs["model"])]
    bases = {*pairs["base"], *pairs["condition"]}
    rows = hard[hard["condition"].isin(bases)].assign(units="all")
    shared = [
        pairs.assign(units="shared", his_mean=pairs[value], condition=pairs[level], of=pairs["condition"])
        for level, value in (("base", "base_mean"), ("condition", "mean"))
    ]
    both = pd.concat([rows, *shared], ignore_index=True)
    both["of"] = both["of"].fillna("") if "of" in both else ""
    columns = ["model", "units", "of", "condition", "n_units", *HIS]
    levels = with_levels(both["condition"])
    return in_order(both, units=("all", "shared"), model=None, of=None, condition=levels).reindex(columns=columns)


def draw_difficulty_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_SMALL]
    figure, grid = style.panels(narrow, len(networks), 2.6, columns=3, share_y=True, extra=0.5)
    conditions = sorted(set(frame["condition"]), key=condition_order)
    at = order_of(conditions)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        every, shared = rows[rows["units"] == "all"], rows[rows["units"] == "shared"]
        every = every.assign(x=every["condition"].map(at))
        style.points_upright(axes, every, "x", HIS, fmt="o", color=style.COLOURS[0], label="all units of the level")
        for number, (_, pair) in enumerate(shared.groupby("of", sort=False)):
            label = None if number else "units of both levels"
            x = pair["condition"].map(at) + 0.12
            axes.plot(x, pair["his_mean"], "s--", color=style.COLOURS[1], linewidth=1, markersize=4, label=label)
        shown = [task_words(name).replace(" (", "\n(") for name in conditions]
        axes.set_xticks(range(len(conditions)), shown, color=style.INK)
        axes.set_xlim(-0.5, len(conditions) - 0.5)
        axes.set_ylim(*style.around(frame, *HIS, low=style.CHANCE))
        style.chance_line(axes, vertical=False)
        axes.set_title(clean(model))
    style.outer_labels(grid, "", "mean HIS (dashed: chance)")
    return style.with_key(figure, grid[0], narrow)


def alt_difficulty_levels(frame: pd.DataFrame, study: Study) -> str:
    def levels(model: str, part: pd.DataFrame) -> str:
        return f"{model}: " + of_rows(part, lambda row: f"{task_words(row.condition)} {row.his_mean:.3f}", ", ")

    words = of_parts(frame[frame["units"] == "all"], "model", levels)
    return f"Mean HIS of {study.people} by difficulty of the tasks. {words}."


DIFFICULTY_LEVELS = Drawing("difficulty_levels", difficulty_levels, draw_difficulty_levels, alt_difficulty_levels)


def difficulty_units(study: Study) -> pd.DataFrame:
    """HIS of the same units in easy and harder tasks, and the gap; units ordered by the easy one within a pair."""
    rows = _pairs(study, synthetic=False)
    rows = rows.assign(gap=rows["his_base"] - rows["his"])
    levels = with_levels(rows["condition"])
    rows = in_order(rows, model=None, condition=levels, his_base=None, his=None, layer=None, unit=None)
    rows["rank"] = rows.groupby(["model", "condition"]).cumcount() + 1
    columns = ["model", "base", "condition", "rank", "layer", "unit", "depth", "his_base", "his", "gap"]
    if len(rows) <= MOST_POINTS:
        return rows[columns]
    return _in_hundreds(rows, columns)


def _in_hundreds(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Means of a hundred neighbours by rank a network and condition."""
    size = rows.groupby(["model", "condition"])["rank"].transform("max")
    cell = ((rows["rank"] - 1) * 100 // size).astype(int)
    means = rows.assign(cell=cell).groupby(["model", "base", "condition", "cell"], sort=True)
    return means[["rank", "depth", "his_base", "his", "gap"]].mean().reset_index().reindex(columns=columns)


def _shown(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Networks and conditions that get panels."""
    return list(dict.fromkeys(zip(frame["model"], frame["condition"], strict=True)))[: style.MOST_SMALL]


def draw_difficulty_units(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = _shown(frame)
    figure, grid = style.panels(narrow, len(shown), 2.3, share_y=True, extra=0.5)
    for (model, condition), axes in zip(shown, grid, strict=True):
        rows = frame[(frame["model"] == model) & (frame["condition"] == condition)]
        axes.vlines(rows["rank"], rows["his"], rows["his_base"], color=style.RULE, linewidth=0.8)
        axes.plot(rows["rank"], rows["his_base"], ".", color=style.INK, markersize=4, label="easy tasks")
        axes.plot(rows["rank"], rows["his"], "^", color=style.COLOURS[1], markersize=3.5, label="harder tasks")
        axes.set_ylim(*style.around(frame, "his", "his_base"))
        style.chance_line(axes, vertical=False)
        axes.set_title(f"{clean(model, 16)}, {task_words(condition)}")
    style.outer_labels(grid, "unit, ordered by HIS in easy tasks", "HIS of the unit")
    return style.with_key(figure, grid[0], narrow)


def _gap_words(frame: pd.DataFrame) -> str:
    def loss(of: tuple[str, str], part: pd.DataFrame) -> str:
        means = f"{part['his_base'].mean():.3f} to {part['his'].mean():.3f}"
        return f"{of[0]}, {task_words(of[1])}: {means}, {(part['gap'] > 0).mean():.0%} of {len(part)} lower"

    return of_parts(frame, ["model", "condition"], loss)


def alt_difficulty_units(frame: pd.DataFrame, study: Study) -> str:
    return f"HIS of {study.people} for the same units in easy and harder tasks. {_gap_words(frame)}."


DIFFICULTY_UNITS = Drawing("difficulty_units", difficulty_units, draw_difficulty_units, alt_difficulty_units)


def draw_difficulty_gaps(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = _shown(frame)
    figure, grid = style.panels(narrow, 2 * len(shown), 2.0, share_y=True, extra=0.2)
    for panel, axes in enumerate(grid):
        model, condition = shown[panel // 2]
        rows = frame[(frame["model"] == model) & (frame["condition"] == condition)]
        x, words = (("depth", "relative depth of the layer"), ("his_base", "HIS in easy tasks"))[panel % 2]
        axes.plot(
            rows[x], rows["gap"], "o", color=style.COLOURS[0], alpha=style.PALE, markersize=3.5, markeredgewidth=0
        )
        axes.axhline(0, color=style.MUTED, linewidth=1)
        axes.set_ylim(*style.around(frame, "gap", low=0.0))
        axes.set_title(f"{clean(model, 16)}, {task_words(condition)}")
        axes.set_xlabel(words)
        if narrow or panel % 2 == 0:
            axes.set_ylabel("easy minus harder HIS")
    return figure


def alt_difficulty_gaps(frame: pd.DataFrame, study: Study) -> str:
    facts = "unit by unit, against depth and against easy HIS"
    return f"Loss of HIS from easy to harder tasks, {facts}. {_gap_words(frame)}."


DIFFICULTY_GAPS = Drawing("difficulty_gaps", difficulty_units, draw_difficulty_gaps, alt_difficulty_gaps)


def difficulty_machine(study: Study) -> pd.DataFrame:
    """Mean MIS of the same units by the distance of their queries, of networks with harder tasks."""
    rows = study.tables["difficulty_by_gap"]
    rows = rows[rows["backend"] == study.lead]
    columns = ["model", "condition", "gap", "n_units", "mis_mean"]
    return in_order(rows, model=None, condition=with_levels(rows["condition"])).reindex(columns=columns)


def draw_difficulty_machine(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, (axes,) = style.panels(narrow, 1, 2.6)
    for number, (model, rows) in enumerate(frame.groupby("model", sort=False)):
        colour = style.COLOURS[number % len(style.COLOURS)]
        axes.plot(rows["gap"], rows["mis_mean"], "o-", color=colour, linewidth=1, markersize=4, label=clean(str(model)))
        if number + 1 == style.MOST_SMALL:
            break
    axes.invert_xaxis()
    axes.set_ylim(*style.around(frame, "mis_mean", low=style.CHANCE))
    style.chance_line(axes, vertical=False)
    axes.set_xlabel("percentiles between positive and negative queries")
    axes.set_ylabel("mean MIS (dashed: chance)")
    return style.with_key(figure, axes, narrow)


def alt_difficulty_machine(frame: pd.DataFrame, study: Study) -> str:
    def levels(model: str, part: pd.DataFrame) -> str:
        return f"{model}: " + of_rows(part, lambda row: f"{row.mis_mean:.3f} at {row.gap:.0f}", ", ")

    return f"Mean MIS of the same units by percentiles between their queries. {of_parts(frame, 'model', levels)}."


DIFFICULTY_MACHINE = Drawing("difficulty_machine", difficulty_machine, draw_difficulty_machine, alt_difficulty_machine)

FIGURES = (DIFFICULTY_LEVELS, DIFFICULTY_UNITS, DIFFICULTY_GAPS, DIFFICULTY_MACHINE, NATURAL_SYNTHETIC)
