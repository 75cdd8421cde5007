"""Figures of facts of feature maps against scores."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.mis_and_his import rated
from study.report.figures.series import thinned
from study.report.figures.words import clean, rank_correlations, signed

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
    parts = [pd.DataFrame(columns=["model", "of", "value", "score", "n", "spearman", "p"])]
    for model in rated(study, set(units["model"]))[: style.MOST_SMALL]:
        for of, score, backend in (("HIS", "his", "human"), ("MIS", "mis", study.lead)):
            own = units[units["model"] == model].rename(columns={score: "score"})
            rows = thinned(own.assign(of=of), ["model", "of"], "value", "score")
            at = (table["statistic"] == statistic) & (table["model"] == model) & (table["backend"] == backend)
            correlation = table[at].iloc[0].to_dict() if at.any() else {"spearman": np.nan, "p": np.nan}
            parts.append(rows.assign(**{name: correlation[name] for name in ("spearman", "p")}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def draw_map_statistic(frame: pd.DataFrame, study: Study, narrow: bool, statistic: str) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))
    figure, grid = style.panels(narrow, len(networks), 1.6, columns=3, share_y=True, extra=0.5)
    for model, axes in zip(networks, grid, strict=True):
        words = []
        for of, index in (("MIS", 4), ("HIS", 1)):
            rows = frame[(frame["model"] == model) & (frame["of"] == of)]
            look = {"color": style.COLOURS[index], "marker": style.MARKERS[index], "label": of}
            style.dots(axes, rows, "value", "score", alpha=0.5, **look)
            row = rows.iloc[0]
            words.append(f"{of} {signed(row['spearman'])}")
        axes.set_title(f"{clean(model, 12)}: {', '.join(words[::-1])}")
    style.outer_labels(grid, _STATISTICS[statistic], "score of the unit")
    return style.with_key(figure, grid[0], narrow)


def alt_map_statistic(frame: pd.DataFrame, study: Study, statistic: str) -> str:
    words = rank_correlations(frame[frame["of"] == "HIS"])
    what = _STATISTICS[statistic]
    return f"HIS of {study.people} and MIS against {what} of units. Rank correlation with HIS by network: {words}."


FIGURES = tuple(
    Drawing(
        f"map_{name}",
        partial(map_statistic, statistic=name),
        partial(draw_map_statistic, statistic=name),
        partial(alt_map_statistic, statistic=name),
    )
    for name in _STATISTICS
)
