"""Alternating rounds, ratios, memory and tables of the benchmarks.

On a shared machine the time of one run says little. So competing forms take turns within a round, the order changes
from round to round, and what counts is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from stages.pipeline.tables import write_csv

RESULTS = Path(__file__).resolve().parent / "results"
THREADS = 2


def use_threads() -> None:
    """Give torch as many threads as our kernels: importing `stages` leaves every library a single one."""
    import torch

    torch.set_num_threads(THREADS)


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def take_turns(forms: Mapping[str, Callable[[], object]], turn: int) -> dict[str, float]:
    """Seconds of each form, run one after the other; `turn` rotates who begins."""
    names = list(forms)
    shift = turn % len(names)
    return {name: timed(forms[name]) for name in names[shift:] + names[:shift]}


def spread(ratios: list[float]) -> dict[str, float]:
    """Median and range of per-round ratios, as columns of a result table."""
    return {"ratio": float(np.median(ratios)), "ratio_low": min(ratios), "ratio_high": max(ratios)}


def memory(field: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no line {field}")


def report(name: str, title: str, rows: list[dict[str, object]]) -> None:
    """Print a table and keep it as results/NAME.csv."""
    frame = pd.DataFrame(rows)
    write_csv(RESULTS / f"{name}.csv", frame)
    print(f"\n{title}\n{frame.to_string(index=False, float_format=lambda value: f'{value:.4g}')}", flush=True)
