"""What only a GPU can show, in under six minutes: one verdict a line, and a table of what was measured.

    benchmarks/gpu.sh                                            # on a machine with a GPU: finds an environment first
    python -m benchmarks.gpu --device cuda:0 [--only NAME ...] [--copy FOLDER]
    python -m benchmarks.gpu --device cpu --quick                # the dry run: the same rows of tiny sizes

Every module of benchmarks/on_gpu runs in a process of its own and for no longer than it asks (its constant SECONDS, and what
starting takes), so that one that fails or hangs costs its own rows alone; what it had measured until then is kept. Those of
FIRST begin, the others follow by name, and what the time does not suffice for are the last ones. A module has

    SECONDS = 40
    def checks(device: str, quick: bool) -> Iterator[tuple[str, str, float, float | None, bool | None]]

which yields what is measured by name ("7 filter, ms late"), its unit, the number, the limit if there is one, and whether it
is met; None for a rate that is only told. Names begin with the acceptance value that they belong to:

| value | what is accepted | judged by |
|---|---|---|
| 1 | precisions keep lists and order | a_precision, on random weights; scores: docs/scale.md |
| 2 | scores with tasks dealt by image | a processor, on real networks: dealing.csv, docs/scale.md |
| 3 | what float16 does not hold falls back | a_precision; the study's own way: tests/study/test_precisions.py |
| 4 | values of one image, in each precision | a_precision |
| 5 | launches and bytes beyond a network | b_launches counts launches; bytes: launches.csv, tests/benchmarks/test_launches.py |
| 6 | no wait of the host a batch | b_launches, f_pictures |
| 7 | selection: time, merges, bytes as on a CPU | d_selection; bytes moved: selection_on_gpu.csv |
| 8 | capture and selection over a plain pass | c_forward |
| 9 | projection by network | g_projection, to within 1.5 times; totals of 20 networks: throughput.csv |
| 10 | hours of the full study | g_projection, measured plain passes, compiled ones by constants of public tables (card_hours) |
| 11 | DreamSim | f_pictures, its feed and one branch; the ensemble is told |
| 12 | LPIPS and DISTS: launches and waits | e_similarities |
| 13 | feeding a pass of networks | f_pictures |

Writes  gpu.csv: a row a value, and with it the card, the driver and the version of torch, anew after each module; with --only,
        rows of other modules stay. The dry run writes gpu_dry.csv, to the folder of MIS_BENCHMARKS or a temporary one.
Ends with status 1 unless all values are met and no module failed.
"""

from __future__ import annotations

import argparse
import ast
import csv
import importlib
import json
import math
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.harness import COMMITTED, RESULTS

FOLDER = Path(__file__).resolve().parent / "on_gpu"
FIRST = ("a_precision", "g_projection")  # what the choice of a precision and all hours rest on
STARTING = 40.0  # seconds in which a process loads torch and its kernels
USUALLY = 8.0  # seconds of it once files are in memory
ALL = 345.0  # seconds for everything together, from the start of gpu.sh
PATIENCE = 900.0  # seconds of a module in the dry run, which nobody waits for on a card
DRY = "dry run"
MARK = "measured: "  # before a row on the output of a module, on which libraries speak as well


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
        told = re.search(rf"(?<![\w/]){re.escape(self.unit)}(?![\w/])", self.value)
        unit = "" if self.unit in ("", "equal") or told else f" {self.unit}"
        return f"{self.verdict} {self.value}: {self.measured:.4g}{unit}{bound}"


