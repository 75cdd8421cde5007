"""Logging and the frame of every entry point."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable

from stages.errors import StudyError
from stages.pipeline import timing


def logger(name: str) -> logging.Logger:
    """Logger that writes `HH:MM:SS name  message` to standard error."""
    root = logging.getLogger("stages")
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s  %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False
    return logging.getLogger(name if name.startswith("stages") else f"stages.{name}")


def run(main: Callable[[], None]) -> None:
    """Run an entry point; what a user can put right and Ctrl-C end in one plain message and a non-zero exit."""
    try:
        with timing.timed():
            main()
    except StudyError as error:
        sys.exit(f"\nError: {error}")
    except OSError as error:
        where = os.path.dirname(os.path.abspath(error.filename)) if error.filename else "the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(
                f"\nError: no space left on the device while writing to {where}. Nothing half-written was kept. Free "
                "some space, or point MIS_STORE to a folder on a larger disk, and run the same command again: finished "
                "jobs are found in the store."
            )
        if error.errno in (errno.EROFS, errno.EACCES):
            sys.exit(
                f"\nError: {error.filename or 'a file'} cannot be opened or written ({error.strerror}). Make {where} "
                "readable and writable, or point MIS_STORE to a folder that is, and run the same command again."
            )
        raise
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Finished jobs are in the store; run the same command again to go on.")


class Progress:
    """One line for each finished job: count, rate and time left. Shown, never stored."""

    def __init__(self, log: logging.Logger, total: float, what: str, *, found: float = 0, every: float = 2.0) -> None:
        self._log, self._total, self._what, self._every = log, total, what, every
        self._done = self._found = found
        self._start = self._last = time.monotonic()
        if found:
            log.info("%s: %g of %g found in the store", what, found, total)

    def step(self, amount: float = 1, note: str = "") -> None:
        """Count finished work; logs at most every few seconds, and always at the end."""
        self._done += amount
        now = time.monotonic()
        if now - self._last < self._every and self._done < self._total:
            return
        self._last = now
        rate = (self._done - self._found) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        self._log.info(
            "%s: %g of %g  %.3g/s  %s left%s",
            self._what,
            self._done,
            self._total,
            rate,
            clock(left),
            f"  {note}" if note else "",
        )


def clock(seconds: float) -> str:
    """Duration in words that fit a log line: 42 s, 3 min 20 s, 5 h 12 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
