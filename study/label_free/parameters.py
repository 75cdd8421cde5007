"""What scores without labels depend on."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.label_free import LabelFree
from study.params.parts import Confidence, SeedAndImages
from study.params.units import Units
from study.solving.opening import Similarities


@dataclass(frozen=True, kw_only=True)
class Pass:
    """How images pass through networks, of `activations`."""

    batch_size: int
    precision: str
    pack: int


@dataclass(frozen=True, kw_only=True)
class Similar(Similarities):
    """The similarities of the study, of `scores`."""

    backends: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelFreeParams(SeedAndImages):
    """Everything of params.yaml that decides these scores."""

    units: Units
    activations: Pass
    scores: Similar
    label_free: LabelFree
    stats: Confidence
