"""The questions of the page, each with its figures and tables in reading order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.report.figures.base import SECTIONS, Study
from study.report.figures.registry import FIGURES
from study.report.page import (
    tables_of_answers,
    tables_of_directions,
    tables_of_kinds,
    tables_of_scores,
    tables_of_texts,
)
from study.report.page.cells import Table, TableSpec
from study.report.page.views import FigureView

TABLE_SPECS: tuple[TableSpec, ...] = (
    *tables_of_scores.SPECS,
    *tables_of_answers.SPECS,
    *tables_of_directions.SPECS,
    *tables_of_texts.SPECS,
    *tables_of_kinds.SPECS,
)


@dataclass(frozen=True)
class Part:
    """A figure or a table of a section."""

    name: str
    figure: FigureView | None = None
    table: Table | None = None
    open: bool = True


@dataclass(frozen=True)
class Section:
    """A question with what answers it; without data no part, and the reasons why."""

    key: str
    question: str
    parts: tuple[Part, ...]
    absent: tuple[str, ...]


def make_tables(study: Study) -> dict[str, Table | None]:
    """Every table of the page by name; None where it has no rows."""
    return {spec.name: spec.make(study) for spec in TABLE_SPECS}


def make_sections(views: Mapping[str, FigureView], tables: Mapping[str, Table | None]) -> list[Section]:
    """Every question of SECTIONS: its figures in the order of FIGURES, each followed by the tables that belong to it."""
    return [_section(key, question, views, tables) for key, question in SECTIONS]


def _section(key: str, question: str, views: Mapping[str, FigureView], tables: Mapping[str, Table | None]) -> Section:
    drawn = [spec.name for spec in FIGURES if spec.section == key]
    shown = [spec for spec in TABLE_SPECS if spec.section == key and tables[spec.name] is not None]
    parts: list[Part] = []
    for name in drawn:
        if not views[name].absent:
            parts.append(Part(name, figure=views[name]))
        parts += [Part(spec.name, table=tables[spec.name], open=spec.open) for spec in shown if spec.after == name]
    parts += [Part(spec.name, table=tables[spec.name], open=spec.open) for spec in shown if spec.after not in drawn]
    # several figures may lack the same data: the reason stands once
    reasons = (views[name].absent.removeprefix("No figure: ").rstrip(".") for name in drawn if views[name].absent)
    absent = dict.fromkeys(reasons)
    return Section(key, question, tuple(parts), tuple(absent))
