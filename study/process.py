"""What a process does before it loads anything that computes: it chooses kernels, and how often memory is looked through."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence

from study.environment import portable
from study.errors import StudyError
from study.params.reading import content_of

PORTABLE = "portable"


def collect_rarely() -> None:
    """Let Python look for rings of dead objects less often, but through old ones too.

    The packages of a study make a million objects when they load, which a process that lives for seconds would look through
    again and again: a tenth of the time that loading them takes.
    """
    gc.set_threshold(100_000, 2, 2)


def choose_kernels(argv: Sequence[str] | None = None) -> None:
    """Set the kernels of this process and of its workers as the file of --params says; `argv` is None for its own line.

    Nothing is set for a native study, and where there is no such file or no such key: the stage itself will say so.
    Worker processes have inherited what their stage set, also if the file was edited since.
    """
    if argv is None and "--multiprocessing-fork" in sys.orig_argv:
        return
    line = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    line.add_argument("--params", default="params.yaml")
    try:
        content = content_of(line.parse_known_args(sys.argv[1:] if argv is None else argv)[0].params)
    except (StudyError, argparse.ArgumentError, OSError):
        return
    if isinstance(content, dict) and content.get("processor") == PORTABLE:
        portable()
