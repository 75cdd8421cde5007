"""Parameters of the score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mis:
    """Which tasks count."""

    drop_near_duplicates: bool