def modules(folder: Path = FOLDER) -> dict[str, float]:
    """Names of the modules in their order and the seconds that each asks for, read without importing them."""
    paths = {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
    names = [name for name in FIRST if name in paths] + [name for name in paths if name not in FIRST]
    return {name: _seconds(paths[name]) for name in names}


def _seconds(path: Path) -> float:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SECONDS":
            return float(ast.literal_eval(node.value))
    raise SystemExit(
        f"{path.name} of benchmarks/on_gpu has no line `SECONDS = NUMBER`, the seconds that it takes on a GPU"
    )


def missing(device: str) -> str:
    """Why torch cannot use this device; nothing if it can."""
    import torch

    if device != "cpu" and not re.fullmatch(r"cuda(:\d+)?", device):
        return f"--device is {device!r}; allowed: cpu, cuda, cuda:0, cuda:1, ..."
    if device == "cpu":
        return ""
    dry = "the dry run needs none: --quick --device cpu"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU here; {dry}"
    there, number = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    return "" if number < there else f"--device is {device}, and GPUs here go up to cuda:{there - 1}; {dry}"


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


Found = tuple[str, str, float, float | None, bool | None]  # what a module yields


def alone(what: str, rows: Iterator[Found]) -> Iterator[Found]:
    """Rows of one part of a module: an error costs what is left of them, and its row says so."""
    try:
        yield from rows
    except Exception:
        print(traceback.format_exc(), flush=True)
        yield f"{what}, runs to its end", "equal", 0.0, 1.0, False


def measure(module: str, device: str, quick: bool) -> None:
    """Print a row as JSON for each value of a module, as soon as it is there."""
    for row in importlib.import_module(module).checks(device, quick):
        value, unit, measured, limit, passed = row
        found = json.dumps([value, unit, float(measured), limit, None if passed is None else bool(passed)])
        print(f"\n{MARK}{found}", flush=True)


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
        lines = [line for line in out.read().splitlines() if line.strip()]
    rows = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    for line in lines:
        if not line.startswith(MARK):
            print(f"    {line}", file=sys.stderr, flush=True)
    if reason and said:
        reason += f": {said[-1].strip()}"
        print("\n".join(said[-12:]), file=sys.stderr, flush=True)
    elif not reason and not rows:
        reason = "measured nothing"
    return rows, reason


def run(
    names: Sequence[str],
    device: str,
    quick: bool,
    about: dict[str, str],
    keep: Callable[[list[Row]], object] = lambda rows: None,
    spent: float = 0.0,
) -> list[Row]:
    """Rows of all modules, each told as it is there, and all so far given to `keep` after each module.

    `spent` are seconds of the time for everything that are over already.
    """
    asked, began, rows = modules(), time.monotonic() - spent, list[Row]()

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
        keep(rows)
    return rows


def others(path: Path, names: Sequence[str]) -> list[Row]:
    """Rows of a table that are not of these modules; none where there is no table."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["module"] in modules() and row["module"] not in names]
    return [Row(**row | {name: float(row[name] or "nan") for name in ("measured", "limit")}) for row in rows]  # pyright: ignore[reportArgumentType]


def write(rows: Sequence[Row], path: Path) -> None:
    """The table, whole or not at all, by nothing but Python's own library: a machine with a GPU may have little else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: "" if value != value else value for name, value in asdict(row).items()})
    part.replace(path)


def main() -> None:
    there = modules()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="cuda:0, or cpu for the dry run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all works, not how fast")
    parser.add_argument("--only", nargs="+", choices=sorted(there), metavar="NAME", help=f"some of {', '.join(there)}")
    parser.add_argument(
        "--copy", type=Path, metavar="FOLDER", help="where the table is laid as well, after each module"
    )
    parser.add_argument("--module", help=argparse.SUPPRESS)
    parser.add_argument("--spent", type=float, default=0.0, help=argparse.SUPPRESS)  # seconds since gpu.sh began
    args = parser.parse_args()
    if args.module:
        measure(args.module, args.device, args.quick)
        return
    if args.device == "cpu" and not args.quick:
        parser.error("--device cpu goes with --quick: it shows that all works, and a CPU would take hours")
    began = time.monotonic() - args.spent
    if reason := missing(args.device):
        parser.error(reason)
    about = facts(args.device)
    print(f"{about['card']}, driver {about['driver']}, torch {about['torch']}", flush=True)
    names = [name for name in there if name in (args.only or there)]
    path = table_of(args.quick)
    before = [] if args.quick else others(path, names)

    def keep(rows: list[Row]) -> None:
        for place in (path, *([args.copy / path.name] if args.copy else [])):
            write(sorted([*before, *rows], key=lambda row: [*there].index(row.module)), place)

    rows = run(names, args.device, args.quick, about, keep, time.monotonic() - began)
    judged = [row for row in rows if row.verdict in ("PASS", "FAIL")]
    met = sum(row.verdict == "PASS" for row in judged)
    tried = f", {sum(row.verdict == DRY for row in rows)} tried" if args.quick else ""
    print(f"{met} of {len(judged)} values met{tried}; {path}")
    sys.exit(met < len(judged))


def table_of(quick: bool) -> Path:
    """Where the table goes: the dry run's never lies among committed results, for its numbers are none of a card."""
    if not quick:
        return RESULTS / "gpu.csv"
    return (Path(tempfile.gettempdir()) if RESULTS == COMMITTED else RESULTS) / "gpu_dry.csv"


if __name__ == "__main__":
    main()
