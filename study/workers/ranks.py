"""Processes that share one training, started and ended by torch's own launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from study.environment import variables_of_ranks

_GRACE = 15.0  # seconds in which processes that are told to end may do so


def run_ranks(module: str, argument: Path, processes: int) -> int:
    """Run `module` in that many processes of this machine at once, each told `argument`; the exit status of the launcher.

    They are told to end where this process is interrupted.
    """
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launched = subprocess.Popen([*line, "-m", module, str(argument)], env=variables_of_ranks())
    try:
        return launched.wait()
    finally:
        if launched.poll() is None:
            launched.terminate()
            try:
                launched.wait(_GRACE)
            except subprocess.TimeoutExpired:
                launched.kill()
