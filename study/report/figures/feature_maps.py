"""Figures of facts of feature maps against scores."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures.base import FigureSpec, Study
from study.report.figures.mis_and_his import rated
from study.report.figures.style import (
    COLOURS,
    FONT_SIZE,
    MARKERS,
    MOST_SMALL,
    clean,
    dots,
    key_above,
    outer_labels,
    panels,
    signed,
    thinned,
)

_STATISTICS = {
    "contrast": "local contrast",
    "pixel_sparseness": "share of silent positions",
    "channel_sparseness": "share of silent pictures",
}


def map_statistic(study: Study, statistic: str) -> pd.DataFrame:
    """A fact of the feature maps of annotated units beside their HIS and MIS, with its rank correlations by network."""
    units, table = study.tables["map_units"], study.tables["map_correlations"]
    units = units.rename(columns={statistic: "value"})
    units = units[units["value"].notna()]
    parts = [pd.DataFrame(columns=["model", "of", "value", "score", "n", "spearman", "p", "stars"])]
    for model in rated(study, set(units["model"]))[:MOST_SMALL]:
        for of, score, backend in (("HIS", "his", "human"), ("MIS", "mis", study.lead)):
            own = units[units["model"] == model].rename(columns={score: "score"})
            rows = thinned(own.assign(of=of), ["model", "of"], "value", "score")
            at = (table["statistic"] == statistic) & (table["model"] == model) & (table["backend"] == backend)
            found = table[at].iloc[0] if at.any() else {"spearman": np.nan, "p": np.nan, "stars": ""}
            parts.append(rows.assign(**{name: found[name] for name in ("spearman", "p", "stars")}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def draw_map_statistic(frame: pd.DataFrame, study: Study, narrow: bool, statistic: str) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, grid = panels(narrow, len(networks), 1.6, columns=3, share_y=True, extra=0.5)
    for model, axes in zip(networks, grid, strict=True):
        words = []
        for of, index in (("MIS", 4), ("HIS", 1)):
            rows = frame[(frame["model"] == model) & (frame["of"] == of)]
            dots(axes, rows, "value", "score", color=COLOURS[index], marker=MARKERS[index], label=of, alpha=0.5)
            row = rows.iloc[0]
            words.append(f"{of} {signed(row['spearman'])}{row['stars'] if row['stars'] != 'NS' else ''}")
        axes.set_title(f"{clean(model, 12)}: {', '.join(words[::-1])}", fontsize=FONT_SIZE - 1)
    outer_labels(grid, _STATISTICS[statistic], "score of the unit")
    key_above(figure, grid[0], narrow)
    return figure


def alt_map_statistic(frame: pd.DataFrame, study: Study, statistic: str) -> str:
    words = "; ".join(
        f"{model} {signed(part['spearman'].iloc[0])}"
        for model, part in frame[frame["of"] == "HIS"].groupby("model", sort=False)
    )
    what = _STATISTICS[statistic]
    return f"HIS of {study.people} and MIS against {what} of units. Rank correlation with HIS by network: {words}."


NO_MAPS = "No figure: no feature maps of annotated units were measured (sensitivity.map_models)."
_MAPS = (
    ("contrast", "IMI paper, figure 17", "no relation: Spearman with HIS from −.24 to .14 in seven networks"),
    ("pixel_sparseness", "IMI paper, figure 18", "no relation: Spearman with HIS from −.13 to .31 in nine networks"),
    ("channel_sparseness", "IMI paper, figure 19", "no relation"),
)


FIGURES = (
    *(
        FigureSpec(
            f"map_{name}",
            "people",
            partial(map_statistic, statistic=name),
            partial(draw_map_statistic, statistic=name),
            partial(alt_map_statistic, statistic=name),
            NO_MAPS,
            ("map_units", "map_correlations", "models"),
            paper,
            reported,
        )
        for name, paper, reported in _MAPS
    ),
)
