"""What only a GPU can show, in under six minutes: one verdict a line, and a table of what was measured.

    benchmarks/gpu.sh                                            # on a machine with a GPU: finds an environment first
    python -m benchmarks.gpu --device cuda:0 [--only NAME ...]
    python -m benchmarks.gpu --device cpu --quick                # the dry run: the same rows of tiny sizes

Every module of benchmarks/on_gpu runs in the order of their names, each in a process of its own and for no longer than it
asks (its constant SECONDS, and what starting takes), so that one that fails or hangs costs its own rows alone; what it had
measured until then is kept. A module has

    SECONDS = 40
    def checks(device: str, quick: bool) -> Iterator[tuple[str, str, float, float | None, bool | None]]

which yields what is measured by name ("7 filter, ms late"), its unit, the number, the limit if there is one, and whether it
is met; None for a rate that is only told.

Writes  gpu.csv: a row a value, and with it the card, the driver and the version of torch. Ends with status 1 unless all values
        are met and no module failed.
"""

from __future__ import annotations

import argparse
import ast
import csv
import importlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

FOLDER = Path(__file__).resolve().parent / "on_gpu"
STARTING = 40.0  # seconds in which a process loads torch and its kernels
ALL = 345.0  # seconds for everything together
PATIENCE = 900.0  # seconds of a module in the dry run, which nobody waits for on a card
DRY = "dry run"


@dataclass(frozen=True)
class Row:
    """One value, or a module that failed, with what it ran on."""

    module: str
    value: str
    unit: str
    measured: float
    limit: float
    verdict: str
    note: str
    card: str
    driver: str
    torch: str

    def line(self) -> str:
        """The verdict in words."""
        if self.note:
            return f"{self.verdict} {self.value}: {self.note}"
        bound = "" if math.isnan(self.limit) else f" (limit {self.limit:.4g})"
        unit = "" if self.unit in ("", "equal") or self.unit in self.value else f" {self.unit}"
        return f"{self.verdict} {self.value}: {self.measured:.4g}{unit}{bound}"


def modules(folder: Path = FOLDER) -> dict[str, float]:
    """Names of the modules and the seconds that each asks for, read without importing them."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem != "__init__":
            found[path.stem] = _seconds(path)
    return found


def _seconds(path: Path) -> float:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SECONDS":
            return float(ast.literal_eval(node.value))
    raise SystemExit(
        f"{path.name} of benchmarks/on_gpu has no line `SECONDS = NUMBER`, the seconds that it takes on a GPU"
    )


def facts(device: str) -> dict[str, str]:
    """The card, the driver and torch, as their own programs name them."""
    import torch

    if not device.startswith("cuda"):
        return {"card": "none", "driver": "none", "torch": torch.__version__}
    call = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"  # nvidia-smi is no part of a container's needs
    return {"card": torch.cuda.get_device_name(device), "driver": driver, "torch": torch.__version__}


def measure(module: str, device: str, quick: bool) -> None:
    """Print a row as JSON for each value of a module, as soon as it is there."""
    for row in importlib.import_module(module).checks(device, quick):
        value, unit, measured, limit, passed = row
        print(json.dumps([value, unit, float(measured), limit, None if passed is None else bool(passed)]), flush=True)


def outcome(module: str, options: Sequence[str], limit: float) -> tuple[list[list[Any]], str]:
    """Rows that a module printed in a process of its own, and why it did not end well; else nothing."""
    call = [sys.executable, "-m", "benchmarks.gpu", "--module", module, *options]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            status = subprocess.run(call, stdout=out, stderr=errors, timeout=limit).returncode
            reason = f"ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            reason = f"stopped after {limit:.0f} s"
        out.seek(0)
        errors.seek(0)
        said = [line for line in errors.read().splitlines() if line.strip()]
        rows = [json.loads(line) for line in out.read().splitlines() if line.startswith("[")]
    if reason and said:
        reason += f": {said[-1].strip()}"
        print("\n".join(said[-12:]), file=sys.stderr, flush=True)
    elif not reason and not rows:
        reason = "measured nothing"
    return rows, reason


def run(names: Iterable[str], device: str, quick: bool, about: dict[str, str]) -> list[Row]:
    """Rows of all modules, each told as it is there."""
    asked, began, rows = modules(), time.monotonic(), list[Row]()

    def tell(module: str, *row: Any, note: str = "") -> None:
        value, unit, measured, limit, passed = row
        verdict = DRY if quick and not note else {None: "RATE", True: "PASS", False: "FAIL"}[passed]
        found = Row(module, value, unit, measured, math.nan if limit is None else limit, verdict, note, **about)
        rows.append(found)
        print(found.line(), flush=True)

    for name in names:
        left = math.inf if quick else ALL - (time.monotonic() - began)
        limit = PATIENCE if quick else min(left, asked[name] + STARTING)
        options = ["--device", device, *(["--quick"] if quick else [])]
        if left < STARTING / 4:
            found, reason = [], f"not started: {ALL:.0f} s are over"
        else:
            found, reason = outcome(f"benchmarks.on_gpu.{name}", options, limit)
        for row in found:
            tell(name, *row)
        if reason:
            tell(name, name, "", math.nan, None, False, note=reason)
    return rows


def write(rows: Sequence[Row], path: Path) -> None:
    """The table, by nothing but Python's own library: a machine with a GPU may have little else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: "" if value != value else value for name, value in asdict(row).items()})


def main() -> None:
    there = modules()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="cuda:0, or cpu for the dry run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all works, not how fast")
    parser.add_argument("--only", nargs="+", choices=sorted(there), metavar="NAME", help=f"some of {', '.join(there)}")
    parser.add_argument("--module", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.module:
        measure(args.module, args.device, args.quick)
        return
    if args.device == "cpu" and not args.quick:
        parser.error("--device cpu goes with --quick: it shows that all works, and a CPU would take hours")
    about = facts(args.device)
    print(f"{about['card']}, driver {about['driver']}, torch {about['torch']}", flush=True)
    rows = run(args.only or there, args.device, args.quick, about)
    write(rows, RESULTS / "gpu.csv")
    judged = [row for row in rows if row.verdict in ("PASS", "FAIL")]
    met = sum(row.verdict == "PASS" for row in judged)
    tried = f", {sum(row.verdict == DRY for row in rows)} tried" if args.quick else ""
    print(f"{met} of {len(judged)} values met{tried}; {RESULTS / 'gpu.csv'}")
    sys.exit(met < len(judged))


if __name__ == "__main__":
    main()
