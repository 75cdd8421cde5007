"""Figures of the report: a table of the series behind each one, and a drawing made from that table alone.

Every figure is drawn from its CSV as read back from disk, so the file beside it holds exactly what is shown. Two widths
are drawn: a wide one in files for papers, and a narrow one that `inline` puts into the page. SVG keeps its words as text;
neither SVG nor PDF holds a date.
A module a subject; FIGURES at its end says what it draws.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from study.report.figures import (
    about,
    bases,
    ceiling,
    checklist,
    choices,
    conditions,
    controls,
    crowd_settings,
    crowd_worlds,
    feature_maps,
    his,
    histograms,
    kinds,
    layers,
    likeness,
    made_images,
    mis_and_his,
    other_scores,
    ranking,
    raters,
    sessions,
    texts,
    texts_guides,
    texts_known,
    training,
    tuned,
)
from study.report.figures.base import SECTIONS, Drawing, FigureSpec, Study

_SUBJECTS = {
    "ranking": (ranking, likeness),
    "layers": (layers,),
    "bases": (bases,),
    "people": (mis_and_his, feature_maps),
    "ceiling": (ceiling, tuned),
    "scores": (other_scores,),
    "texts": (texts, texts_guides, texts_known, raters, crowd_worlds, crowd_settings),
    "kinds": (kinds, made_images),
    "robust": (choices,),
    "training": (training,),
    "controls": (controls,),
    "human": (his, conditions, sessions, histograms),
}


def _spec(drawing: Drawing, section: str) -> FigureSpec:
    name = drawing.name
    return FigureSpec(
        drawing=drawing,
        section=section,
        tables=tuple(about.TABLES[name].split()),
        absent=f"No figure: {about.ABSENT[name]}.",
        paper=about.PAPERS.get(name, ""),
        reported=about.REPORTED.get(name, ""),
    )


FIGURES = tuple(_spec(drawing, key) for key, _ in SECTIONS for module in _SUBJECTS[key] for drawing in module.FIGURES)
TABLES_NEEDED = tuple(sorted({name for spec in FIGURES for name in spec.tables}))


def of_papers(study: Study, drawn: Collection[str]) -> pd.DataFrame:
    """Every figure of the three papers and what became of it; `drawn` are the figures of this study that have data."""
    return checklist.checklist(study, drawn, [spec.name for spec in FIGURES])
