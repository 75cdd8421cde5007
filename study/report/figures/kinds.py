"""Which kind of explanation serves a unit best? Kinds against natural explanations, and what choosing a kind gains."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.schema import MIXED, NATURAL, SYNTHETIC
from interpretability.tasks.topics import CLUSTERS
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, rows_of
from study.report.figures.words import between, clean, of_parts, of_rows, signed

DIFFERENCE = ("difference", "low", "high")
EVERY = ""  # stands for all networks together
_WORDS = {
    NATURAL: "natural",
    SYNTHETIC: "made images",
    MIXED: "natural and made",
    CLUSTERS: "grouped by topic",
}


def kind_words(kind: str) -> str:
    """`natural_3` -> `natural, 3 a side`; `mixed` -> `natural and made`."""
    name, _, count = kind.rpartition("_")
    if name == NATURAL and count.isdigit():
        return f"natural, {count} a side"
    return _WORDS.get(kind, kind.replace("_", " "))


def network_words(model: str) -> str:
    """Name of a network, or what stands for all of them together."""
    return "all networks" if model == EVERY else model


def of_kinds(study: Study) -> pd.DataFrame:
    """Rows of the table that units stand behind: all networks first, kinds in the table's order, with the choice last."""
    table = study.tables["explanation_kinds"]
    rows = table[table["n_units"] > 0]
    return in_order(rows, backend=study.backends, model=(EVERY, *study.models()["model"]))


def explanation_kinds(study: Study) -> pd.DataFrame:
    """Every kind against natural explanations on the same units, under the leading similarity; the base itself has none."""
    rows = of_kinds(study)
    rows = rows[(rows["backend"] == study.lead) & (rows["kind"] != CHOSEN)].reset_index(drop=True)
    if not (rows["kind"] != NATURAL).any():
        rows = rows.head(0)
    return rows[
        ["model", "kind", "n_images", "n_units", "mean", "base_mean", *DIFFERENCE, "share", "between_sd", "n_sets"]
    ]


def draw_explanation_kinds(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_SMALL]
    if len(networks) == 2 and networks[0] == EVERY:  # one network is all there are
        networks = networks[:1]
    kinds = [kind for kind in dict.fromkeys(frame["kind"]) if kind != NATURAL]
    figure, grid = style.panels(narrow, len(networks), 0.75 + 0.26 * len(kinds), columns=1, extra=0.1)
    limits = style.around(frame[frame["model"].isin(networks)], *DIFFERENCE, low=0.0)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[(frame["model"] == model) & (frame["kind"] != NATURAL)]
        _draw_kinds(axes, rows, kinds, narrow)
        axes.set_xlim(*limits)
        base = rows["base_mean"].iloc[0] if len(rows) else float("nan")
        axes.set_title(f"{clean(network_words(model))}: natural {signed(base, 3)}")
    label = "MIS minus natural" if narrow else "MIS minus that with natural explanations"
    style.outer_labels(grid, f"{label} (right: chosen for)")
    return figure


def _draw_kinds(axes: Axes, rows: pd.DataFrame, kinds: list[str], narrow: bool) -> None:
    """Kinds one below the other, with the share of units that have it for which each is chosen on the right."""
    heights = style.row_heights(axes, kinds, narrow, [kind_words(kind) for kind in kinds])
    axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    at = rows["kind"].map(heights).to_numpy(dtype=float)
    style.points_across(axes, rows, at, DIFFERENCE, fmt="o", color=style.COLOURS[0])
    for height, row in zip(at.tolist(), rows_of(rows), strict=True):
        style.row_note(axes, height, f"{100 * row.share:.0f} %")


def alt_explanation_kinds(frame: pd.DataFrame, study: Study) -> str:
    def kinds(model: str, part: pd.DataFrame) -> str:
        others = part[part["kind"] != NATURAL]
        words = of_rows(
            others,
            lambda row: (
                f"{kind_words(row.kind)} {signed(row.difference, 3)}{between(row.low, row.high, 3)}, chosen for "
                f"{100 * row.share:.0f} % of the {row.n_units:.0f} that have it"
            ),
        )
        return f"{network_words(model)}, {part['n_units'].max():.0f} units: {words}"

    return f"Mean MIS under each kind of explanation minus that under natural ones. {of_parts(frame, 'model', kinds)}."


EXPLANATION_KINDS = Drawing("explanation_kinds", explanation_kinds, draw_explanation_kinds, alt_explanation_kinds)


