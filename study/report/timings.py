"""How long the stages took last time, as a table."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from study.timing import runs_file


def latest() -> list[dict[str, Any]]:
    """The last run of every stage, in the order in which they ended."""
    try:
        lines = runs_file().read_text().splitlines()
    except FileNotFoundError:
        return []
    runs: dict[str, dict[str, Any]] = {}
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):  # a line cut short by a kill
            run = json.loads(line)
            runs.pop(run["stage"], None)
            runs[run["stage"]] = run
    return list(runs.values())


def table() -> str:
    """`latest` as text, with a sum."""
    runs = latest()
    if not runs:
        return f"No runs are recorded in {runs_file()} yet."
    rows = [("stage", "ended", "wall s", "CPU s", "peak MB", "worker MB")]
    rows += [
        (
            run["stage"],
            run["ended"],
            f"{run['wall_s']:.1f}",
            f"{run['cpu_s']:.1f}",
            str(run["peak_mb"]),
            str(run["worker_peak_mb"]),
        )
        for run in runs
    ]
    total = [sum(run[name] for run in runs) for name in ("wall_s", "cpu_s")]
    rows.append(("sum", "", f"{total[0]:.1f}", f"{total[1]:.1f}", "", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
