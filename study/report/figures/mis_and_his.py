"""Does the score agree with people? MIS beside the share of right answers, by network, unit, bin and group."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.schema import GROUPS, KEY
from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    CHANCE,
    COLOURS,
    INK,
    MARKERS,
    MIS,
    MOST_PANELS,
    MOST_POINTS,
    MOST_SMALL,
    MUTED,
    around,
    backend_style,
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
    signed,
    thinned,
)
from study.report.figures.words import HIS, NO_HUMAN, NO_SYNTHETIC, SYNTHETIC, condition_words

_DASHED = (0, (4, 3))


def rated(study: Study, names: set[str]) -> list[str]:
    """Annotated networks, those of the ranking first and in its order, so that a network keeps its colour."""
    ranked = [name for name in study.models()["model"] if name in names]
    return ranked + sorted(names - set(ranked))


def models_mis_his(study: Study, *, synthetic: bool) -> pd.DataFrame:
    """Mean MIS and HIS of annotated units by similarity, network and condition; explanations natural or synthetic."""
    rows = study.tables["model_points"]
    rows = rows[rows["condition"].str.contains(SYNTHETIC) == synthetic]
    place = rows["backend"].map(order_of(study.backends))
    frame = rows.assign(place=place).sort_values(["place", "model", "condition"], ignore_index=True)
    r = {"pearson": agreed, "spearman": partial(agreed, method="spearman")}
    for name, correlation in r.items():
        found = {backend: correlation(part) for backend, part in frame.groupby("backend", sort=False)}
        frame[name] = frame["backend"].map(found).astype(float)
    return frame[["backend", "model", "condition", "n_units", *MIS, *HIS, "pearson", "spearman"]]


def agreed(part: pd.DataFrame, method: str = "pearson") -> float:
    """Correlation of the two means over the points; none below three."""
    return float(part["mis_mean"].corr(part["his_mean"], method=method)) if len(part) > 2 else float("nan")


def draw_models_mis_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    backends = list(dict.fromkeys(frame["backend"]))
    height = 2.4 if narrow else 2.6
    figure, grid = panels(narrow, len(backends), height)
    networks = rated(study, set(frame["model"]))
    conditions = list(dict.fromkeys(frame["condition"]))
    for backend, axes in zip(backends, grid, strict=True):
        rows = frame[frame["backend"] == backend]
        for row in rows.itertuples():
            one = pd.DataFrame([row._asdict()])
            look = {
                "color": colour_of(networks.index(row.model)),
                "marker": MARKERS[conditions.index(row.condition) % 7],
            }
            reach = np.array([[row.mis_mean - row.mis_low], [row.mis_high - row.mis_mean]])
            axes.errorbar(
                one["mis_mean"], one["his_mean"], xerr=np.nan_to_num(reach), elinewidth=1, lw=0, color=look["color"]
            )
            points_upright(axes, one, "mis_mean", HIS, linestyle="none", **look)
        low, high = around(rows, *MIS, *HIS)
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=_DASHED, zorder=1)
        axes.set_xlim(*around(rows, *MIS))
        axes.set_ylim(*around(frame, *HIS))
        if len(rows) <= 8:
            names = rows.assign(
                shown=[
                    row.model if len(conditions) == 1 or row.condition == "natural"
                    else f"{row.model}, {condition_words(row.condition)}"
                    for row in rows.itertuples()
                ]
            )  # fmt: skip
            name_points(axes, names, "mis_mean", "his_mean", "shown", height, lift=6)
        r = rows["pearson"].iloc[0]
        axes.set_title(clean(backend) + ("" if np.isnan(r) else f": Pearson {signed(r)}"))
    outer_labels(grid, "mean MIS (dashed: equal)", "mean HIS")
    return figure


def alt_models_mis_his(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} Pearson {signed(part['pearson'].iloc[0])}, Spearman {signed(part['spearman'].iloc[0])}"
        for backend, part in frame.groupby("backend", sort=False)
    )
    n = len(frame) // frame["backend"].nunique()
    return (
        f"Mean MIS against mean HIS of {study.people} for {n} networks and conditions, one panel a similarity: {words}."
    )


def mis_against_his(study: Study) -> pd.DataFrame:
    """MIS of the leading similarity beside the share of right answers, annotated units only."""
    human = study.human[[*KEY, "his", "his_se", "n_responses"]]
    joined = human.merge(study.units[[*KEY, "mis", "in_split"]], on=KEY, how="inner")
    columns = [*KEY, "mis", "his", "his_se", "n_responses", "in_split"]
    joined = joined.sort_values(KEY, ignore_index=True)[columns].astype({"in_split": int})
    if len(joined) <= MOST_POINTS:
        return joined.assign(n=1)
    return thinned(joined, ["model", "in_split"], "mis", "his")


def draw_mis_against_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 3.9 if narrow else 4.3)
    networks = rated(study, set(frame["model"]))
    many = len(networks) > MOST_PANELS
    for index, model in enumerate(networks):
        part = frame[(frame["model"] == model) & (frame["in_split"] == 0)]
        look = {"color": COLOURS[0], "marker": "o"} if many else {"color": colour_of(index), "marker": MARKERS[index]}
        dots(axes, part, "mis", "his", label=None if many else clean(model, 18), **look)
    split = frame[frame["in_split"] == 1]
    ring = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.8, "label": "used to fit the slope"}
    axes.scatter(split["mis"], split["his"], s=22, **ring)
    _equal(axes, frame)
    axes.set_title("share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    key_above(figure, axes, narrow)
    return figure


def _equal(axes: Axes, frame: pd.DataFrame) -> None:
    low, high = around(frame, "mis", "his")
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=_DASHED, zorder=1)
    axes.set_xlim(*around(frame, "mis"))
    axes.set_ylim(*around(frame, "his"))


def alt_mis_against_his(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Scatter of {frame['n'].sum()} scores of annotated units: MIS on the horizontal axis, from "
        f"{frame['mis'].min():.2f} to {frame['mis'].max():.2f}, and the share of right answers on the vertical one, from "
        f"{frame['his'].min():.2f} to {frame['his'].max():.2f}."
    )


def similarities_units(study: Study) -> pd.DataFrame:
    """MIS under every similarity beside HIS, unit by unit, with the correlations over units outside the split."""
    rows = study.tables["unit_points"]
    kept = rows[rows["in_split"] == 0]
    frame = thinned(kept, ["backend"], "mis", "his")
    table = study.tables["agreement"]
    found = table[(table["level"] == "unit") & (table["units"] == "outside_split")].set_index("backend")
    for name in ("pearson", "spearman"):
        frame[name] = frame["backend"].map(found[name]).astype(float)
    place = frame["backend"].map(order_of(study.backends))
    return frame.assign(place=place).sort_values(["place", "mis", "his"], ignore_index=True).drop(columns="place")


def draw_similarities_units(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    backends = list(dict.fromkeys(frame["backend"]))
    figure, grid = panels(narrow, len(backends), 2.1, columns=4, on_phone=2, share_y=True, extra=0.2)
    for backend, axes in zip(backends, grid, strict=True):
        rows = frame[frame["backend"] == backend]
        dots(axes, rows, "mis", "his", color=backend_style(study, backend)[0], alpha=0.5)
        _equal(axes, rows)
        axes.set_xlim(*around(frame, "mis"))
        axes.set_ylim(*around(frame, "his"))
        axes.set_title(f"{clean(backend, 15)}: r {signed(rows['pearson'].iloc[0])}")
    outer_labels(grid, "MIS", "HIS")
    return figure


def alt_similarities_units(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} Pearson {signed(part['pearson'].iloc[0])}, Spearman {signed(part['spearman'].iloc[0])}"
        for backend, part in frame.groupby("backend", sort=False)
    )
    return f"MIS against HIS of {study.people}, unit by unit, one panel for each similarity: {words}."


def _bins(study: Study, backends: tuple[str, ...]) -> pd.DataFrame:
    rows = study.tables["his_bins"]
    rows = rows[rows["backend"].isin(backends)]
    place = rows["backend"].map(order_of(study.backends))
    return rows.assign(place=place).sort_values(["place", "bin"], ignore_index=True).drop(columns="place")


def his_by_mis(study: Study) -> pd.DataFrame:
    """Mean share of right answers in bins of equally many units by MIS of the leading similarity."""
    return _bins(study, (study.lead,))


def his_by_mis_similarities(study: Study) -> pd.DataFrame:
    """The same for every similarity; nothing where there is only one."""
    return _bins(study, study.backends if len(study.backends) > 1 else ())


def draw_his_by_mis(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 3.2)
    axes.hlines(frame["his_mean"], frame["mis_from"], frame["mis_to"], color="#8fbadb", linewidth=3)
    points_upright(axes, frame, "mis_mean", HIS, fmt="o", color=COLOURS[0])
    x_limits = around(frame, "mis_from", "mis_to")
    y_limits = around(frame, "his_low", "his_high", low=frame["mis_mean"].min(), high=frame["mis_mean"].max())
    axes.plot(x_limits, x_limits, color=MUTED, linewidth=1, linestyle=_DASHED, zorder=1)
    axes.set_xlim(*x_limits)
    axes.set_ylim(*y_limits)
    axes.set_title("mean share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    return figure


def alt_his_by_mis(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"Mean share of right answers in {len(frame)} bins of units ordered by MIS: {first['his_mean']:.3f} in the "
        f"lowest (MIS {first['mis_mean']:.3f}), {last['his_mean']:.3f} in the highest (MIS {last['mis_mean']:.3f})."
    )


def draw_his_by_mis_similarities(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = canvas(narrow, 3.3)
    axes.set_ylim(*around(frame, *HIS))
    for backend, part in frame.groupby("backend", sort=False):
        colour, marker = backend_style(study, backend)
        look = {"fmt": marker, "color": colour, "linestyle": "-", "label": clean(backend, 18)}
        points_upright(axes, part, "mis_mean", HIS, **look)
    limits = around(frame, "mis_mean")
    axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=_DASHED, zorder=1)
    axes.set_xlim(*limits)
    axes.set_title("mean share of right answers (HIS)")
    axes.set_xlabel("mean MIS of the bin (dashed: equal)")
    key_above(figure, axes, narrow)
    return figure


def alt_his_by_mis_similarities(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} from {part['his_mean'].iloc[0]:.3f} in the lowest bin to {part['his_mean'].iloc[-1]:.3f} in the highest"
        for backend, part in frame.groupby("backend", sort=False)
    )
    return f"Mean share of right answers in bins of units ordered by MIS, one line for each similarity: {words}."


def extreme_groups(study: Study) -> pd.DataFrame:
    """Mean HIS and MIS of easiest, random and hardest units by network; over all networks model is empty."""
    rows = study.tables["groups"]
    networks = [*rated(study, set(rows["model"]) - {""})[:MOST_SMALL], ""]
    rows = rows[rows["model"].isin(networks)]
    frame = rows.assign(a=rows["model"].map(order_of(networks)), b=rows["group"].map(order_of(GROUPS)))
    if len(networks) == 2:  # one network is all of them
        frame = frame[frame["model"] != ""]
    return frame.sort_values(["a", "b"], ignore_index=True).drop(columns=["a", "b"])


def draw_extreme_groups(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, ((axes,),) = canvas(narrow, 1.2 + 0.62 * len(networks))
    heights = dict(zip(networks, named_rows(axes, [name or "all together" for name in networks], narrow), strict=True))
    for place, group in enumerate(GROUPS):
        rows = frame[frame["group"] == group]
        at = rows["model"].map(heights).to_numpy() + 0.24 * (1 - place)
        look = {"fmt": MARKERS[place], "color": COLOURS[(2, 6, 1)[place]]}
        points_across(axes, rows, at, HIS, label=f"{group}, HIS", **look)
        axes.plot(
            rows["mis_mean"],
            at,
            "|",
            color=INK,
            markersize=9,
            markeredgewidth=1.6,
            label=None if place < 2 else "mean MIS",
        )
    for height in list(heights.values())[:-1]:
        axes.axhline(height - 0.5, color="#eef1f4", linewidth=0.8, zorder=0)
    axes.set_xlim(*around(frame, *HIS, "mis_mean", low=CHANCE))
    chance_line(axes, vertical=True)
    axes.set_xlabel("mean score of the units (dashed: chance)")
    key_above(figure, axes, narrow)
    return figure


def alt_extreme_groups(frame: pd.DataFrame, study: Study) -> str:
    last = frame[frame["model"] == frame["model"].iloc[-1]]
    words = "; ".join(
        f"{row.group} {row.his_mean:.3f}{between(row.his_low, row.his_high)}, MIS {row.mis_mean:.3f}"
        for row in last.itertuples()
    )
    return f"Mean HIS of {study.people} for easiest, random and hardest units, chosen by MIS: {words}."


FIGURES = (
    FigureSpec(
        "models_mis_his",
        "people",
        partial(models_mis_his, synthetic=False),
        draw_models_mis_his,
        alt_models_mis_his,
        NO_HUMAN,
        ("model_points", "models"),
        "MIS paper, figures 2A and 10",
        "14 networks and conditions: Pearson .98, Spearman .94; LPIPS and DISTS similar",
    ),
    FigureSpec(
        "models_mis_his_synthetic",
        "people",
        partial(models_mis_his, synthetic=True),
        draw_models_mis_his,
        alt_models_mis_his,
        NO_SYNTHETIC,
        ("model_points", "models"),
        "MIS paper, figure 14",
        "a high correlation with synthetic explanations too",
    ),
    FigureSpec(
        "mis_against_his",
        "people",
        mis_against_his,
        draw_mis_against_his,
        alt_mis_against_his,
        NO_HUMAN,
        ("models",),
        "MIS paper, figure 2B, left",
        "Pearson .80, Spearman .80 over the units of nine networks",
    ),
    FigureSpec(
        "his_by_mis",
        "people",
        his_by_mis,
        draw_his_by_mis,
        alt_his_by_mis,
        "No figure: too few annotated units for bins.",
        ("his_bins",),
        "MIS paper, figure 2B, right",
        "HIS rises from bin to bin",
    ),
    FigureSpec(
        "similarities_units",
        "people",
        similarities_units,
        draw_similarities_units,
        alt_similarities_units,
        NO_HUMAN,
        ("unit_points", "agreement"),
        "MIS paper, figure 12",
        "LPIPS and DISTS agree less with people than DreamSim, unit by unit",
    ),
    FigureSpec(
        "his_by_mis_similarities",
        "people",
        his_by_mis_similarities,
        draw_his_by_mis_similarities,
        alt_his_by_mis_similarities,
        "No figure: too few annotated units for bins, or one similarity alone.",
        ("his_bins",),
        "MIS paper, figure 12, in bins",
    ),
    FigureSpec(
        "extreme_groups",
        "people",
        extreme_groups,
        draw_extreme_groups,
        alt_extreme_groups,
        "No figure: too few annotated units for groups.",
        ("groups", "models"),
        "MIS paper, figure 2C",
        "GoogLeNet and ResNet-50: MIS .99 and .99 of the easiest units, .63 and .59 of the hardest; HIS of the three groups "
        "differs significantly",
    ),
)
