"""Parameters of the statistics."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class Stats:
    n_bootstrap: int = number(100)
    confidence: float = number(0.5, 0.999)
    n_extreme: int = number(1)
