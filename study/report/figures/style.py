"""The one style of all figures, and the pieces that they are drawn from."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Collection, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter
from scipy.optimize import isotonic_regression

from study.report.figures.series import rows_of
from study.report.figures.words import UNIDENTIFIED, clean

if TYPE_CHECKING:
    from study.report.figures.base import Study

# variables of the page's style and their values on paper, which figures are drawn in; light and dark ones stand in style/*.css
PALETTE = {
    "--ink": "#15181c",
    "--soft": "#545b65",
    "--edge": "#7d8691",
    "--line": "#d9dde2",
    "--panel": "#f4f5f7",
    "--page": "#ffffff",
    "--c0": "#0a5a9c",
    "--c1": "#b5440a",
    "--c2": "#47740c",
    "--c3": "#a8327e",
    "--c4": "#00747c",
    "--c5": "#7c6200",
    "--c6": "#5f6772",
    "--n0": "#1f6fb4",
    "--n1": "#0f7a64",
    "--n2": "#8a4a9f",
    "--n3": "#9a5f00",
    "--n4": "#b3345a",
    "--n5": "#55700a",
    "--n6": "#5a55c9",
    "--n7": "#79573f",
}
INK, MUTED, EDGE, RULE, PANEL, PAGE = (PALETTE[f"--{key}"] for key in ("ink", "soft", "edge", "line", "panel", "page"))
COLOURS = tuple(PALETTE[f"--c{index}"] for index in range(7))  # of series; markers differ too
NETWORKS = tuple(PALETTE[f"--n{index}"] for index in range(8))
PALE = 0.75  # opacity of marks that lie above each other; alone they still have a contrast of 3
MOST_TINT = 0.5  # opacity of a colour behind words
BAND = 0.22  # of one that says where values lie, beside a line that says the same
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FONT_SIZE = 9.0
WIDE, NARROW = 6.7, 3.6  # inches: the text column, and a phone
CHANCE = 0.5
_LABEL = 0.18  # inches that the name of an axis takes
DASHED = (0, (4, 3))
MOST_NAMED = 40  # networks that still get a row of their own
MOST_PANELS = 6
MOST_SMALL = 12  # networks that get a small panel or a group of rows of their own
_FONTS = "'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the layout is the same on every machine
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.titlelocation": "left",
    "axes.titlecolor": MUTED,
    "axes.labelsize": FONT_SIZE,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": EDGE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "lines.solid_capstyle": "butt",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.titlepad": 5.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "machine-interpretability",
    "pdf.fonttype": 42,  # outlines of letters that stay text: the paper's reader can search them
}


@contextlib.contextmanager
def styled() -> Generator[None]:
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


def to_pdf(figure: Figure, title: str) -> bytes:
    """PDF of a figure that was saved as SVG: no date, no program name; the font is embedded."""
    figure.set_layout_engine("none")  # all has its place already, and finding it takes longer than drawing
    buffer = io.BytesIO()
    plain = {"CreationDate": None, "Creator": None, "Producer": None}
    figure.savefig(buffer, format="pdf", metadata={"Title": clean(title, 200), **plain})
    return buffer.getvalue()


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Positions moved apart as little as possible until neighbours are `gap` away; same order as given."""
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(positions))
    moved = np.empty(len(positions))
    moved[order] = isotonic_regression(np.asarray(positions, dtype=float)[order] - steps).x + steps
    return moved


