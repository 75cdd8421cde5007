"""Drawings of figures, made side by side by the cores of this machine: they are most of the work of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from study.log import logger
from study.report.figures import base
from study.report.figures.base import Study
from study.report.figures.registry import FIGURES
from study.workers.jobs import run_all_or_stop
from study.workers.placement import local_devices

log = logger("figures")

_PARTS = 3  # of the work for each worker: figures differ, and the study is copied for each part


class Drawn(NamedTuple):
    """A figure: wide as SVG and PDF, narrow as SVG for the page, and in words."""

    wide: str
    pdf: bytes
    narrow: str
    alt: str


@dataclass(frozen=True)
class DrawingJob:
    """Some figures of a study, by name: the series and the title of each."""

    study: Study
    wanted: Mapping[str, tuple[pd.DataFrame, str]]

    @property
    def name(self) -> str:
        first, *others = self.wanted
        return f"{first} and {len(others)} more" if others else first

    @property
    def size(self) -> float:
        return len(self.wanted)

    def run(self) -> dict[str, Drawn]:
        drawings = {spec.name: spec.drawing for spec in FIGURES}
        return {name: self._drawn(drawings[name], *shown) for name, shown in self.wanted.items()}

    def _drawn(self, drawing: base.Drawing, frame: pd.DataFrame, title: str) -> Drawn:
        wide, pdf = base.render_files(drawing, frame, self.study, title)
        narrow = base.render(drawing, frame, self.study, title, narrow=True)
        return Drawn(wide, pdf, narrow, drawing.alt(frame, self.study))


def draw(study: Study, wanted: Mapping[str, tuple[pd.DataFrame, str]]) -> dict[str, Drawn]:
    """All these figures, by name: the series and the title of each. An error of one ends them all, with its name."""
    names, parts = list(wanted), _PARTS * len(local_devices(on_cpu=True))
    shares = [names[first::parts] for first in range(min(parts, len(names)))]
    jobs = [DrawingJob(study, {name: wanted[name] for name in share}) for share in shares]
    done = run_all_or_stop(jobs, "figures drawn", log, on_cpu=True, here=True)
    return {name: drawn for part in done for name, drawn in part.items()}
