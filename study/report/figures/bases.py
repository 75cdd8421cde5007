"""Units or directions? The same layers in other directions, and a layer whose true directions are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.schema import NATURAL, ONE_SIDED
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, order_of, rows_of
from study.report.figures.words import between, clean, in_words, of_parts, signed

# comparisons of directions with units are made in the first: signed units win the second by their negative side
CONDITIONS = {ONE_SIDED: "one-sided tasks", NATURAL: "natural tasks"}
DIFFERENCE = ("difference", "low", "high")
SUPERPOSED = "superposed_"  # name of a control, before its layer
# layers of the superposed control: what they are in words, from the units that mix features to the features themselves
KNOWN = {
    "mixture": "units: mixtures of features",
    "rotation": "the same, rotated",
    "readout": "read-out of the true directions",
    "trained": "trained sparse code",
    "inference": "sparse inference, true directions",
    "features": "the features themselves",
}


def units_or_directions(study: Study) -> pd.DataFrame:
    """Directions minus units by network, condition and layer under the leading similarity; layer '' is over layers."""
    table = study.tables["units_or_directions"]
    rows = table[(table["backend"] == study.lead) & table["difference"].notna()]
    names = dict.fromkeys(rows["model"])
    columns = ["model", "base", "condition", "layer", "layer_index", "kind", "pooling", "n_directions", "n_units"]
    ordered = in_order(rows, model=names, condition=CONDITIONS, layer_index=None)
    return ordered[[*columns, *DIFFERENCE, "p_holm", "sign", "n_clusters"]]


def draw_units_or_directions(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = list(dict.fromkeys(frame["model"]))[: style.MOST_SMALL]
    figure, grid = style.panels(narrow, len(names), 2.3, columns=1 if len(names) == 1 else 2, share_y=True, extra=0.5)
    for name, axes in zip(names, grid, strict=True):
        _draw_layers(axes, frame[frame["model"] == name])
        axes.set_ylim(*style.around(frame[frame["model"].isin(names)], *DIFFERENCE, low=0.0))
        base = frame.loc[frame["model"] == name, "base"].iloc[0]
        axes.set_title(f"{clean(name)} minus units of {clean(base)}")
    style.outer_labels(grid, "layers in their order; right: over layers", "difference of mean MIS")
    return style.with_key(figure, grid[0], narrow)


def _draw_layers(axes: Axes, rows: pd.DataFrame) -> None:
    """Layers from left to right, and the mean over layers as larger marks at the end."""
    layers = list(dict.fromkeys(rows.loc[rows["layer"] != "", "layer"]))
    place = order_of(layers) | {"": len(layers) + max(1, 0.06 * len(layers))}
    axes.axhline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    for index, (condition, words) in enumerate(CONDITIONS.items()):
        part = rows[rows["condition"] == condition]
        part = part.assign(at=part["layer"].map(place).astype(float) + 0.3 * index)
        colour = style.COLOURS[0] if index == 0 else style.COLOURS[6]
        look = {"fmt": style.MARKERS[index], "color": colour, "linestyle": "none"}
        single, whole = part[part["layer"] != ""], part[part["layer"] == ""]
        style.points_upright(axes, single, "at", DIFFERENCE, **look, markersize=3.6, label=words)
        style.points_upright(axes, whole, "at", DIFFERENCE, **look, markersize=6.5)
    axes.set_xlim(-0.8, place[""] + 1.1)
    axes.set_xticks([place[""]], ["all"])
    axes.axvline(len(layers) - 0.2, color=style.RULE, linewidth=1)


def over_layers_words(frame: pd.DataFrame) -> list[str]:
    """A sentence for each network and condition of `units_or_directions`: the difference over layers, and single layers."""
    found = []
    for (model, base, condition), part in frame.groupby(["model", "base", "condition"], sort=False):
        single, whole = part[part["layer"] != ""], part[part["layer"] == ""]
        for row in rows_of(whole):
            way = {"above": "above", "below": "below"}.get(row.sign, "")
            claim = f"lies {way} the units" if way else "has no sign that can be told"
            between_layers = between(row.low, row.high, 3)
            clusters = f"over {row.n_clusters:g} cluster{'' if row.n_clusters == 1 else 's'} of layers"
            mean = f"{signed(row.difference, 3)}{between_layers} {clusters}, which {claim}"
            found.append(
                f"{model} minus units of {base}, {CONDITIONS.get(str(condition), condition)}: {mean}{_single(single)}"
            )
    return found


def _single(layers: pd.DataFrame) -> str:
    counts = {sign: int((layers["sign"] == sign).sum()) for sign in ("above", "below")}
    marked = [f"{in_words(n)} {sign}" for sign, n in counts.items() if n]
    words = " and ".join(marked) if marked else "none with a sign of its own"
    return f"; of {len(layers)} single layer{'' if len(layers) == 1 else 's'} {words}, after Holm over them"


def alt_units_or_directions(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(over_layers_words(frame))
    return f"Mean MIS of directions minus that of units, layer by layer. {words}."


UNITS_OR_DIRECTIONS = Drawing(
    "units_or_directions", units_or_directions, draw_units_or_directions, alt_units_or_directions
)


def superposed(study: Study) -> pd.DataFrame:
    """Mean MIS of the layers of the superposed control by similarity, condition and layer, with what is expected."""
    table = study.tables["controls"]
    rows = table[table["control"].astype(str).str.startswith(SUPERPOSED) & table["mis_mean"].notna()]
    rows = rows.assign(layer=rows["control"].astype(str).str.removeprefix(SUPERPOSED))
    columns = ["backend", "condition", "layer", "n_units", *style.MIS, "expectation", "passed"]
    if "condition" not in rows:
        rows = rows.assign(condition=NATURAL)
    return in_order(rows, backend=study.backends, condition=CONDITIONS, layer=KNOWN)[columns]


def draw_superposed(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    backends = list(dict.fromkeys(frame["backend"]))[: style.MOST_PANELS]
    layers = [name for name in KNOWN if name in set(frame["layer"])]
    figure, grid = style.panels(
        narrow, len(backends), 0.9 + 0.3 * len(layers), columns=2, on_phone=1, share_y=not narrow, extra=0.4
    )
    names = [KNOWN[name] if not narrow else name for name in layers]
    for place, (backend, axes) in enumerate(zip(backends, grid, strict=True)):
        heights = style.row_heights(axes, layers, narrow, names if place % 2 == 0 or narrow else [""] * len(layers))
        if not narrow and place % 2:  # a shared axis has the names of its first panel
            axes.set_yticks(list(heights.values()), names, color=style.INK)
        for index, (condition, words) in enumerate(CONDITIONS.items()):
            part = frame[(frame["backend"] == backend) & (frame["condition"] == condition)]
            colour = style.COLOURS[0] if index == 0 else style.COLOURS[6]
            rows = part["layer"].map(heights).to_numpy(float) + 0.14 - 0.28 * index
            style.points_across(axes, part, rows, fmt=style.MARKERS[index], color=colour, label=words)
        style.rules_between(axes, heights.values())
        style.score_axis(axes, style.around(frame, *style.MIS, low=style.CHANCE), "mean MIS (dashed: chance)")
        axes.set_title(clean(study.called(backend)))
    return style.with_key(figure, grid[0], narrow)


def alt_superposed(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == frame["backend"].iloc[0]]

    def levels(condition: str, part: pd.DataFrame) -> str:
        known = ", ".join(
            f"{row.layer} {row.mis_mean:.3f}{between(row.mis_low, row.mis_high)}" for row in rows_of(part)
        )
        return f"{CONDITIONS.get(condition, condition)}: {known}"

    words = of_parts(rows, "condition", levels)
    note = study.footnote(frame["backend"])
    return f"Mean MIS of a layer in superposition, simulated, under {rows['backend'].iloc[0]}. {words}.{note}"


SUPERPOSITION = Drawing("superposed", superposed, draw_superposed, alt_superposed)

FIGURES = (UNITS_OR_DIRECTIONS, SUPERPOSITION)


def turned(frame: pd.DataFrame) -> str:
    """What the order of conditions does to the superposed control, in words; nothing without both conditions."""
    levels = {
        (str(condition), str(layer)): float(value)
        for condition, layer, value in frame[["condition", "layer", "mis_mean"]].itertuples(index=False, name=None)
    }
    wanted = [(condition, layer) for condition in (ONE_SIDED, NATURAL) for layer in ("mixture", "trained")]
    values = [levels.get(key, np.nan) for key in wanted]
    if not np.isfinite(values).all():
        return ""
    changes = values[1] - values[0], values[3] - values[2]
    words = [f"{signed(abs(change), 3)} {'above' if change > 0 else 'below'}" for change in changes]
    found = (
        f"In one-sided tasks the trained code of the superposed layer scores {words[0]} the units that mix its features, in "
        f"natural tasks {words[1]} them"
    )
    reason = "; so the negative side of signed units turns the order round, and bases are compared in one-sided tasks"
    return found + reason if changes[0] > 0 > changes[1] else found
