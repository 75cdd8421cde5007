"""Parameters of text explanations: the images they are judged on, and what says whether an image shows a concept."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number, one_of

MAKERS = ("best", "invert", "clip_dissect", "le_label", "le_guide")


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A machine that gives the probability of a concept in an image."""

    key = "explanations.guide"
    source: str = one_of("none", "simulated", "open_clip", "file")
    model: str
    pretrained: str
    template: str = filled()
    batch_size: int = number(1)
    calibration: str = one_of("none", "platt", "isotonic")
    separation: float = number(above=0)


@dataclass(frozen=True, kw_only=True)
class SecondGuide(Guide):
    """Another machine, which is a prior of the same ratings. It draws no images and makes no texts."""

    key = "explanations.second_guide"
    source: str = one_of("none", "simulated", "open_clip")


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """Text explanations."""

    n_images: int = number(0)
    holdout: float = number(above=0, high=1)
    presence: str = one_of("none", "factors", "labels", "guide", "file")
    guide: Guide
    second_guide: SecondGuide
    concepts: str
    units: tuple[str, ...]
    make: tuple[str, ...]
    length: int = number(1, 3)
    n_known: int = number(0)
    n_top: int = number(1)
