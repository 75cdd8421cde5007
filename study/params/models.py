"""Parameters of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number


@dataclass(frozen=True, kw_only=True)
class Training:
    """Networks trained inside the pipeline."""

    epochs: int = number(1, 1000)
    batch_size: int = number(1)
    learning_rate: float = number(above=0)
    n_validation: int = number(1)
    n_encoder: int = number(1)


@dataclass(frozen=True, kw_only=True)
class Models:
    """The roster and what may be wrong with it."""

    roster: str = filled()
    max_failed: float = number(0, 1)
    training: Training
