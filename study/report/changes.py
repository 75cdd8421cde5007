"""What a run changed against the committed metrics, as text for the end of a run, and the commands to keep it or to go back.

The numbers are those of results/metrics.json as they are; nothing is said of chance.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST = 10  # numbers shown
_DIGITS = 4

_SHOWN = "results reports/figures"  # what git keeps of a run, beside parameters and the lock
_NEXT = f"""To keep it:      git add -A && git commit -m "what you changed"
To go back:      git checkout HEAD -- params.yaml dvc.lock {_SHOWN} && git clean -fdq {_SHOWN} && dvc checkout
To keep both:    dvc exp save -n NAME, then go back; `dvc exp apply NAME` takes it out again
"""


def tell(path: Path, metrics: Mapping[str, Any]) -> None:
    """Print what `told` says."""
    if text := told(path, metrics):
        print(f"\n{text}")


def told(path: Path, metrics: Mapping[str, Any]) -> str:
    """What differs between the committed file at `path` and the `metrics` that stand there now, and what can be done.

    Empty where there is nothing to compare with: outside git, without a commit, or where the last one lacks the file.
    """
    before = committed(path)
    if before is None:
        return ""
    if before == dict(metrics):
        return f"Nothing changed against the last commit ({path})."
    return f"Changed against the last commit ({path}):\n{_table(before, metrics)}\n{_NEXT}".rstrip()


def committed(path: Path) -> dict[str, Any] | None:
    """The metrics of the last commit; None where git has none of this file, or is not there itself."""
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, capture_output=True)
    except FileNotFoundError:  # no git
        return None
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def _table(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The largest changes by their relative size, a line each; then how many more there are, and what came or went."""
    both = [name for name in now if name in before and before[name] != now[name]]
    both.sort(key=lambda name: (-_relative(before[name], now[name]), name))
    rows = [
        (name, _number(before[name]), "->", _number(now[name]), *_difference(before[name], now[name]))
        for name in both[:MOST]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    gone, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    if len(both) > MOST:
        lines.append(f"and {len(both) - MOST} more: dvc metrics diff")
    lines += [f"{what}: {', '.join(names)}" for what, names in (("no longer there", gone), ("new", new)) if names]
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def _relative(before: Any, now: Any) -> float:
    """The size of a change as a share of the larger value; that from or to no value comes first."""
    if before is None or now is None:
        return math.inf
    return abs(now - before) / max(abs(before), abs(now))


def _number(value: Any) -> str:
    return "none" if value is None else str(value) if isinstance(value, int) else f"{value:.{_DIGITS}g}"


def _difference(before: Any, now: Any) -> tuple[str, str]:
    """The difference with its sign, and as a share of the value before."""
    if before is None or now is None:
        return "", ""
    step = now - before
    return f"{step:+d}" if isinstance(step, int) else f"{step:+.3g}", f"({step / abs(before):+.1%})" if before else ""