def choosing_gain(study: Study) -> pd.DataFrame:
    """Gain of choosing a kind for each unit, beside the naive gain: networks under the leading similarity, all under each."""
    rows = of_kinds(study)
    rows = rows[rows["kind"] == CHOSEN]
    rows = rows[(rows["backend"] == study.lead) | (rows["model"] == EVERY)].reset_index(drop=True)
    return rows[["backend", "model", "n_units", "base_mean", *DIFFERENCE, "naive", "n_sets"]]


def draw_choosing_gain(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    one = frame["model"].nunique() == 2 and (frame["model"] == EVERY).any()
    shown = frame[frame["model"] == EVERY] if one else frame
    shown = shown.head(style.MOST_NAMED).reset_index(drop=True)
    names = [_called(study, row) for row in rows_of(shown)]
    figure, ((axes,),) = style.canvas(narrow, 1.2 + 0.27 * len(shown))
    heights = style.named_rows(axes, names, narrow)
    axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    look = {"color": style.COLOURS[0], "label": "chosen on other tasks and images"}
    style.points_across(axes, shown, heights, DIFFERENCE, fmt="o", **look)
    hollow = {"markerfacecolor": "white", "color": style.COLOURS[1], "label": "naive: the highest of the same scores"}
    axes.plot(shown["naive"], heights, style.MARKERS[3], linestyle="none", **hollow)
    axes.set_xlim(*style.around(shown, *DIFFERENCE, "naive", low=0.0))
    label = "gain over natural explanations" if narrow else "gain of choosing over natural explanations"
    axes.set_xlabel(f"{label}, MIS")
    return style.with_key(figure, axes, narrow)


def _called(study: Study, row: object) -> str:
    """Name of a row: the network, or the similarity where all networks stand together."""
    model, backend = str(getattr(row, "model", "")), str(getattr(row, "backend", ""))
    return model if model != EVERY else f"all, {study.called(backend)}"


def alt_choosing_gain(frame: pd.DataFrame, study: Study) -> str:
    words = of_rows(
        frame,
        lambda row: (
            f"{_called(study, row)} {signed(row.difference, 3)}{between(row.low, row.high, 3)}, naive "
            f"{signed(row.naive, 3)}"
        ),
    )
    note = study.footnote(frame["backend"])
    return f"Gain in MIS of choosing a kind of explanation for each unit, over natural explanations: {words}.{note}"


CHOOSING_GAIN = Drawing("choosing_gain", choosing_gain, draw_choosing_gain, alt_choosing_gain)

FIGURES = (EXPLANATION_KINDS, CHOOSING_GAIN)


def sets_of_choice(study: Study) -> int:
    """Seed sets of made images that the choice over all networks goes through under the leading similarity; 0 without any."""
    rows = choosing_gain(study)
    whole = rows[(rows["backend"] == study.lead) & (rows["model"] == EVERY)]
    return 0 if whole.empty else int(whole["n_sets"].iloc[0])


def choosing_words(study: Study) -> list[str]:
    """What choosing a kind gains over all networks under the leading similarity, in sentences; none without the comparison."""
    rows = choosing_gain(study)
    whole = rows[(rows["backend"] == study.lead) & (rows["model"] == EVERY)]
    if whole.empty:
        return []
    row = whole.iloc[0]
    low, high = row["low"], row["high"]
    if pd.isna(low) or pd.isna(high):
        claim = "gives"
        tail = ", of which there is no interval"
    else:
        claim = "gains" if low > 0 else "loses" if high < 0 else "gains nothing that can be told apart from 0:"
        tail = between(low, high, 3)
    amount = signed(abs(row["difference"]) if claim == "loses" else row["difference"], 3)
    words = [
        f"Choosing a kind for each of {row['n_units']:.0f} units {claim} {amount}{tail}; the highest of the same scores would "
        f"promise {signed(row['naive'], 3)}"
    ]
    if row["n_sets"] == 1:
        words.append(
            "There is one seed set of made images (visualisations.n_sets), so the luck of their seed is in both halves: "
            "the gain is too high"
        )
    elif row["n_sets"] == 0:
        words.append("No kind with made images takes part")
    single = _shares(explanation_kinds(study))
    return [*words, single] if single else words


def _shares(frame: pd.DataFrame) -> str:
    """For which share of the units that have it each kind is chosen, the commonest first."""
    whole = frame[(frame["model"] == EVERY) & frame["share"].notna()]
    ordered = whole.sort_values("share", ascending=False, kind="stable")
    parts = [f"{kind_words(row.kind)} {100 * row.share:.0f} %" for row in rows_of(ordered)]
    return f"Chosen, each for a share of the units that have it: {'; '.join(parts)}" if parts else ""
