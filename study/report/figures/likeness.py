"""Do networks that decide as people do have units that are easier to understand?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interpretability.schema import NATURAL, SYNTHETIC
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.words import NO_CORRELATION, clean, condition_words, of_parts, of_rows, signed

MOST_LABELLED = 6  # networks that are named in each panel
_SCORE = ("mean", "low", "high")
_SERIES = ["panel", "score", "condition", "model", "value", *_SCORE, "n_networks", "pearson", "spearman"]


def likeness_to_people(study: Study) -> pd.DataFrame:
    """Mean MIS and HIS of networks beside published likeness to people, a panel a measure, the first ones of the table.

    Correlations over networks stand in every row of their panel and score.
    """
    rows, found = (study.tables[name] for name in ("likeness_networks", "likeness"))
    by = ["source", "measure", "score", "backend", "condition"]
    both = rows.merge(found[[*by, "n_networks", "pearson", "spearman"]], on=by, how="left")
    shown = both["backend"].isin([study.lead, ""]) & both["condition"].isin([NATURAL, SYNTHETIC])
    both = both[shown & both["value"].notna() & both["mean"].notna()]
    several = both.groupby("measure")["source"].nunique().to_dict()
    pairs = zip(both["measure"], both["source"], strict=True)
    panel = [f"{measure} ({source})" if several[measure] > 1 else str(measure) for measure, source in pairs]
    both = both.assign(panel=panel)
    first = list(dict.fromkeys(both["panel"]))[: style.MOST_PANELS]
    return both[both["panel"].isin(first)].reset_index(drop=True)[_SERIES]


def _scores(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Scores and conditions in the order of the table."""
    return list(dict.fromkeys(zip(frame["score"], frame["condition"], strict=True)))


def _called(score: str, condition: str, study: Study) -> str:
    """`MIS`, `HIS` or `HIS, synthetic`, with the mark of answers through the encoder."""
    words = score.upper() if condition == NATURAL else f"{score.upper()}, {condition_words(condition)}"
    return f"{words} ({study.people_of(condition)})" if score == "his" else words


def _panel_words(name: str) -> str:
    return name.replace("_", " ")


def draw_likeness_to_people(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    names, looks = list(dict.fromkeys(frame["panel"])), _scores(frame)
    height = 2.5
    figure, grid = style.panels(narrow, len(names), height, share_y=True, extra=0.5)
    style.outer_labels(grid, y="mean score of units")
    for name, axes in zip(names, grid, strict=True):
        panel = frame[frame["panel"] == name]
        for index, (score, condition) in enumerate(looks):
            rows = panel[(panel["score"] == score) & (panel["condition"] == condition)]
            look = {"fmt": style.MARKERS[index], "color": style.colour_of(index), "alpha": style.PALE}
            style.points_upright(axes, rows, "value", _SCORE, **look, label=_called(score, condition, study))
        axes.set_ylim(*style.around(frame, *_SCORE))
        style.room_for_names(axes, panel, "value")
        first = panel[(panel["score"] == looks[0][0]) & (panel["condition"] == looks[0][1])]
        if len(first) <= MOST_LABELLED:
            style.name_points(axes, first, "value", "mean", "model", height)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(clean(_panel_words(name), 40))
        axes.set_xlabel(_correlation_words(panel))
    return style.with_key(figure, grid[0], narrow)


def _correlation_words(panel: pd.DataFrame) -> str:
    """Rank correlations of the natural scores; nothing where there are none."""
    rows = panel[panel["condition"] == NATURAL].drop_duplicates("score")
    rows = rows[rows["spearman"].notna()]
    return (
        f"Spearman: {of_rows(rows, lambda row: f'{row.score.upper()} {signed(row.spearman)}', ', ')}"
        if len(rows)
        else ""
    )


def alt_likeness_to_people(frame: pd.DataFrame, study: Study) -> str:
    def words(name: str, panel: pd.DataFrame) -> str:
        values = panel["value"].to_numpy(float)
        said = _correlation_words(panel) or NO_CORRELATION
        return f"{_panel_words(name)} from {np.min(values):.3g} to {np.max(values):.3g}, {said}"

    n = frame["model"].nunique()
    scores = " and ".join(_called(score, condition, study) for score, condition in _scores(frame))
    return f"Mean {scores} of {n} networks against likeness to people: {of_parts(frame, 'panel', words)}."


LIKENESS_TO_PEOPLE = Drawing("likeness_to_people", likeness_to_people, draw_likeness_to_people, alt_likeness_to_people)


FIGURES = (LIKENESS_TO_PEOPLE,)
