"""Alternating rounds, ratios, memory and tables of the benchmarks.

On a shared machine the time of one run says little. So competing forms take turns within a round, the order changes
from round to round, and what counts is the median over rounds of the ratio within a round. Beside the time that passed
stands the processor time of all threads, which work of others on the same cores hardly changes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.files.tables import write_csv

COMMITTED = Path(__file__).resolve().parent / "results"
RESULTS = Path(os.environ.get("MIS_BENCHMARKS") or COMMITTED)  # another folder for runs that are no measurement
THREADS = 2


def whole_path_parser(doc: str | None, forms: Sequence[str], gigabytes: float) -> argparse.ArgumentParser:
    """Arguments of a benchmark that runs each form of the whole path in a process of its own, by --form."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 50_000), ("units", 2048), ("dim", 1792), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help=f"where the temporary folder goes; {gigabytes:g} GB by default")
    parser.add_argument("--form", choices=forms, help=argparse.SUPPRESS)
    return parser


def use_threads() -> None:
    """Give torch as many threads as our kernels: importing `stages` leaves every library a single one."""
    import torch

    torch.set_num_threads(THREADS)


Times = NDArray[np.float64]  # seconds that passed, and seconds of processor time


def timed(work: Callable[[], object]) -> Times:
    """Times of one call."""
    passed, used = perf_counter(), process_time()
    work()
    return np.array([perf_counter() - passed, process_time() - used])


def take_turns(forms: Mapping[str, Callable[[], object]], turn: int) -> dict[str, Times]:
    """Times of each form, run one after the other; `turn` rotates who begins."""
    names = list(forms)
    shift = turn % len(names)
    return {name: timed(forms[name]) for name in names[shift:] + names[:shift]}


def ratios(slow: list[Times], fast: list[Times]) -> dict[str, float]:
    """Median and range over rounds of slow / fast within a round, and the median for processor time, as columns."""
    passed, used = np.divide(slow, fast).T
    return {
        "ratio": float(np.median(passed)),
        "ratio_low": passed.min(),
        "ratio_high": passed.max(),
        "cpu_ratio": float(np.median(used)),
    }


def memory(field: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at its highest, `RssAnon` now without pages of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no line {field}")


class Highest:
    """Within a `with`: the highest `bytes` of a field of `memory`, looked at every 10 ms."""

    def __init__(self, field: str) -> None:
        self.bytes, self._field, self._ended = 0, field, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.bytes = max(self.bytes, memory(self._field))

    def __enter__(self) -> Highest:
        self.bytes = memory(self._field)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self.bytes = max(self.bytes, memory(self._field))


def in_process(module: str, *options: object) -> dict[str, float]:
    """What `python -m MODULE OPTIONS` prints as JSON in its last line: a fresh process, so that its peak is its own."""
    call = [sys.executable, "-m", module, *(str(option) for option in options)]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


Measured = dict[str, list[dict[str, float]]]  # of each form in each round


def in_turns(module: str, forms: Sequence[str], folder: Path, rounds: int) -> Measured:
    """What each form prints in each round, `python -m MODULE --form FORM --folder FOLDER`; who begins goes round."""
    measured: Measured = {form: [] for form in forms}
    for turn in range(rounds):
        shift = turn % len(forms)
        for form in (*forms[shift:], *forms[:shift]):
            measured[form].append(in_process(module, "--form", form, "--folder", folder))
            print(f"round {turn + 1} of {rounds}, {form}: {measured[form][-1]['seconds']:.2f} s", flush=True)
    return measured


def whole_paths(
    args: argparse.Namespace,
    module: str,
    forms: Sequence[str],
    measure: Callable[[str, Path], object],
    write_inputs: Callable[[Path, int, int, int], None],
    rows_of: Callable[[Measured, Path], list[dict[str, object]]],
) -> None:
    """Report all forms on the same inputs; with --form, measure that one here and print what `in_turns` reads.

    measure(form, folder); write_inputs(folder, images, units, dim); rows_of(measured, folder). The table is named after the
    module.
    """
    if args.form:
        print(json.dumps(measure(args.form, args.folder)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        write_inputs(Path(name), args.images, args.units, args.dim)
        rows = rows_of(in_turns(module, forms, Path(name), args.rounds), Path(name))
    title = f"{args.images} images, {args.units} units, dimension {args.dim}, {THREADS} threads, simulated data"
    report(module.rpartition(".")[2], title, rows)


def report(name: str, title: str, rows: pd.DataFrame | Sequence[Mapping[str, object]]) -> None:
    """Print a table and keep it as NAME.csv in the folder of results."""
    frame = pd.DataFrame(rows)
    write_csv(RESULTS / f"{name}.csv", frame)
    print(f"\n{title}\n{frame.to_string(index=False, float_format=lambda value: f'{value:.4g}')}", flush=True)
