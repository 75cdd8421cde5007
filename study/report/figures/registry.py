"""Figures of the report: a table of the series behind each one, and a drawing made from that table alone.

Every figure is drawn from its CSV as read back from disk, so the file beside it holds exactly what is shown. Two widths
are drawn, one for a text column and one for a phone. SVG keeps its words as text; neither SVG nor PDF holds a date.
A module a question; the specs at its end say what it draws.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from study.report.figures import (
    ceiling,
    choices,
    conditions,
    controls,
    feature_maps,
    his,
    histograms,
    layers,
    mis_and_his,
    papers,
    ranking,
    sessions,
    training,
)
from study.report.figures.base import FigureSpec, Study

_MODULES = (
    *(ranking, layers, mis_and_his, feature_maps, ceiling, choices, training, controls),
    *(his, conditions, sessions, histograms),
)
FIGURES: tuple[FigureSpec, ...] = tuple(spec for module in _MODULES for spec in module.FIGURES)
TABLES_NEEDED: tuple[str, ...] = tuple(sorted({name for spec in FIGURES for name in spec.tables}))


def checklist(study: Study, drawn: Collection[str]) -> pd.DataFrame:
    """Every figure of both papers and what became of it; `drawn` are the figures of this study that have data."""
    return papers.checklist(study, drawn, FIGURES)
