"""What a run changed against the committed metrics, as text for the end of a run, and the commands to keep it or to go back.

The numbers are those of results/metrics.json as they are; nothing is said of chance. Levels of MIS are left out where the two
studies are not of the same measure: by another similarity, of other pictures, or with a slope of another origin.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST = 10  # numbers shown
_DIGITS = 4
_WIDEST = 40  # signs of a value that is no number
_LEVELS = ("mis_", "hash_mis", "trained_minus_untrained")  # how numbers begin that are levels of MIS, or differ in them

_RESULTS = ("results", "reports/figures")  # what git keeps of a run, beside parameters and the lock
_INPUTS = ("params.yaml", "dvc.lock", "data/external")  # roster, own code and pointers lie in the last


def tell(metrics: Path, provenance: Path, slopes: Path) -> None:
    """Print what `told` says."""
    if text := told(metrics, provenance, slopes):
        print(f"\n{text}")


def told(metrics: Path, provenance: Path, slopes: Path) -> str:
    """What differs between the committed file of headline numbers and the one that stands there now, and what can be done.

    metrics, provenance, slopes: results/metrics.json, results/provenance.json and results/tables/calibration.csv

    Empty where there is nothing to compare with: outside git, without a commit, or where the last one lacks the first file or
    has something else in its place.
    """
    before = _mapping(committed(metrics))
    if before is None:
        return ""
    now = _mapping(_text(metrics)) or {}
    old, new = _mapping(committed(provenance)), _mapping(_text(provenance))
    paths = _paths(metrics.parent, [_of(side, "params", "models", "roster") for side in (old, new)])
    others = _other_study(old, new, committed(slopes), _text(slopes))
    commands = _commands(metrics.parent, paths)
    where = f"against the last commit ({metrics})"
    if before == now:
        if not _git(metrics.parent, "status", "--porcelain", "--", *_from_top(paths)):
            return f"Nothing changed {where}."
        return f"No headline number changed {where}.\n{commands}".rstrip()
    return f"Changed {where}:\n{others}{_table(before, now, levels=not others)}\n{commands}".rstrip()


def committed(path: Path) -> str | None:
    """The text of a file in the last commit; None where git has none of this file or no text, or is not there itself."""
    return _git(path.parent, "show", f"HEAD:./{path.name}")


def _git(folder: Path, *words: str) -> str | None:
    """What git says in a folder; None where it fails, says no text, or is not there."""
    try:
        shown = subprocess.run(["git", "-C", str(folder), *words], capture_output=True)
        return shown.stdout.decode("utf-8") if shown.returncode == 0 else None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _mapping(text: str | None) -> dict[str, Any] | None:
    """The object that a text of JSON holds; None for anything else."""
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _of(content: Any, *keys: str) -> Any:
    """A value in nested objects; None where it is not there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _paths(folder: Path, rosters: Sequence[Any]) -> list[str]:
    """What of a study git keeps and is there, in the commit or now: parameters, lock, inputs, results; from git's top folder."""
    top = Path((_git(folder, "rev-parse", "--show-toplevel") or "").strip())
    wanted = [*_INPUTS, *(name for name in rosters if isinstance(name, str) and name), *_RESULTS]
    inside = [name for name in dict.fromkeys(wanted) if (top / name).resolve().is_relative_to(top.resolve())]
    outside = [
        name
        for name in inside
        if not any(name != one and Path(name).is_relative_to(one) for one in (*_INPUTS, *_RESULTS))
    ]
    return [name for name in outside if (top / name).exists() or _in_commit(folder, name)]


def _in_commit(folder: Path, name: str) -> bool:
    return bool(_git(folder, "ls-tree", "--full-tree", "HEAD", "--", name))


def _from_top(paths: Sequence[str]) -> list[str]:
    return [f":(top){name}" for name in paths]


def _commands(folder: Path, paths: Sequence[str]) -> str:
    """How to keep a run, to go back, and to keep both; typed in the top folder."""
    kept = [name for name in paths if _in_commit(folder, name)]
    results = [name for name in paths if name in _RESULTS]
    inputs = [name for name in paths if name not in _RESULTS]
    listed = _git(folder, "ls-files", "-zo", "--full-name", "--exclude-standard", "--", *_from_top(inputs))
    untracked = [name for name in (listed or "").split("\0") if name] if inputs else []
    included = " ".join(f"-I {shlex.quote(name)}" for name in [*reversed(results), *untracked])
    clean = f" && git clean -fdq {shlex.join(results)}" if results else ""
    return (
        f'To keep it:      git add {shlex.join(paths)} && git commit -m "what you changed"\n'
        f"To go back:      git checkout HEAD -- {shlex.join(kept)}{clean} && dvc checkout --allow-missing\n"
        "                 what is not in the cache of this machine, dvc repro makes anew\n"
        f"To keep both:    dvc exp save -n NAME {included}\n"
        "                 then go back; `dvc exp apply NAME` takes it out again\n"
    )


def _other_study(old: Any, new: Any, old_slopes: str | None, new_slopes: str | None) -> str:
    """A line on why levels of the committed study and of the one at hand do not compare; empty where they do."""
    first, second = (_leading(side) for side in (old, new))
    told = []
    if first is None or second is None:
        told.append("its committed provenance cannot be read")
    elif first != second:
        told.append(f"{first} -> {second}")
    elif (status := _status(old_slopes, first)) != (now := _status(new_slopes, second)):
        told.append(f"slope {status} -> {now}")
    if _of(old, "digests", "images") != _of(new, "digests", "images"):
        told.append("other pictures")
    return f"  another study: {', '.join(told)}; levels of MIS do not compare and are left out\n" if told else ""


def _leading(provenance: Any) -> str | None:
    """The similarity that leads the report; None where that cannot be read."""
    backends = _of(provenance, "params", "scores", "backends")
    return str(backends[0]) if isinstance(backends, list) and backends else None


def _status(slopes: str | None, backend: str) -> str:
    """Where the slope of a similarity comes from, by the table of slopes."""
    rows = csv.DictReader(io.StringIO(slopes or ""))
    return next((row.get("status") or "unknown" for row in rows if row.get("backend") == backend), "unknown")


def _table(before: Mapping[str, Any], now: Mapping[str, Any], *, levels: bool) -> str:
    """The largest changes by their relative size, a line each; then how many more there are, and what came or went."""
    both = [name for name in now if name in before and before[name] != now[name]]
    both = [name for name in both if levels or not name.startswith(_LEVELS)]
    both.sort(key=lambda name: (-_relative(before[name], now[name]), name))
    rows = [
        (name, _shown(before[name]), "->", _shown(now[name]), *_difference(before[name], now[name]))
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _relative(before: Any, now: Any) -> float:
    """The size of a change as a share of the larger value; that from or to what is no number comes first."""
    if not (_is_number(before) and _is_number(now)):
        return math.inf
    return abs(now - before) / max(abs(before), abs(now))


def _shown(value: Any) -> str:
    """A value in a few signs: a number, none, or the beginning of the JSON of anything else."""
    if value is None:
        return "none"
    if not _is_number(value):
        text = json.dumps(value)
        return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
    return str(value) if isinstance(value, int) else f"{value:.{_DIGITS}g}"


def _difference(before: Any, now: Any) -> tuple[str, str]:
    """The difference with its sign, and as a share of the value before; nothing where one of them is no number."""
    if not (_is_number(before) and _is_number(now)):
        return "", ""
    step = now - before
    return f"{step:+d}" if isinstance(step, int) else f"{step:+.3g}", f"({step / abs(before):+.1%})" if before else ""
