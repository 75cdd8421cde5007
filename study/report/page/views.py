"""Figures as the page shows them, and their captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from study.errors import StudyError
from study.files.tables import write_bytes, write_csv, write_text
from study.report.figures.base import Study
from study.report.figures.crowd_settings import guides_of
from study.report.figures.findings import finding
from study.report.figures.inline import inline
from study.report.figures.registry import FIGURES
from study.report.page.drawing import draw
from study.report.page.inputs import read_table


@dataclass(frozen=True)
class FigureView:
    """A figure on the page, or the line that stands in its place; and what a paper reports beside it.

    svg: one inline SVG, or several that stand side by side where there is room, which `panels` says.
    """

    name: str
    title: str = ""
    paragraphs: tuple[str, ...] = ()
    alt: str = ""
    svg: str = ""
    absent: str = ""
    paper: str = ""
    reported: str = ""

    @property
    def panels(self) -> bool:
        return self.svg.startswith("<div")


def make_figures(
    study: Study,
    captions: Path,
    plots: Path,
    folder: Path,
    environment: jinja2.Environment,
    facts: Mapping[str, object],
) -> dict[str, FigureView]:
    """Write every series and drawing, and return the figures as the page shows them.

    A figure is drawn from its CSV as read back, so file and drawing never differ.
    """
    captioned: dict[str, tuple[str, tuple[str, ...]]] = {}
    wanted: dict[str, tuple[pd.DataFrame, str]] = {}  # figures that have data
    for spec in FIGURES:
        path = plots / f"{spec.name}.csv"
        write_csv(path, spec.series(study))
        frame = read_table(path)
        found = "" if frame.empty else finding(spec.name, frame, study)
        words = {**facts, "finding": found, "guides": guides_of(frame)}
        title, _ = captioned[spec.name] = read_caption(captions / f"{spec.name}.md", environment, words)
        if not frame.empty:
            wanted[spec.name] = frame, title
    drawn, views = draw(study, wanted), {}
    for spec in FIGURES:
        name = spec.name
        if name not in drawn:
            views[name] = FigureView(name, absent=spec.absent)
            continue
        figure, (title, paragraphs) = drawn[name], captioned[name]
        write_text(folder / f"{name}.svg", figure.wide)
        write_bytes(folder / f"{name}.pdf", figure.pdf)
        views[name] = FigureView(
            name=name,
            title=title,
            paragraphs=paragraphs,
            alt=figure.alt,
            svg=inline(figure.narrow, name, figure.alt),
            paper=spec.paper,
            reported=spec.reported,
        )
    return views


def read_caption(
    path: Path, environment: jinja2.Environment, facts: Mapping[str, object]
) -> tuple[str, tuple[str, ...]]:
    """Title (first line, after `# `) and paragraphs of a caption file; `{{ }}` in it is filled from the study, `finding`
    and `guides` (kinds of guide of the worlds drawn) from the series of the figure.

    Both are plain text, which the page escapes.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Every figure needs a caption there: a line '# Title', then its text.")
    plain = environment.overlay(autoescape=False)
    title, _, body = plain.from_string(path.read_text(encoding="utf-8")).render(facts).strip().partition("\n")
    if not title.startswith("# "):
        raise StudyError(f"{path}: the first line is {title!r}, it must be '# ' and the title of the figure")
    blocks = [" ".join(block.split()) for block in body.split("\n\n")]
    return title[2:], tuple(block for block in blocks if block)
