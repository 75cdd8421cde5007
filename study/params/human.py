"""Parameters of human answers: their source, and which sessions count."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number, one_of


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Simulated observers."""

    n_units: int = number(2)
    n_responses: int = number(1)
    n_trials: int = number(1)
    slope: float = number(above=0)
    slope_spread: float = number(0, 5)
    lapse: float = number(0, 0.99)
    ignored_factor: str
    careless: float = number(0, 0.9)
    minutes: float = number(above=0)


@dataclass(frozen=True, kw_only=True)
class Imi:
    """Files of the IMI record, by their place in data/external/human."""

    responses: tuple[str, ...] = filled()
    image_map: str


@dataclass(frozen=True, kw_only=True)
class AnswerTable:
    """Any table of answers: where it is and how its columns are called."""

    file: str
    model: str
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    conditions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of units that people judged: the file in data/external/human, and whose units they are, NETWORK or NETWORK/LAYER."""

    file: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Sessions that count, of the IMI record and of simulated observers; bounds are inclusive."""

    max_demo_blocks: int = number(1)
    min_catch_share: float = number(0, 1)
    min_seconds: float = number(0)
    max_seconds: float = number(0)
    min_row: int = number(0)
    min_instruction_seconds: float = number(0)
    multi_participation: str = one_of("recomputed", "stored", "ignore")


@dataclass(frozen=True, kw_only=True)
class Human:
    """Human answers."""

    source: str = one_of("none", "simulated", "imi", "table", "pairs")
    simulated: Simulated
    imi: Imi
    table: AnswerTable
    pairs: Pairs
    checks: Checks
