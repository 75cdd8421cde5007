"""Which networks are understandable? Networks ranked, and how their units are distributed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from interpretability.schema import NATURAL
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, rows_of
from study.report.figures.words import NO_CORRELATION, both_correlations, clean, courses, of_rows

MOST_RIDGES = 15  # five of the narrowest, the middle and the widest spread, as in the paper
MOST_LABELLED = 12
_PERCENTILES = ["p5", "p25", "p50", "p75", "p95"]
_MODEL_SERIES = ["rank", "model", *style.MIS, *_PERCENTILES, "margin_mean", "accuracy_mean", "top1"]
_MIS_OF_A_UNIT = "MIS of a unit (dashed: chance)"


def _ranked(study: Study) -> pd.DataFrame:
    """Study networks; none where there is one alone, which has no rank."""
    rows = study.models()
    return rows if len(rows) > 1 else rows.iloc[:0]


def models_ranked(study: Study) -> pd.DataFrame:
    """Study networks, most understandable first, with spread of their units; nothing for a single one."""
    rows = _ranked(study)
    return rows.assign(rank=np.arange(1, len(rows) + 1))[_MODEL_SERIES]


def models_by_p5(study: Study) -> pd.DataFrame:
    """The same networks by the 5th percentile of their units: which has the fewest hard ones."""
    rows = _ranked(study).sort_values(["p5", "model"], ascending=[False, True], ignore_index=True)
    return rows.assign(rank=np.arange(1, len(rows) + 1))[["rank", "model", "p5", "mis_mean", "p95"]]


def draw_models_by_p5(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    if len(frame) > style.MOST_NAMED:
        return _draw_models_curve(frame, narrow, "p5", "5th percentile")

    def draw(axes: Axes, heights: np.ndarray) -> None:
        colours = _colours(study, frame)
        axes.hlines(heights, frame["p5"], frame["mis_mean"], color=colours, linewidth=1.5)
        axes.scatter(frame["p5"], heights, s=28, color=colours, linewidths=0)
        axes.plot([], [], "o", color=style.MUTED, label="5th percentile of units")
        axes.plot(frame["mis_mean"], heights, "|", color=style.INK, markersize=10, markeredgewidth=2, label="mean")

    return _draw_models(frame, narrow, draw, "p5", style.around(frame, "p5", "mis_mean", low=style.CHANCE))


def _colours(study: Study, frame: pd.DataFrame) -> list[str]:
    """Colour of the network of every row."""
    colours = style.network_colours(study)
    return [colours[model] for model in frame["model"]]


def _draw_models(
    frame: pd.DataFrame,
    narrow: bool,
    draw: Callable[[Axes, np.ndarray], None],
    noted: str,
    limits: tuple[float, float],
) -> Figure:
    """A row a network with its marks, and the value of a column beside it."""
    figure, ((axes,),) = style.canvas(narrow, 1.15 + 0.3 * len(frame))
    heights = style.named_rows(axes, list(frame["model"]), narrow)
    draw(axes, heights)
    style.row_notes(axes, heights, frame[noted])
    style.score_axis(axes, limits, _MIS_OF_A_UNIT)
    return style.with_key(figure, axes, narrow)


def alt_models_by_p5(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"{len(frame)} networks ranked by the 5th percentile of the MIS of their units: highest {first['model']} with "
        f"{first['p5']:.3f}, lowest {last['model']} with {last['p5']:.3f}. Means lie between "
        f"{frame['mis_mean'].min():.3f} and {frame['mis_mean'].max():.3f}."
    )


MODELS_BY_P5 = Drawing("models_by_p5", models_by_p5, draw_models_by_p5, alt_models_by_p5)


def draw_models_ranked(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    if len(frame) > style.MOST_NAMED:
        return _draw_models_curve(frame, narrow, "mis_mean", "mean")

    def draw(axes: Axes, heights: np.ndarray) -> None:
        looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("p5", "p95", {"linewidth": 1.5, "label": "5th to 95th percentile"}),
            ("p25", "p75", {"linewidth": 8, "alpha": style.PALE, "label": "middle half"}),
        )
        for low, high, look in looks:
            axes.plot([], [], color=style.MUTED, **look)
            own: dict[str, Any] = {**look, "label": None, "color": _colours(study, frame)}
            axes.hlines(heights, frame[low], frame[high], **own)
        style.points_across(axes, frame, heights, fmt="o", color=style.INK, label="mean and its interval")

    limits = style.around(frame, "p5", "p95", "mis_low", "mis_high", low=style.CHANCE, high=1.0)
    return _draw_models(frame, narrow, draw, "mis_mean", limits)


def _draw_models_curve(frame: pd.DataFrame, narrow: bool, by: str, words: str) -> Figure:
    """Too many networks for names: rank on x, the best and the last named."""
    figure, ((axes,),) = style.canvas(narrow, 3.2)
    band = "5th to 95th percentile of units"
    axes.fill_between(
        frame["rank"], frame["p5"], frame["p95"], color=style.COLOURS[0], alpha=style.BAND, linewidth=0, label=band
    )
    axes.plot(frame["rank"], frame[by], color=style.COLOURS[0], label=words)
    axes.set_ylim(*style.around(frame, "p5", "p95", low=style.CHANCE, high=1.0))
    axes.margins(x=0.01)
    style.chance_line(axes, vertical=False)
    for row, side in ((frame.iloc[0], "left"), (frame.iloc[-1], "right")):
        name = clean(row["model"])
        axes.annotate(name, (row["rank"], row[by]), (0, -13), textcoords="offset points", ha=side)
    axes.set_title("MIS (dashed: chance)")
    axes.set_xlabel(f"networks, ranked by {'mean MIS' if by == 'mis_mean' else 'the 5th percentile of MIS'}")
    return style.with_key(figure, axes, narrow)


def alt_models_ranked(frame: pd.DataFrame, study: Study) -> str:
    def units(row: pd.Series) -> str:
        return f"{row['model']} with {row['mis_mean']:.3f} (units from {row['p5']:.2f} to {row['p95']:.2f})"

    ends = f"highest {units(frame.iloc[0])}, lowest {units(frame.iloc[-1])}"
    return f"{len(frame)} networks ranked by mean MIS under the similarity {study.lead}: {ends}."


MODELS_RANKED = Drawing("models_ranked", models_ranked, draw_models_ranked, alt_models_ranked)


def ridge_models(study: Study) -> list[str]:
    """Networks whose distribution is shown, narrowest spread (p95 - p5) first: all, or the ends and the middle of them."""
    rows = study.models()
    order = rows.assign(width=rows["p95"] - rows["p5"]).sort_values(["width", "model"], ignore_index=True)
    if len(order) <= MOST_RIDGES:
        return list(order["model"])
    third = MOST_RIDGES // 3
    start = (len(order) - third) // 2
    chosen = [*order["model"][:third], *order["model"][start : start + third], *order["model"][-third:]]
    return list(dict.fromkeys(chosen))


def unit_distribution(study: Study) -> pd.DataFrame:
    """Share of a network's units in each fortieth of the MIS scale; of layer types that enter rankings alone."""
    edges = np.linspace(0, 1, 41)
    parts = [pd.DataFrame(columns=["model", "low", "high", "share", "n"])]
    listed = study.units["layer_type"].isin(set(study.tables["layer_types"]["layer_type"]))
    for model in ridge_models(study):
        of_model = listed & (study.units["model"] == model) & (study.units["condition"] == NATURAL)
        values = study.units.loc[of_model, "mis"].to_numpy()
        if len(values):
            share = np.histogram(np.clip(values, 0, 1), bins=edges)[0] / len(values)
            bins = {"low": edges[:-1], "high": edges[1:], "share": share}
            parts.append(pd.DataFrame({"model": model, **bins, "n": len(values)}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def draw_unit_distribution(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    models = list(dict.fromkeys(frame["model"]))
    figure, ((axes,),) = style.canvas(narrow, 0.8 + 0.52 * len(models))
    heights = style.named_rows(axes, models, narrow)
    scale = 0.85 / frame["share"].max()
    colours = style.network_colours(study)
    for model, height in zip(models, heights, strict=True):
        part = frame[frame["model"] == model]
        x = np.append(part["low"], part["high"].iloc[-1])
        y = height + scale * np.append(part["share"], 0.0)
        axes.fill_between(x, height, y, step="post", color=colours[model], alpha=0.35, linewidth=0)
        axes.step(x, y, where="post", color=colours[model], linewidth=1)
        axes.axhline(height, color=style.RULE, linewidth=0.8, zorder=1)
    filled = frame[frame["share"] > 0]
    axes.set_ylim(-0.15, len(models) - 0.05)
    style.score_axis(axes, style.around(filled, "low", "high", low=style.CHANCE, high=1.0), _MIS_OF_A_UNIT)
    return figure


def alt_unit_distribution(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.loc[frame.groupby("model", sort=False)["share"].idxmax()]
    words = of_rows(peaks, lambda row: f"{row.model} {row.low:.3f} to {row.high:.3f}")
    return f"One histogram of unit MIS for each of {len(peaks)} networks. The fullest bin: {words}."


UNIT_DISTRIBUTION = Drawing("unit_distribution", unit_distribution, draw_unit_distribution, alt_unit_distribution)


def _against(study: Study, fact: str) -> pd.DataFrame:
    """Mean MIS of networks that have this fact, with its correlation over networks in every row."""
    rows = study.models()
    rows = rows[pd.to_numeric(rows[fact], errors="coerce").notna()]
    table = study.tables["correlations"]
    own = table[(table["backend"] == study.lead) & (table["level"] == "model") & (table["x"] == fact)]
    of_fact = {name: own[name].iloc[0] if len(own) else np.nan for name in ("pearson", "low", "high", "spearman")}
    return in_order(rows[["model", fact, *style.MIS]].assign(**of_fact), **{fact: None, "model": None})


def against_accuracy(study: Study) -> pd.DataFrame:
    """Mean MIS of networks beside their top-1 accuracy in percent."""
    return _against(study, "top1")


def against_resolution(study: Study) -> pd.DataFrame:
    """Mean MIS of networks beside the side of their input in pixels; none where all have one size.

    `of` is the network itself, of one that is read at several sizes in each of its rows. The correlation is with the logarithm
    of the side, over networks that are each counted once, at their own size.
    """
    rows = _against(study, "input_size")
    rows = rows.assign(of=pd.Series([study.itself(name) for name in rows["model"]], index=rows.index, dtype=object))
    return rows if rows["input_size"].nunique() > 1 else rows.iloc[:0]


def _draw_against(
    frame: pd.DataFrame, study: Study, narrow: bool, x: str, label: str, named: pd.Series | None = None
) -> Figure:
    """A point a network; `named` marks those whose names are drawn, all of them if it is not given."""
    height = 3.2
    figure, ((axes,),) = style.canvas(narrow, height)
    shown = frame if named is None else frame[named]
    many = len(shown) > MOST_LABELLED
    if many:
        style.points_upright(axes, frame, x, fmt="o", color=style.COLOURS[0], alpha=style.PALE)
    for index, colour in enumerate([] if many else _colours(study, frame)):
        style.points_upright(axes, frame.iloc[index : index + 1], x, fmt="o", color=colour)
    low, high = style.around(frame, *style.MIS)
    lift = 8.0 if len(shown) < len(frame) else 0.0  # off the lines
    axes.set_ylim(low, high + (0.06 * (high - low) if lift and not many else 0.0))
    style.room_for_names(axes, frame, x)
    if not many:
        style.name_points(axes, shown, x, "mis_mean", "model", height, lift=lift)
    words = _correlation_words(frame)
    axes.set_title(f"mean MIS; {words}" if words else "mean MIS")
    axes.set_xlabel(label)
    return figure


def _correlation_words(frame: pd.DataFrame) -> str:
    row = frame.iloc[0]
    if np.isnan(row["pearson"]):
        return ""
    return both_correlations(row)


def draw_against_accuracy(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    return _draw_against(frame, study, narrow, "top1", "top-1 accuracy, %")


def draw_against_resolution(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    once = ~frame.duplicated("of", keep=False) | ~frame.duplicated(
        "of", keep="last"
    )  # one name a line, at its largest size
    coloured = frame.assign(model=frame["of"])
    figure = _draw_against(coloured, study, narrow, "input_size", "side of the input, pixels", named=once)
    colours = style.network_colours(study)
    for name, rows in coloured.groupby("model", sort=False):
        figure.axes[0].plot(rows["input_size"], rows["mis_mean"], color=colours[str(name)], linewidth=1, zorder=1)
    sizes = np.unique(frame["input_size"])
    if len(sizes) <= 6:
        figure.axes[0].xaxis.set_major_locator(FixedLocator(sizes.tolist()))
    return figure


def _alt_against(frame: pd.DataFrame, x: str, what: str) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    words = _correlation_words(frame)
    return (
        f"Mean MIS of {len(frame)} networks against {what}: {first['model']} with {first[x]:g} has "
        f"{first['mis_mean']:.3f}, {last['model']} with {last[x]:g} has {last['mis_mean']:.3f}; "
        f"{f'{words} over networks' if words else NO_CORRELATION}."
    )


def alt_against_accuracy(frame: pd.DataFrame, study: Study) -> str:
    return _alt_against(frame, "top1", "top-1 accuracy in percent")


MIS_AGAINST_ACCURACY = Drawing("mis_against_accuracy", against_accuracy, draw_against_accuracy, alt_against_accuracy)


def alt_against_resolution(frame: pd.DataFrame, study: Study) -> str:
    several = frame[frame.duplicated("of", keep=False)]
    told = _alt_against(frame, "input_size", "the side of their input in pixels")
    return f"{told} The same network at several sizes: {size_words(several)}." if len(several) else told


def size_words(frame: pd.DataFrame) -> str:
    """Mean MIS of each network at its smallest and at its largest input."""
    return courses(frame, "of", "input_size", "side")


MIS_AGAINST_RESOLUTION = Drawing(
    "mis_against_resolution", against_resolution, draw_against_resolution, alt_against_resolution
)


def constant_share(study: Study) -> pd.DataFrame:
    """Share of constant units of every ranked network, highest first; none where no network has any."""
    rows = study.models()
    rows = rows.assign(share=rows["n_constant"] / (rows["n_units"] + rows["n_constant"]))
    rows = rows.sort_values(["share", "model"], ascending=[False, True], ignore_index=True)
    rows = rows.assign(rank=np.arange(1, len(rows) + 1))[["rank", "model", "n_units", "n_constant", "share"]]
    return rows if (rows["share"] > 0).any() else rows.iloc[:0]


def draw_constant_share(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    percent = 100 * frame["share"]
    if len(frame) > style.MOST_NAMED:
        figure, ((axes,),) = style.canvas(narrow, 2.8)
        axes.fill_between(frame["rank"], 0, percent, step="mid", color=style.COLOURS[0], linewidth=0)
        axes.set_ylim(0, None)
        axes.set_title("constant units, % of a network's units")
        axes.set_xlabel("networks, ranked by their share of constant units")
        return figure
    figure, ((axes,),) = style.canvas(narrow, 0.9 + 0.3 * len(frame))
    heights = style.named_rows(axes, list(frame["model"]), narrow)
    axes.barh(heights, percent, height=0.6, color=_colours(study, frame))
    for height, row in zip(heights, rows_of(frame), strict=True):
        style.row_note(axes, height, f"{row.n_constant:,} of {row.n_units + row.n_constant:,}", style.MUTED)
    axes.set_xlim(0, max(1.0, 1.05 * percent.max()))
    axes.set_xlabel("constant units, % of a network's units")
    return figure


def alt_constant_share(frame: pd.DataFrame, study: Study) -> str:
    above = [(frame["share"] > limit).sum() for limit in (0, 0.01, 0.05)]
    return (
        f"Share of constant units in {len(frame)} networks: {len(frame) - above[0]} have none, {above[1]} more than 1 %, "
        f"{above[2]} more than 5 %. The highest is {frame['model'].iloc[0]} with {100 * frame['share'].iloc[0]:.2g} %."
    )


CONSTANT_SHARE = Drawing("constant_share", constant_share, draw_constant_share, alt_constant_share)

FIGURES = (MODELS_RANKED, MODELS_BY_P5, UNIT_DISTRIBUTION, MIS_AGAINST_ACCURACY, MIS_AGAINST_RESOLUTION, CONSTANT_SHARE)
