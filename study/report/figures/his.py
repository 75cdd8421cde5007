"""What do the human answers look like? Scores of networks, layers and harder tasks; confidence; checks of sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    CHANCE,
    COLOURS,
    MARKERS,
    MOST_NAMED,
    MOST_SMALL,
    around,
    between,
    canvas,
    chance_line,
    clean,
    colour_of,
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
)
from study.report.figures.words import HIS, LEVELS, NO_HUMAN, condition_order, task_words


def places(conditions: pd.Series) -> pd.Series:
    names = dict.fromkeys([*LEVELS, *sorted(set(conditions))])
    return conditions.map(order_of(names))


def his_models(study: Study) -> pd.DataFrame:
    """Mean HIS of networks by condition with the interval for other units, networks with the highest natural one first."""
    rows = study.tables["his_models"]
    natural = rows[rows["condition"] == "natural"].set_index("model")["his_mean"]
    rows = rows.assign(a=-rows["model"].map(natural).astype(float).fillna(0), b=places(rows["condition"]))
    rows = rows.rename(columns={"low": "his_low", "high": "his_high"})
    columns = ["model", "condition", "n_units", *HIS]
    return rows.sort_values(["a", "model", "b"], ignore_index=True)[columns]


def draw_his_models(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    if len(networks) > MOST_NAMED:
        networks = [*networks[: MOST_NAMED // 2], *networks[-MOST_NAMED // 2 :]]
        frame = frame[frame["model"].isin(networks)].reset_index(drop=True)
    conditions = sorted(set(frame["condition"]), key=condition_order)
    figure, ((axes,),) = canvas(narrow, 1.1 + (0.3 + 0.08 * (len(conditions) - 1)) * len(networks))
    heights = dict(zip(networks, named_rows(axes, networks, narrow), strict=True))
    # a network's conditions share its row, easiest on top
    place, n = frame.groupby("model").cumcount(), frame.groupby("model")["condition"].transform("size")
    at = frame["model"].map(heights) + np.where(n > 1, 0.26 - 0.52 * place / (n - 1).clip(lower=1), 0.0)
    for index, condition in enumerate(conditions):
        own = frame["condition"] == condition
        look = {"fmt": MARKERS[index % len(MARKERS)], "color": colour_of(index), "label": task_words(condition)}
        points_across(axes, frame[own], at[own].to_numpy(), HIS, **look)
    for height, row in zip(at, frame.itertuples(), strict=True):
        if row.condition == "natural":
            row_note(axes, height, f"{row.his_mean:.3f}")
    axes.set_xlim(*around(frame, *HIS, low=CHANCE))
    chance_line(axes, vertical=True)
    axes.set_xlabel("mean HIS of units (dashed: chance)")
    key_above(figure, axes, narrow)
    return figure


def alt_his_models(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{row.model}, {task_words(row.condition)}: {row.his_mean:.3f}{between(row.his_low, row.his_high)}"
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
        axes.set_title(f"{task_words(condition)} explanations")
    return figure


def alt_his_model_tests(frame: pd.DataFrame, study: Study) -> str:
    parts = []
    for condition, pairs in frame.groupby("condition", sort=False):
        kept = pairs[pairs["stars"] != "NS"]
        words = ", ".join(f"{row.first} and {row.second} {row.stars}" for row in kept.itertuples()) or "none"
        parts.append(f"{task_words(condition)}: significant {len(kept)} of {len(pairs)} pairs: {words}")
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
        look = {"fmt": MARKERS[index], "color": colour_of(index), "label": f"{task_words(condition)} explanations"}
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
        f"{row.model}, {task_words(row.condition)}: {row.top1:.1f} %, HIS {row.his_mean:.3f}"
        for row in frame.itertuples()
    )
    return f"Mean HIS of {study.people} against top-1 accuracy of networks: {words}."


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
)
