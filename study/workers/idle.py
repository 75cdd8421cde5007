"""A worker process that outlives its jobs, and what it does once none has come for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Idle:
    """Calls `action` when `seconds` have passed since a job ended and no other has begun; never beside a job."""

    def __init__(self, seconds: float, action: Callable[[], object]) -> None:
        self._seconds, self._action = seconds, action
        self._lock = threading.Lock()
        self._begun = 0  # jobs
        self._timer: threading.Timer | None = None

    @contextmanager
    def job(self) -> Generator[None]:
        """A job, which waits for an action that is under way."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._begun += 1
        try:
            yield
        finally:
            self._timer = threading.Timer(self._seconds, self._act, (self._begun,))
            self._timer.daemon = True
            self._timer.start()

    def _act(self, last: int) -> None:
        """The action, unless a job has begun since the one of that number."""
        with self._lock:
            if last == self._begun:
                self._action()
