"""Parameters of the noise ceiling."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """How often the answers of people are simulated."""

    n_simulations: int = number(10)
