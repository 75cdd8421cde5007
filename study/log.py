"""Log lines, progress with rate and time left, and sizes in words."""

from __future__ import annotations

import logging
import time


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


def in_words(n_bytes: float) -> str:
    """Bytes in words: 12 MB, 3.4 GB."""
    if n_bytes == float("inf"):
        return "unknown"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"
