"""Rules that a parameter obeys."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def number(low: float | None = None, high: float | None = None, *, above: float | None = None) -> Any:
    """A number with low <= value <= high, and value > above."""
    return field(metadata={"low": low, "high": high, "above": above})


def one_of(*choices: str) -> Any:
    return field(metadata={"choices": choices})


def filled() -> Any:
    """Text that may not be empty, or a list with at least one entry."""
    return field(metadata={"filled": True})
