"""Does the score agree with people? MIS beside the share of right answers, by network, unit, bin and group."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.schema import GROUPS, KEY, MIXED, NATURAL, SYNTHETIC
from interpretability.statistics import FEWEST_CORRELATED
from study.files import sources
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import MOST_POINTS, in_order, parts_of, rows_of, thinned
from study.report.figures.words import (
    HIS,
    NO_CORRELATION,
    THROUGH,
    between,
    clean,
    condition_words,
    correlations,
    of_parts,
    of_rows,
    signed,
)


def rated(study: Study, names: set[str]) -> list[str]:
    """Annotated networks, those of the ranking first and in its order, so that a network keeps its colour."""
    ranked = [name for name in study.models()["model"] if name in names]
    return ranked + sorted(names - set(ranked))


def models_mis_his(study: Study, *, synthetic: bool) -> pd.DataFrame:
    """Mean MIS and HIS of annotated units by similarity, network and condition; explanations natural or synthetic."""
    rows = study.tables["model_points"]
    # tasks that show natural and made images together are in no paper
    rows = rows[(rows["condition"].str.contains(SYNTHETIC) == synthetic) & (rows["condition"] != MIXED)]
    frame = in_order(rows, backend=study.backends, model=None, condition=None)
    for method in ("pearson", "spearman"):
        of_backend = {backend: agreed(part, method) for backend, part in parts_of(frame, "backend")}
        frame[method] = frame["backend"].map(of_backend).astype(float)
    return frame[["backend", "model", "condition", "n_units", *style.MIS, *HIS, "pearson", "spearman"]]


def agreed(part: pd.DataFrame, method: Literal["pearson", "spearman"] = "pearson") -> float:
    """Correlation of the two means over the points; none below FEWEST_CORRELATED networks."""
    if part["model"].nunique() < FEWEST_CORRELATED:
        return float("nan")
    return float(part["mis_mean"].corr(part["his_mean"], method=method))


def draw_models_mis_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    backends = list(dict.fromkeys(frame["backend"]))
    height = 2.4 if narrow else 2.6
    figure, grid = style.panels(narrow, len(backends), height)
    colours = style.network_colours(study)
    conditions = list(dict.fromkeys(frame["condition"]))
    for backend, axes in zip(backends, grid, strict=True):
        rows = frame[frame["backend"] == backend]
        for row in rows_of(rows):
            colour = colours.get(row.model, style.COLOURS[6])
            marker = style.MARKERS[conditions.index(row.condition) % len(style.MARKERS)]
            _draw_cross(axes, pd.DataFrame([row._asdict()]), colour, marker)
        style.equal_line(axes, style.around(rows, *style.MIS, *HIS))
        axes.set_xlim(*style.around(rows, *style.MIS))
        low, high = style.around(frame, *HIS)
        axes.set_ylim(low, high + 0.12 * (high - low))  # names of the highest points stand above them
        if len(rows) <= 8:
            one = len(conditions) == 1
            shown = [
                row.model if one or row.condition == NATURAL else f"{row.model}, {condition_words(row.condition)}"
                for row in rows_of(rows)
            ]
            style.name_points(axes, rows.assign(shown=shown), "mis_mean", "his_mean", "shown", height, lift=6)
        r = rows["pearson"].iloc[0]
        axes.set_title(clean(study.called(backend)) + ("" if np.isnan(r) else f": Pearson {signed(r)}"))
    style.outer_labels(grid, "mean MIS (dashed: equal)", "mean HIS")
    style.note_slopes(grid[0], study, backends)
    if study.human_through & set(conditions):
        grid[0].plot([], [], linestyle="none", label=f"HIS {THROUGH}")
    return style.with_key(figure, grid[0], narrow)


def _draw_cross(axes: Axes, row: pd.DataFrame, colour: str, marker: str) -> None:
    """One point with the intervals of both means."""
    reach = np.nan_to_num([row["mis_mean"] - row["mis_low"], row["mis_high"] - row["mis_mean"]])
    axes.errorbar(row["mis_mean"], row["his_mean"], xerr=reach, elinewidth=1, lw=0, color=colour)
    style.points_upright(axes, row, "mis_mean", HIS, linestyle="none", color=colour, marker=marker)


def alt_models_mis_his(frame: pd.DataFrame, study: Study) -> str:
    n = len(frame) // frame["backend"].nunique()
    points = f"{n} networks and conditions, one panel a similarity"
    if frame["pearson"].isna().all():
        words = NO_CORRELATION
    else:
        words = correlations(frame.assign(backend=frame["backend"].map(study.called)), "backend")
    people = study.people_of(frame["condition"].iloc[0])
    return f"Mean MIS against mean HIS of {people} for {points}: {words}.{study.footnote(frame['backend'])}"


MODELS_MIS_HIS_SYNTHETIC = Drawing(
    "models_mis_his_synthetic", partial(models_mis_his, synthetic=True), draw_models_mis_his, alt_models_mis_his
)


MODELS_MIS_HIS = Drawing(
    "models_mis_his", partial(models_mis_his, synthetic=False), draw_models_mis_his, alt_models_mis_his
)


def mis_against_his(study: Study) -> pd.DataFrame:
    """MIS of the leading similarity beside the share of right answers, annotated units only."""
    human = sources.counted(study.human)[[*KEY, "his", "his_se", "n_responses"]]
    joined = human.merge(study.units[[*KEY, "mis", "in_split"]], on=KEY, how="inner")
    columns = [*KEY, "mis", "his", "his_se", "n_responses", "in_split"]
    joined = joined.sort_values(KEY, kind="stable", ignore_index=True)[columns].astype({"in_split": int})
    if len(joined) <= MOST_POINTS:
        return joined.assign(n=1)
    return thinned(joined, ["model", "in_split"], "mis", "his")


def draw_mis_against_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 3.9 if narrow else 4.3)
    networks = rated(study, set(frame["model"]))
    many, colours = len(networks) > style.MOST_PANELS, style.network_colours(study)
    for index, model in enumerate(networks):
        part = frame[(frame["model"] == model) & (frame["in_split"] == 0)]
        colour, marker = (
            (style.COLOURS[0], "o") if many else (colours.get(model, style.COLOURS[6]), style.MARKERS[index])
        )
        label = None if many else clean(model, 18)
        style.dots(axes, part, "mis", "his", label=label, color=colour, marker=marker)
    split = frame[frame["in_split"] == 1]
    ring = {"facecolors": "none", "edgecolors": style.INK, "linewidths": 0.8, "label": "used to fit the slope"}
    axes.scatter(split["mis"], split["his"], s=22, **ring)
    _equal(axes, frame)
    axes.set_title("share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    return style.with_key(figure, axes, narrow)


def _equal(axes: Axes, frame: pd.DataFrame) -> None:
    style.equal_line(axes, style.around(frame, "mis", "his"))
    axes.set_xlim(*style.around(frame, "mis"))
    axes.set_ylim(*style.around(frame, "his"))


def alt_mis_against_his(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Scatter of {frame['n'].sum()} scores of annotated units: MIS on the horizontal axis, from "
        f"{frame['mis'].min():.2f} to {frame['mis'].max():.2f}, and the share of right answers on the vertical one, from "
        f"{frame['his'].min():.2f} to {frame['his'].max():.2f}."
    )


MIS_AGAINST_HIS = Drawing("mis_against_his", mis_against_his, draw_mis_against_his, alt_mis_against_his)


def similarities_units(study: Study) -> pd.DataFrame:
    """MIS under every similarity beside HIS, unit by unit, with the correlations over units outside the split."""
    rows = study.tables["unit_points"]
    kept = rows[rows["in_split"] == 0]
    frame = thinned(kept, ["backend"], "mis", "his")
    table = study.tables["agreement"]
    of_backend = table[(table["level"] == "unit") & (table["units"] == "outside_split")].set_index("backend")
    for name in ("pearson", "spearman"):
        frame[name] = frame["backend"].map(of_backend[name]).astype(float)
    return in_order(frame, backend=study.backends, mis=None, his=None)


def draw_similarities_units(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    backends = list(dict.fromkeys(frame["backend"]))
    figure, grid = style.panels(narrow, len(backends), 2.1, columns=4, on_phone=2, share_y=True, extra=0.2)
    for backend, axes in zip(backends, grid, strict=True):
        rows = frame[frame["backend"] == backend]
        style.dots(axes, rows, "mis", "his", color=style.backend_style(study, backend)[0], alpha=0.5)
        _equal(axes, rows)
        axes.set_xlim(*style.around(frame, "mis"))
        axes.set_ylim(*style.around(frame, "his"))
        axes.set_title(f"{clean(study.called(backend), 15)}: r {signed(rows['pearson'].iloc[0])}")
    style.outer_labels(grid, "MIS", "HIS")
    style.note_slopes(grid[0], study, backends)
    return style.with_key(figure, grid[0], narrow)


def alt_similarities_units(frame: pd.DataFrame, study: Study) -> str:
    words = correlations(frame.assign(backend=frame["backend"].map(study.called)), "backend")
    note = study.footnote(frame["backend"])
    return f"MIS against HIS of {study.people}, unit by unit, one panel for each similarity: {words}.{note}"


SIMILARITIES_UNITS = Drawing("similarities_units", similarities_units, draw_similarities_units, alt_similarities_units)


def _bins(study: Study, backends: tuple[str, ...]) -> pd.DataFrame:
    rows = study.tables["his_bins"]
    return in_order(rows[rows["backend"].isin(backends)], backend=study.backends, bin=None)


def his_by_mis(study: Study) -> pd.DataFrame:
    """Mean share of right answers in bins of equally many units by MIS of the leading similarity."""
    return _bins(study, (study.lead,))


def his_by_mis_similarities(study: Study) -> pd.DataFrame:
    """The same for every similarity; nothing where there is only one."""
    return _bins(study, study.backends if len(study.backends) > 1 else ())


def draw_his_by_mis(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 3.2)
    axes.hlines(
        frame["his_mean"], frame["mis_from"], frame["mis_to"], color=style.COLOURS[0], alpha=style.BAND, linewidth=3
    )
    style.points_upright(axes, frame, "mis_mean", HIS, fmt="o", color=style.COLOURS[0])
    x_limits = style.around(frame, "mis_from", "mis_to")
    y_limits = style.around(frame, "his_low", "his_high", low=frame["mis_mean"].min(), high=frame["mis_mean"].max())
    style.equal_line(axes, x_limits)
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


HIS_BY_MIS = Drawing("his_by_mis", his_by_mis, draw_his_by_mis, alt_his_by_mis)


def draw_his_by_mis_similarities(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = style.canvas(narrow, 3.3)
    axes.set_ylim(*style.around(frame, *HIS))
    for backend, part in parts_of(frame, "backend"):
        colour, marker = style.backend_style(study, backend)
        look = {"fmt": marker, "color": colour, "linestyle": "-", "label": clean(study.called(backend), 18)}
        style.points_upright(axes, part, "mis_mean", HIS, **look)
    style.note_slopes(axes, study, frame["backend"])
    limits = style.around(frame, "mis_mean")
    style.equal_line(axes, limits)
    axes.set_xlim(*limits)
    axes.set_title("mean share of right answers (HIS)")
    axes.set_xlabel("mean MIS of the bin (dashed: equal)")
    return style.with_key(figure, axes, narrow)


def alt_his_by_mis_similarities(frame: pd.DataFrame, study: Study) -> str:
    def ends(backend: str, part: pd.DataFrame) -> str:
        means = part["his_mean"]
        return (
            f"{study.called(backend)} from {means.iloc[0]:.3f} in the lowest bin to {means.iloc[-1]:.3f} in the highest"
        )

    words, note = of_parts(frame, "backend", ends), study.footnote(frame["backend"])
    return f"Mean share of right answers in bins of units ordered by MIS, one line for each similarity: {words}.{note}"


HIS_BY_MIS_SIMILARITIES = Drawing(
    "his_by_mis_similarities", his_by_mis_similarities, draw_his_by_mis_similarities, alt_his_by_mis_similarities
)


def extreme_groups(study: Study) -> pd.DataFrame:
    """Mean HIS and MIS of easiest, random and hardest units by network; over all networks model is empty."""
    rows = study.tables["groups"]
    networks = [*rated(study, set(rows["model"]) - {""})[: style.MOST_SMALL], ""]
    if len(networks) == 2:  # one network is all of them
        networks = networks[:1]
    return in_order(rows[rows["model"].isin(networks)], model=networks, group=GROUPS)


def draw_extreme_groups(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, ((axes,),) = style.canvas(narrow, 1.2 + 0.62 * len(networks))
    heights = style.row_heights(axes, networks, narrow, [name or "all together" for name in networks])
    for index, group in enumerate(GROUPS):
        rows = frame[frame["group"] == group]
        at = rows["model"].map(heights).to_numpy() + 0.24 * (1 - index)
        look = {"fmt": style.MARKERS[index], "color": style.COLOURS[(2, 6, 1)[index]]}
        style.points_across(axes, rows, at, HIS, label=f"{group}, HIS", **look)
        mark = {"color": style.INK, "markersize": 9, "markeredgewidth": 1.6}
        axes.plot(rows["mis_mean"], at, "|", label=None if index < 2 else "mean MIS", **mark)
    style.rules_between(axes, heights.values())
    limits = style.around(frame, *HIS, "mis_mean", low=style.CHANCE)
    style.score_axis(axes, limits, "mean score of the units (dashed: chance)")
    return style.with_key(figure, axes, narrow)


def alt_extreme_groups(frame: pd.DataFrame, study: Study) -> str:
    last = frame[frame["model"] == frame["model"].iloc[-1]]
    words = of_rows(
        last,
        lambda row: f"{row.group} {row.his_mean:.3f}{between(row.his_low, row.his_high)}, MIS {row.mis_mean:.3f}",
    )
    return f"Mean HIS of {study.people} for easiest, random and hardest units, chosen by MIS: {words}."


EXTREME_GROUPS = Drawing("extreme_groups", extreme_groups, draw_extreme_groups, alt_extreme_groups)

FIGURES = (
    MODELS_MIS_HIS,
    MODELS_MIS_HIS_SYNTHETIC,
    MIS_AGAINST_HIS,
    HIS_BY_MIS,
    SIMILARITIES_UNITS,
    HIS_BY_MIS_SIMILARITIES,
    EXTREME_GROUPS,
)
