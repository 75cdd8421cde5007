"""Figures of the report: a table of the series behind each one, and a drawing made from that table alone.

Every figure is drawn from its CSV as read back from disk, so the file beside it holds exactly what is
shown. Two widths are drawn, one for a text column and one for a phone. SVG keeps its words as text and
holds no date.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from scipy.optimize import isotonic_regression

from stages.pipeline.tables import KEY

INK, MUTED, RULE = "#1b2430", "#55606e", "#d5dbe2"
# Okabe and Ito's colours, the pale ones darkened to a contrast of 3:1 on white; markers differ too
COLOURS = ("#0072b2", "#d55e00", "#00845f", "#b0568d", "#3f8fc0", "#a87700", "#6b6f76")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LAYER_TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm", "Other")
FONT_SIZE = 9.0
WIDE, NARROW = 6.7, 3.6  # inches: the text column, and a phone
CHANCE = 0.5
MOST_NAMED = 40  # networks that still get a row of their own
MOST_PANELS = 6
MOST_RIDGES = 12
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the layout is the same on every machine
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.titlelocation": "left",
    "axes.titlecolor": MUTED,
    "axes.labelsize": FONT_SIZE,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#9aa4af",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8ebef",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "machine-interpretability",
}


@dataclass(frozen=True)
class Study:
    """What the figures draw: the study's tables, and unit-level values of the networks shown.

    `units` holds the leading backend's units of some study networks (key, layer_type, mis, mis_se, accuracy,
    margin_mean, in_split); `human` the annotated units; `curve` the calibration losses.
    """

    backends: tuple[str, ...]
    confidence: float
    n_tasks: int
    n_explanations: int
    tables: dict[str, pd.DataFrame]
    units: pd.DataFrame
    human: pd.DataFrame
    curve: pd.DataFrame

    @property
    def lead(self) -> str:
        """The backend that leads the report."""
        return self.backends[0]

    @property
    def z(self) -> float:
        """Standard errors on either side of a mean at this confidence."""
        return NormalDist().inv_cdf((1 + self.confidence) / 2)

    def models(self, backend: str | None = None) -> pd.DataFrame:
        """Rows of models.csv that enter rankings (study networks, last step), most understandable first."""
        frame = self.tables["models"]
        rows = frame[(frame["role"] == "study") & (frame["last"] == 1) & (frame["backend"] == (backend or self.lead))]
        return rows.sort_values(["mis_mean", "model"], ascending=[False, True], ignore_index=True)


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its series, its drawing, its description in words, and what stands there without data."""

    name: str
    series: Callable[[Study], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Study, bool], Figure]
    alt: Callable[[pd.DataFrame, Study], str]
    absent: str


# --------------------------------------------------------------------------- style


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The one style of all figures, whatever a user's matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def to_svg(figure: Figure, title: str) -> str:
    """SVG text of a figure: no date, no program name, no outside reference, words in the reader's font."""
    buffer = io.StringIO()
    plain = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata={"Title": clean(title, 200), **plain})
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", buffer.getvalue(), count=1)
    return text.replace("font-family: 'DejaVu Sans'", f"font-family: {_FONTS}")


def render(spec: FigureSpec, frame: pd.DataFrame, study: Study, title: str, *, narrow: bool) -> str:
    """SVG of one figure in one width."""
    with style():
        return to_svg(spec.draw(frame, study, narrow), title)


def clean(value: object, most: int = 26) -> str:
    """A name from the data as one short printable line: SVG allows no control characters."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    if len(text) <= most:
        return text
    return text[: (most - 1) // 2 + 1] + "…" + text[len(text) - (most - 1) // 2 :]


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Positions moved apart as little as possible until neighbours are `gap` away; same order as given."""
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(positions))
    moved = np.empty(len(positions))
    moved[order] = isotonic_regression(np.asarray(positions, dtype=float)[order] - steps).x + steps
    return moved


