"""Figures of the report: a table of the series behind each one, and a drawing made from that table alone.

Every figure is drawn from its CSV as read back from disk, so the file beside it holds exactly what is shown. Two widths
are drawn, one for a text column and one for a phone. SVG keeps its words as text; neither SVG nor PDF holds a date.
A module a question; the specs at its end say what it draws.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from stages.pipeline.figures import ceiling, controls, human, layers, papers, people, ranking, robust, training
from stages.pipeline.figures.base import SECTIONS, FigureSpec, Study, render, render_pdf
from stages.pipeline.figures.ceiling import leading_ceiling
from stages.pipeline.figures.controls import control_places
from stages.pipeline.figures.ranking import MOST_RIDGES, ridge_models
from stages.pipeline.figures.training import training as training_series

__all__ = [
    "FIGURES", "MOST_RIDGES", "SECTIONS", "TABLES_NEEDED", "FigureSpec", "Study", "checklist", "control_places",
    "leading_ceiling", "render", "render_pdf", "ridge_models", "training_series",
]  # fmt: skip
_MODULES = (ranking, layers, people, ceiling, robust, training, controls, human)
FIGURES: tuple[FigureSpec, ...] = tuple(spec for module in _MODULES for spec in module.FIGURES)
TABLES_NEEDED: tuple[str, ...] = tuple(sorted({name for spec in FIGURES for name in spec.tables}))


def checklist(study: Study, drawn: Collection[str]) -> pd.DataFrame:
    """Every figure of both papers and what became of it; `drawn` are the figures of this study that have data."""
    return papers.checklist(study, drawn, FIGURES)
