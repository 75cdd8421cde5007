"""Figures as the page shows them, and their captions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from study.errors import StudyError
from study.files.tables import write_bytes, write_csv, write_text
from study.report.figures import base
from study.report.figures.base import Study
from study.report.figures.crowd_settings import guides_of
from study.report.figures.findings import finding
from study.report.figures.inline import inline
from study.report.figures.registry import FIGURES
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
    views = {}
    for spec in FIGURES:
        path = plots / f"{spec.name}.csv"
        write_csv(path, spec.series(study))
        frame = read_table(path)
        found = "" if frame.empty else finding(spec.name, frame, study)
        words = {**facts, "finding": found, "guides": guides_of(frame)}
        title, paragraphs = read_caption(captions / f"{spec.name}.md", environment, words)
        if frame.empty:
            views[spec.name] = FigureView(spec.name, absent=spec.absent)
            continue
        wide, pdf = base.render_files(spec.drawing, frame, study, title)
        narrow, alt = base.render(spec.drawing, frame, study, title, narrow=True), spec.drawing.alt(frame, study)
        write_text(folder / f"{spec.name}.svg", wide)
        write_bytes(folder / f"{spec.name}.pdf", pdf)
        views[spec.name] = FigureView(
            name=spec.name,
            title=title,
            paragraphs=paragraphs,
            alt=alt,
            svg=inline(narrow, spec.name, alt),
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


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
