"""What do the human answers look like? Scores of networks, layers and harder tasks; confidence; checks of sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.pipeline.figures.base import FigureSpec, Study
from stages.pipeline.figures.people import HIS, NO_HUMAN, NO_SYNTHETIC, condition_words
from stages.pipeline.figures.style import (
    CHANCE,
    COLOURS,
    FONT_SIZE,
    INK,
    MARKERS,
    MOST_NAMED,
    MOST_POINTS,
    MOST_SMALL,
    MUTED,
    RULE,
    around,
    between,
    canvas,
    chance_line,
    clean,
    colour_of,
    dots,
    key_above,
    name_points,
    named_rows,
    order_of,
    outer_labels,
    panels,
    points_across,
    points_upright,
    row_note,
    signed,
    tests_matrix,
    thinned,
)

# easy, medium, hard, very hard in the words of the IMI paper
LEVELS = (
    "natural",
    "hard99",
    "hard95",
    "hard85",
    "synthetic",
    "hard99_synthetic",
    "hard95_synthetic",
    "hard85_synthetic",
)
_WORDS = {"natural": "natural", "hard99": "hard99 (medium)", "hard95": "hard95 (hard)", "hard85": "hard85 (very hard)"}


def _places(conditions: pd.Series) -> pd.Series:
    names = dict.fromkeys([*LEVELS, *sorted(set(conditions))])
    return conditions.map(order_of(names))


def _words(condition: str) -> str:
    return _WORDS.get(condition, condition_words(condition))


# --------------------------------------------------------------------------- networks


def his_models(study: Study) -> pd.DataFrame:
    """Mean HIS of networks by condition with the interval for other units, networks with the highest natural one first."""
    rows = study.tables["his_models"]
    natural = rows[rows["condition"] == "natural"].set_index("model")["his_mean"]
    rows = rows.assign(a=-rows["model"].map(natural).astype(float).fillna(0), b=_places(rows["condition"]))
    rows = rows.rename(columns={"low": "his_low", "high": "his_high"})
    columns = ["model", "condition", "n_units", *HIS]
    return rows.sort_values(["a", "model", "b"], ignore_index=True)[columns]


def draw_his_models(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    if len(networks) > MOST_NAMED:
        networks = [*networks[: MOST_NAMED // 2], *networks[-MOST_NAMED // 2 :]]
        frame = frame[frame["model"].isin(networks)].reset_index(drop=True)
    conditions = sorted(set(frame["condition"]), key=_level)
    figure, ((axes,),) = canvas(narrow, 1.1 + (0.3 + 0.08 * (len(conditions) - 1)) * len(networks))
    heights = dict(zip(networks, named_rows(axes, networks, narrow), strict=True))
    # a network's conditions share its row, easiest on top
    place, n = frame.groupby("model").cumcount(), frame.groupby("model")["condition"].transform("size")
    at = frame["model"].map(heights) + np.where(n > 1, 0.26 - 0.52 * place / (n - 1).clip(lower=1), 0.0)
    for index, condition in enumerate(conditions):
        own = frame["condition"] == condition
        look = {"fmt": MARKERS[index % len(MARKERS)], "color": colour_of(index), "label": _words(condition)}
        points_across(axes, frame[own], at[own].to_numpy(), HIS, **look)
    for height, row in zip(at, frame.itertuples(), strict=True):
        if row.condition == "natural":
            row_note(axes, height, f"{row.his_mean:.3f}")
    axes.set_xlim(*around(frame, *HIS, low=CHANCE))
    chance_line(axes, vertical=True)
    axes.set_xlabel("mean HIS of units (dashed: chance)")
    key_above(figure, axes, narrow)
    return figure


def _level(condition: str) -> tuple[int, str]:
    return (LEVELS.index(condition) if condition in LEVELS else len(LEVELS), condition)


def alt_his_models(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{row.model}, {_words(row.condition)}: {row.his_mean:.3f}{between(row.his_low, row.his_high)}"
        for row in frame.itertuples()
    )
    return f"Mean HIS of {study.people} by network and condition: {words}."


def his_model_tests(study: Study) -> pd.DataFrame:
    """Conover's test between networks on the HIS of their units, natural and synthetic."""
    table = study.tables["conover_models"]
    rows = table[table["backend"].isin(["human", "human_synthetic"])]
    condition = rows["backend"].map({"human": "natural", "human_synthetic": "synthetic"})
    columns = ["condition", "first", "second", "n_first", "n_second", "statistic", "p_holm", "stars", "effect"]
    return rows.assign(condition=condition).reset_index(drop=True)[columns]


