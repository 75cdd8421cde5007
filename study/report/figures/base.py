"""What a figure is, and what it is drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from study.report.figures.style import styled, to_pdf, to_svg

# the questions that figures answer, in reading order
SECTIONS: tuple[tuple[str, str], ...] = (
    ("ranking", "Which networks are understandable?"),
    ("layers", "Where in a network?"),
    ("people", "Does the score agree with people?"),
    ("ceiling", "How good could a score be?"),
    ("robust", "How much hangs on the choices made?"),
    ("training", "What does training change?"),
    ("controls", "Does the measurement find what is known?"),
    ("human", "What do the human answers look like?"),
)


@dataclass(frozen=True)
class Study:
    """What the figures draw: the study's tables, and unit-level values of the networks shown.

    `units` holds the leading backend's units of some study networks (key, layer_type, mis, mis_se, accuracy,
    margin_mean, in_split); `human` the annotated units; `curve` the calibration losses; `simulated`: nobody gave the answers.
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

    @property
    def people(self) -> str:
        """What those who gave the answers are called wherever they are shown."""
        return "simulated observers" if self.simulated else "people"

    @property
    def lead(self) -> str:
        """The backend that leads the report."""
        return self.backends[0]

    @property
    def z(self) -> float:
        """Standard errors on either side of a mean at this confidence."""
        return NormalDist().inv_cdf((1 + self.confidence) / 2)

    def models(self, backend: str | None = None) -> pd.DataFrame:
        """Rows of models.csv that enter rankings (study networks, last step), most understandable first."""
        frame = self.tables["models"]
        rows = frame[(frame["role"] == "study") & (frame["last"] == 1) & (frame["backend"] == (backend or self.lead))]
        return rows.sort_values(["mis_mean", "model"], ascending=[False, True], ignore_index=True)

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
