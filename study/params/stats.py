"""Parameters of the statistics."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Published likeness of networks to people, by its place in data/external/likeness."""

    tables: tuple[str, ...]
    decisions: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What the tables of the study are made with."""

    n_bootstrap: int = number(100)
    confidence: float = number(0.5, 0.999)
    n_extreme: int = number(1)
    likeness: Likeness