def _canvas(
    narrow: bool, height: float, rows: int = 1, columns: int = 1, *, share_y: bool = False
) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(NARROW if narrow else WIDE, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    return figure, axes


def _key(figure: Figure, axes: Axes, narrow: bool) -> None:
    """Key above the panels, from the labelled artists of one panel, in as few rows as fit, read row by row."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    letters = 44 if narrow else 88  # about what fits in a line, six for each mark
    columns = max(
        n
        for n in range(1, len(labels) + 1)
        if n == 1 or sum(max(map(len, labels[i::n])) + 6 for i in range(n)) <= letters
    )
    order = [i for column in range(columns) for i in range(column, len(labels), columns)]  # matplotlib fills by column
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside upper left", ncols=columns)


def _rows(axes: Axes, names: list[str], narrow: bool) -> np.ndarray:
    """Named rows from top to bottom; returns their heights."""
    heights = np.arange(len(names))[::-1].astype(float)
    axes.set_yticks(heights, [clean(name, 19 if narrow else 26) for name in names], color=INK)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    return heights


def _chance(axes: Axes, *, vertical: bool) -> None:
    """Line at the level of guessing."""
    line = axes.axvline if vertical else axes.axhline
    line(CHANCE, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]], height: float) -> None:
    """Names beside the right ends of lines, moved apart: (place, text, colour); panel `height` in inches."""
    if not ends:
        return
    low, high = axes.get_ylim()
    points = height * 72 * 0.72  # about the height of the plotting area
    gap = (high - low) * FONT_SIZE * 1.25 / points
    places = spread(np.array([end[0] for end in ends]), gap)
    for (_, words, colour), place in zip(ends, places, strict=True):
        _row_note(axes, place, clean(words, 18), _darker(colour))


def _darker(colour: str) -> str:
    """The colour of words that name a line: dark enough to read."""
    return mpl.colors.to_hex(np.array(mpl.colors.to_rgb(colour)) * 0.72)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _backend_style(study: Study, backend: str) -> tuple[str, str]:
    index = study.backends.index(backend) if backend in study.backends else len(study.backends)
    return _colour(index), MARKERS[index % len(MARKERS)]


MIS = ("mis_mean", "mis_low", "mis_high")


def _reach(rows: pd.DataFrame, columns: tuple[str, str, str]) -> np.ndarray:
    """Lengths of the interval below and above each mean; a missing interval has none."""
    mean, low, high = (rows[name].to_numpy(dtype=float) for name in columns)
    return np.nan_to_num(np.clip(np.array([mean - low, high - mean]), 0, None))


def _upright(axes: Axes, rows: pd.DataFrame, x: str, columns: tuple[str, str, str] = MIS, **look: Any) -> None:
    """Points over a column of the table, with upright intervals."""
    axes.errorbar(rows[x], rows[columns[0]], yerr=_reach(rows, columns), capsize=0, elinewidth=1.3, **look)


def _across(
    axes: Axes, rows: pd.DataFrame, heights: np.ndarray, columns: tuple[str, str, str] = MIS, **look: Any
) -> None:
    """Points on given rows, with intervals across."""
    axes.errorbar(rows[columns[0]], heights, xerr=_reach(rows, columns), capsize=0, elinewidth=1.3, **look)


def _row_note(axes: Axes, height: float, words: str, colour: str = INK) -> None:
    """Words to the right of a row or a line's end."""
    axes.annotate(
        words,
        (1, height),
        (5, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=colour,
        annotation_clip=False,
    )


def _around(
    frame: pd.DataFrame, *columns: str, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """Axis limits around all finite values of the columns, with a margin; `low` and `high` are always inside."""
    numbers = np.append(frame[list(columns)].to_numpy(dtype=float), [v for v in (low, high) if v is not None])
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return 0.0, 1.0
    margin = 0.04 * (numbers.max() - numbers.min() or 1.0)
    return float(numbers.min() - margin), float(numbers.max() + margin)


def _plain_log(axes: Axes, values: np.ndarray) -> None:
    """Logarithmic x axis with ordinary numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(values.tolist()))))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _places(names: Iterable[str]) -> dict[str, int]:
    """Place of each name in an order."""
    return {name: place for place, name in enumerate(names)}


# --------------------------------------------------------------------------- 1 networks

_MODEL_SERIES = [
    "rank",
    "model",
    "mis_mean",
    "mis_low",
    "mis_high",
    "p5",
    "p25",
    "p50",
    "p75",
    "p95",
    "margin_mean",
    "accuracy_mean",
    "top1",
]


def models_ranked(study: Study) -> pd.DataFrame:
    """Study networks, most understandable first, with spread of their units."""
    rows = study.models()
    return rows.assign(rank=np.arange(1, len(rows) + 1))[_MODEL_SERIES]


def draw_models_ranked(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    if len(frame) > MOST_NAMED:
        return _draw_models_curve(frame, narrow)
    figure, ((axes,),) = _canvas(narrow, 1.15 + 0.3 * len(frame))
    heights = _rows(axes, list(frame["model"]), narrow)
    axes.hlines(heights, frame["p5"], frame["p95"], color="#cfe0ee", linewidth=8, label="5th to 95th percentile")
    axes.hlines(heights, frame["p25"], frame["p75"], color="#8fbadb", linewidth=8, label="middle half")
    _across(axes, frame, heights, fmt="o", color=INK, label="mean and its interval")
    for height, mean in zip(heights, frame["mis_mean"], strict=True):
        _row_note(axes, height, f"{mean:.3f}")
    axes.set_xlim(*_around(frame, "p5", "p95", "mis_low", "mis_high", low=CHANCE, high=1.0))
    _chance(axes, vertical=True)
    axes.set_xlabel("MIS of a unit (dashed: chance)")
    _key(figure, axes, narrow)
    return figure


def _draw_models_curve(frame: pd.DataFrame, narrow: bool) -> Figure:
    """Too many networks for names: rank on x, the best and the last named."""
    figure, ((axes,),) = _canvas(narrow, 3.2)
    axes.fill_between(
        frame["rank"], frame["p5"], frame["p95"], color="#cfe0ee", linewidth=0, label="5th to 95th percentile"
    )
    axes.plot(frame["rank"], frame["mis_mean"], color=COLOURS[0], label="mean")
    axes.set_ylim(*_around(frame, "p5", "p95", low=CHANCE, high=1.0))
    _chance(axes, vertical=False)
    for row, side in ((frame.iloc[0], "left"), (frame.iloc[-1], "right")):
        axes.annotate(clean(row["model"]), (row["rank"], row["mis_mean"]), (0, 8), textcoords="offset points", ha=side)
    axes.set_title("MIS (dashed: chance)")
    axes.set_xlabel("networks, ranked by mean MIS")
    _key(figure, axes, narrow)
    return figure


def alt_models_ranked(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"{len(frame)} networks ranked by mean MIS under the similarity {study.lead}: highest {first['model']} with "
        f"{first['mis_mean']:.3f} (units from {first['p5']:.2f} to {first['p95']:.2f}), lowest {last['model']} with "
        f"{last['mis_mean']:.3f} (units from {last['p5']:.2f} to {last['p95']:.2f})."
    )


def ridge_models(study: Study) -> list[str]:
    """Networks whose distribution is shown: all, or those with narrowest, middle and widest spread."""
    rows = study.models()
    if len(rows) <= MOST_RIDGES:
        return list(rows["model"])
    order = rows.assign(width=rows["p95"] - rows["p5"]).sort_values(["width", "model"], ignore_index=True)
    third, middle = MOST_RIDGES // 3, len(order) // 2
    chosen = pd.concat([order.iloc[:third], order.iloc[middle - third // 2 :].iloc[:third], order.iloc[-third:]])
    return [name for name in rows["model"] if name in set(chosen["model"])]


def unit_distribution(study: Study) -> pd.DataFrame:
    """Share of a network's units in each fortieth of the MIS scale."""
    edges = np.linspace(0, 1, 41)
    parts = []
    for model in ridge_models(study):
        of_model = (study.units["model"] == model) & (study.units["condition"] == "natural")
        values = study.units.loc[of_model, "mis"].to_numpy()
        if len(values):
            share = np.histogram(np.clip(values, 0, 1), bins=edges)[0] / len(values)
            parts.append(
                pd.DataFrame({"model": model, "low": edges[:-1], "high": edges[1:], "share": share, "n": len(values)})
            )
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["model", "low", "high", "share", "n"])
    )


def draw_unit_distribution(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    models = list(dict.fromkeys(frame["model"]))
    figure, ((axes,),) = _canvas(narrow, 0.8 + 0.52 * len(models))
    heights = _rows(axes, models, narrow)
    scale = 0.85 / frame["share"].max()
    for model, height in zip(models, heights, strict=True):
        part = frame[frame["model"] == model]
        x = np.append(part["low"], part["high"].iloc[-1])
        y = height + scale * np.append(part["share"], 0.0)
        axes.fill_between(x, height, y, step="post", color=COLOURS[0], alpha=0.35, linewidth=0)
        axes.step(x, y, where="post", color=COLOURS[0], linewidth=1)
        axes.axhline(height, color=RULE, linewidth=0.8, zorder=1)
    filled = frame[frame["share"] > 0]
    axes.set_ylim(-0.15, len(models) - 0.05)
    axes.set_xlim(*_around(filled, "low", "high", low=CHANCE, high=1.0))
    _chance(axes, vertical=True)
    axes.set_xlabel("MIS of a unit (dashed: chance)")
    return figure


def alt_unit_distribution(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.loc[frame.groupby("model", sort=False)["share"].idxmax()]
    words = "; ".join(f"{row.model} {row.low:.3f} to {row.high:.3f}" for row in peaks.itertuples())
    return f"One histogram of unit MIS for each of {len(peaks)} networks. The fullest bin: {words}."


# --------------------------------------------------------------------------- 2 people


def mis_against_his(study: Study) -> pd.DataFrame:
    """MIS of the leading similarity beside the share of right answers, annotated units only."""
    human = study.human[[*KEY, "his", "his_se", "n_responses"]]
    joined = human.merge(study.units[[*KEY, "mis", "in_split"]], on=KEY, how="inner")
    columns = [*KEY, "mis", "his", "his_se", "n_responses", "in_split"]
    return joined.sort_values(KEY, ignore_index=True)[columns].astype({"in_split": int})


def draw_mis_against_his(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = _canvas(narrow, 3.9 if narrow else 4.3)
    rated = set(frame["model"])
    ranked = [name for name in study.models()["model"] if name in rated]
    models = ranked + sorted(rated - set(ranked))
    many = len(models) > MOST_PANELS
    for index, model in enumerate(models):
        part = frame[(frame["model"] == model) & (frame["in_split"] == 0)]
        look = {"color": COLOURS[0], "marker": "o"} if many else {"color": _colour(index), "marker": MARKERS[index]}
        axes.scatter(
            part["mis"], part["his"], s=15, alpha=0.6, linewidths=0, label=None if many else clean(model, 18), **look
        )
    split = frame[frame["in_split"] == 1]
    axes.scatter(
        split["mis"],
        split["his"],
        s=22,
        facecolors="none",
        edgecolors=INK,
        linewidths=0.8,
        label="used to fit the slope",
    )
    low, high = _around(frame, "mis", "his")
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*_around(frame, "mis"))
    axes.set_ylim(*_around(frame, "his"))
    axes.set_title("share of right answers (HIS)")
    axes.set_xlabel(f"MIS, similarity {clean(study.lead)} (dashed: equal)")
    _key(figure, axes, narrow)
    return figure


def alt_mis_against_his(frame: pd.DataFrame, study: Study) -> str:
    return (
        f"Scatter of {len(frame)} scores of annotated units: MIS on the horizontal axis, from {frame['mis'].min():.2f} to "
        f"{frame['mis'].max():.2f}, and the share of right answers on the vertical one, from {frame['his'].min():.2f} "
        f"to {frame['his'].max():.2f}."
    )


def his_by_mis(study: Study) -> pd.DataFrame:
    """Mean share of right answers in bins of equally many units by MIS; calibration units left out."""
    columns = ["bin", "n", "mis_from", "mis_to", "mis_mean", "his_mean", "his_low", "his_high"]
    units = mis_against_his(study)
    units = units[units["in_split"] == 0].sort_values(["mis", *KEY], ignore_index=True)
    n_bins = min(10, len(units) // 5)  # five units are the fewest that give a usable interval
    rows = []
    for number, index in enumerate(np.array_split(np.arange(len(units)), n_bins) if n_bins else []):
        part = units.iloc[index]
        mean, error = part["his"].mean(), part["his"].std(ddof=1) / np.sqrt(len(part))
        ends = (part["mis"].min(), part["mis"].max(), part["mis"].mean())
        rows.append((number + 1, len(part), *ends, mean, mean - study.z * error, mean + study.z * error))
    return pd.DataFrame(rows, columns=columns)


def draw_his_by_mis(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = _canvas(narrow, 3.2)
    axes.hlines(frame["his_mean"], frame["mis_from"], frame["mis_to"], color="#8fbadb", linewidth=3)
    _upright(axes, frame, "mis_mean", ("his_mean", "his_low", "his_high"), fmt="o", color=COLOURS[0])
    x_limits = _around(frame, "mis_from", "mis_to")
    y_limits = _around(frame, "his_low", "his_high", low=frame["mis_mean"].min(), high=frame["mis_mean"].max())
    axes.plot(x_limits, x_limits, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
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


_AGREEMENT_PANELS = {"unit": "all units together", "unit_within": "inside a network"}
CEILING_VARIANT = "V4"


def agreement(study: Study) -> pd.DataFrame:
    """Correlations of MIS with HIS over units outside the calibration split, and the noise ceiling."""
    table = study.tables["agreement"]
    rows = table[(table["units"] == "outside_split") & table["level"].isin(_AGREEMENT_PANELS)]
    parts = [
        rows[["backend", "level", "n"]].assign(measure=m, value=rows[m], low=rows[f"{m}_low"], high=rows[f"{m}_high"])
        for m in ("pearson", "spearman")
    ]
    ceiling = leading_ceiling(study)
    if ceiling is not None and len(rows):
        line = {"backend": "", "level": "unit", "n": ceiling["n_units"], "measure": "ceiling"}
        parts.append(pd.DataFrame([{**line, "value": ceiling["mean"], "low": ceiling["low"], "high": ceiling["high"]}]))
    return pd.concat(parts, ignore_index=True)


def leading_ceiling(study: Study) -> pd.Series | None:
    """The leading variant of the noise ceiling over all units, or None."""
    table = study.tables["noise_ceiling"]
    # rows with a similarity hold its share of the ceiling
    rows = table[(table["variant"] == CEILING_VARIANT) & (table["backend"] == "") & table["mean"].notna()]
    if rows.empty:
        return None
    whole = rows[rows["subset"] == "all"]
    return (whole if len(whole) else rows).iloc[0]


def draw_agreement(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    levels = [level for level in _AGREEMENT_PANELS if level in set(frame["level"])]
    backends = [name for name in study.backends if name in set(frame["backend"])]
    grid = (len(levels), 1) if narrow else (1, len(levels))
    figure, panels = _canvas(narrow, (1.0 + 0.36 * len(backends)) * grid[0] + 0.35, *grid)
    limits = _around(frame, "value", "low", "high", low=0.0, high=1.0)
    for level, axes in zip(levels, panels.flat, strict=True):
        heights = _rows(axes, backends, narrow)
        part = frame[frame["level"] == level]
        for measure, shift, face in (("pearson", 0.13, None), ("spearman", -0.13, "white")):
            rows = part[part["measure"] == measure].set_index("backend").reindex(backends)
            _across(
                axes,
                rows,
                heights + shift,
                ("value", "low", "high"),
                fmt="o" if face is None else "s",
                color=COLOURS[0] if face is None else COLOURS[1],
                markerfacecolor=face,
                label=measure.capitalize(),
            )
        for row in part[part["measure"] == "ceiling"].itertuples():
            axes.axvspan(row.low, row.high, color="#e3e7ec", linewidth=0, zorder=0)
            axes.axvline(row.value, color=MUTED, linewidth=1.2, zorder=1, label="noise ceiling of Pearson")
        axes.axvline(0, color=RULE, linewidth=1, zorder=1)
        axes.set_xlim(*limits)
        axes.set_title(_AGREEMENT_PANELS[level])
        axes.set_xlabel("correlation of MIS with HIS")
    if len(levels) > 1 and not narrow:
        panels.flat[1].tick_params(labelleft=False)
    _key(figure, panels.flat[0], narrow)
    return figure


def alt_agreement(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["level"] == "unit") & (frame["measure"] == "pearson")]
    words = "; ".join(f"{row.backend} {row.value:.2f}{_between(row.low, row.high)}" for row in rows.itertuples())
    ceiling = frame[frame["measure"] == "ceiling"]
    end = f" The noise ceiling is {ceiling['value'].iloc[0]:.2f}." if len(ceiling) else ""
    return f"Correlation of MIS with the share of right answers over units, Pearson: {words}.{end}"


def _between(low: float, high: float) -> str:
    return "" if np.isnan(low) or np.isnan(high) else f" (interval {low:.2f} to {high:.2f})"


# --------------------------------------------------------------------------- 3 layers


def layer_types(study: Study) -> pd.DataFrame:
    """Mean MIS of one layer type in one network; the row without a network is the mean over networks."""
    table, names = study.tables["layer_types"], list(study.models()["model"])
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    rows = rows[["layer_type", "model", "n_units", "mis_mean", "mis_se"]]
    mean = rows.groupby("layer_type", as_index=False).agg(n_units=("n_units", "sum"), mis_mean=("mis_mean", "mean"))
    both = pd.concat([rows, mean.assign(model="", mis_se=np.nan)], ignore_index=True)
    place = both["layer_type"].map(_places(LAYER_TYPES))
    order = both["model"].map(_places(names)).fillna(len(names))
    return both.assign(a=place, b=order).sort_values(["a", "b"], ignore_index=True).drop(columns=["a", "b"])


def draw_layer_types(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    kinds = list(dict.fromkeys(frame["layer_type"]))
    figure, ((axes,),) = _canvas(narrow, 1.4 + 0.42 * len(kinds))
    heights = dict(zip(kinds, _rows(axes, kinds, narrow), strict=True))
    models = [name for name in study.models()["model"] if name in set(frame["model"])]
    few = len(models) <= MOST_PANELS
    for index, model in enumerate(models):
        part = frame[frame["model"] == model]
        look = (
            {"color": _colour(index), "marker": MARKERS[index % len(MARKERS)]}
            if few
            else {"color": MUTED, "marker": "."}
        )
        shift = 0.2 - 0.4 * index / max(len(models) - 1, 1)
        axes.plot(
            part["mis_mean"],
            part["layer_type"].map(heights) + shift,
            linestyle="none",
            label=clean(model, 18) if few else None,
            **look,
        )
    mean = frame[frame["model"] == ""]
    axes.plot(
        mean["mis_mean"],
        mean["layer_type"].map(heights),
        linestyle="none",
        marker="|",
        markersize=18,
        markeredgewidth=2,
        color=INK,
        label="mean over networks",
    )
    for row in mean.itertuples():
        _row_note(axes, heights[row.layer_type], f"{row.n_units:,} units", MUTED)
    axes.set_xlabel("mean MIS")
    _key(figure, axes, narrow)
    return figure


def alt_layer_types(frame: pd.DataFrame, study: Study) -> str:
    mean = frame[frame["model"] == ""].sort_values("mis_mean", ascending=False)
    words = ", ".join(f"{row.layer_type} {row.mis_mean:.3f}" for row in mean.itertuples())
    return (
        f"Mean MIS of each layer type, averaged over networks, highest first: {words}. Small marks are single networks."
    )


def depth(study: Study) -> pd.DataFrame:
    """Mean MIS of layers against relative depth: every layer of few networks, ten bins a layer type of many."""
    names = list(study.models()["model"])
    table = study.tables["layers"]
    rows = table[(table["backend"] == study.lead) & table["model"].isin(names)]
    columns = ["panel", "layer_type", "depth", "mis_mean", "mis_low", "mis_high", "n"]
    if len(names) <= MOST_PANELS:
        rows = rows.assign(
            place=rows["model"].map(_places(names)),
            panel=rows["model"],
            n=rows["n_units"],
            mis_low=rows["mis_mean"] - study.z * rows["mis_se"],
            mis_high=rows["mis_mean"] + study.z * rows["mis_se"],
        )
        return rows.sort_values(["place", "layer_index"], ignore_index=True)[columns]
    parts = []
    for kind in [name for name in LAYER_TYPES if name in set(rows["layer_type"])]:
        part = rows[rows["layer_type"] == kind].sort_values(["depth", "model", "layer"], ignore_index=True)
        for index in np.array_split(np.arange(len(part)), min(10, len(part))):
            group = part.iloc[index]
            reach = study.z * group["mis_mean"].std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
            mean = group["mis_mean"].mean()
            parts.append(("", kind, group["depth"].mean(), mean, mean - reach, mean + reach, len(group)))
    return pd.DataFrame(parts, columns=columns)


def draw_depth(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    panels = list(dict.fromkeys(frame["panel"]))
    columns = 1 if narrow or len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    height = 2.9 if len(panels) == 1 else 1.75 * rows + 0.5
    figure, grid = _canvas(narrow, height, rows, columns, share_y=True)
    kinds = [name for name in LAYER_TYPES if name in set(frame["layer_type"])]
    limits = _around(frame, "mis_mean", "mis_low", "mis_high")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for panel, axes in zip(panels, grid.flat, strict=False):
        for kind in kinds:
            part = frame[(frame["panel"] == panel) & (frame["layer_type"] == kind)]
            index = LAYER_TYPES.index(kind)
            # drawn empty too, so that the first panel's key names every type
            _upright(
                axes, part, "depth", fmt=MARKERS[index], color=_colour(index), linestyle="-", linewidth=1.2, label=kind
            )
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(*limits)
        axes.set_title(clean(panel) or "mean MIS")
    for axes in grid[-1]:
        axes.set_xlabel("relative depth of the layer")
    _key(figure, grid.flat[0], narrow)
    return figure


def alt_depth(frame: pd.DataFrame, study: Study) -> str:
    panels = list(dict.fromkeys(frame["panel"]))
    what = f"one panel for each of {len(panels)} networks" if panels != [""] else "all networks together"
    low, high = frame.loc[frame["mis_mean"].idxmin()], frame.loc[frame["mis_mean"].idxmax()]
    return (
        f"Mean MIS of layers against relative depth, one line for each layer type, {what}. Lowest "
        f"{low['mis_mean']:.3f} at depth {low['depth']:.2f} ({low['layer_type']}), highest {high['mis_mean']:.3f} at "
        f"depth {high['depth']:.2f} ({high['layer_type']})."
    )


# --------------------------------------------------------------------------- 4 controls


_FAMILIES = {"mixture": "as they are", "mixture_rectified": "rectified: mostly exact zeros"}


def dose_response(study: Study) -> pd.DataFrame:
    """Mean MIS of planted units against rho, the weight of a visible factor, a row a family, similarity and rho."""
    table = study.tables["controls"]
    family = table["control"].astype(str).str.replace(r"_[0-9.]+$", "", regex=True)
    columns = ["family", "backend", "rho", "n_units", "mis_mean", "mis_low", "mis_high"]
    parts = [_pooled(table[family == name].assign(family=name), "rho", study)[columns] for name in _FAMILIES]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def control_levels(study: Study) -> pd.DataFrame:
    """Mean MIS of every other control, one row a similarity."""
    table = study.tables["controls"]
    rows = table[~table["control"].astype(str).str.startswith("mixture") & table["mis_mean"].notna()]
    return _pooled(rows, "control", study)[["backend", "control", "n_units", "mis_mean", "mis_low", "mis_high"]]


# those that must lie at chance first, those that need not last
_CONTROLS = ("hash", "hash_rectified", "permuted", "mixture", "mixture_rectified", "factor", "duplicate", "negated")


def control_places(names: pd.Series) -> pd.Series:
    """Place of each control in figures and tables: kinds together, those expected at chance first."""
    kind = names.astype(str).str.replace(r":.*$|_[0-9.]+$", "", regex=True)  # permuted:NAME, mixture_0.25
    return kind.map(_places(dict.fromkeys([*_CONTROLS, *kind[kind != "untrained"], *kind])))


def _pooled(rows: pd.DataFrame, by: str, study: Study) -> pd.DataFrame:
    """The rows over all factors, similarities in the study's order."""
    rows = rows[rows["factor"].astype(str) == ""]
    place = rows["backend"].map(_places(study.backends)).fillna(len(study.backends))
    within = control_places(rows[by]) if by == "control" else rows[by]
    return rows.assign(a=place, b=within).sort_values(["a", "b"], kind="stable", ignore_index=True)


def draw_dose_response(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    families = list(dict.fromkeys(frame["family"]))
    shape = (len(families), 1) if narrow else (1, len(families))
    figure, grid = _canvas(narrow, 2.7 * shape[0] + 0.3, *shape, share_y=True)
    for family, axes in zip(families, grid.flat, strict=True):
        rows = frame[frame["family"] == family]
        axes.set_ylim(*_around(frame, *MIS, low=CHANCE))
        ends = []
        for backend, part in rows.groupby("backend", sort=False):
            colour, marker = _backend_style(study, backend)
            _upright(axes, part, "rho", fmt=marker, color=colour, linestyle="-")
            ends.append((part["mis_mean"].iloc[-1], backend, colour))
        _chance(axes, vertical=False)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows["rho"]))))
        axes.set_title(f"mean MIS, units {_FAMILIES[family]}")
        axes.set_xlabel("rho: weight of a visible factor")
        if narrow or axes is grid.flat[-1]:
            _end_labels(axes, ends, height=2.7)
    return figure


def alt_dose_response(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} from {part['mis_mean'].iloc[0]:.3f} at rho {part['rho'].iloc[0]:g} to "
        f"{part['mis_mean'].iloc[-1]:.3f} at rho {part['rho'].iloc[-1]:g}"
        for backend, part in frame[frame["family"] == frame["family"].iloc[0]].groupby("backend", sort=False)
    )
    return f"Mean MIS of planted units against rho, one line for each similarity: {words}."


def draw_control_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    controls = list(dict.fromkeys(frame["control"]))
    backends = list(dict.fromkeys(frame["backend"]))
    figure, ((axes,),) = _canvas(narrow, 1.0 + 0.34 * len(controls))
    names = [control.replace("_", " ").replace(":", ": ") for control in controls]
    heights = dict(zip(controls, _rows(axes, names, narrow), strict=True))
    for index, backend in enumerate(backends):
        part = frame[frame["backend"] == backend]
        colour, marker = _backend_style(study, backend)
        shift = 0.24 - 0.48 * index / max(len(backends) - 1, 1)
        _across(axes, part, part["control"].map(heights) + shift, fmt=marker, color=colour, label=clean(backend, 18))
    for height in list(heights.values())[:-1]:
        axes.axhline(height - 0.5, color="#eef1f4", linewidth=0.8, zorder=0)
    axes.set_xlim(*_around(frame, "mis_mean", "mis_low", "mis_high", low=CHANCE))
    _chance(axes, vertical=True)
    axes.set_xlabel("mean MIS (dashed: chance)")
    _key(figure, axes, narrow)
    return figure


def alt_control_levels(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == study.lead]
    words = "; ".join(
        f"{row.control} {row.mis_mean:.3f}{_between(row.mis_low, row.mis_high)}" for row in rows.itertuples()
    )
    return f"Mean MIS of control units beside the level of chance, 0.5. Under the similarity {study.lead}: {words}."


# --------------------------------------------------------------------------- 5 choices


def calibration(study: Study) -> pd.DataFrame:
    """Loss of the fit against the slope, and the slope that was chosen."""
    chosen = study.tables["calibration"]
    fitted = dict(zip(chosen["backend"], chosen["slope"], strict=True))
    frame = study.curve[["backend", "slope", "loss"]].copy()
    frame = frame[frame["backend"].isin(study.backends)]
    frame["chosen"] = frame["backend"].map(fitted).astype(float)
    order = frame["backend"].map(_places(study.backends))
    return frame.assign(a=order).sort_values(["a", "slope"], ignore_index=True).drop(columns="a")


def draw_calibration(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    figure, ((axes,),) = _canvas(narrow, 2.9)
    axes.set_ylim(*_around(frame, "loss"))
    ends = []
    for backend, part in frame.groupby("backend", sort=False):
        colour, marker = _backend_style(study, backend)
        axes.plot(part["slope"], part["loss"], color=colour)
        best = part["chosen"].iloc[0]
        if np.isfinite(best):
            axes.plot([best], [np.interp(best, part["slope"], part["loss"])], marker=marker, color=colour, markersize=7)
        ends.append((part["loss"].iloc[-1], backend, colour))
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    _end_labels(axes, ends, height=2.9)
    axes.set_title("loss of the fit")
    axes.set_xlabel("slope (mark: chosen)")
    return figure


def alt_calibration(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} {part['chosen'].iloc[0]:.3g}" for backend, part in frame.groupby("backend", sort=False)
    )
    return f"Loss of the calibration against the slope, one line for each similarity. Chosen slopes: {words}."


_SETTINGS = {"n_tasks": "N, tasks a unit", "n_explanations": "K, explanations", "slope": "slope"}
_MEASURES = {"mis_mean": "mean MIS", "spearman": "rank correlation with own setting"}


def sensitivity(study: Study) -> pd.DataFrame:
    """Mean MIS and rank correlation with the study's own setting, for other N, K and slope."""
    table = study.tables["sensitivity"]
    slopes = dict(zip(study.tables["calibration"]["backend"], study.tables["calibration"]["slope"], strict=True))
    rows = table[table["setting"].isin(_SETTINGS) & table["backend"].isin(study.backends)]
    own = {"n_tasks": study.n_tasks, "n_explanations": study.n_explanations}
    chosen = [own.get(row.setting, slopes.get(row.backend, np.nan)) for row in rows.itertuples()]
    order = rows["backend"].map(_places(study.backends))
    place = rows["setting"].map(_places(_SETTINGS))
    rows = rows.assign(own=np.array(chosen, dtype=float), a=order, b=place)
    columns = ["model", "backend", "setting", "value", "mis_mean", "mis_se", "spearman", "own"]
    return rows.sort_values(["a", "model", "b", "value"], ignore_index=True)[columns]


def draw_sensitivity(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    settings = [name for name in _SETTINGS if name in set(frame["setting"])]
    shape = (len(settings), 2) if narrow else (2, len(settings))
    figure, grid = _canvas(narrow, 1.75 * shape[0] + 0.5, *shape)
    for across, measure in enumerate(_MEASURES):
        limits = _around(frame, measure, high=1.0 if measure == "spearman" else None)
        for along, setting in enumerate(settings):
            axes = grid[along, across] if narrow else grid[across, along]
            _draw_setting(axes, frame[frame["setting"] == setting], study, measure)
            axes.set_ylim(*limits)
            if along == 0:
                axes.set_title("rank correlation" if narrow and measure == "spearman" else _MEASURES[measure])
            if narrow or across == 1:
                axes.set_xlabel(_SETTINGS[setting])
    _key(figure, grid[0, 0], narrow)
    return figure


def _draw_setting(axes: Axes, rows: pd.DataFrame, study: Study, measure: str) -> None:
    """One panel: a line for each network and similarity."""
    named = set()
    for (backend, _), part in rows.groupby(["backend", "model"], sort=False):
        colour, marker = _backend_style(study, backend)
        label = None if backend in named else clean(backend, 18)
        named.add(backend)
        axes.plot(part["value"], part[measure], color=colour, marker=marker, label=label)
    values = np.sort(rows["value"].unique())
    if len(values) and rows["setting"].iloc[0] == "slope":
        _plain_log(axes, values)
    else:
        axes.xaxis.set_major_locator(FixedLocator(values))
    own = rows["own"].dropna().unique()
    if len(own) == 1:  # fitted slopes differ between similarities: then no line
        axes.axvline(own[0], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def alt_sensitivity(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == study.lead]
    words = "; ".join(
        f"{_SETTINGS[setting]} from {part['value'].min():g} to {part['value'].max():g}: mean MIS "
        f"{part['mis_mean'].min():.3f} to {part['mis_mean'].max():.3f}, lowest rank correlation "
        f"{part['spearman'].min():.2f}"
        for setting, part in rows.groupby("setting", sort=False)
    )
    return f"Mean MIS and rank correlation under other settings. Similarity {study.lead}: {words}."


# --------------------------------------------------------------------------- 6 training


def training(study: Study) -> pd.DataFrame:
    """Mean MIS of every checkpoint of a series under the leading similarity, with its accuracy in percent."""
    table = study.tables["training"]
    name = "series" if "series" in table.columns else "model"
    rows = table[table["backend"] == study.lead].rename(columns={name: "series"})
    columns = ["series", "step", "top1", "mis_mean", "mis_low", "mis_high"]
    # ranked as in the other figures, so that a network keeps its colour
    place = _places(study.models()["model"])
    order = rows["series"].map(lambda series: place.get(series, len(place)))
    return rows.assign(order=order).sort_values(["order", "series", "step"], ignore_index=True)[columns]


def draw_training(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    known = frame["top1"].notna().any()
    count = 2 if known else 1
    figure, grid = _canvas(
        narrow, 2.5 * count + 0.4 if narrow else 3.1, *((count, 1) if narrow else (1, count)), share_y=True
    )
    many = frame["series"].nunique() > len(COLOURS)
    for index, (series, part) in enumerate(frame.groupby("series", sort=False)):
        look = {
            "color": MUTED if many else _colour(index),
            "linestyle": "-",
            "linewidth": 1.2,
            "fmt": MARKERS[index % len(MARKERS)],
            "label": None if many else clean(series, 18),
        }
        for axes, x in zip(grid.flat, ("step", "top1"), strict=False):
            _upright(axes, part[part[x].notna()], x, **look)
    for axes, label in zip(grid.flat, ("step of training (0: untrained)", "top-1 accuracy in percent"), strict=False):
        axes.set_ylim(*_around(frame, "mis_low", "mis_high", "mis_mean", low=CHANCE))
        _chance(axes, vertical=False)
        axes.set_xlabel(label)
        axes.set_title("mean MIS (dashed: chance)" if axes is grid.flat[0] or narrow else "")
    grid.flat[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if not many:
        _key(figure, grid.flat[0], narrow)
    return figure


def alt_training(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{series} from {part['mis_mean'].iloc[0]:.3f} at step {part['step'].iloc[0]:g} to "
        f"{part['mis_mean'].iloc[-1]:.3f} at step {part['step'].iloc[-1]:g}"
        for series, part in frame.groupby("series", sort=False)
    )
    return f"Mean MIS during training, against the step and against accuracy: {words}."


NO_HUMAN = "No figure: this study has no human answers."
FIGURES = (
    FigureSpec(
        "models_ranked", models_ranked, draw_models_ranked, alt_models_ranked, "No figure: no network was scored."
    ),
    FigureSpec(
        "unit_distribution",
        unit_distribution,
        draw_unit_distribution,
        alt_unit_distribution,
        "No figure: no unit was scored.",
    ),
    FigureSpec("mis_against_his", mis_against_his, draw_mis_against_his, alt_mis_against_his, NO_HUMAN),
    FigureSpec(
        "his_by_mis", his_by_mis, draw_his_by_mis, alt_his_by_mis, "No figure: too few annotated units for bins."
    ),
    FigureSpec("agreement", agreement, draw_agreement, alt_agreement, NO_HUMAN),
    FigureSpec("layer_types", layer_types, draw_layer_types, alt_layer_types, "No figure: no unit was scored."),
    FigureSpec("depth", depth, draw_depth, alt_depth, "No figure: no layer was scored."),
    FigureSpec(
        "dose_response",
        dose_response,
        draw_dose_response,
        alt_dose_response,
        "No figure: this study has no planted mixtures.",
    ),
    FigureSpec(
        "control_levels",
        control_levels,
        draw_control_levels,
        alt_control_levels,
        "No figure: this study has no control units.",
    ),
    FigureSpec("calibration", calibration, draw_calibration, alt_calibration, "No figure: no slope was fitted."),
    FigureSpec(
        "sensitivity", sensitivity, draw_sensitivity, alt_sensitivity, "No figure: no other settings were tried."
    ),
    FigureSpec(
        "training", training, draw_training, alt_training, "No figure: no network has more than one checkpoint."
    ),
)
