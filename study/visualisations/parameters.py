"""What images that are made depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.params.parts import SeedAndImages
from study.params.units import Units
from study.params.visualisations import Visualisations


@dataclass(frozen=True, kw_only=True)
class Pass:
    """How images pass through networks, of `activations`."""

    batch_size: int
    precision: str
    pack: int


@dataclass(frozen=True, kw_only=True)
class VisualisationParams(SeedAndImages):
    """Everything of params.yaml that decides which images are made, and how."""

    units: Units
    activations: Pass
    visualisations: Visualisations


@dataclass(frozen=True)
class Folders:
    """Where a study lies: outs of the stages before, and code of one's own."""

    activations: Path
    images: Path
    models: Path
    code: Path
