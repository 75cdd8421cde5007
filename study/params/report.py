"""Parameters of the report."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number


@dataclass(frozen=True, kw_only=True)
class Report:
    title: str = filled()
    show_images: bool
    n_exemplars: int = number(0, 50)
    n_full_tasks: int = number(1, 100)
    n_pictures: int = number(0, 10_000)
    thumbnail: int = number(32, 160)
    n_units: int = number(0, 100_000)
