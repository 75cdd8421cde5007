"""Parts of groups: the keys that several stages read of a group that belongs to another one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageRoot:
    """Where the pictures lie, of `images`."""

    root: str


@dataclass(frozen=True, kw_only=True)
class SeedAndImages:
    """What most stages read.

    seed       of all that is drawn
    processor  whose kernels compute
    images     where the pictures lie
    """

    seed: int
    processor: str
    images: ImageRoot


@dataclass(frozen=True, kw_only=True)
class Backends:
    """The similarities of the study, of `scores`."""

    backends: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How sure intervals are, of `stats`."""

    confidence: float


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a rating costs, of `crowd`."""

    price: float
