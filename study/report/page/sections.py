"""The questions of the page: each with its answer in a line, the figure that leads, and what lies closed below it."""

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
from study.report.page.answers import answers
from study.report.page.cells import Table, TableSpec
from study.report.page.lacking import Lacking, lacking
from study.report.page.views import FigureView

TABLE_SPECS: tuple[TableSpec, ...] = (
    *tables_of_scores.SPECS,
    *tables_of_answers.SPECS,
    *tables_of_directions.SPECS,
    *tables_of_texts.SPECS,
    *tables_of_kinds.SPECS,
)


# figures that may lead a question, the best first; without data of any of them its first figure with data leads
LEADS = {
    "ranking": ("models_ranked", "unit_distribution"),
    "layers": ("relative_depth", "depth", "layer_types"),
    "bases": ("units_or_directions", "superposed"),
    "people": ("his_by_mis", "mis_against_his"),
    "ceiling": ("agreement",),
    "scores": ("scores_people", "scores_together"),
    "texts": ("texts_automatic", "texts_crowd", "crowd_pareto"),
    "kinds": ("explanation_kinds", "made_images", "mis_natural_synthetic"),
    "robust": ("similarities", "sensitivity", "calibration"),
    "training": ("training",),
    "controls": ("dose_response", "control_levels"),
    "human": ("his_models",),
}


@dataclass(frozen=True)
class Part:
    """A figure or a table of a section."""

    name: str
    figure: FigureView | None = None
    table: Table | None = None
    open: bool = True


@dataclass(frozen=True)
class Section:
    """A question with its answer in a sentence, the figure that leads, and the parts that lie closed below.

    Without data it has neither; `absent` are its figures without data, by name, with the reason.
    """

    key: str
    question: str
    answer: str
    lead: FigureView | None
    more: tuple[Part, ...]
    absent: tuple[tuple[str, str], ...]

    @property
    def answered(self) -> bool:
        """Whether there is anything to show."""
        return self.lead is not None or bool(self.more)

    @property
    def inside(self) -> str:
        """What lies closed, counted: `2 more figures, 1 table`."""
        figures = sum(part.figure is not None for part in self.more)
        tables = len(self.more) - figures
        said = []
        if figures:
            said.append(f"{figures} more figure{'' if figures == 1 else 's'}")
        if tables:
            said.append(f"{tables} table{'' if tables == 1 else 's'}")
        return ", ".join(said) or "How to read it"


def make_tables(study: Study) -> dict[str, Table | None]:
    """Every table of the page by name; None where it has no rows."""
    return {spec.name: spec.make(study) for spec in TABLE_SPECS}


def questions(study: Study) -> list[tuple[str, str]]:
    """SECTIONS as they are asked of this study: simulated observers are no people."""
    simulated = {
        "people": f"Does the score agree with {study.people}?",
        "human": f"What do the answers of {study.people} look like?",
    }
    return [(key, simulated.get(key, question) if study.simulated else question) for key, question in SECTIONS]


def make_sections(
    study: Study, views: Mapping[str, FigureView], tables: Mapping[str, Table | None]
) -> tuple[list[Section], list[Lacking]]:
    """Every question of SECTIONS, its figures in the order of FIGURES, each followed by the tables that belong to it; and
    what the study lacks for the rest.
    """
    said = answers(study)
    sections = [_section(key, question, said[key], views, tables) for key, question in questions(study)]
    missing = (
        (name, reason, "" if section.answered else section.question)
        for section in sections
        for name, reason in section.absent
    )
    return sections, lacking(missing)


def _section(
    key: str, question: str, answer: str, views: Mapping[str, FigureView], tables: Mapping[str, Table | None]
) -> Section:
    drawn = [spec.name for spec in FIGURES if spec.section == key]
    shown = [spec for spec in TABLE_SPECS if spec.section == key and tables[spec.name] is not None]
    lead = next((name for name in (*LEADS[key], *drawn) if not views[name].absent), None)
    ordered = drawn if lead is None else [lead, *(name for name in drawn if name != lead)]
    parts: list[Part] = []
    for name in ordered:
        if not views[name].absent and name != lead:
            parts.append(Part(name, figure=views[name]))
        parts += [Part(spec.name, table=tables[spec.name], open=spec.open) for spec in shown if spec.after == name]
    parts += [Part(spec.name, table=tables[spec.name], open=spec.open) for spec in shown if spec.after not in drawn]
    absent = [
        (name, views[name].absent.removeprefix("No figure: ").rstrip(".")) for name in drawn if views[name].absent
    ]
    answered = lead is not None or bool(parts)
    return Section(
        key, question, answer if answered else "", None if lead is None else views[lead], tuple(parts), tuple(absent)
    )
