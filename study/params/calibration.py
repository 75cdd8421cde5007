"""Parameters of the calibration and of the noise ceiling."""

from __future__ import annotations

from dataclasses import dataclass, field

from study.params.fields import number, one_of


@dataclass(frozen=True)
class Calibration:
    fraction: float = number(0, 1, above=0)
    min_units: int = number(2)
    allow_few: bool = field()
    objective: str = one_of("squared_error", "moments")
    default_slope: float = number(above=0)
    n_bootstrap: int = number(10)
    n_splits: int = number(0)


@dataclass(frozen=True)
class Ceiling:
    n_simulations: int = number(10)
