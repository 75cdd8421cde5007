"""How long stages took: kept beside the work store, never in an out, because a clock would change its bytes."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Generator
from pathlib import Path

from study.environment import Environment


def runs_file() -> Path:
    """`runs.jsonl` in the work store (MIS_STORE, else data/store): one line a finished or failed run of a stage."""
    return Environment.read().store / "runs.jsonl"


@contextlib.contextmanager
def timed() -> Generator[None]:
    """Append wall time, CPU time with workers, and peak memory of this process and of its largest worker.

    Commands that only show something (--timing, --export, --plan) are no runs of a stage.
    """
    if {"--timing", "--export", "--plan"} & set(sys.argv[1:]):
        yield
        return
    path = runs_file()  # a variable that is not allowed ends the stage before its work
    start, ended = time.monotonic(), "stopped"
    try:
        yield
        ended = "done"
    finally:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        words = sys.argv[1:]
        backend = f"@{words[words.index('--backend') + 1]}" if "--backend" in words[:-1] else ""
        own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        line = {
            "stage": (spec.name.split(".")[-1] if spec else "?") + backend,
            "ended": ended,
            "wall_s": round(time.monotonic() - start, 2),
            "cpu_s": round(own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime, 2),
            "peak_mb": round(own.ru_maxrss / 1024),
            "worker_peak_mb": round(workers.ru_maxrss / 1024),
        }
        # a store that cannot be written must not hide the error that ended the stage
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a") as file:
                file.write(json.dumps(line) + "\n")
