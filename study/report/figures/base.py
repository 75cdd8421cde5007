"""What a figure is, and what it is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from interpretability.people.slope_status import NOT_IDENTIFIED
from study.report.figures.style import styled, to_pdf, to_svg
from study.report.figures.words import THROUGH, UNIDENTIFIED, task_words

# the questions that figures answer, in reading order
SECTIONS: tuple[tuple[str, str], ...] = (
    ("ranking", "Which networks are understandable?"),
    ("layers", "Where in a network?"),
    ("bases", "Units or directions?"),
    ("people", "Does the score agree with people?"),
    ("ceiling", "How good could a score be?"),
    ("scores", "What do other scores say?"),
    ("texts", "Which text says it best?"),
    ("kinds", "Which explanation serves a unit best?"),
    ("robust", "How much hangs on the choices made?"),
    ("training", "What does training change?"),
    ("controls", "Does the measurement find what is known?"),
    ("human", "What do the human answers look like?"),
)


TEXT_SCORES = ("model", "layer", "unit", "method", "kind", "text", "score", "rho", "low", "high", "rho_true", "status")
RATERS = ("n", "yes_share", "agreement", "false_yes", "false_no", "flags")


@dataclass(frozen=True)
class Study:
    """What the figures draw: the study's tables, and unit-level values of the networks shown.

    `units` holds the leading backend's units of some study networks (key, layer_type, mis, mis_se, accuracy,
    margin_mean, in_split); `human` the annotated units, with the source of their answers; `curve` the calibration losses;
    `simulated`: nobody gave the answers; `human_through`: conditions whose made images simulated observers saw through it.
    `texts` holds every score of every text of a unit (TEXT_SCORES), `raters` who rated pictures for texts (RATERS), without
    their names; `rated_by_program`: their ratings are simulated; `shown_by`: what says which concepts pictures show, in words,
    of the automatic score (presence) and of the guide.
    """

    backends: tuple[str, ...]
    confidence: float
    n_tasks: int
    n_explanations: int
    tables: dict[str, pd.DataFrame]
    units: pd.DataFrame
    human: pd.DataFrame
    curve: pd.DataFrame
    simulated: bool = False
    human_through: frozenset[str] = frozenset()
    seed: int = 0
    texts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TEXT_SCORES)))
    raters: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(RATERS)))
    rated_by_program: bool = False
    shown_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def rating_people(self) -> str:
        """What those who rated pictures for texts are called wherever they are shown."""
        return "simulated raters" if self.rated_by_program else "raters"

    @property
    def people(self) -> str:
        """What those who gave the answers are called wherever they are shown."""
        return "simulated observers" if self.simulated else "people"

    def people_of(self, condition: str) -> str:
        """The same of one condition: what simulated observers see in made images, the encoder told them."""
        return f"{self.people}, {THROUGH}" if condition in self.human_through else self.people

    def asked(self, condition: str) -> str:
        """The tasks of a condition in words, with the mark of answers through the encoder."""
        return task_words(condition) + (f", {THROUGH}" if condition in self.human_through else "")

    @property
    def lead(self) -> str:
        """The backend that leads the report."""
        return self.backends[0]

    @cached_property
    def unidentified(self) -> tuple[str, ...]:
        """Similarities whose slope was fitted but is not identified: their levels compare with no others."""
        status = self.tables["calibration"].set_index("backend")["status"]
        return tuple(name for name in self.backends if status.get(name) == NOT_IDENTIFIED)

    def called(self, backend: str) -> str:
        """Name of a similarity where levels of several stand side by side, with a star if its own has no meaning."""
        return f"{backend}*" if backend in self.unidentified else backend

    def footnote(self, backends: Iterable[str]) -> str:
        """What the star of `called` means, in words after a description; nothing where there is none."""
        return f" (*: {UNIDENTIFIED}.)" if set(backends) & set(self.unidentified) else ""

    def models(self, backend: str | None = None) -> pd.DataFrame:
        """Rows of models.csv that enter rankings (study networks, last step), most understandable first."""
        frame = self.tables["models"]
        rows = frame[(frame["role"] == "study") & (frame["last"] == 1) & (frame["backend"] == (backend or self.lead))]
        return rows.sort_values(["mis_mean", "model"], ascending=[False, True], ignore_index=True)

    def itself(self, name: str) -> str:
        """The network that a row of networks is: another one where it is read at several sizes of input."""
        table = self.tables["input_sizes"]
        return dict(zip(table["model"], table["of"], strict=True)).get(name, name)

    def directions(self) -> list[str]:
        """Networks that are read in other directions than their units, and are no networks of their own."""
        frame = self.tables["models"]
        return list(frame.loc[(frame["role"] == "directions") & (frame["backend"] == self.lead), "model"])

    def lead_and_people(self, table: str) -> pd.DataFrame:
        """Rows of a table for the leading similarity and for the answers, these by the name of those who gave them."""
        rows = self.tables[table]
        rows = rows[rows["backend"].isin([self.lead, "human"])]
        return rows.assign(backend=rows["backend"].replace({"human": self.people}))


class Drawing(NamedTuple):
    """What makes one figure: its series, its drawing from that series alone (narrow or wide), its description in words."""

    name: str
    series: Callable[[Study], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Study, bool], Figure]
    alt: Callable[[pd.DataFrame, Study], str]


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the report: what makes it, and what stands about it.

    section: a key of SECTIONS; tables: files of results/tables that the series reads; absent: what stands there without data;
    paper: which figure of which paper it answers; reported: what that paper reports, in words.
    """

    drawing: Drawing
    section: str
    absent: str
    paper: str
    reported: str
    tables: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.drawing.name

    def series(self, study: Study) -> pd.DataFrame:
        return self.drawing.series(study)


def render(drawing: Drawing, frame: pd.DataFrame, study: Study, title: str, *, narrow: bool) -> str:
    """SVG of one figure in one width."""
    with styled():
        return to_svg(drawing.draw(frame, study, narrow), title)


def render_files(drawing: Drawing, frame: pd.DataFrame, study: Study, title: str) -> tuple[str, bytes]:
    """SVG of one figure in the wide form, and its PDF for a paper or a slide: one drawing, saved twice."""
    with styled():
        figure = drawing.draw(frame, study, False)
        return to_svg(figure, title), to_pdf(figure, title)
