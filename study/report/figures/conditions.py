"""Figures of the same units under other conditions: harder tasks and synthetic explanations."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from study.report.figures.base import FigureSpec, Study
from study.report.figures.his import his_models, places
from study.report.figures.style import (
    CHANCE,
    COLOURS,
    INK,
    MOST_POINTS,
    MOST_SMALL,
    MUTED,
    RULE,
    around,
    chance_line,
    clean,
    dots,
    key_above,
    order_of,
    outer_labels,
    panels,
    points_upright,
    signed,
    thinned,
)
from study.report.figures.words import HIS, NO_SYNTHETIC, condition_order, task_words


def _pairs(study: Study, *, synthetic: bool) -> pd.DataFrame:
    """Pairs of conditions of a unit: synthetic against natural ones, or harder against easy tasks."""
    rows = study.tables["his_pairs"]
    return rows[(rows["condition"] == "synthetic") == synthetic].reset_index(drop=True)


def natural_synthetic(study: Study) -> pd.DataFrame:
    """HIS of the same units with natural and with synthetic explanations, with the rank correlation by network."""
    rows = thinned(_pairs(study, synthetic=True), ["model"], "his_base", "his")
    table = study.tables["natural_synthetic"]
    found = table[table["backend"] == "human"].set_index("model")
    for name in ("spearman", "spearman_p", "n_units"):
        rows[name] = rows["model"].map(found[name]).astype(float)
    return rows


def draw_natural_synthetic(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[:MOST_SMALL]
    figure, grid = panels(narrow, len(networks), 2.0, columns=3, on_phone=2, share_y=True, extra=0.2)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        dots(axes, rows, "his_base", "his", color=COLOURS[0])
        limits = around(frame, "his_base", "his")
        axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set_title(f"{clean(model, 10 if narrow else 14)}: ρ {signed(rows['spearman'].iloc[0])}")
    outer_labels(grid, "HIS, natural", "HIS, synthetic")
    return figure


def alt_natural_synthetic(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{model} {signed(part['spearman'].iloc[0])} over {part['n_units'].iloc[0]:.0f} units"
        for model, part in frame.groupby("model", sort=False)
    )
    return f"HIS with synthetic against HIS with natural explanations, unit by unit. Rank correlation: {words}."


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
    both = both.assign(a=both["units"].map(order_of(("all", "shared"))), b=places(both["condition"]))
    columns = ["model", "units", "of", "condition", "n_units", *HIS]
    return both.sort_values(["a", "model", "of", "b"], ignore_index=True).reindex(columns=columns)


def draw_difficulty_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[:MOST_SMALL]
    figure, grid = panels(narrow, len(networks), 2.6, columns=3, share_y=True, extra=0.5)
    conditions = sorted(set(frame["condition"]), key=condition_order)
    at = order_of(conditions)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        every, shared = rows[rows["units"] == "all"], rows[rows["units"] == "shared"]
        every = every.assign(x=every["condition"].map(at))
        points_upright(axes, every, "x", HIS, fmt="o", color=COLOURS[0], label="all units of the level")
        for number, (_, pair) in enumerate(shared.groupby("of", sort=False)):
            label = None if number else "units of both levels"
            x = pair["condition"].map(at) + 0.12
            axes.plot(x, pair["his_mean"], "s--", color=COLOURS[1], linewidth=1, markersize=4, label=label)
        axes.set_xticks(
            range(len(conditions)), [task_words(name).replace(" (", "\n(") for name in conditions], color=INK
        )
        axes.set_xlim(-0.5, len(conditions) - 0.5)
        axes.set_ylim(*around(frame, *HIS, low=CHANCE))
        chance_line(axes, vertical=False)
        axes.set_title(clean(model))
    outer_labels(grid, "", "mean HIS (dashed: chance)")
    key_above(figure, grid[0], narrow)
    return figure


def alt_difficulty_levels(frame: pd.DataFrame, study: Study) -> str:
    every = frame[frame["units"] == "all"]
    words = "; ".join(
        f"{model}: " + ", ".join(f"{task_words(row.condition)} {row.his_mean:.3f}" for row in part.itertuples())
        for model, part in every.groupby("model", sort=False)
    )
    return f"Mean HIS of {study.people} by difficulty of the tasks. {words}."


def difficulty_units(study: Study) -> pd.DataFrame:
    """HIS of the same units in easy and harder tasks, and the gap; units ordered by the easy one within a pair."""
    rows = _pairs(study, synthetic=False)
    rows = rows.assign(gap=rows["his_base"] - rows["his"], level=places(rows["condition"]))
    rows = rows.sort_values(["model", "level", "his_base", "his", "layer", "unit"], ignore_index=True)
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


def draw_difficulty_units(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = list(dict.fromkeys(zip(frame["model"], frame["condition"], strict=True)))[:MOST_SMALL]
    figure, grid = panels(narrow, len(shown), 2.3, share_y=True, extra=0.5)
    for (model, condition), axes in zip(shown, grid, strict=True):
        rows = frame[(frame["model"] == model) & (frame["condition"] == condition)]
        axes.vlines(rows["rank"], rows["his"], rows["his_base"], color=RULE, linewidth=0.8)
        axes.plot(rows["rank"], rows["his_base"], ".", color=INK, markersize=4, label="easy tasks")
        axes.plot(rows["rank"], rows["his"], "^", color=COLOURS[1], markersize=3.5, label="harder tasks")
        axes.set_ylim(*around(frame, "his", "his_base"))
        chance_line(axes, vertical=False)
        axes.set_title(f"{clean(model, 16)}, {task_words(condition)}")
    outer_labels(grid, "unit, ordered by HIS in easy tasks", "HIS of the unit")
    key_above(figure, grid[0], narrow)
    return figure


def _gap_words(frame: pd.DataFrame) -> str:
    return "; ".join(
        f"{model}, {task_words(condition)}: {part['his_base'].mean():.3f} to {part['his'].mean():.3f}, "
        f"{(part['gap'] > 0).mean():.0%} of {len(part)} lower"
        for (model, condition), part in frame.groupby(["model", "condition"], sort=False)
    )


def alt_difficulty_units(frame: pd.DataFrame, study: Study) -> str:
    return f"HIS of {study.people} for the same units in easy and harder tasks. {_gap_words(frame)}."


def draw_difficulty_gaps(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    shown = list(dict.fromkeys(zip(frame["model"], frame["condition"], strict=True)))[:MOST_SMALL]
    figure, grid = panels(narrow, 2 * len(shown), 2.0, share_y=True, extra=0.2)
    for place, axes in enumerate(grid):
        model, condition = shown[place // 2]
        rows = frame[(frame["model"] == model) & (frame["condition"] == condition)]
        x, words = (("depth", "relative depth of the layer"), ("his_base", "HIS in easy tasks"))[place % 2]
        axes.plot(rows[x], rows["gap"], "o", color=COLOURS[0], alpha=0.6, markersize=3.5, markeredgewidth=0)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.set_ylim(*around(frame, "gap", low=0.0))
        axes.set_title(f"{clean(model, 16)}, {task_words(condition)}")
        axes.set_xlabel(words)
        if narrow or place % 2 == 0:
            axes.set_ylabel("easy minus harder HIS")
    return figure


def alt_difficulty_gaps(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Loss of HIS from easy to harder tasks, unit by unit, against depth and against easy HIS. {_gap_words(frame)}."
    )


NO_HARD = "No figure: nobody was asked about harder tasks."


FIGURES = (
    FigureSpec(
        "difficulty_levels",
        "human",
        difficulty_levels,
        draw_difficulty_levels,
        alt_difficulty_levels,
        NO_HARD,
        ("his_models", "difficulty"),
        "IMI paper, figures 6 and 14",
        "a large drop from easy to medium already; synthetic near chance",
    ),
    FigureSpec(
        "difficulty_units",
        "human",
        difficulty_units,
        draw_difficulty_units,
        alt_difficulty_units,
        NO_HARD,
        ("his_pairs",),
        "IMI paper, figure 7",
        "almost all units fall, and how far hardly depends on where they start",
    ),
    FigureSpec(
        "difficulty_gaps",
        "human",
        difficulty_units,
        draw_difficulty_gaps,
        alt_difficulty_gaps,
        NO_HARD,
        ("his_pairs",),
        "IMI paper, figure 10",
        "well understood units need not stay so",
    ),
    FigureSpec(
        "natural_synthetic",
        "human",
        natural_synthetic,
        draw_natural_synthetic,
        alt_natural_synthetic,
        NO_SYNTHETIC,
        ("his_pairs", "natural_synthetic"),
        "IMI paper, figure 12",
        "strong correlations for some networks, none for others",
    ),
)
