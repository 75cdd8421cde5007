"""What other scores say of the same units: over their whole range, by one meaning, by where they respond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, rows_of
from study.report.figures.words import between, clean, of_rows, signed

SCORES = {
    "mis": "MIS",
    "mis_one_sided": "MIS, one-sided",
    "accuracy": "tasks right",
    "rho": "whole range, Pearson",
    "spearman": "whole range, ranks",
    "ms_z": "monosemanticity, z",
    "ms": "monosemanticity, raw",
    "index": "index of top pictures",
    "peak_energy": "energy at the peak",
    "participation": "participation",
    "firing": "firing rate",
}
LEVELS = {"unit": "units", "layer": "units within layers"}
VALUE = ("value", "low", "high")
_MOST_NUMBERS = 7  # scores whose correlations fit on a phone as numbers
_DISC = 190.0  # square points: disc of a correlation of 1
_NONE = float("nan"), float("nan"), float("nan")
NEARLY = 0.8  # rank correlation from which two scores are said to say nearly the same


def scores_people(study: Study) -> pd.DataFrame:
    """Rank correlation of each score with the answers, over units and within layers, under the leading similarity."""
    table = study.tables["scores_compared"]
    part, of_lead = table["part"] == "people", table["backend"] == study.lead
    rows = table[part & of_lead & (table["coefficient"] == "spearman") & table["value"].notna()]
    columns = ["level", "first", "n", "n_groups", *VALUE, "difference", "difference_low", "difference_high"]
    return in_order(rows, level=LEVELS, first=SCORES)[columns].rename(columns={"first": "score"})


def draw_scores_people(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    scores = [name for name in SCORES if name in set(frame["score"])]
    figure, ((axes,),) = style.canvas(narrow, 1.1 + 0.36 * len(scores))
    heights = style.row_heights(axes, scores, narrow, [SCORES[name] for name in scores])
    for index, (level, words) in enumerate(LEVELS.items()):
        part = frame[frame["level"] == level]
        rows = part["score"].map(heights).to_numpy(float) + 0.15 - 0.3 * index
        style.points_across(
            axes, part, rows, VALUE, fmt=style.MARKERS[index], color=style.colour_of(index), label=words
        )
    style.rules_between(axes, heights.values())
    axes.axvline(0, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    answers = f"\nanswers of {study.people}" if narrow else f" answers of {study.people}"
    axes.set_xlabel(f"rank correlation with{answers}")
    return style.with_key(figure, axes, narrow)


def alt_scores_people(frame: pd.DataFrame, study: Study) -> str:
    def words(row: Any) -> str:
        return f"{SCORES.get(row.score, row.score)} {signed(row.value)}{between(row.low, row.high)}"

    levels = "; ".join(
        f"over {LEVELS[level]}: {of_rows(part, words, ', ')}"
        for level in LEVELS
        if len(part := frame[frame["level"] == level])
    )
    return f"Rank correlation of each score with the answers of {study.people}, {levels}."


SCORES_PEOPLE = Drawing("scores_people", scores_people, draw_scores_people, alt_scores_people)


def scores_together(study: Study) -> pd.DataFrame:
    """Rank correlations of every two scores, over units and within layers, under the leading similarity."""
    table = study.tables["scores_compared"]
    rows = table[(table["part"] == "scores") & (table["backend"] == study.lead) & table["value"].notna()]
    return in_order(rows, level=LEVELS, first=SCORES, second=SCORES)[
        ["level", "first", "second", "n", "n_groups", "value"]
    ]


def draw_scores_together(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names = [name for name in SCORES if name in {*frame["first"], *frame["second"]}]
    shown = {name: SCORES[name] for name in names}
    figure, ((axes,),) = style.canvas(narrow, 1.3 + 0.34 * len(names))
    cells: dict[tuple[str, str], float] = {}
    for row in rows_of(frame):
        # over units above the diagonal, within layers below it
        first, second = sorted((row.first, row.second), key=names.index)
        pair = (first, second) if row.level == "unit" else (second, first)
        cells[shown[pair[0]], shown[pair[1]]] = row.value
    if narrow and len(names) > _MOST_NUMBERS:
        _draw_discs(axes, list(shown.values()), cells)
        return style.with_key(figure, axes, narrow)
    words = {pair: signed(value).replace("0.", ".") for pair, value in cells.items()}
    strengths = {pair: min(abs(value), 1.0) for pair, value in cells.items()}
    tints = {pair: style.COLOURS[0] if value > 0 else style.COLOURS[1] for pair, value in cells.items()}
    short = style.shaded_cells(axes, list(shown.values()), strengths, tints, words, narrow)
    axes.set_xticks(range(len(names)), short, color=style.INK, rotation=35, ha="right", rotation_mode="anchor")
    return figure


def _draw_discs(axes: Axes, names: list[str], cells: dict[tuple[str, str], float]) -> None:
    """Correlations as discs where numbers do not fit: the area is their size, hollow ones are negative."""
    for way, face, label in ((1, style.COLOURS[0], "positive"), (-1, style.PAGE, "negative")):
        kept = {pair: way * value for pair, value in cells.items() if way * value > 0}
        look: dict[str, Any] = {"facecolors": face, "edgecolors": style.COLOURS[0], "linewidths": 1}
        columns, rows = ([names.index(pair[place]) for pair in kept] for place in (1, 0))
        axes.scatter(columns, rows, s=[_DISC * size for size in kept.values()], **look)
        axes.scatter([], [], s=_DISC / 2, label=label, **look)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    short = [clean(name, 14) for name in names]
    axes.set_yticks(range(len(names)), short, color=style.INK)
    axes.set_xticks(range(len(names)), short, color=style.INK, rotation=50, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def alt_scores_together(frame: pd.DataFrame, study: Study) -> str:
    with_mis = frame[(frame["first"] == "mis") | (frame["second"] == "mis")]
    words = []
    for level, called in LEVELS.items():
        part = with_mis[with_mis["level"] == level]
        others = [(row.second if row.first == "mis" else row.first, row.value) for row in rows_of(part)]
        if others:
            words.append(f"over {called} {', '.join(f'{SCORES.get(n, n)} {signed(v)}' for n, v in others)}")
    return f"Rank correlations of every two scores; with MIS {'; '.join(words)}."


SCORES_TOGETHER = Drawing("scores_together", scores_together, draw_scores_together, alt_scores_together)

FIGURES = (SCORES_PEOPLE, SCORES_TOGETHER)


def _shared(frame: pd.DataFrame, level: str, one: str, other: str) -> tuple[float, float, float]:
    """Rank correlation of two scores, and the ends of its interval; NaN where there is none."""
    pair = {one, other}
    found = [row for row in rows_of(frame[frame["level"] == level]) if {row.first, row.second} == pair]
    return (float(found[0].value), float(found[0].low), float(found[0].high)) if found else _NONE


def sparseness_words(frame: pd.DataFrame) -> str:
    """How far raw monosemanticity follows how often units fire, by rows of part `scores` of scores_compared under one similarity.

    Within layers, where there is an interval over layers; '' where no unit has both. A score of sparseness falls as the rate
    rises.
    """
    value, low, high = _shared(frame, "layer", "ms", "firing")
    if not np.isfinite(value):
        return ""
    whole = _shared(frame, "unit", "ms", "firing")[0]
    over_all = f", {signed(whole)} over all units" if np.isfinite(whole) else ""
    said = f": rank correlation with the firing rate within layers {signed(value)}{between(low, high)}{over_all}"
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"whether the raw score is one of sparseness cannot be told from so few layers{said}"
    if high < 0:
        return f"the raw score is {'mostly' if value <= -NEARLY else 'in part'} one of sparseness{said}"
    if low > 0:
        return f"here the raw score is higher for units that fire more often, so it is not one of sparseness{said}"
    return f"here the raw score is not seen to follow sparseness{said}"


def scores_words(study: Study) -> list[str]:
    """What the other scores add, in sentences with their numbers; none where no score but MIS was computed."""
    table = study.tables["scores_compared"]
    frame = table[(table["part"] == "scores") & (table["backend"] == study.lead)]
    found = []
    whole, within = (_shared(frame, level, "mis", "rho")[0] for level in LEVELS)
    if np.isfinite(whole) and np.isfinite(within):
        same = "nearly the same as MIS" if whole >= NEARLY else "not the same as MIS"
        found.append(
            f"Over all units the whole-range score says {same} (rank correlation {signed(whole)}); what it adds, it adds "
            f"within layers, where the two share {signed(within)}"
        )
    if np.isfinite(_shared(frame, "unit", "mis", "ms_z")[0]):
        sparse = sparseness_words(frame)
        found.append(
            "Monosemanticity compares between units only as z, in spreads of its own null, because units whose values are dense "
            f"hardly leave the null{'; ' + sparse if sparse else ''}"
        )
    return found
