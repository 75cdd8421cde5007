"""What do the human answers look like? Scores of networks, layers and harder tasks; confidence; checks of sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interpretability.schema import NATURAL, SYNTHETIC
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, parts_of, rows_of, with_levels
from study.report.figures.words import (
    HIS,
    THROUGH,
    between,
    clean,
    condition_order,
    differing,
    of_pairs,
    of_rows,
    rank_correlations,
    signed,
    task_words,
)


def his_models(study: Study) -> pd.DataFrame:
    """Mean HIS of networks by condition with the interval for other units and people, the highest natural one first."""
    rows = study.tables["his_models"].rename(columns={"low": "his_low", "high": "his_high"})
    natural = rows[rows["condition"] == NATURAL].set_index("model")["his_mean"]
    rows = rows.assign(first=-rows["model"].map(natural).astype(float).fillna(0))
    ordered = in_order(rows, first=None, model=None, condition=with_levels(rows["condition"]))
    return ordered[["model", "condition", "n_units", *HIS]]


def _explanations(study: Study, condition: str) -> str:
    """Explanations of a condition in words, with the mark of answers through the encoder."""
    return f"{task_words(condition)} explanations" + (f", {THROUGH}" if condition in study.human_through else "")


def networks_by_his(study: Study) -> list[str]:
    """Annotated networks, the one with the highest natural HIS first."""
    return list(dict.fromkeys(his_models(study)["model"]))


def draw_his_models(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    if len(networks) > style.MOST_NAMED:
        networks = [*networks[: style.MOST_NAMED // 2], *networks[-style.MOST_NAMED // 2 :]]
        frame = frame[frame["model"].isin(networks)].reset_index(drop=True)
    conditions = sorted(set(frame["condition"]), key=condition_order)
    figure, ((axes,),) = style.canvas(narrow, 1.1 + (0.3 + 0.08 * (len(conditions) - 1)) * len(networks))
    heights = style.row_heights(axes, networks, narrow)
    # a network's conditions share its row, easiest on top
    number, n = frame.groupby("model").cumcount(), frame.groupby("model")["condition"].transform("size")
    at = frame["model"].map(heights) + np.where(n > 1, 0.26 - 0.52 * number / (n - 1).clip(lower=1), 0.0)
    for index, condition in enumerate(conditions):
        own = frame["condition"] == condition
        look = {
            "fmt": style.MARKERS[index % len(style.MARKERS)],
            "color": style.colour_of(index),
            "label": study.asked(condition),
        }
        style.points_across(axes, frame[own], at[own].to_numpy(), HIS, **look)
    for height, row in zip(at, rows_of(frame), strict=True):
        if row.condition == NATURAL:
            style.row_note(axes, height, f"{row.his_mean:.3f}")
    limits = style.around(frame, *HIS, low=style.CHANCE)
    style.score_axis(axes, limits, "mean HIS of units (dashed: chance)")
    return style.with_key(figure, axes, narrow)


def alt_his_models(frame: pd.DataFrame, study: Study) -> str:
    words = of_rows(
        frame,
        lambda row: (
            f"{row.model}, {study.asked(row.condition)}: {row.his_mean:.3f}{between(row.his_low, row.his_high)}"
        ),
    )
    return f"Mean HIS of {study.people} by network and condition: {words}."


HIS_MODELS = Drawing("his_models", his_models, draw_his_models, alt_his_models)


def his_model_tests(study: Study) -> pd.DataFrame:
    """The two-way test between networks on the answers to their units, natural and synthetic; nothing if no pair is tested.

    n_first and n_second are clusters of layers; effect is Cliff's delta of the units' HIS.
    """
    table = study.tables["network_tests"]
    rows = table[table["backend"].isin(["human", "human_synthetic"])]
    condition = rows["backend"].map({"human": NATURAL, "human_synthetic": SYNTHETIC})
    columns = ["condition", "first", "second", "n_first", "n_second", "people_first", "people_second", "difference"]
    columns += ["statistic", "p_holm", "stars", "reason", "effect"]
    rows = rows.assign(condition=condition, effect=rows["paper_effect"]).reset_index(drop=True)[columns]
    return rows if rows["p_holm"].notna().any() else rows.head(0)


def draw_his_model_tests(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    conditions = list(dict.fromkeys(frame["condition"]))
    scores = study.tables["his_models"]
    n = min(len({*frame["first"], *frame["second"]}), 2 * style.MOST_SMALL)
    figure, grid = style.panels(narrow, len(conditions), 1.0 + 0.36 * n)
    for condition, axes in zip(conditions, grid, strict=True):
        pairs = frame[frame["condition"] == condition]
        means = scores[scores["condition"] == condition].sort_values(["his_mean", "model"], ascending=[False, True])
        tested = {*pairs["first"], *pairs["second"]}
        ordered = [name for name in means["model"] if name in tested]
        if len(ordered) > 2 * style.MOST_SMALL:
            ordered = [*ordered[: style.MOST_SMALL], *ordered[-style.MOST_SMALL :]]
        style.tests_matrix(axes, pairs, ordered, narrow)
        axes.set_title(study.asked(condition) if narrow else _explanations(study, condition))
    return figure


def alt_his_model_tests(frame: pd.DataFrame, study: Study) -> str:
    parts = []
    for condition, pairs in parts_of(frame, "condition"):
        kept = pairs[pairs["p_holm"] < 0.05]
        words = of_pairs(kept, lambda row: row.stars, ", ")
        parts.append(f"{study.asked(condition)}: {differing(pairs)}{f' ({words})' if words else ''}")
    return f"Differences between networks in HIS of {study.people}, tested over layers and people. {'; '.join(parts)}."


HIS_MODEL_TESTS = Drawing("his_model_tests", his_model_tests, draw_his_model_tests, alt_his_model_tests)


def his_against_accuracy(study: Study) -> pd.DataFrame:
    """Mean HIS of networks (natural and synthetic) beside their top-1 accuracy in percent, where that is known."""
    known = study.models()[["model", "top1"]]
    rows = his_models(study).merge(known[known["top1"].notna()], on="model")
    rows = rows[rows["condition"].isin([NATURAL, SYNTHETIC])]
    return in_order(rows, condition=None, top1=None)[["model", "condition", "top1", *HIS]]


def draw_his_against_accuracy(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    height = 3.2
    figure, ((axes,),) = style.canvas(narrow, height)
    for index, (condition, rows) in enumerate(parts_of(frame, "condition")):
        look = {
            "fmt": style.MARKERS[index],
            "color": style.colour_of(index),
            "label": _explanations(study, condition),
        }
        style.points_upright(axes, rows, "top1", HIS, **look)
    axes.set_ylim(*style.around(frame, *HIS))
    style.room_for_names(axes, frame, "top1")
    natural = frame[frame["condition"] == frame["condition"].iloc[0]]
    if len(natural) <= 12:
        style.name_points(axes, natural, "top1", "his_mean", "model", height)
    axes.set_title("mean HIS")
    axes.set_xlabel("top-1 accuracy, %")
    return style.with_key(figure, axes, narrow)


def alt_his_against_accuracy(frame: pd.DataFrame, study: Study) -> str:
    words = of_rows(
        frame, lambda row: f"{row.model}, {study.asked(row.condition)}: {row.top1:.1f} %, HIS {row.his_mean:.3f}"
    )
    return f"Mean HIS of {study.people} against top-1 accuracy of networks: {words}."


HIS_AGAINST_ACCURACY = Drawing(
    "his_against_accuracy", his_against_accuracy, draw_his_against_accuracy, alt_his_against_accuracy
)


def his_depth(study: Study) -> pd.DataFrame:
    """Mean HIS of layers against relative depth, with the rank correlation of each network."""
    correlations = study.tables["his_depth"].rename(columns={"n_layers": "n"})
    rows = study.tables["his_layers"].merge(correlations, on="model", how="left")
    networks = networks_by_his(study)[: style.MOST_SMALL]
    rows = rows[rows["model"].isin(networks)]
    columns = ["model", "layer", "layer_type", "depth", "n_units", "his_mean", "n", "spearman", "p"]
    return in_order(rows, model=networks, layer_index=None, layer=None)[columns]


def draw_his_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, grid = style.panels(narrow, len(networks), 1.7, columns=3, on_phone=2, share_y=True, extra=0.2)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        size = 10 + 4 * rows["n_units"]
        axes.scatter(rows["depth"], rows["his_mean"], s=size, color=style.COLOURS[0], alpha=0.6, linewidths=0)
        axes.set_ylim(*style.around(frame, "his_mean", low=style.CHANCE))
        axes.set_xlim(-0.03, 1.03)
        style.chance_line(axes, vertical=False)
        row = rows.iloc[0]
        axes.set_title(f"{clean(model, 12 if narrow else 14)}: ρ {signed(row['spearman'])}")
    style.outer_labels(grid, "relative depth", "mean HIS")
    return figure


def alt_his_depth(frame: pd.DataFrame, study: Study) -> str:
    words = rank_correlations(frame, lambda part: f" ({len(part)} layers)")
    return f"Mean HIS of layers against relative depth, {study.people}. Rank correlation by network: {words}."


HIS_DEPTH = Drawing("his_depth", his_depth, draw_his_depth, alt_his_depth)

FIGURES = (HIS_MODELS, HIS_MODEL_TESTS, HIS_AGAINST_ACCURACY, HIS_DEPTH)
