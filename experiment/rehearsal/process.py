"""The real server in a process of its own: started, killed and started again, and never left behind."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from study.errors import StudyError

HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds until it must answer, on a busy machine
_LOOK = 0.01
SERVE = ("-m", "experiment", "serve")


class ServerProcess:
    """A context in which `python -m experiment serve RUN` answers at `port`; its log goes to `log`, and not
    what it prints, which holds the researcher's token.

    command  what Python is called with before the run folder
    """

    def __init__(self, run: Path, log: Path, *, command: Sequence[str] = SERVE, options: Sequence[str] = ()) -> None:
        self.port, self.run = _free_port(), run
        self._log = log
        self._line = [sys.executable, *command, str(run), "--host", HOST, "--port", str(self.port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Number of the process that runs now."""
        if self._process is None:
            raise RuntimeError("no server is running")
        return self._process.pid

    def start(self) -> float:
        """Start it and wait until it answers; seconds that took."""
        begun = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )
        while not self._answers():
            if (status := self._process.poll()) is not None:
                said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
                raise StudyError(
                    f"The server ended with status {status} before it answered: {' '.join(said)} ({self._log})"
                )
            if time.perf_counter() - begun > PATIENCE:
                raise StudyError(f"The server did not answer within {PATIENCE:g} s; {self._log} says what it did")
            time.sleep(_LOOK)
        return time.perf_counter() - begun

    def kill(self) -> None:
        """End it without a warning (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/api/state")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
