"""Where files that a roster names are looked for."""

from __future__ import annotations

from pathlib import Path

from study.environment import WEIGHTS, Environment


def found(name: str) -> Path | None:
    """A file by the name that a roster gives it: absolute, or relative to MIS_WEIGHTS, to here, or to data/external/weights."""
    folder = Environment.read().weights
    places = (*([folder / name] if folder != WEIGHTS else []), Path(name), WEIGHTS / name)
    return next((path for path in places if path.is_file()), None)
