"""Parameters of the calibration."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """On which units the slope is fitted, and how."""

    fraction: float = number(0, 1, above=0)
    min_units: int = number(2)
    allow_few: bool
    objective: str = one_of("squared_error", "moments")
    default_slope: float = number(above=0)
    n_bootstrap: int = number(10)
    n_splits: int = number(0)