def canvas(
    narrow: bool, height: float, rows: int = 1, columns: int = 1, *, share_y: bool = False
) -> tuple[Figure, np.ndarray]:
    """Figure in one of the two widths, `height` inches high, and its panels (rows, columns)."""
    figure = Figure(figsize=(NARROW if narrow else WIDE, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    return figure, axes


def panels(
    narrow: bool,
    n: int,
    height: float,
    *,
    columns: int = 2,
    on_phone: int = 1,
    share_y: bool = False,
    extra: float = 0.3,
) -> tuple[Figure, list[Axes]]:
    """Figure of n panels, each `height` inches high, in rows of equal length of up to `columns`, or `on_phone`."""
    most = min(on_phone if narrow else columns, n)
    down = -(-n // most)
    across = -(-n // down)
    figure, grid = canvas(narrow, height * down + extra, down, across, share_y=share_y)
    for axes in grid.flat[n:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:n])


def outer_labels(grid: list[Axes], x: str = "", y: str = "") -> None:
    """Labels of shared axes: x below panels that have none below them, y left of the first panel of each row.

    In the narrow form every row has its x, as the page may set rows side by side, and grows by as much.
    """
    across = columns_of(grid)
    figure = grid[0].get_figure(root=True)
    stands_alone = figure is not None and figure.get_figwidth() == NARROW
    if figure is not None and stands_alone and x:
        figure.set_figheight(figure.get_figheight() + _LABEL * (-(-len(grid) // across) - 1))
    for index, axes in enumerate(grid):
        if stands_alone or index + across >= len(grid):
            axes.set_xlabel(x)
        if index % across == 0:
            axes.set_ylabel(y)


def columns_of(grid: list[Axes]) -> int:
    """Panels in a row of a grid."""
    spec = grid[0].get_subplotspec()
    return spec.get_geometry()[1] if spec else 1


def with_key(figure: Figure, axes: Axes, narrow: bool) -> Figure:
    """The figure with a key above its panels: the labelled artists of one panel, in as few rows as fit, read row by row."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return figure
    letters = 44 if narrow else 88  # about what fits in a line, six for each mark
    columns = max(
        n
        for n in range(1, len(labels) + 1)
        if n == 1 or sum(max(map(len, labels[i::n])) + 6 for i in range(n)) <= letters
    )
    order = [i for column in range(columns) for i in range(column, len(labels), columns)]  # matplotlib fills by column
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside upper left", ncols=columns)
    return figure


def note_slopes(axes: Axes, study: Study, backends: Iterable[str]) -> None:
    """Put into the key of a panel what the star of `study.called` means, if one of these similarities has one."""
    if set(backends) & set(study.unidentified):
        axes.plot([], [], linestyle="none", label=f"* {UNIDENTIFIED}")


def name_points(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, names: str, height: float, *, lift: float = 0.0
) -> None:
    """Names beside points, apart from each other; call it when the limits are set. Panel `height` in inches.

    A point on the right half has its name on its left. `lift` moves names by as many points off an interval across: up,
    or down where they had to give way downwards.
    """
    low, high = axes.get_ylim()
    gap = (high - low) * FONT_SIZE * 1.15 / (height * 72 * 0.7)
    middle = float(np.mean(axes.get_xlim()))
    raised = spread(rows[y].to_numpy(float), gap)
    for at, px, py, name in zip(raised, rows[x], rows[y], rows[names], strict=True):
        on_left = px > middle
        offset = (-5 if on_left else 5, lift if at >= py - 1e-9 else -lift)
        look: dict[str, Any] = {
            "textcoords": "offset points",
            "ha": "right" if on_left else "left",
            "va": "center",
            "color": INK,
        }
        axes.annotate(clean(name, 18), (px, at), offset, **look)


def room_for_names(axes: Axes, frame: pd.DataFrame, x: str) -> None:
    """Limits of the x axis around a column, wide enough for names beside the outermost points."""
    low, high = around(frame, x)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))


Pairs = dict[tuple[str, str], float]  # first and second name -> a value


def tests_matrix(axes: Axes, pairs: pd.DataFrame, names: list[str], narrow: bool) -> None:
    """Marks of a test of all pairs (first, second, stars, effect), the row against the column; a dash where it is not tested.

    A tested cell is tinted by the effect, blue where the row has the higher values; the mark alone says whether it differs,
    so colour carries nothing by itself.
    """
    n = len(names)
    rows = list(rows_of(pairs))
    marks = {pair: row.stars or "–" for row in rows for pair in ((row.first, row.second), (row.second, row.first))}
    effects: Pairs = {(row.first, row.second): row.effect if row.stars else np.nan for row in rows}
    effects |= {(second, first): -effect for (first, second), effect in effects.items()}
    size = FONT_SIZE if n <= 8 or narrow else FONT_SIZE - 2
    strengths = {pair: 0.0 if np.isnan(effect) else min(abs(effect), 1.0) for pair, effect in effects.items()}
    tints = {pair: COLOURS[0] if effect > 0 else COLOURS[1] for pair, effect in effects.items()}
    short = shaded_cells(axes, names, strengths, tints, marks, narrow, size)
    flat = n * max(map(len, short)) <= (28 if narrow else 84)  # letters that fit beside each other
    if flat:
        axes.set_xticks(range(n), short, color=INK)
    else:
        axes.set_xticks(range(n), short, color=INK, rotation=35, ha="right", rotation_mode="anchor")


def shaded_cells(
    axes: Axes,
    names: list[str],
    strengths: Pairs,
    tints: Mapping[tuple[str, str], str],
    words: Mapping[tuple[str, str], str],
    narrow: bool,
    size: float = FONT_SIZE,
) -> list[str]:
    """Cells of all pairs of names (row, column) with words on a tint, grey where there is no pair; returns the names shown.

    A tint is opaque by the pair's strength from 0 to 1, MOST_TINT at most. The caller writes the names below the columns, as
    they may have to be turned.
    """
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            pair = row, column
            if pair not in words:
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=RULE, alpha=0.6, linewidth=0))
                continue
            alpha = MOST_TINT * round(8 * strengths[pair]) / 8  # few steps: cells of one tint are one path
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=tints[pair], alpha=alpha, linewidth=0))
            axes.text(j, i, words[pair], ha="center", va="center", fontsize=size)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    short = [clean(name, 14 if narrow else 20) for name in names]
    axes.set_yticks(range(len(names)), short, color=INK)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return short


def dots(axes: Axes, rows: pd.DataFrame, x: str, y: str, *, alpha: float = PALE, **look: Any) -> None:
    """Points of `thinned`; the area of a cell grows with its number of points."""
    if (rows["n"] == 1).all():  # marks of one size take a third of the bytes of a scatter in SVG
        look = {"marker": "o", "markersize": 3.8, "markeredgewidth": 0, "linestyle": "none", "alpha": alpha, **look}
        axes.plot(rows[x], rows[y], **look)
        return
    axes.scatter(rows[x], rows[y], s=14 * np.sqrt(rows["n"].to_numpy(float)), linewidths=0, alpha=alpha, **look)


def named_rows(axes: Axes, names: list[str], narrow: bool) -> np.ndarray:
    """Named rows from top to bottom; returns their heights."""
    heights = np.arange(len(names))[::-1].astype(float)
    axes.set_yticks(heights, [clean(name, 19 if narrow else 26) for name in names], color=INK)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    return heights


def row_heights(axes: Axes, names: list[str], narrow: bool, shown: list[str] | None = None) -> dict[str, float]:
    """Height of each named row; `shown` says what the rows are called on the axis."""
    return dict(zip(names, named_rows(axes, shown or names, narrow).tolist(), strict=True))


def rules_between(axes: Axes, heights: Collection[float]) -> None:
    """Pale lines between rows that hold several marks each."""
    for height in list(heights)[:-1]:
        axes.axhline(height - 0.5, color=RULE, linewidth=0.6, zorder=0)


def score_axis(axes: Axes, limits: tuple[float, float], label: str) -> None:
    """The x axis of scores, with the level of guessing."""
    axes.set_xlim(*limits)
    chance_line(axes, vertical=True)
    axes.set_xlabel(label)


def equal_line(axes: Axes, limits: tuple[float, float]) -> None:
    """The dashed line on which both scores are equal."""
    axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=DASHED, zorder=1)


def chance_line(axes: Axes, *, vertical: bool) -> None:
    """Line at the level of guessing."""
    line = axes.axvline if vertical else axes.axhline
    line(CHANCE, color=MUTED, linewidth=1, linestyle=DASHED, zorder=1)


def end_labels(axes: Axes, ends: list[tuple[float, str, str]], height: float) -> None:
    """Names beside the right ends of lines, moved apart: (height, text, colour); panel `height` in inches."""
    if not ends:
        return
    low, high = axes.get_ylim()
    points = height * 72 * 0.72  # about the height of the plotting area
    gap = (high - low) * FONT_SIZE * 1.25 / points
    moved = spread(np.array([end[0] for end in ends]), gap)
    for (_, words, colour), at in zip(ends, moved, strict=True):
        row_note(axes, at, clean(words, 18), colour)


def colour_of(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def network_colours(study: Study) -> dict[str, str]:
    """Colour of networks, the same all over the page: by rank, then those read in other directions, then others by name.

    Where ranked ones are more than colours, only the first and the last, of which the headline speaks, have one of their own.
    """
    ranked = list(study.models()["model"])
    if len(ranked) > len(NETWORKS):
        return {**dict.fromkeys(ranked, COLOURS[6]), ranked[-1]: NETWORKS[3], ranked[0]: NETWORKS[0]}
    names = dict.fromkeys([*ranked, *study.directions(), *sorted(set(study.tables["models"]["model"]))])
    return {**dict.fromkeys(names, COLOURS[6]), **dict(zip(names, NETWORKS, strict=False))}


def backend_style(study: Study, backend: str) -> tuple[str, str]:
    index = study.backends.index(backend) if backend in study.backends else len(study.backends)
    return colour_of(index), MARKERS[index % len(MARKERS)]


MIS = ("mis_mean", "mis_low", "mis_high")


def _reach(rows: pd.DataFrame, columns: tuple[str, str, str]) -> np.ndarray:
    """Lengths of the interval below and above each mean; a missing interval has none."""
    mean, low, high = (rows[name].to_numpy(dtype=float) for name in columns)
    return np.nan_to_num(np.clip(np.array([mean - low, high - mean]), 0, None))


def points_upright(axes: Axes, rows: pd.DataFrame, x: str, columns: tuple[str, str, str] = MIS, **look: Any) -> None:
    """Points over a column of the table, with upright intervals."""
    axes.errorbar(rows[x], rows[columns[0]], yerr=_reach(rows, columns), capsize=0, elinewidth=1.3, **look)


def points_across(
    axes: Axes, rows: pd.DataFrame, heights: np.ndarray, columns: tuple[str, str, str] = MIS, **look: Any
) -> None:
    """Points on given rows, with intervals across."""
    axes.errorbar(rows[columns[0]], heights, xerr=_reach(rows, columns), capsize=0, elinewidth=1.3, **look)


def row_note(axes: Axes, height: float, words: str, colour: str = INK) -> None:
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


def row_notes(axes: Axes, heights: np.ndarray, values: pd.Series) -> None:
    """The value of every row to its right."""
    for height, value in zip(heights, values, strict=True):
        row_note(axes, height, f"{value:.3f}")


def around(
    frame: pd.DataFrame, *columns: str, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """Axis limits around all finite values of the columns, with a margin; `low` and `high` are always inside."""
    numbers = np.append(frame[list(columns)].to_numpy(dtype=float), [v for v in (low, high) if v is not None])
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return 0.0, 1.0
    margin = 0.04 * (numbers.max() - numbers.min() or 1.0)
    return float(numbers.min() - margin), float(numbers.max() + margin)


def plain_log(axes: Axes, values: np.ndarray) -> None:
    """Logarithmic x axis with ordinary numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(values.tolist()))))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
