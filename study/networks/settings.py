"""Parameters that networks depend on, and those that name networks."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.models import Models
from study.params.units import Units


@dataclass(frozen=True, kw_only=True)
class DrawnScenes:
    """What is learnt from, of `images.generated`.

    size            side of a scene in pixels
    n_categories    that the networks learn to tell apart
    """

    size: int
    n_categories: int


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The images to train on, of `images`."""

    source: str
    root: str
    generated: DrawnScenes


@dataclass(frozen=True, kw_only=True)
class EncoderLayer:
    """The network behind the similarity `encoder` and its layer, of `scores.encoder`."""

    model: str
    layer: str


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Which similarities there are, of `scores`."""

    backends: tuple[str, ...]
    encoder: EncoderLayer


@dataclass(frozen=True, kw_only=True)
class NetworkParams:
    """What the networks depend on; the last group only names one of them."""

    seed: int
    processor: str
    models: Models
    units: Units
    images: TrainingImages
    scores: Similarities
