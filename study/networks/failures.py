"""Networks that failed: named in a table of their stage, which fails as a whole where they are too many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from study.errors import StudyError
from study.files.tables import write_csv

COLUMNS = ["model", "stage", "reason"]

Failed = dict[str, str]  # COLUMNS


def write_failures(path: Path, failures: list[Failed]) -> None:
    """One row a network that failed, by name."""
    write_csv(path, pd.DataFrame(failures, columns=COLUMNS).sort_values("model", kind="stable"))


def refuse_failures(
    stage: str,
    failures: list[Failed],
    n_networks: int,
    most: float,
    advice: str,
    of: str = "",
    rows: Mapping[str, int] | None = None,
) -> None:
    """Raise StudyError if more than the share `most` of all networks (`of` a roster, in its `rows`) failed."""
    if len(failures) > most * n_networks:
        called = {name: f"row {number} ({name})" for name, number in (rows or {}).items()}
        listed = "".join(f"\n  {called.get(row['model'], row['model'])}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {n_networks} networks{of and f' of {of}'} failed; {stage}.max_failed allows a share of "
            f"{most:g}:{listed}\n{advice}"
        )