def draw_his_model_tests(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    conditions = list(dict.fromkeys(frame["condition"]))
    scores = study.tables["his_models"]
    n = min(len({*frame["first"], *frame["second"]}), 2 * MOST_SMALL)
    figure, grid = panels(narrow, len(conditions), 1.0 + 0.36 * n)
    for condition, axes in zip(conditions, grid, strict=True):
        pairs = frame[frame["condition"] == condition]
        means = scores[scores["condition"] == condition].sort_values(["his_mean", "model"], ascending=[False, True])
        found = {*pairs["first"], *pairs["second"]}
        ordered = [name for name in means["model"] if name in found]
        if len(ordered) > 2 * MOST_SMALL:
            ordered = [*ordered[:MOST_SMALL], *ordered[-MOST_SMALL:]]
        tests_matrix(axes, pairs, ordered, narrow)
        axes.set_title(f"{_words(condition)} explanations")
    return figure


def alt_his_model_tests(frame: pd.DataFrame, study: Study) -> str:
    parts = []
    for condition, pairs in frame.groupby("condition", sort=False):
        kept = pairs[pairs["stars"] != "NS"]
        words = ", ".join(f"{row.first} and {row.second} {row.stars}" for row in kept.itertuples()) or "none"
        parts.append(f"{_words(condition)}: significant {len(kept)} of {len(pairs)} pairs: {words}")
    return (
        f"Differences between networks in HIS of {study.people}, Conover's test, Holm's adjustment. {'; '.join(parts)}."
    )


def his_against_accuracy(study: Study) -> pd.DataFrame:
    """Mean HIS of networks (natural and synthetic) beside their top-1 accuracy in percent, where that is known."""
    known = study.models()[["model", "top1"]]
    rows = his_models(study).merge(known[known["top1"].notna()], on="model")
    rows = rows[rows["condition"].isin(["natural", "synthetic"])]
    return rows.sort_values(["condition", "top1"], ignore_index=True)[["model", "condition", "top1", *HIS]]


def draw_his_against_accuracy(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    height = 3.2
    figure, ((axes,),) = canvas(narrow, height)
    for index, (condition, rows) in enumerate(frame.groupby("condition", sort=False)):
        look = {"fmt": MARKERS[index], "color": colour_of(index), "label": f"{_words(condition)} explanations"}
        points_upright(axes, rows, "top1", HIS, **look)
    axes.set_ylim(*around(frame, *HIS))
    low, high = around(frame, "top1")
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    natural = frame[frame["condition"] == frame["condition"].iloc[0]]
    if len(natural) <= 12:
        name_points(axes, natural, "top1", "his_mean", "model", height)
    axes.set_title("mean HIS")
    axes.set_xlabel("top-1 accuracy, %")
    key_above(figure, axes, narrow)
    return figure


def alt_his_against_accuracy(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{row.model}, {_words(row.condition)}: {row.top1:.1f} %, HIS {row.his_mean:.3f}" for row in frame.itertuples()
    )
    return f"Mean HIS of {study.people} against top-1 accuracy of networks: {words}."


# --------------------------------------------------------------------------- layers


def his_depth(study: Study) -> pd.DataFrame:
    """Mean HIS of layers against relative depth, with the rank correlation of each network."""
    rows = study.tables["his_layers"].merge(
        study.tables["his_depth"].rename(columns={"n_layers": "n"}), on="model", how="left"
    )
    order = his_models(study).drop_duplicates("model")["model"]
    rows = rows.assign(place=rows["model"].map(order_of(order)))
    rows = rows[rows["place"] < MOST_SMALL]
    columns = ["model", "layer", "layer_type", "depth", "n_units", "his_mean", "n", "spearman", "p", "stars"]
    return rows.sort_values(["place", "layer_index", "layer"], ignore_index=True)[columns]


def draw_his_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, grid = panels(narrow, len(networks), 1.7, columns=3, on_phone=2, share_y=True, extra=0.2)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        axes.scatter(
            rows["depth"], rows["his_mean"], s=10 + 4 * rows["n_units"], color=COLOURS[0], alpha=0.6, linewidths=0
        )
        axes.set_ylim(*around(frame, "his_mean", low=CHANCE))
        axes.set_xlim(-0.03, 1.03)
        chance_line(axes, vertical=False)
        row = rows.iloc[0]
        axes.set_title(f"{clean(model, 9 if narrow else 14)}: ρ {signed(row['spearman'])} {row['stars']}")
    outer_labels(grid, "relative depth", "mean HIS")
    return figure


def alt_his_depth(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{model} {signed(part['spearman'].iloc[0])} ({part['stars'].iloc[0]}, {len(part)} layers)"
        for model, part in frame.groupby("model", sort=False)
    )
    return f"Mean HIS of layers against relative depth, {study.people}. Rank correlation by network: {words}."


# --------------------------------------------------------------------------- conditions of the same units


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
    both = both.assign(a=both["units"].map(order_of(("all", "shared"))), b=_places(both["condition"]))
    columns = ["model", "units", "of", "condition", "n_units", *HIS]
    return both.sort_values(["a", "model", "of", "b"], ignore_index=True).reindex(columns=columns)


def draw_difficulty_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[:MOST_SMALL]
    figure, grid = panels(narrow, len(networks), 2.6, columns=3, share_y=True, extra=0.5)
    conditions = sorted(set(frame["condition"]), key=_level)
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
        axes.set_xticks(range(len(conditions)), [_words(name).replace(" (", "\n(") for name in conditions], color=INK)
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
        f"{model}: " + ", ".join(f"{_words(row.condition)} {row.his_mean:.3f}" for row in part.itertuples())
        for model, part in every.groupby("model", sort=False)
    )
    return f"Mean HIS of {study.people} by difficulty of the tasks. {words}."


def difficulty_units(study: Study) -> pd.DataFrame:
    """HIS of the same units in easy and harder tasks, and the gap; units ordered by the easy one within a pair."""
    rows = _pairs(study, synthetic=False)
    rows = rows.assign(gap=rows["his_base"] - rows["his"], level=_places(rows["condition"]))
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
        axes.set_title(f"{clean(model, 16)}, {_words(condition)}")
    outer_labels(grid, "unit, ordered by HIS in easy tasks", "HIS of the unit")
    key_above(figure, grid[0], narrow)
    return figure


def _gap_words(frame: pd.DataFrame) -> str:
    return "; ".join(
        f"{model}, {_words(condition)}: {part['his_base'].mean():.3f} to {part['his'].mean():.3f}, "
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
        axes.set_title(f"{clean(model, 16)}, {_words(condition)}")
        axes.set_xlabel(words)
        if narrow or place % 2 == 0:
            axes.set_ylabel("easy minus harder HIS")
    return figure


def alt_difficulty_gaps(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Loss of HIS from easy to harder tasks, unit by unit, against depth and against easy HIS. {_gap_words(frame)}."
    )


# --------------------------------------------------------------------------- confidence


def confidence(study: Study) -> pd.DataFrame:
    """Right answers by confidence, and how often each level was chosen."""
    rows = study.tables["confidence"]
    columns = ["model", "condition", "confidence", "share", "n_responses", "correct", "low", "high"]
    order = his_models(study).drop_duplicates("model")["model"]
    rows = rows.assign(a=_places(rows["condition"]), b=rows["model"].map(order_of(order)))
    return rows.sort_values(["a", "b", "model", "confidence"], ignore_index=True)[columns]


def draw_confidence(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = [f"{m}, {_words(c)}" for m, c in dict.fromkeys(zip(frame["model"], frame["condition"], strict=True))]
    of = pd.Series([f"{m}, {_words(c)}" for m, c in zip(frame["model"], frame["condition"], strict=True)])
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
        f"{model}, {_words(condition)}: "
        + ", ".join(f"{row.confidence:g} {row.correct:.3f}" for row in part.itertuples())
        for (model, condition), part in frame.groupby(["model", "condition"], sort=False)
    )
    return f"Share of right answers by confidence from 1 to 3, and how often each was chosen. {words}."


# --------------------------------------------------------------------------- checks of sessions

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


# --------------------------------------------------------------------------- values of units


def activation_histograms(study: Study) -> pd.DataFrame:
    """Histograms of the values of some units over all pictures, scaled by their largest absolute value."""
    return study.tables["activation_histograms"]


def draw_activation_histograms(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    owners = list(dict.fromkeys(zip(frame["layer"], frame["unit"], strict=True)))
    columns = 3 if narrow else 5
    rows = -(-len(owners) // columns)
    figure, grid = canvas(narrow, 0.95 * rows + 0.5, rows, columns)
    for axes in grid.flat[len(owners) :]:
        axes.set_visible(False)
    for (layer, unit), axes in zip(owners, grid.flat, strict=False):
        own = frame[(frame["layer"] == layer) & (frame["unit"] == unit)]
        edges = np.append(own["low"], own["high"].iloc[-1])
        axes.stairs(own["share"], edges, fill=True, color="#8fbadb")
        lines = (
            ("p5", COLOURS[1], "-"),
            ("p15", COLOURS[5], "--"),
            ("p85", COLOURS[5], "--"),
            ("p95", COLOURS[1], "-"),
        )
        for name, colour, dash in lines:
            label = {"p5": "5th and 95th percentile", "p15": "15th and 85th percentile"}.get(name)
            axes.axvline(own[name].iloc[0], color=colour, linewidth=1, linestyle=dash, label=label)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(labelsize=FONT_SIZE - 1.5)
        axes.set_title(f"{clean(layer, 13 if narrow else 15)}, {unit}", fontsize=FONT_SIZE - 2)
    key_above(figure, grid.flat[0], narrow)
    return figure


def alt_activation_histograms(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.groupby(["layer", "unit"], sort=False)["n_peaks"].first()
    return (
        f"Histograms of the values of {len(peaks)} random units of {frame['model'].iloc[0]} over all pictures, with lines at "
        f"the 5th, 15th, 85th and 95th percentile: {(peaks == 1).sum()} have a single peak."
    )


NO_HARD = "No figure: nobody was asked about harder tasks."
FIGURES = (
    FigureSpec(
        "his_models",
        "human",
        his_models,
        draw_his_models,
        alt_his_models,
        NO_HUMAN,
        ("his_models",),
        "IMI paper, figure 3, left",
        "nine networks, natural .78 to .88 (ConvNeXt to Clip ResNet), synthetic .60 to .71",
    ),
    FigureSpec(
        "his_model_tests",
        "human",
        his_model_tests,
        draw_his_model_tests,
        alt_his_model_tests,
        NO_HUMAN,
        ("conover_models", "his_models"),
        "IMI paper, figures 3, right, and 11",
        "mostly not significant; with synthetic explanations Robust ResNet above all but GoogLeNet",
    ),
    FigureSpec(
        "his_against_accuracy",
        "human",
        his_against_accuracy,
        draw_his_against_accuracy,
        alt_his_against_accuracy,
        "No figure: no network has both human answers and a known accuracy.",
        ("his_models", "models"),
        "IMI paper, figure 4, left",
        "no gain of HIS with accuracy",
    ),
    FigureSpec(
        "his_depth",
        "human",
        his_depth,
        draw_his_depth,
        alt_his_depth,
        NO_HUMAN,
        ("his_layers", "his_depth", "his_models"),
        "IMI paper, figure 5",
        "a strong and significant correlation for the two Clip networks alone",
    ),
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
    FigureSpec(
        "activation_histograms",
        "human",
        activation_histograms,
        draw_activation_histograms,
        alt_activation_histograms,
        "No figure: no network of sensitivity.models has units whose whole column is kept.",
        ("activation_histograms",),
        "IMI paper, figure 16",
        "one peak, none in the tails",
    ),
)
